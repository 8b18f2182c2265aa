/* A program with data of each kind, that calls a function of various.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int various(struct xdp_md *ctx);

const volatile int hundred = 100;
volatile int thousand = 1000;
volatile int runs;

SEC("xdp") int program(struct xdp_md *ctx)
{
	runs++;
	return various(ctx) + hundred + thousand + runs;
}

char _license[] SEC("license") = "GPL";
