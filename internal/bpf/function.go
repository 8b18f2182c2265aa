package bpf

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// Function is one function of an object.
type Function struct {
	Section    *Section
	Start, End int            // slots, the end exclusive
	IsProgram  bool           // the kernel calls it, whether another function does or not
	IsGlobal   bool           // for the kernel
	Flow       *flow.Function // nil if Err is set
	Err        error          // why its code is not understood

	object      *Object
	arguments   int // that it reads; -1 if nobody has asked yet
	live        *flow.Liveness
	resultKnown bool // see declareResult
}

// Function returns the function that starts at a place.
func (o *Object) Function(at Place) *Function {
	if fn, ok := o.functions[at]; ok {
		return fn
	}
	section := o.Section(at.Section)
	fn := &Function{
		Section:   section,
		Start:     at.Slot,
		End:       section.end(at.Slot),
		IsProgram: o.Programs()[at],
		IsGlobal:  section.isGlobalAt(at.Slot),
		object:    o,
		arguments: -1,
	}
	fn.Flow, fn.Err = flow.NewFunction(section.Data, o.Order(), fn.Start, fn.End, section.jumpTable()...)
	o.functions[at] = fn
	if fn.Err == nil {
		fn.declareCalls()
	}
	return fn
}

// Place returns where the function starts.
func (fn *Function) Place() Place { return Place{fn.Section.Name, fn.Start} }

// References returns the functions that the function calls or takes the address of, by
// slot.
func (fn *Function) References() map[int]Place { return fn.Section.References(fn.Start, fn.End) }

// declareCalls says of each call in the function how many arguments the called one
// takes.
func (fn *Function) declareCalls() {
	called := fn.References()
	for _, slot := range slices.Sorted(maps.Keys(called)) {
		at := called[slot]
		if ins := fn.Section.Read(slot); !ins.IsLocalCall() || !fn.object.IsFunction(at) {
			continue
		}
		if callee := fn.object.Function(at); callee.Err == nil {
			fn.Flow.Declare(slot, callee.Takes())
		}
	}
	for slot, kfunc := range fn.Section.KFuncs() {
		if prototype, ok := fn.object.Recorded.Extern(kfunc); ok {
			fn.Flow.Declare(slot, min(len(prototype.Parameters), 5))
		}
	}
}

// reads returns how many arguments the function reads.
func (fn *Function) reads() int {
	if fn.arguments < 0 {
		fn.arguments = fn.Flow.Arguments()
	}
	return fn.arguments
}

// Takes returns how many arguments the function is called with: those that its code
// reads, and of a global function those that it was declared with, as the kernel
// verifies it and its callers by that alone (btf_prepare_func_args of
// kernel/bpf/btf.c).
func (fn *Function) Takes() int {
	if fn.IsGlobal {
		return max(fn.reads(), min(len(fn.Prototype().Parameters), 5))
	}
	return fn.reads()
}

// Prototype returns the function's prototype. It has no parameters where func_info has
// none.
func (fn *Function) Prototype() reloc.Prototype {
	return fn.object.Recorded.Prototype(fn.Section.Name, fn.Start)
}

// IsEntered reports whether the function is looked at by itself: because it is a
// program, because it is global, as the kernel verifies such functions on their own, or
// because no other function calls it.
func (fn *Function) IsEntered() bool {
	return fn.IsProgram || fn.IsGlobal || !fn.object.Called(fn.Place())
}

// Liveness returns which registers are live in the function, whose code has to be
// understood.
func (fn *Function) Liveness() *flow.Liveness {
	if fn.live == nil {
		fn.declareResult()
		fn.live = fn.Flow.Liveness(fn.given())
	}
	return fn.live
}

// LivenessUnder is Liveness if only those paths are taken that values allow.
func (fn *Function) LivenessUnder(values *flow.Constants) *flow.Liveness {
	fn.declareResult()
	return values.Liveness(fn.given())
}

// declareResult says of a static function whether anybody reads what it leaves in r0.
// Where nobody does, clang takes care of nothing there, whatever the function is declared
// to return, and the verifier may not let it be read.
func (fn *Function) declareResult() {
	if fn.resultKnown {
		return
	}
	fn.resultKnown = true // for calls of itself, of which the result counts as read
	if !fn.isResultRead() {
		fn.Flow.DeclareVoid()
	}
}

// isResultRead reports whether the kernel, or a function that calls the function, reads
// its result.
func (fn *Function) isResultRead() bool {
	return fn.IsEntered() || slices.ContainsFunc(fn.object.references()[fn.Place()], func(at Place) bool {
		section := fn.object.Section(at.Section)
		ins := section.Read(at.Slot)
		start, known := section.startOf(at.Slot)
		if !known || !ins.IsLocalCall() {
			return true
		}
		caller := fn.object.Function(Place{at.Section, start})
		return caller.Err != nil || caller.Liveness().LiveOut(at.Slot).Has(asm.R0)
	})
}

// Fold returns what becomes of the function once what is recorded at some slots has
// values; nil if nothing does. Of the other slots in open nobody knows what they will hold.
func (fn *Function) Fold(open insn.Slots, values map[int]int64) *flow.Fold {
	if fn.Err != nil {
		return nil
	}
	assume := flow.Assumptions{Undecided: open, Linked: fn.Section.Linked(), Program: fn.IsEntered(), Alone: true}
	before := fn.Flow.Constants(assume)
	assume.Known = values
	return fn.Flow.Fold(before, fn.Flow.Constants(assume), fn.given(), fn.Context())
}

// given returns how many arguments the function is called with, -1 if that is not known: a
// program with ctx, and one that takes the place of a function (freplace) with what that is
// declared with.
func (fn *Function) given() int {
	if fn.IsProgram {
		return max(1, min(len(fn.Prototype().Parameters), 5))
	}
	return -1
}
