package accessor

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
)

// Lowering is how a load of the kernel's memory is made one that the verifier takes. The
// address stays a number until right before the load, and what points there dies with it:
// verifiers lose track of such pointers that meet others, or are passed on.
//
// Zero and Carrier call bpf_rdonly_cast in front of each load, which the verifier makes a
// move of. To cast once where a function starts, and to add addresses to that, is not
// faster, and takes two registers.
type Lowering string

const (
	// Zero casts to nothing, ID 0 (6.17 and later): what comes out has neither a start
	// nor an end for the verifier.
	Zero Lowering = "id 0"

	// Carrier casts to struct bpf_raw_tracepoint_args, which starts with an array that has
	// no end for the verifier (6.5 and later; tried on 6.12).
	Carrier Lowering = "carrier"

	// Probe copies by bpf_probe_read_kernel, to the stack, and takes five to seven times as
	// long (5.5 and later).
	Probe Lowering = "probe"
)

// What the lowerings name of the kernel.
const (
	castFunction  = "bpf_rdonly_cast"
	carrierStruct = "bpf_raw_tracepoint_args"
	featuresEnum  = "bpf_features"
	castsToVoid   = "BPF_FEAT_RDONLY_CAST_TO_VOID"

	// newerFunction tells kernels from those of 6.2 to 6.4, which have the cast, and of which
	// the verifier may know no array of integers without an end (btf_struct_walk in
	// kernel/bpf/btf.c). It is a kfunc of 6.5, as BTF does not tell what the verifier knows.
	newerFunction = "bpf_dynptr_clone"
)

// lowerer lowers the functions of an object.
type lowerer struct {
	lowering Lowering
	cast     cast
}

// cast says how bpf_rdonly_cast is called.
type cast struct {
	id     uint32 // of the function in the kernel's BTF; 0 if the object declares it
	symbol int    // of the declaration

	carrier uint32           // ID of the struct in the kernel's BTF, if it is cast to that
	record  *btfraw.CORERelo // that the loader finds that ID by (optional)
}

// toVoid reports whether it is cast to nothing.
func (c *cast) toVoid() bool { return c.carrier == 0 && c.record == nil }

// lower returns what makes every load of a function one that the verifier takes.
func (l *lowerer) lower(s *survey) ([]code.Replacement, error) {
	if len(s.loads) == 0 {
		return nil, nil
	}
	var b body
	if l.lowering == Probe {
		b = newProbed(s)
	} else {
		b = newCasting(s, &l.cast)
	}
	if b.deepest() > flow.MaxStack {
		return nil, s.fn.errorAt(s.fn.Start, refuse.Because("use less", "it needs %d bytes of the stack, which has %d", b.deepest(), flow.MaxStack))
	}
	return s.replacements(b)
}

// body says what becomes of a function's instructions.
type body interface {
	renamed() *names
	start(*sequence)           // puts what comes first
	load(*sequence, int) error // puts what a load becomes, given its slot
	deepest() int              // how far it uses the stack below r10, in bytes
}

// replacements returns those of all instructions that change.
func (s *survey) replacements(b body) ([]code.Replacement, error) {
	var replacements []code.Replacement
	first := &sequence{order: s.fn.object.file.Order}
	b.start(first)
	isLoad := make(map[int]bool, len(s.loads))
	for _, slot := range s.loads {
		isLoad[slot] = true
	}
	for _, slot := range s.slots {
		q := &sequence{order: s.fn.object.file.Order}
		if slot == s.fn.Start {
			q = first
		}
		if isLoad[slot] {
			if err := b.load(q, slot); err != nil {
				return nil, s.fn.errorAt(slot, err)
			}
		} else if err := s.rename(q, slot, b.renamed(), first.slots()); err != nil {
			return nil, s.fn.errorAt(slot, err)
		}
		if q.err != nil {
			return nil, s.fn.errorAt(slot, q.err)
		}
		replacements = append(replacements, code.Replacement{Slot: slot, Code: q.code, Jumps: q.jumps, Kept: q.kept, Attached: &q.attached})
	}
	return replacements, nil
}

// rename puts an instruction as it is, but for the names of registers. An exit is
// preceded by what puts the result where it belongs.
func (s *survey) rename(q *sequence, slot int, names *names, started int) error {
	ins := s.insns[slot]
	raw := s.fn.Section.Data[slot*insn.SlotSize:][:ins.Slots()*insn.SlotSize]
	if ins.Exits() && names[0] != 0 {
		q.put(asm.Mov.Reg(asm.R0, names.of(0)))
	}
	q.kept = q.slots()
	distance, field, err := ins.Distance()
	if err != nil {
		return err
	}
	if field != insn.NoDistance {
		jump := code.Jump{At: q.slots(), Target: slot + 1 + distance}
		if jump.Target == s.fn.Start {
			jump.Into = started
		}
		q.jumps = append(q.jumps, jump)
	}
	q.code = append(q.code, names.rename(raw, &ins, q.order)...)
	return nil
}
