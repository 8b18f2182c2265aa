/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The header's widths inside anonymous structs and unions several levels deep,
 * at high offsets: a completion entry of many formats in the largest metadata
 * area there can be, 216 bytes.
 *
 * There is no enum md_csum_status here.
 */

#include <linux/types.h>

struct md_desc {
	__u8 format;
	__u8 owner;
	__u16 length;
	union {
		__u8 raw[180];
		struct {
			__u32 inline_data[20];
			union {
				__u64 mini[4];
				struct {
					union {
						__u32 flow;
						__u32 hash;
					};
					union {
						struct {
							__u32 hash_type;
						};
						__u8 hash_bytes[4];
					};
					union {
						struct {
							__u32 filler;
							union {
								__u32 mark;
								__u32 port;
							};
							struct {
								__u16 vlan_tci;
								__be16 vlan_proto;
							};
						};
					};
				};
			};
			struct {
				__u32 words[10];
				struct {
					__u32 spare[2];
					struct {
						__u16 queue;
					};
				} rx;
				struct {
					__u32 : 11;
					__u32 queue_prio : 7;
					__s32 delta : 5;
					__u32 l3_ok : 1;
				};
			};
			union {
				struct {
					__u32 csum;
					__u32 csum_status;
					__s32 skew;
				};
				__u8 tag[16];
			};
		};
	};
	__u32 reserved;
	union {
		__u64 rx_timestamp;
		struct {
			__u32 stamp_words[2];
		};
	};
	__u32 trailer;
};

struct md_desc layout;
