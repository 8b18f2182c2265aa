// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The types of Amazon's own build of ena, as of its version 2.17, as far as accessors look
 * at them, and those of the kernel that they refer to. They bear the names of the kernel's
 * driver. Here and there is room for what lies between.
 *
 * Versions, and what they are built for, differ: WITHOUT_XDP, as for old kernels. WIDER and
 * HASH_APART are none that there is, but such that there might be.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define __aligned __attribute__((aligned(64)))

/* Of the kernel */

struct net_device {
	u8 before[96];
	u64 features;
	u8 between[2200];
	u8 priv[0] __attribute__((aligned(32)));
};

struct xdp_mem_info {
	u32 type;
	u32 id;
};

struct xdp_rxq_info {
	struct net_device *dev;
	u32 queue_index;
	u32 reg_state;
	struct xdp_mem_info mem;
	u32 frag_size;
} __aligned;

struct xdp_buff {
	void *data;
	void *data_end;
	void *data_meta;
	void *data_hard_start;
	struct xdp_rxq_info *rxq;
	void *txq;
	u32 frame_sz;
	u32 flags;
};

/* Of the driver: ena_eth_io_defs.h, ena_com.h, ena_netdev.h */

struct ena_eth_io_rx_cdesc_base {
	u32 status;
	u16 length;
	u16 req_id;
#ifdef HASH_APART
	u32 reserved8;
#else
	u32 hash;
#endif
	u16 sub_qid;
	u8 offset;
	u8 reserved;
};

struct ena_eth_io_rx_cdesc_ext {
	struct ena_eth_io_rx_cdesc_base base;
	u32 buff_addr_lo;
	u16 buff_addr_hi;
	u16 reserved16;
	u32 timestamp_low;
	u32 timestamp_high;
#ifdef HASH_APART
	u64 hash;
#endif
};

struct ena_com_io_desc_addr {
	u8 *pbuf_dev_addr;
	u8 *virt_addr;
	u64 phys_addr;
};

#ifdef WIDER
typedef u32 count;
#else
typedef u16 count;
#endif

struct ena_com_io_cq {
	struct ena_com_io_desc_addr cdesc_addr;
	void *bus;
	u32 *unmask_reg;
	u32 *numa_node_cfg_reg;
	u32 msix_vector __aligned;
	u32 direction;
	u16 cur_rx_pkt_cdesc_count;
	u16 cur_rx_pkt_cdesc_start_idx;
	count q_depth;
	u16 qid;
	u16 idx;
	count head;
	u8 phase;
#ifdef WIDER
	u32 cdesc_entry_size_in_bytes;
#else
	u8 cdesc_entry_size_in_bytes;
#endif
} __aligned;

struct ena_ring {
	u16 *free_ids;
	void *rx_buffer_info;
	void *dev, *pdev, *napi;
	struct net_device *netdev;
	void *page_cache, *page_pool, *ena_dev, *adapter;
	struct ena_com_io_cq *ena_com_io_cq;
	void *ena_com_io_sq;
#ifndef WITHOUT_XDP
	void *xdp_bpf_prog;
	_Bool xdp_prog_support_frags;
#endif
	unsigned long last_checked_last_napi_jiffies;
	_Bool last_checked_is_cq_empty;
#ifndef WITHOUT_XDP
	struct xdp_rxq_info xdp_rxq;
	void *xsk_pool;
#endif
	u16 next_to_use, next_to_clean;
	u8 more[500];
} __aligned;

struct ena_adapter {
	void *ena_dev;
	struct net_device *netdev;
	u8 more[300];
	struct ena_ring tx_ring[128] __aligned;
	struct ena_ring rx_ring[128] __aligned;
};

/* So that they are described. */
struct ena_adapter adapter;
struct ena_com_io_cq cq;
struct ena_eth_io_rx_cdesc_ext cdesc;
struct net_device device;
struct xdp_buff buff;
