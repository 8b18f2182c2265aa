/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Calls kfuncs of the kernel itself, and one that no kernel has. Nothing in here
 * is rewritten.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym;
extern int bpf_that_no_kernel_has(struct xdp_md *ctx) __ksym __weak;

/* The first instruction of a function is a call. */
static __noinline int locked(void)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return XDP_TX;
}

SEC("xdp") int casts(struct xdp_md *ctx)
{
	return bpf_cast_to_kern_ctx(ctx) ? locked() : XDP_PASS;
}

SEC("xdp") int asks(struct xdp_md *ctx)
{
	if (bpf_that_no_kernel_has)
		return bpf_that_no_kernel_has(ctx);
	return bpf_cast_to_kern_ctx(ctx) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
