package accessor

import (
	"debug/elf"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// survey is what is known of a function's instructions.
type survey struct {
	fn        *function
	slots     []int                    // of instructions, in their order
	insns     map[int]insn.Instruction // by slot
	live      *flow.Liveness
	constants *flow.Constants
	loads     []int // slots of the loads of kernel memory
	recorded  map[int]bool
	depth     int    // of the stack, in bytes
	indexed   bool   // whether it uses more, or less, by a number that is not constant
	asks      string // the metadata kfunc that it calls, or the clock; empty if it calls neither
}

// survey looks at each instruction of the function, and refuses what can't be put into a
// program, or lowered: all that an accessor does is to load, to compute, and to branch, or
// else to ask a metadata kfunc or the time.
func (fn *function) survey() (*survey, error) {
	s := &survey{fn: fn, insns: make(map[int]insn.Instruction), recorded: make(map[int]bool)}
	for slot := fn.Start; slot < fn.End; slot++ {
		s.recorded[slot] = s.accessAt(slot) != nil
	}
	sub := s.subprogram()
	constants := fn.Flow.Constants(sub.Assumptions)
	pointers := flow.FindPointers([]*flow.Subprogram{sub}, map[*flow.Subprogram]*flow.Constants{sub: constants})
	for slot := fn.Start; slot < fn.End; {
		ins, err := insn.Decode(fn.Section.Data[slot*insn.SlotSize:], fn.object.file.Order)
		reached := constants.Reachable(slot) != flow.Unreachable
		if err == nil && reached {
			err = s.check(slot, &ins)
		}
		if err == nil && reached && ins.IsMemory() {
			err = s.checkMemory(slot, &ins, sub, pointers)
		}
		if err != nil {
			return nil, fn.errorAt(slot, err)
		}
		s.slots = append(s.slots, slot)
		s.insns[slot] = ins
		slot += ins.Slots()
	}
	if s.indexed && len(s.loads) > 0 {
		return nil, fn.errorAt(fn.Start, refuse.Because("index arrays on the stack by constants", "how deep it uses the stack is not known"))
	}
	if s.asks != "" && (len(s.loads) > 0 || fn.name == descriptorFunction) {
		return nil, fn.errorAt(fn.Start, refuse.Because("ask it in the function of a field, which does nothing else", "it calls %s, and reads the kernel's memory or finds the descriptor besides", s.asks))
	}
	s.constants, s.live = constants, constants.Liveness(fn.arguments())
	return s, nil
}

// accessAt returns the access that is recorded for an instruction, nil if there is none.
func (s *survey) accessAt(slot int) *reloc.Access {
	return s.fn.object.accesses[bpf.Place{Section: s.fn.Section.Name, Slot: slot}]
}

// subprogram returns the function for flow. What a record decides is not known.
func (s *survey) subprogram() *flow.Subprogram {
	sub := &flow.Subprogram{
		Function: s.fn.Flow,
		Assumptions: flow.Assumptions{
			Linked:  s.fn.Section.Linked(),
			Program: true,
			Alone:   true,
		},
		PointerAssumptions: flow.PointerAssumptions{
			Entry:     true,
			Addresses: s.fn.Section.Addresses(),
		},
	}
	sub.Offsets = make(map[int]bool)
	for slot := s.fn.Start; slot < s.fn.End; slot++ {
		access := s.accessAt(slot)
		if access == nil {
			continue
		}
		sub.Undecided.Add(slot)
		isOffset := access.Kind == reloc.ByteOffset && !s.fn.Section.IsMemoryAt(slot)
		sub.Offsets[slot] = isOffset && access.Local.Field.IsRecord()
	}
	switch {
	case s.fn.name == descriptorFunction:
		sub.Parameters[0] = flow.Ctx
	case s.fn.arguments() == 2:
		sub.Parameters[1] = flow.Ctx
	}
	return sub
}

// clock is the only helper that an accessor may call.
const (
	clock     = asm.FnKtimeGetTaiNs
	clockName = "bpf_ktime_get_tai_ns"
)

// check refuses instructions that an accessor can't have.
func (s *survey) check(slot int, ins *insn.Instruction) error {
	switch {
	case ins.IsHelperCall() && asm.BuiltinFunc(ins.Imm) == clock:
		return s.ask(clockName)
	case ins.IsHelperCall():
		return refuse.Because("read the kernel's memory by plain loads, and compute the rest", "it calls a helper, number %d", ins.Imm)
	case ins.IsCall():
		return s.checkCall(slot)
	case ins.Class() == insn.ClassLD && ins.Op != insn.LDDW:
		return refuse.Because("read the packet through a pointer", "it loads from the packet by LD_ABS or LD_IND")
	case ins.IsGotox():
		return refuse.Because("compile it with -fno-jump-tables", "it jumps by a table")
	case ins.Op == insn.LDDW:
		return s.checkAddress(slot)
	}
	return nil
}

// checkCall wants a call to be of a metadata kfunc.
func (s *survey) checkCall(slot int) error {
	kfunc := s.fn.Section.KFuncs()[slot]
	switch {
	case kfunc == "":
		return refuse.Because("make what it calls __always_inline", "it calls another function")
	case !insn.KfuncAsksDevice(kfunc):
		return refuse.Because("read the kernel's memory by plain loads, and compute the rest", "it calls %s, which is no metadata kfunc", kfunc)
	}
	return s.ask(kfunc)
}

// ask notes what the function calls, which may be one thing only.
func (s *survey) ask(name string) error {
	if s.asks != "" && s.asks != name {
		return refuse.Because("ask one", "it calls %s and %s", s.asks, name)
	}
	s.asks = name
	return nil
}

// kfunc returns the metadata kfunc that the function calls, empty if it calls none.
func (s *survey) kfunc() string {
	if s.asks == clockName {
		return ""
	}
	return s.asks
}

// checkAddress wants an LDDW that a relocation patches to load the address of the file's
// own data.
func (s *survey) checkAddress(slot int) error {
	symbol, ok := s.fn.Section.Symbols()[slot]
	switch {
	case !ok:
		return nil
	case symbol.Section == elf.SHN_UNDEF:
		return refuse.Because("read it through a pointer that a driver's struct has", "it uses %s of the kernel's", symbol.Name)
	case s.fn.Section.Addresses()[slot] == flow.Map:
		return refuse.Because("compute the field from what the driver keeps", "it uses map %s", symbol.Name)
	}
	if sections := s.fn.object.file.Sections; int(symbol.Section) < len(sections) && sections[symbol.Section].Flags&elf.SHF_EXECINSTR != 0 {
		return refuse.Because("make the function __always_inline", "it takes the address of a function")
	}
	return nil
}

// checkMemory tells loads of the kernel's memory from those of the function's own.
func (s *survey) checkMemory(slot int, ins *insn.Instruction, sub *flow.Subprogram, pointers *flow.Pointers) error {
	pointees, _ := pointers.Address(sub, slot)
	own, other := false, len(pointees) == 0
	onStack := !other
	for i := range pointees {
		isOwn := pointees[i].Region == flow.Stack || pointees[i].Region == flow.Data
		own, other = own || isOwn, other || !isOwn
		onStack = onStack && pointees[i].Region == flow.Stack
		if pointees[i].Region == flow.Stack {
			s.indexed = s.indexed || pointees[i].Indexed
			s.depth = max(s.depth, -int(pointees[i].Offset)-int(ins.Off))
		}
	}
	switch {
	case ins.Class() == insn.ClassSTX && ins.Mode() == insn.ModeATOMIC:
		return refuse.Because("read a field with a plain load", "it has an atomic operation")
	case ins.Writes() && !onStack:
		return refuse.Because("compute the field and return it", "it stores to memory that is not on its stack")
	case own && other:
		return refuse.Because("load from each in a statement of its own", "it loads from memory that may be its own or the kernel's")
	case other:
		s.loads = append(s.loads, slot)
		return s.checkRecorded(slot, pointees)
	}
	return nil
}

// checkRecorded refuses a load from a struct within another one of which nothing is
// recorded but where it starts.
func (s *survey) checkRecorded(slot int, pointees []flow.Pointee) error {
	for i := range pointees {
		from := pointees[i].Field
		if from.Subprogram == nil || s.recorded[slot] {
			continue
		}
		access := s.accessAt(from.Slot)
		return refuse.Because("declare it with __core behind it", "nothing is recorded of what it loads from %s, which is a %s", access.Path, access.Local.Field.Type)
	}
	return nil
}
