/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* What the module of nic.c's driver has in its BTF. */

#include <linux/types.h>

struct nic_clock {
	__u64 started;
	__u64 base;
};

struct nic_ring {
	__u32 mask;
	struct nic_ring *next;
	__u8 pad[100];
	struct nic_clock *clock;
};

struct nic_far {
	__u8 pad[40000];
	__u16 words[2];
};

struct nic_rx {
	struct nic_ring *ring;
	__s8 delta;
	__u8 flag;
	__u16 tci[4];
	__u32 hash;
	__be16 proto;
	__u16 flags;
	__u8 kind : 5;
	__u8 low : 3;
	struct nic_far far;
};

struct nic_rx rx;
struct nic_ring ring;
struct nic_clock nic_clock;

struct nic_buff {
	__u8 pad[56];
	struct nic_rx *rx;
} buff;
