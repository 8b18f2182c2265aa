package flow

import (
	"maps"
	"slices"
)

// Subprogram is a function of a program, with what is known of it from outside.
type Subprogram struct {
	*Function
	Assumptions
	PointerAssumptions

	// Calls maps the slots that refer to other functions of the program to
	// these: calls, and LDDW that loads the address of a callback. What is not in
	// it is the kernel's.
	Calls map[int]*Subprogram
}

// Analyze finds the constants of every function that can be reached from those
// whose Assumptions say Program. Functions that are only referred to where
// nothing can be reached are not in the result.
//
// An argument that is the same constant in all calls that can be reached counts
// as one. What functions return is not known.
func Analyze(subs []*Subprogram) map[*Subprogram]*Constants {
	a := &analysis{subs: subs, guided: dependOnLayout(subs)}
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
	subs     []*Subprogram
	guided   map[*Subprogram]bool // whether a subprogram, or one that it calls, depends on the layout
	remember memory

	results map[*Subprogram]*Constants
	callers map[*Subprogram]*callers
	waiting []*Subprogram
}

// callers is what is known of a function's calls.
type callers struct {
	arguments [5]value
	doubtful  bool // each call is
	changes   int
}

// dependOnLayout returns the subprograms that depend on the layout, those that call
// them included.
func dependOnLayout(subs []*Subprogram) map[*Subprogram]bool {
	guided, callers := make(map[*Subprogram]bool), make(map[*Subprogram][]*Subprogram)
	var found []*Subprogram
	find := func(sub *Subprogram) {
		if !guided[sub] {
			guided[sub] = true
			found = append(found, sub)
		}
	}
	for _, sub := range subs {
		for _, callee := range sub.Calls {
			callers[callee] = append(callers[callee], sub)
		}
		if len(sub.Known) > 0 || !sub.Undecided.IsEmpty() {
			find(sub)
		}
	}
	for len(found) > 0 {
		sub := found[len(found)-1]
		found = found[:len(found)-1]
		for _, caller := range callers[sub] {
			find(caller)
		}
	}
	return guided
}

// run looks at the programs, then at the functions that they call.
func (a *analysis) run() {
	a.results = make(map[*Subprogram]*Constants)
	a.callers = make(map[*Subprogram]*callers)
	for _, sub := range a.subs {
		if sub.Program {
			a.callers[sub] = &callers{arguments: programArguments}
			a.waiting = append(a.waiting, sub)
		}
	}
	for len(a.waiting) > 0 {
		sub := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.analyze(sub)
	}
}

func (a *analysis) analyze(sub *Subprogram) {
	c := sub.constants(a.assumptions(sub))
	a.results[sub] = c
	for _, slot := range slices.Sorted(maps.Keys(sub.Calls)) { // the order decides where values become coarse
		callee, i := sub.Calls[slot], sub.index(slot)
		if i < 0 || c.Reachable(slot) == Unreachable {
			continue
		}
		var arguments [5]value
		if sub.insns[i].IsCall() {
			copy(arguments[:], c.solver.at(i).regs[1:6])
		}
		a.called(callee, arguments, c.Reachable(slot) == Doubtful)
	}
}

func (a *analysis) assumptions(sub *Subprogram) Assumptions {
	assume := sub.Assumptions
	assume.remember = a.remember
	assume.arguments = a.callers[sub].arguments
	assume.doubtful = a.callers[sub].doubtful
	assume.guided = func(i int) bool {
		if callee := sub.Calls[sub.start+i]; callee != nil {
			return a.guided[callee]
		}
		return a.guided[sub]
	}
	return assume
}

// called notes a call that can be reached.
func (a *analysis) called(callee *Subprogram, arguments [5]value, doubtful bool) {
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
