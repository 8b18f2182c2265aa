package flow

import (
	"maps"
	"slices"
)

// Unit is a function of a program, with what is known of it from outside.
type Unit struct {
	*Function
	Assumptions
	PointerAssumptions

	// Calls maps the slots that refer to other functions of the program to
	// these: calls, and LDDW that loads the address of a callback. What is not in
	// it is the kernel's.
	Calls map[int]*Unit
}

// Analyze finds the constants of every function that can be reached from those
// whose Assumptions say Program. Functions that are only referred to where
// nothing can be reached are not in the result.
//
// An argument that is the same constant in all calls that can be reached counts
// as one. What functions return is not known.
func Analyze(units []*Unit) map[*Unit]*Constants {
	a := &analysis{units: units, guided: dependOnLayout(units)}
	for {
		left := a.remember
		a.run()
		for _, c := range a.results {
			a.remember |= c.leaks
		}
		if a.remember == left {
			return a.results
		}
	}
}

type analysis struct {
	units    []*Unit
	guided   map[*Unit]bool // whether a unit, or one that it calls, depends on the layout
	remember memory

	results map[*Unit]*Constants
	callers map[*Unit]*callers
	waiting []*Unit
}

// callers is what is known of a function's calls.
type callers struct {
	arguments [5]value
	doubtful  bool // each call is
	changes   int
}

// dependOnLayout returns the units that depend on the layout, those that call
// them included.
func dependOnLayout(units []*Unit) map[*Unit]bool {
	guided, callers := make(map[*Unit]bool), make(map[*Unit][]*Unit)
	var found []*Unit
	find := func(u *Unit) {
		if !guided[u] {
			guided[u] = true
			found = append(found, u)
		}
	}
	for _, u := range units {
		for _, callee := range u.Calls {
			callers[callee] = append(callers[callee], u)
		}
		if len(u.Known) > 0 || len(u.Undecided) > 0 {
			find(u)
		}
	}
	for len(found) > 0 {
		u := found[len(found)-1]
		found = found[:len(found)-1]
		for _, caller := range callers[u] {
			find(caller)
		}
	}
	return guided
}

// run looks at the programs, then at the functions that they call.
func (a *analysis) run() {
	a.results = make(map[*Unit]*Constants)
	a.callers = make(map[*Unit]*callers)
	for _, u := range a.units {
		if u.Program {
			a.callers[u] = &callers{arguments: programArguments}
			a.waiting = append(a.waiting, u)
		}
	}
	for len(a.waiting) > 0 {
		u := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.analyze(u)
	}
}

func (a *analysis) analyze(u *Unit) {
	c := u.constants(a.assumptions(u))
	a.results[u] = c
	for _, slot := range slices.Sorted(maps.Keys(u.Calls)) { // the order decides where values become coarse
		callee, i := u.Calls[slot], u.index(slot)
		if i < 0 || c.Reachable(slot) == Unreachable {
			continue
		}
		var arguments [5]value
		if u.insns[i].IsCall() {
			copy(arguments[:], c.solver.at(i).regs[1:6])
		}
		a.called(callee, arguments, c.Reachable(slot) == Doubtful)
	}
}

func (a *analysis) assumptions(u *Unit) Assumptions {
	assume := u.Assumptions
	assume.remember = a.remember
	assume.arguments = a.callers[u].arguments
	assume.doubtful = a.callers[u].doubtful
	assume.guided = func(i int) bool {
		if callee := u.Calls[u.start+i]; callee != nil {
			return a.guided[callee]
		}
		return a.guided[u]
	}
	return assume
}

// called notes a call that can be reached.
func (a *analysis) called(callee *Unit, arguments [5]value, doubtful bool) {
	for n := range arguments {
		if arguments[n].onStack() { // of the caller
			arguments[n] = unknown(arguments[n].guided)
		}
	}
	known := a.callers[callee]
	if known == nil {
		a.callers[callee] = &callers{arguments: arguments, doubtful: doubtful}
		a.waiting = append(a.waiting, callee)
		return
	}
	before := *known
	for n := range arguments {
		known.arguments[n] = known.arguments[n].or(arguments[n])
		if known.changes > loopVisits {
			known.arguments[n] = unknown(known.arguments[n].guided)
		}
	}
	known.doubtful = known.doubtful && doubtful
	if *known != before {
		known.changes++
		a.waiting = append(a.waiting, callee)
	}
}
