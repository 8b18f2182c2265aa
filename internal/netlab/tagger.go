package netlab

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// AttachTagger attaches a program to the way out of an interface that tags packets as a
// VLAN device does: by a note to the driver, which a veth hands to its peer. The tag is what
// the packet is marked with: TCI in the upper half, EtherType, in network byte order, in the
// lower one. The kernel needs TCX.
func AttachTagger(ifindex int) (link.Link, error) {
	const skbMark = 8 // offset in struct __sk_buff
	tagger, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:       "vlan_tag",
		Type:       ebpf.SchedCLS,
		AttachType: ebpf.AttachTCXEgress,
		License:    "MIT",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R3, asm.R1, skbMark, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R3),
			asm.And.Imm(asm.R2, 0xffff),
			asm.JEq.Imm(asm.R2, 0, "send"),
			asm.RSh.Imm(asm.R3, 16),
			asm.FnSkbVlanPush.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("send"), // TC_ACT_OK
			asm.Return(),
		},
	})
	if err != nil {
		return nil, err
	}
	defer tagger.Close()
	return link.AttachTCX(link.TCXOptions{Program: tagger, Interface: ifindex, Attach: ebpf.AttachTCXEgress})
}
