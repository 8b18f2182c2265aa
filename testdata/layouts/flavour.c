/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A flavour instead of the plain name, with the header's widths behind chains
 * of typedefs, const and volatile.
 */

#include <linux/types.h>

typedef __u32 nic_word;
typedef const nic_word nic_ro_word;
typedef volatile nic_ro_word nic_reg;
typedef __be16 nic_ethertype;
typedef const nic_ethertype nic_ro_ethertype;
typedef __u64 nic_clock;
typedef nic_word nic_block[4];

enum md_csum_status___nic {
	MD_CSUM_NONE = 7,
	MD_CSUM_UNNECESSARY = 6,
	MD_CSUM_COMPLETE = 5,
	MD_CSUM_BAD = 4,
};

struct nic_port {
	__u8 lane;
	__u8 unit;
	__u16 id;
};

struct nic_ring {
	struct nic_port ports[3];
	volatile __u16 queue;
	const __u16 buffer;
};

struct md_desc___nic {
	struct nic_port origin;
	nic_ro_word mark;
	struct nic_ring rx;
	nic_ro_ethertype vlan_proto;
	const __u16 vlan_tci;
	nic_block words;
	nic_word hash;
	const nic_clock rx_timestamp;
	volatile const __u8 tag[8];
	nic_ro_word csum_status;
	nic_word csum;
	nic_reg port;
	union {
		nic_reg flow;
		struct nic_port flow_port;
	};
	volatile __s32 skew;
	nic_word spare : 17;
	nic_ro_word l3_ok : 1;
	nic_word queue_prio : 7;
	const __s32 delta : 5;
	nic_ro_word hash_type;
	nic_word ptype;
	nic_reg reserved;
};

struct md_desc___nic layout;
enum md_csum_status___nic layout_csum_status;
