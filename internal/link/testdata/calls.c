/* A program that calls functions of device.c, and has names of its own for other
 * things.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int device(struct xdp_md *ctx);
int sum_below(int n);

static volatile int calls[3] = { 1000, 2000, 3000 };
const volatile int own = 70000;

static __noinline int index_of(int i)
{
	return calls[i & 1];
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	return device(ctx) + sum_below(4) * 100 + index_of(ctx->rx_queue_index) + own;
}

char _license[] SEC("license") = "GPL";
