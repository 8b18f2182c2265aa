/* A program with nothing but a load. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp") int program(struct xdp_md *ctx)
{
	return ctx->ingress_ifindex + 100;
}

char _license[] SEC("license") = "GPL";
