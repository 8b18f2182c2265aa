package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// HeaderEnums are what a driver answers of enumerations.
var HeaderEnums = headerEnums

// Unshortened returns options with which edits are left as they are planned alone.
func Unshortened(options Options) Options {
	options.unshortened = true
	return options
}

// Unjudged returns options with which nothing is refused that a program does with a
// driver's descriptor.
func Unjudged(options Options) Options {
	options.unjudged = true
	return options
}

// Computed returns options with which each load of a number is computed, by code that
// loads what the layout has, and leaves no register that it may change as it was. It
// ends with instructions that keep to r0, r6 and what is left of the others. A load that
// may be there to store a bit-field loads its neighbours as well, and is left alone.
func Computed(last ...asm.Instruction) func(Options) Options {
	return func(options Options) Options {
		options.sources = func(*reloc.Access) source { return computedLoads{last: last} }
		return options
	}
}

// ComputedExcept is Computed but for some fields, each of which code computes, wherever it
// is accessed, as a constant.
func ComputedExcept(options Options, constants map[string]int32) Options {
	options.sources = func(access *reloc.Access) source {
		constant, ok := constants[access.Path]
		if !ok {
			return computedLoads{}
		}
		s := &convert.Sequence{}
		s.Emit(asm.Mov.Imm(asm.R0, constant))
		for reg := asm.R1; reg <= asm.R5; reg++ {
			s.Emit(asm.Mov.Imm(reg, 0x55))
		}
		return &computation{&body{code: s.Items}, access.Local.Field}
	}
	return options
}

type computedLoads struct {
	area
	last []asm.Instruction
}

func (c computedLoads) plan(p *planner, plan *accessPlan, before asm.Instruction) {
	access, field := plan.Access, plan.Resolution.Field
	isLoad := access.Kind == reloc.ByteOffset && before.OpCode.Class() == asm.LdXClass && !plan.Resolution.Poison
	if !isLoad || p.isStored(access) || checkConvertible(access.Local.Field, field, before) != nil {
		area{}.plan(p, plan, before)
		return
	}
	target, err := convert.TargetImage(field, plan.Resolution.TypeSize, p.order)
	if err != nil {
		plan.refused = err
		return
	}
	number := convert.NumberImage(field, p.order)
	s := p.sequence(access, plan.Resolution)
	if plan.refused = s.Load(asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord), number, target); plan.refused != nil {
		return
	}
	if bits := max(number.Bits, int(target.Width)*8); bits < 64 {
		s.Emit(asm.Mov.Imm(asm.R1, 0x5a5a5a5a), asm.LSh.Imm(asm.R1, int32(bits)), asm.Or.Reg(asm.R0, asm.R1))
	}
	s.EmitAs(insn.Jump, asm.JEq.Imm(asm.R0, 0, ""))
	s.Items[len(s.Items)-1].Offset = 1
	s.Emit(asm.Mov.Imm(asm.R2, 1))
	for reg := asm.R1; reg <= asm.R6; reg++ {
		s.Emit(asm.Mov.Imm(reg, int32(reg)<<20))
	}
	s.Emit(c.last...)
	(&computation{&body{code: s.Items}, field}).plan(p, plan, before)
}

// isStored reports whether the function of an access to a bit-field stores it, too.
func (p *planner) isStored(access *reloc.Access) bool {
	qs := p.accessesOf(access)
	return slices.ContainsFunc(qs.bits[nameOf(access)], func(other *reloc.Access) bool { _, stores := qs.stores[other.Insn]; return stores })
}

// TellsAll returns options with which the report has the edits of what md_desc() asks, too.
func TellsAll(options Options) Options {
	options.tellsAll = true
	return options
}

// FromDriver returns what an object comes to whose descriptors are the driver's, before
// anything is planned, and FromArea, the same for the metadata area.
func FromDriver(object []byte, layout *reloc.Layout) ([]byte, error) {
	return answered(object, layout, Options{}, fromDriver)
}

func FromArea(object []byte, layout *reloc.Layout, options Options) ([]byte, error) {
	return answered(object, layout, options, fromArea)
}

func answered(object []byte, layout *reloc.Layout, options Options, answer int64) ([]byte, error) {
	r, err := newRewriting(object, layout, &options)
	if err != nil {
		return nil, err
	}
	if err := r.answerSource(answer); err != nil {
		return nil, err
	}
	return r.object.Bytes(), nil
}

// RewriteCalling is RewriteForDriver with all accessors as functions that are called.
func RewriteCalling(object []byte, accessors []*Accessors, options Options) ([]byte, *Report, error) {
	r := driverRewriting{accessors: accessors, options: options, calls: true}
	return r.rewrite(object)
}
