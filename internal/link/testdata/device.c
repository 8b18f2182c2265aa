/* Functions that are linked into the programs beside this. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define RECORDED __attribute__((preserve_access_index))

/* Nothing here is where the kernel has it. */
struct net_device { int ifindex; } RECORDED;
struct xdp_rxq_info { struct net_device *dev; } RECORDED;
struct xdp_buff { struct xdp_rxq_info *rxq; } RECORDED;

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

const volatile int factor = 3;
static volatile int calls[2] = { 7, 40 };
int last;

static __noinline int index_of(struct xdp_buff *xdp)
{
	last = xdp->rxq->dev->ifindex;
	return last * factor;
}

static __noinline __attribute__((used)) int static_device(struct xdp_md *ctx)
{
	calls[1]++;
	return index_of(bpf_cast_to_kern_ctx(ctx)) + calls[1];
}

__noinline int device(struct xdp_md *ctx)
{
	return static_device(ctx);
}

static long add(__u32 i, void *sum)
{
	*(int *)sum += i;
	return 0;
}

__noinline int sum_below(int n)
{
	int sum = 0;

	bpf_loop(n, add, &sum, 0);
	return sum;
}
