package rewrite

import (
	"debug/elf"
	"sort"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// function is what is known of one function of the object.
type function struct {
	section   string
	isProgram bool // the kernel calls it, not another function
	flow      *flow.Function
	err       error // set if its code is not understood, flow is nil then

	read      int // arguments, once readKnown is set
	readKnown bool
	live      *flow.Liveness
	constants *flow.Constants // as long as nothing is known of the layout
}

// registersAt returns what a sequence may use in place of an instruction.
func (p *planner) registersAt(access *reloc.Access, slot int) *slotRegisters {
	return &slotRegisters{planner: p, fn: p.function(access), slot: slot}
}

// slotRegisters are the registers at one instruction. What it finds out it only
// finds out when asked.
type slotRegisters struct {
	planner *planner
	fn      *function
	slot    int
	taken   []asm.Register
	spilled int
}

// maxStack is how many bytes of stack a program has, MAX_BPF_STACK of
// include/linux/filter.h.
const maxStack = 512

func (r *slotRegisters) spare(s *sequence, inUse ...asm.Register) (asm.Register, func(), error) {
	live, err := r.fn.liveness()
	if err != nil {
		return 0, nil, err
	}
	busy := flow.Of(append(inUse, r.taken...)...)
	for _, free := range []flow.Registers{live.Free(r.slot), live.Dies(r.slot)} {
		if free := (free &^ busy).List(); len(free) > 0 {
			r.taken = append(r.taken, free[0])
			return free[0], func() {}, nil
		}
	}
	return r.spill(s, busy)
}

// spill frees a register that the program still needs by keeping its value on
// the stack.
func (r *slotRegisters) spill(s *sequence, busy flow.Registers) (asm.Register, func(), error) {
	constants, err := r.planner.constantsOf(r.fn)
	if err != nil {
		return 0, nil, err
	}
	depth, known := constants.StackDepth()
	depth = (depth+7)/8*8 + 8*(r.spilled+1)
	if !known || depth > maxStack {
		return 0, nil, refuse("keep fewer values at the same time around this access",
			"it takes more instructions in this layout, and there is neither a free register for them nor room on the stack")
	}
	r.spilled++
	reg := asm.R0
	for busy.Has(reg) {
		reg++
	}
	r.taken = append(r.taken, reg)
	s.emit(asm.StoreMem(asm.RFP, int16(-depth), reg, asm.DWord))
	return reg, func() { s.emit(asm.LoadMem(reg, asm.RFP, int16(-depth), asm.DWord)) }, nil
}

func (r *slotRegisters) dead(reg asm.Register) bool {
	live, err := r.fn.liveness()
	return err == nil && live.Dies(r.slot).Has(reg)
}

func (r *slotRegisters) constant(reg asm.Register) (int64, bool) {
	constants, err := r.planner.constantsOf(r.fn)
	if err != nil {
		return 0, false
	}
	return constants.Value(r.slot, reg)
}

func (r *slotRegisters) extended(reg asm.Register, bits int, signed bool) bool {
	constants, err := r.planner.constantsOf(r.fn)
	if err != nil || bits%8 != 0 && r.planner.trustsBool[place{r.fn.section, r.fn.flow.Start()}] {
		return false
	}
	if signed {
		return constants.SignExtended(r.slot, reg, bits)
	}
	return constants.ZeroExtended(r.slot, reg, bits)
}

// function returns the function that an access is in.
func (p *planner) function(access *reloc.Access) *function {
	return p.functionAt(place{access.Section, access.FunctionStart})
}

// functionAt returns the function that starts at a place.
func (p *planner) functionAt(at place) *function {
	if fn, ok := p.functions[at]; ok {
		return fn
	}
	fn := &function{section: at.section, isProgram: p.programs()[at]}
	section := p.object.Section(at.section)
	fn.flow, fn.err = flow.NewFunction(section.Data, p.order, at.slot, p.functionEnd(at), p.jumpTable(section)...)
	p.functions[at] = fn
	if fn.err == nil {
		p.declareCalls(fn)
	}
	return fn
}

// jumpTable returns the slots of a section that its tables of jumps lead to: 8
// bytes in .jumptables for each, in bytes from the section's start (create_jt_map
// of libbpf).
func (p *planner) jumpTable(section *elfobj.Section) []int {
	if slots, ok := p.tables[section]; ok {
		return slots
	}
	var slots []int
	seen := make(map[elf.Symbol]bool)
	for _, symbol := range p.relocationSymbols(section) {
		if seen[symbol] || p.sectionName(symbol) != ".jumptables" {
			continue
		}
		seen[symbol] = true
		table := p.object.Sections[symbol.Section].Data
		start := min(symbol.Value, uint64(len(table)))
		size := min(symbol.Size, uint64(len(table))-start)
		for entry := table[start:][:size]; len(entry) >= 8; entry = entry[8:] {
			slots = append(slots, int(p.order.Uint64(entry)/reloc.InstructionSize))
		}
	}
	p.tables[section] = slots
	return slots
}

// functionEnd returns where the function ends that starts at a place: where the
// next one starts, or the section ends.
func (p *planner) functionEnd(at place) int {
	section := p.object.Section(at.section)
	end := len(section.Data) / reloc.InstructionSize
	starts := p.startsIn(section)
	if next := sort.SearchInts(starts, at.slot+1); next < len(starts) {
		return min(starts[next], end) // a damaged object has symbols beyond
	}
	return end
}

// startsIn returns the slots where functions start in a section.
func (p *planner) startsIn(section *elfobj.Section) []int {
	starts, ok := p.starts[section.Name]
	if !ok {
		for _, symbol := range p.object.Functions(section) {
			starts = append(starts, int(symbol.Value/reloc.InstructionSize))
		}
		p.starts[section.Name] = starts
	}
	return starts
}

func (fn *function) liveness() (*flow.Liveness, error) {
	if fn.err != nil {
		return nil, refuse(remedyReport, "it takes more instructions in this layout, and the function is not understood: %v", fn.err)
	}
	if fn.live == nil {
		fn.live = fn.flow.Liveness(fn.arguments())
	}
	return fn.live, nil
}

// reads returns how many arguments a function reads.
func (fn *function) reads() int {
	if !fn.readKnown {
		fn.read, fn.readKnown = fn.flow.Arguments(), true
	}
	return fn.read
}

// arguments returns how many arguments a function has, -1 if that is not known.
func (fn *function) arguments() int {
	if fn.isProgram {
		return 1
	}
	return -1
}

// programs returns where the object's programs start: global functions outside
// of .text and, with -ffunction-sections, of .text.NAME. All others are called
// by these (bpf_object__add_programs of libbpf).
func (p *planner) programs() map[place]bool {
	if p.entries != nil {
		return p.entries
	}
	p.entries = make(map[place]bool)
	for _, section := range p.object.Sections {
		if !holdsCode(section) || section.Name == ".text" || strings.HasPrefix(section.Name, ".text.") {
			continue
		}
		for _, symbol := range p.object.Functions(section) {
			if elf.ST_BIND(symbol.Info) != elf.STB_LOCAL {
				p.entries[place{section.Name, int(symbol.Value / reloc.InstructionSize)}] = true
			}
		}
	}
	return p.entries
}

// constantsOf returns what is constant in a function whatever the layout is.
func (p *planner) constantsOf(fn *function) (*flow.Constants, error) {
	if fn.err != nil {
		return nil, refuse(remedyReport, "it takes more instructions in this layout, and the function is not understood: %v", fn.err)
	}
	if fn.constants == nil {
		fn.constants = fn.flow.Constants(flow.Assumptions{
			Undecided: p.recorded[fn.section],
			Linked:    p.linked(p.object.Section(fn.section)),
			Program:   fn.isProgram,
		})
	}
	return fn.constants, nil
}

// instructionSet returns the version of the instruction set that the object
// needs, as far as it makes a difference: 4 if it has instructions that came
// with it, 3 otherwise.
func (p *planner) instructionSet() int {
	if p.version == 0 {
		p.version = 3
		for _, section := range p.object.Sections {
			if holdsCode(section) && needsVersion4(section.Data, p.order) {
				p.version = 4
			}
		}
	}
	return p.version
}
