package insn

import (
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// helperArguments says how many arguments the kernel's helper functions take,
// by number, as libbpf's bpf_helper_defs.h declares them. Numbers that it does
// not name take five. There will be no more: newer functions are kfuncs.
var helperArguments = [...]uint8{
	5, 2, 4, 2, 3, 0, 5, 0, 0, 5, 5, 5, 3, 3, 0, 0, 2, 1, 3, 1,
	4, 4, 2, 2, 1, 5, 4, 3, 5, 3, 3, 3, 2, 3, 1, 0, 3, 2, 3, 2,
	2, 1, 0, 3, 2, 3, 1, 1, 2, 5, 4, 3, 4, 4, 2, 4, 3, 5, 2, 2,
	4, 2, 2, 4, 3, 2, 5, 4, 5, 4, 4, 4, 4, 4, 4, 3, 4, 1, 4, 1,
	0, 2, 4, 2, 5, 5, 1, 3, 2, 2, 4, 4, 3, 1, 1, 1, 1, 1, 1, 5,
	5, 4, 3, 3, 3, 4, 4, 4, 2, 1, 5, 5, 3, 3, 3, 3, 2, 1, 0, 4,
	4, 5, 1, 1, 3, 0, 5, 3, 1, 2, 4, 3, 2, 2, 2, 2, 1, 1, 1, 1,
	1, 4, 4, 4, 3, 4, 2, 3, 3, 5, 4, 1, 4, 2, 1, 2, 4, 2, 0, 2,
	0, 3, 1, 5, 4, 5, 3, 4, 1, 3, 2, 3, 1, 1, 1, 1, 3, 4, 1, 4,
	5, 4, 3, 3, 2, 1, 0, 1, 1, 4, 4, 5, 3, 3, 2, 3, 1, 4, 4, 2,
	2, 5, 5, 3, 3, 3, 2, 2, 0, 4, 4, 2,
}

// helperPointers says which of their arguments are addresses, a bit for each from the
// lowest on, as declared in the same place: but for the ctx and for maps, which the
// verifier knows from any other address. All are of what it does not have.
var helperPointers = [...]uint8{
	31, 2, 6, 2, 5, 0, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
	2, 2, 0, 0, 0, 8, 4, 0, 5, 2, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0,
	0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 5, 0, 4, 2, 9, 1, 1,
	1, 1, 1, 1, 2, 0, 4, 2, 4, 2, 5, 5, 4, 4, 4, 0, 4, 0, 0, 0,
	0, 0, 5, 0, 2, 2, 1, 2, 2, 2, 1, 1, 0, 1, 1, 1, 1, 0, 1, 2,
	11, 2, 2, 2, 2, 9, 9, 6, 2, 0, 11, 8, 5, 5, 5, 5, 1, 0, 0, 2,
	4, 8, 0, 0, 2, 0, 11, 3, 1, 1, 2, 0, 1, 1, 0, 0, 1, 1, 1, 1,
	1, 3, 3, 3, 1, 6, 2, 3, 5, 5, 3, 0, 2, 1, 1, 0, 6, 2, 0, 1,
	0, 3, 1, 4, 6, 13, 2, 1, 0, 1, 3, 1, 1, 0, 0, 1, 1, 5, 1, 9,
	13, 6, 5, 4, 2, 0, 0, 0, 0, 4, 4, 13, 0, 3, 3, 2, 1, 9, 8, 1,
	1, 5, 5, 1, 3, 3, 3, 3, 0, 2, 6, 2,
}

// TakesAddress reports whether a call takes an argument, 1 to 5, for an address: one that
// is not known to be a number does.
func (ins *Instruction) TakesAddress(argument int) bool {
	if !ins.IsHelperCall() || ins.Imm < 0 || ins.Imm >= int64(len(helperPointers)) {
		return true
	}
	return helperPointers[ins.Imm]&(1<<(argument-1)) != 0
}

// SizeArgument returns the argument of a helper, by its number, that says how many bytes
// there are at another one, R1 to R5, and whether one does.
func SizeArgument(helper int64, address asm.Register) (size asm.Register, ok bool) {
	size = sizeArguments[helper][address]
	return size, size != 0
}

// sizeArguments are the sizes by the addresses, for helpers that can be given one in a
// packet: of memory, in their prototypes (ARG_PTR_TO_MEM and ARG_CONST_SIZE of
// include/linux/bpf.h), and the sources of bpf_probe_read and its like.
var sizeArguments = map[int64][asm.R5 + 1]asm.Register{
	4:   {1: 2, 3: 2}, // bpf_probe_read
	6:   {1: 2},       // bpf_trace_printk
	9:   {3: 4},       // bpf_skb_store_bytes
	16:  {1: 2},       // bpf_get_current_comm
	20:  {2: 3},       // bpf_skb_get_tunnel_key
	21:  {2: 3},       // bpf_skb_set_tunnel_key
	25:  {4: 5},       // bpf_perf_event_output
	26:  {3: 4},       // bpf_skb_load_bytes
	28:  {1: 2, 3: 4}, // bpf_csum_diff
	29:  {2: 3},       // bpf_skb_get_tunnel_opt
	30:  {2: 3},       // bpf_skb_set_tunnel_opt
	45:  {1: 2, 3: 2}, // bpf_probe_read_str
	67:  {2: 3},       // bpf_get_stack
	68:  {3: 4},       // bpf_skb_load_bytes_relative
	69:  {2: 3},       // bpf_fib_lookup
	73:  {3: 4},       // bpf_lwt_push_encap
	84:  {2: 3},       // bpf_sk_lookup_tcp
	85:  {2: 3},       // bpf_sk_lookup_udp
	99:  {2: 3},       // bpf_skc_lookup_tcp
	100: {2: 3, 4: 5}, // bpf_tcp_check_syncookie
	110: {2: 3, 4: 5}, // bpf_tcp_gen_syncookie
	111: {4: 5},       // bpf_skb_output
	112: {1: 2, 3: 2}, // bpf_probe_read_user
	113: {1: 2, 3: 2}, // bpf_probe_read_kernel
	114: {1: 2, 3: 2}, // bpf_probe_read_user_str
	115: {1: 2, 3: 2}, // bpf_probe_read_kernel_str
	121: {4: 5},       // bpf_xdp_output
	130: {2: 3},       // bpf_ringbuf_output
	141: {2: 3},       // bpf_get_task_stack
	148: {1: 2},       // bpf_copy_from_user
	182: {1: 2},       // bpf_strncmp
	189: {3: 4},       // bpf_xdp_load_bytes
	190: {3: 4},       // bpf_xdp_store_bytes
	191: {1: 2},       // bpf_copy_from_user_task
	201: {1: 2},       // bpf_dynptr_read
	202: {3: 4},       // bpf_dynptr_write
	204: {2: 3},       // bpf_tcp_raw_gen_syncookie_ipv4
	205: {2: 3},       // bpf_tcp_raw_gen_syncookie_ipv6
}

// Fills returns the argument of a call of a helper that points at what it fills with
// bytes from elsewhere, which an address may be among, and whether there is one.
func (ins *Instruction) Fills() (argument asm.Register, ok bool) {
	if !ins.IsHelperCall() {
		return 0, false
	}
	argument, ok = outputs[ins.Imm]
	return argument, ok
}

// outputs are the arguments that Fills returns, by the helper's number: of bpf_probe_read and its like,
// bpf_skb_load_bytes, bpf_get_stack, bpf_map_pop_elem, bpf_map_peek_elem,
// bpf_copy_from_user, bpf_kallsyms_lookup_name, bpf_get_func_arg, bpf_get_func_ret,
// bpf_xdp_load_bytes, bpf_copy_from_user_task, bpf_dynptr_read.
var outputs = map[int64]asm.Register{
	4: 1, 26: 3, 45: 1, 67: 2, 68: 3, 88: 2, 89: 2, 112: 1, 113: 1, 114: 1, 115: 1,
	141: 2, 148: 1, 179: 4, 183: 3, 184: 2, 189: 3, 191: 1, 201: 1,
}

// WritesPacket reports whether the instruction calls a helper that writes to the packet
// what it is given.
func (ins *Instruction) WritesPacket() bool {
	return ins.IsHelperCall() && slices.Contains(packetHelpers, ins.Imm)
}

// packetHelpers are bpf_skb_store_bytes, bpf_l3_csum_replace, bpf_l4_csum_replace,
// bpf_skb_vlan_push and bpf_xdp_store_bytes.
var packetHelpers = []int64{9, 10, 11, 18, 190}

// MovesPacket reports whether the instruction calls a helper after which pointers into
// the packet and the metadata area are invalid, whatever it returns.
func (ins *Instruction) MovesPacket() bool {
	return ins.IsHelperCall() && slices.Contains(movers, ins.Imm)
}

// KfuncMovesPacket reports the same of a kfunc (is_kfunc_pkt_changing of
// kernel/bpf/verifier.c).
func KfuncMovesPacket(name string) bool { return name == "bpf_xdp_pull_data" }

// KfuncAsksDevice reports whether a kfunc asks the driver of a device about a packet, which
// only a program that is bound to the device may (XDP_METADATA_KFUNC_xxx of
// include/net/xdp.h).
func KfuncAsksDevice(name string) bool { return strings.HasPrefix(name, "bpf_xdp_metadata_rx_") }

// movers are the helpers of bpf_helper_changes_pkt_data (net/core/filter.c), but for
// bpf_tail_call: where that returns, the packet is where it was.
var movers = []int64{
	9,      // bpf_skb_store_bytes
	10, 11, // bpf_l3_csum_replace, bpf_l4_csum_replace
	13,     // bpf_clone_redirect
	18, 19, // bpf_skb_vlan_push, bpf_skb_vlan_pop
	31, 38, 39, 43, // bpf_skb_change_proto, bpf_skb_change_tail, bpf_skb_pull_data, bpf_skb_change_head
	44, 54, 65, // bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail
	50,         // bpf_skb_adjust_room
	63, 90, 91, // bpf_msg_pull_data, bpf_msg_push_data, bpf_msg_pop_data
	73, 74, 75, 76, // bpf_lwt_push_encap, bpf_lwt_seg6_store_bytes, bpf_lwt_seg6_adjust_srh, bpf_lwt_seg6_action
	143, // bpf_store_hdr_opt
}

// TailCalls reports whether the instruction is a tail call. In a function that another
// one called, the program that it leads to returns to that, and may have moved the packet.
func (ins *Instruction) TailCalls() bool { return ins.IsHelperCall() && ins.Imm == tailCall }

const tailCall = 12
