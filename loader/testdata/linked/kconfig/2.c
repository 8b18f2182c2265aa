/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The same ones again, not all of them weak, and of the other types. */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

extern unsigned long CONFIG_HZ __kconfig;
extern int CONFIG_DOES_NOT_EXIST __kconfig __weak;
extern enum libbpf_tristate CONFIG_BPF __kconfig;
extern enum libbpf_tristate CONFIG_NO_STATE __kconfig __weak;
extern char CONFIG_BPF_JIT __kconfig __weak;
extern char CONFIG_NO_LETTER __kconfig __weak;
extern char CONFIG_CC_VERSION_TEXT[4] __kconfig;
extern char CONFIG_NO_TEXT[8] __kconfig __weak;

__u64 got_hz_2, got_absent_2, got_bpf, got_no_state, got_letter, got_no_letter, got_text, got_no_text;

static __noinline int in_function(int value)
{
	return CONFIG_DOES_NOT_EXIST + CONFIG_HZ + value;
}

SEC("xdp") int program_2(struct xdp_md *ctx)
{
	got_hz_2 = in_function(1);
	got_absent_2 = CONFIG_DOES_NOT_EXIST + 1;
	got_bpf = CONFIG_BPF;
	got_no_state = CONFIG_NO_STATE + 1;
	got_letter = CONFIG_BPF_JIT;
	got_no_letter = CONFIG_NO_LETTER + 1;
	got_text = *(__u32 *)CONFIG_CC_VERSION_TEXT;
	got_no_text = *(__u64 *)CONFIG_NO_TEXT + 1;
	return XDP_PASS;
}
