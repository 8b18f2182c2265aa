/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* A kernel with the module of nic.c's driver, as far as that looks at it. */

#include "kernel.c"

struct net_device {
	char name[16];
	int ifindex;
};

struct xdp_rxq_info {
	__u32 queue_index;
	struct net_device *dev;
};

struct xdp_buff {
	void *data[5];
	struct xdp_rxq_info *rxq;
};

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

enum bpf_features { BPF_FEAT_RDONLY_CAST_TO_VOID };

struct xdp_buff xdp;
struct xdp_rxq_info rxq;
struct net_device dev;
struct bpf_raw_tracepoint_args args;
enum bpf_features features;

int bpf_dynptr_clone(void)
{
	return 0;
}

void *bpf_rdonly_cast(const void *address, __u32 id)
{
	return (void *)address;
}
