/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a NIC's hardware descriptor through the driver's own types: from the
 * xdp_buff that the driver wraps to the completion queue entry.
 */

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct mlx5_cqe64 {
	__be32 rss_hash_result;
	__u8 rss_hash_type;
	__be16 vlan_info;
	__be32 timestamp_h;
	__be16 check_sum;
	struct {
		__be16 wqe_counter;
	};
};

struct xdp_buff {
	void *data;
	__u32 frame_sz;
};

struct mlx5e_xdp_buff {
	struct xdp_buff xdp;
	struct mlx5_cqe64 *cqe;
};

#pragma clang attribute pop

#define TAKE(value)	asm volatile("" : : "r"(value))

SEC("kprobe") int mlx5(struct mlx5e_xdp_buff *buff)
{
	struct mlx5_cqe64 *cqe = buff->cqe;

	TAKE(buff->xdp.data);
	TAKE(buff->xdp.frame_sz);
	TAKE(cqe->rss_hash_result);
	TAKE(cqe->rss_hash_type);
	TAKE(cqe->vlan_info);
	TAKE(cqe->timestamp_h);
	TAKE(cqe->check_sum);
	TAKE(cqe->wqe_counter);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
