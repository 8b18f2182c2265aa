/* Functions that need what shares.c has. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define RECORDED __attribute__((preserve_access_index))

struct net_device { int ifindex; } RECORDED;
struct xdp_rxq_info { struct net_device *dev; } RECORDED;
struct xdp_buff { struct xdp_rxq_info *rxq; } RECORDED;

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern int limit;

int base(void);

__weak __noinline int scale(int i)
{
	return i * 2;
}

__noinline int uses_all(struct xdp_md *ctx)
{
	struct xdp_buff *xdp = bpf_cast_to_kern_ctx(ctx);

	return xdp->rxq->dev->ifindex + scale(10) + base() + limit;
}
