package rewrite

import (
	"cmp"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// source is where what a program calls a field comes from. It has a place in the
// metadata area, or code computes it from something else that the descriptor's pointer
// leads to.
type source interface {
	// resolve returns what an access comes to there.
	resolve(p *planner, access *reloc.Access) (*reloc.Resolution, error)

	// plan fills in what becomes of an access that nothing speaks against, or why it is
	// refused. before is its instruction.
	plan(p *planner, plan *accessPlan, before asm.Instruction)
}

// area is the source of a field that is where the layout has it.
type area struct{}

func (area) resolve(p *planner, access *reloc.Access) (*reloc.Resolution, error) {
	return p.inLayout(access)
}

func (area) plan(p *planner, plan *accessPlan, before asm.Instruction) {
	if plan.converts = p.converts(plan.Edit); plan.converts {
		plan.unconverted = p.convert(plan.Edit, before)
		return
	}
	plan.refused = p.planInPlace(plan.Edit, before)
}

// computation is the source of a field that code computes.
type computation struct {
	*body
	field *reloc.Field // what the number is; where it is in its struct does not matter
}

func (c *computation) resolve(_ *planner, access *reloc.Access) (*reloc.Resolution, error) {
	resolution := &reloc.Resolution{Exists: true, Field: c.field}
	if access.Kind == reloc.FieldExists {
		resolution.Value = 1
	}
	return resolution, nil
}

func (c *computation) plan(p *planner, plan *accessPlan, before asm.Instruction) {
	plan.refused = c.compute(p, plan.Edit, before)
}

// compute puts the code in place of a load.
func (c *computation) compute(p *planner, edit *Edit, before asm.Instruction) (err error) {
	access := edit.Access
	switch {
	case access.Kind == reloc.FieldExists:
		return p.patchValue(edit, before, edit.Resolution.Value)
	case access.Kind != reloc.ByteOffset:
		return refuse.Because("read its value", "%s is computed, and has no %s", access.Path, access.Kind)
	case !insn.IsMemory(before):
		return refuse.Because("read its value", "%s is computed, and has no address", access.Path)
	}
	edit.body = c.body
	edit.After, edit.Note, err = c.computed(p, access, loadAt{before, access.Insn, 0}, int64(before.Offset))
	return err
}

// loadAt is a load of the program's, at a slot. The address that it finds in its register
// is that of the descriptor plus some bytes.
type loadAt struct {
	asm.Instruction
	slot int
	past int64
}

// computed returns what a load becomes of what is at an offset from the start of the
// program's struct.
func (c *computation) computed(p *planner, access *reloc.Access, load loadAt, offset int64) (Instructions, string, error) {
	if load.OpCode.Class() != asm.LdXClass {
		return nil, "", refuse.Because("store to memory of the program's own", "%s is computed, and can't be stored to", access.Path)
	}
	if err := cmp.Or(checkWithin(load.Instruction, access.Local.Field), checkConvertible(access.Local.Field, c.field, load.Instruction)); err != nil {
		return nil, "", err
	}
	if c.packet {
		if err := p.checkPacket(p.function(access), load.slot); err != nil {
			return nil, "", err
		}
	}
	local, err := p.localImage(access, load.Instruction, offset, load.slot)
	if err != nil {
		return nil, "", err
	}
	number := convert.NumberImage(c.field, p.order)
	after, err := c.inLine(p, access, load, func(s *convert.Sequence) {
		if !c.leaves(load.Instruction, local, number) {
			s.Number(load.Instruction, local, number)
		}
	})
	return after, partNote(local, number), err
}

// leaves reports whether the code leaves just what a load of the program's image would: its
// last instruction is such a load.
func (c *computation) leaves(load asm.Instruction, local, number convert.Image) bool {
	return load.OpCode.Mode() == asm.MemMode && c.loads == local.Width && local.Shift == 0 && local.Bits == int(local.Width)*8 &&
		number.Bits == local.Bits && number.Swapped == local.Swapped && !local.Boolean && !number.Boolean
}
