/* A program that declares a variable, and nobody can give it one. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int last;
int device(struct xdp_md *ctx);

SEC("xdp") int program(struct xdp_md *ctx)
{
	return device(ctx) + last;
}

char _license[] SEC("license") = "GPL";
