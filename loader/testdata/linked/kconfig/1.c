/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Options that the kernel has, and such that no kernel has. */

#include <linux/bpf.h>
#include <stdbool.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

extern unsigned long CONFIG_HZ __kconfig __weak;
extern int CONFIG_DOES_NOT_EXIST __kconfig __weak;
extern bool CONFIG_BPF_SYSCALL __kconfig __weak;
extern bool CONFIG_NEITHER_DOES_THIS __kconfig __weak;
extern int LINUX_KERNEL_VERSION __kconfig __weak;

__u64 got_mark, got_hz, got_absent, got_syscall, got_neither, got_version;

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	got_mark = md->mark;
	got_hz = CONFIG_HZ;
	got_absent = CONFIG_DOES_NOT_EXIST + 1;
	got_syscall = CONFIG_BPF_SYSCALL;
	got_neither = CONFIG_NEITHER_DOES_THIS ? 5 : 6;
	got_version = LINUX_KERNEL_VERSION;
	return XDP_PASS;
}
