package rewrite_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/reloc"
)

// A load of some bytes of a struct or array leaves what it would have, had the
// program's own members held the numbers of the layout's, and zeros between
// them. A store leaves these numbers in the layout's members, and every other bit
// as it was. In either byte order.
func TestCopiesMeanTheMembers(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	checked := make(map[string]int)
	eachRewritten(t, func(t *testing.T, r rewritten) {
		code := decodeSections(t, r.in)
		for i := range r.report.Edits {
			edit := &r.report.Edits[i]
			if edit.Poisoned || edit.Access.Kind != reloc.ByteOffset || edit.Access.Local.Field.Class != reloc.Aggregate {
				continue
			}
			for _, use := range usesOf(t, r.order(), edit, code[edit.Access.Section]) {
				checked[fmt.Sprint(use.isLoad(), r.order())]++
				for range 50 {
					if err := use.checkCopy(random); err != nil {
						t.Errorf("%s: %s -> %s: %q -> %q: %v", edit.Access.Path, use.local, use.target, use.before, use.after, err)
						break
					}
				}
			}
		}
	})
	if len(checked) < 4 {
		t.Errorf("Only %v", checked)
	}
}

// checkCopy runs both sequences on a random descriptor.
func (u *memoryUse) checkCopy(random *rand.Rand) error {
	local, target := u.machine(random, 1024), u.machine(random, u.size)
	all, err := u.leaves(int64(u.local.Offset), u.local.Size)
	if err != nil {
		return err
	}
	for _, leaf := range all {
		u.convert(leaf.Target, target.Area(), leaf.Target, target.Area()) // a bool is 0 or 1
	}
	start := u.baseBefore + int64(u.before[0].Offset)
	moved, err := u.leaves(start, uint32(u.before[0].OpCode.Size().Sizeof()))
	if err != nil {
		return err
	}
	base, value := u.before[0].Src, u.before[0].Dst
	if !u.isLoad() {
		base, value = value, base
	}
	local.Regs[base], target.Regs[base] = uint64(interpret.AreaStart+u.baseBefore), uint64(interpret.AreaStart+u.baseAfter)
	if u.isLoad() {
		clear(local.Area())
		for _, leaf := range all {
			u.convert(leaf.Local, local.Area(), leaf.Target, target.Area())
		}
	} else if u.before[0].OpCode.Class() == asm.StXClass {
		local.Regs[value] = u.source(u.random(random, all, start))
		target.Regs[value] = local.Regs[value]
	}

	for reg := range asm.RFP {
		if reg != base && reg != value {
			target.Regs[reg] = local.Regs[reg]
		}
	}
	before, area, stack := target.Regs, bytes.Clone(target.Area()), bytes.Clone(target.Stack())
	if !u.isLoad() {
		for _, leaf := range moved {
			u.convert(leaf.Local, local.Area(), leaf.Target, target.Area())
		}
	}
	if err := local.Run(plain(u.before)); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if err := target.Run(plain(u.after)); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	if !u.isLoad() {
		for _, leaf := range moved {
			u.convert(leaf.Target, area, leaf.Local, local.Area())
		}
	}
	for reg := range asm.RFP {
		if target.Regs[reg] != before[reg] && u.needed[reg] && !(u.isLoad() && reg == value) {
			return fmt.Errorf("changes %s", reg)
		}
	}
	switch {
	case !bytes.Equal(target.Stack()[interpret.StackSize-u.stack:], stack[interpret.StackSize-u.stack:]):
		return fmt.Errorf("changes the program's stack")
	case u.isLoad() && target.Regs[value] != local.Regs[value]:
		return fmt.Errorf("leaves %#x instead of %#x", target.Regs[value], local.Regs[value])
	case !bytes.Equal(target.Area(), area):
		return fmt.Errorf("metadata %x instead of %x", target.Area(), area)
	}
	return nil
}

func (u *memoryUse) leaves(start int64, size uint32) ([]reloc.Leaf, error) {
	leaves, why, err := reloc.Leaves(u.local, u.target, start, size, u.order)
	if why != "" {
		err = fmt.Errorf("%s", why)
	}
	return leaves, err
}

// convert puts what one field holds into another.
func (u *memoryUse) convert(to *reloc.Field, area []byte, from *reloc.Field, source []byte) {
	if isNumber(from) {
		setField(to, u.order, area, fieldNumber(from, u.order, source))
		return
	}
	copy(area[to.Offset:to.Offset+to.Size], source[from.Offset:])
}

// random returns what a program may store to the bytes from an offset on.
func (u *memoryUse) random(random *rand.Rand, leaves []reloc.Leaf, start int64) uint64 {
	m := u.machine(random, 1024)
	for _, leaf := range leaves {
		u.convert(leaf.Local, m.Area(), leaf.Local, m.Area())
	}
	size := u.before[0].OpCode.Size().Sizeof()
	value := m.Number(m.Area()[start:][:size])
	if size < 8 {
		value |= random.Uint64() << (size * 8)
	}
	return value
}
