/* Functions that can't be linked. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

int uses_map(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&counts, &key) != 0;
}

int pointed;
int *volatile pointers[] = { &pointed };

int uses_pointers(void)
{
	return pointers[0] != 0;
}

int undefined(int n);

int uses_undefined(void)
{
	return undefined(1);
}

/* Is a program of the others. */
int program(void)
{
	return 0;
}
