/* A program that declares and defines what the functions of uses.c need. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

int uses_all(struct xdp_md *ctx);

int limit = 9000;

__noinline int scale(int i)
{
	return i * 5;
}

__noinline int base(void)
{
	return limit + 1;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	return (bpf_cast_to_kern_ctx(ctx) != 0) + uses_all(ctx) + scale(1) + base();
}

char _license[] SEC("license") = "GPL";
