package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// offsetInRegister returns the offset of a field for an instruction that adds
// it to a pointer. Which loads and stores that pointer reaches is not recorded,
// so that they have to be right for the target's field as they are.
func (p *planner) offsetInRegister(access *reloc.Access, resolution *reloc.Resolution, ins asm.Instruction) (uint64, error) {
	local, target := access.Local.Field, resolution.Field
	switch {
	case local.IsBitField() && target.IsBitField():
		return p.bitFieldOffset(access, resolution, ins)
	case reloc.SameRepresentation(local, target, p.order):
		return resolution.Value, nil
	}
	return 0, refuse("read the field into a variable before choosing between fields, or "+remedySameType,
		"its offset is kept in a register (%q), and what uses it is only right for %s, not for the layout's %s", spell(ins), local, target)
}

// bitFieldOffset tells BPF_CORE_READ_BITFIELD and BPF_CORE_WRITE_BITFIELD, which
// have a record for each thing that differs, from code that picks the bits out
// by constants of its own.
func (p *planner) bitFieldOffset(access *reloc.Access, resolution *reloc.Resolution, ins asm.Instruction) (uint64, error) {
	if p.macros[keyOf(access)] {
		return resolution.Value, nil
	}
	by, err := p.bitFieldDistance(access.Local.Field, resolution.Field)
	return uint64(ins.Constant + by), err
}

// macroKey names the records that one use of a bit-field macro leaves.
type macroKey struct{ section, program, root, path string }

func keyOf(access *reloc.Access) macroKey {
	return macroKey{access.Section, access.Program, access.Root, access.Path}
}

// bitfieldMacros finds the functions and fields where the libbpf macros are
// used: they record size and both shifts.
//
// The offset that such a macro adds to a pointer can't at the same time be that
// of a plain access: the macro hides the sum from the compiler (the empty asm
// in bpf_core_read.h), and a plain access to a bit-field always has a load or
// store of its own at the same offset, with its own record, which is checked by
// itself.
func bitfieldMacros(accesses []reloc.Access) map[macroKey]bool {
	needed := map[reloc.Kind]uint8{reloc.ByteSize: 1, reloc.LeftShift: 2, reloc.RightShift: 4}
	const all = 7
	seen := make(map[macroKey]uint8)
	macros := make(map[macroKey]bool)
	for i := range accesses {
		key := keyOf(&accesses[i])
		if seen[key] |= needed[accesses[i].Kind]; seen[key] == all {
			macros[key] = true
		}
	}
	return macros
}
