package flow

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// What calls do with pointers.

func (d *pointerDomain) call(s *state[pointer], i int, ins *instruction) {
	var result pointer
	if callee := d.fn.callee(i); callee != nil {
		result = d.enterCallee(s, ins, callee)
	} else {
		d.callOther(s, i, ins)
		result = d.made(d.resultOf(i, ins), i)
	}
	if from, ok := d.fn.constants.exposed[i]; ok {
		d.lend(s, int64(from), d.called(s, i, ins))
	}
	d.fillIn(s, i, ins)
	s.fill(insn.Clobbered, 0)
	s.regs[0] = result
}

// enterCallee passes a function of the object its arguments, and returns its
// result as far as it is known.
func (d *pointerDomain) enterCallee(s *state[pointer], ins *instruction, callee *Subprogram) pointer {
	fn := d.functions[callee]
	if fn == nil {
		return 0
	}
	fn.callers[d.fn.sub] = true
	var arguments [5]pointer
	for _, r := range ins.Arguments().List() {
		arguments[r-1] = s.regs[r]
	}
	d.pass(fn, arguments)
	if !fn.returned {
		return d.sets.of(Pointee{Region: pending})
	}
	return fn.result
}

// pass lets a function be called with some arguments.
func (d *pointerDomain) pass(fn *pointerFunction, arguments [5]pointer) {
	if !d.effects || slices.ContainsFunc(arguments[:], d.isPending) {
		return
	}
	before, isFirst := fn.arguments, fn.solver == nil
	for n := range arguments {
		d.grow(fn, &fn.arguments[n], arguments[n])
	}
	if fn.arguments != before || isFirst {
		d.queue(fn.sub)
	}
}

// callOther calls what is no function of the object, which may call one that it is
// given.
func (d *pointerDomain) callOther(s *state[pointer], i int, ins *instruction) {
	for _, r := range ins.Arguments().List() {
		if ins.TakesAddress(int(r)) {
			d.used(s.regs[r])
		}
		for _, p := range d.sets.list(s.regs[r]) {
			switch fn := d.functions[p.Subprogram]; {
			case p.Region == Code && fn != nil:
				d.pass(fn, d.callbackArguments(s, i, ins))
			case p.Region == recordedSize, p.Region == otherSize:
				d.notePassed(p.Subprogram, p.Slot, d.sized(s, i, ins, r))
			}
		}
	}
}

// notePassed notes that the recorded size at a slot is passed as that of something.
func (d *pointerDomain) notePassed(sub *Subprogram, slot int, v pointer) {
	if fn := d.functions[sub]; fn != nil && d.notes {
		fn.passed[slot] = d.sets.union(fn.passed[slot], v)
	}
}

// callbackArguments returns what a helper calls a function of the program with.
func (d *pointerDomain) callbackArguments(s *state[pointer], i int, ins *instruction) [5]pointer {
	var arguments [5]pointer
	parameters, ok := callbacks[ins.Imm]
	if !ok || !ins.IsHelperCall() {
		unknown := d.made(Unknown, i)
		return [5]pointer{unknown, unknown, unknown, unknown, unknown}
	}
	for n, parameter := range parameters {
		switch {
		case parameter.passes != 0:
			arguments[n] = s.regs[parameter.passes]
		case parameter.isAddress:
			arguments[n] = d.made(parameter.region, i)
		}
	}
	return arguments
}

// callback says what an argument of a callback is: one of the helper's own, an
// address, or else a number.
type callback struct {
	passes    asm.Register
	isAddress bool
	region    Region
}

// callbacks are the arguments of the functions that helpers call
// (set_*_callback_state of kernel/bpf/verifier.c).
var callbacks = map[int64][]callback{
	164: {{isAddress: true}, {isAddress: true, region: MapValue}, {isAddress: true, region: MapValue}, {passes: asm.R3}}, // bpf_for_each_map_elem
	170: {{isAddress: true}, {isAddress: true, region: MapValue}, {isAddress: true, region: MapValue}},                   // bpf_timer_set_callback
	180: {{isAddress: true}, {isAddress: true}, {passes: asm.R4}},                                                        // bpf_find_vma
	181: {{}, {passes: asm.R3}},                                                                                          // bpf_loop
	209: {{isAddress: true}, {passes: asm.R3}},                                                                           // bpf_user_ringbuf_drain
}

// sized returns the memory that an argument of a call is the size of.
func (d *pointerDomain) sized(s *state[pointer], i int, ins *instruction, size asm.Register) pointer {
	switch {
	case size == asm.R1:
		return 0
	case ins.IsHelperCall() && slices.Contains(reservations, ins.Imm):
		if size == asm.R2 {
			return d.made(RingBuffer, i)
		}
		return 0
	}
	return s.regs[size-1]
}

// reservations are bpf_ringbuf_reserve and bpf_ringbuf_reserve_dynptr, which are told
// how much they are to make.
var reservations = []int64{131, 198}

// resultOf returns the region that a call's result points into.
func (d *pointerDomain) resultOf(i int, ins *instruction) Region {
	if region, ok := d.fn.sub.Results[d.fn.sub.start+i]; ok {
		return region
	}
	if ins.IsHelperCall() {
		return results[ins.Imm]
	}
	return Unknown
}

// results are the regions of what helpers return: bpf_map_lookup_elem,
// bpf_get_local_storage, bpf_sk_storage_get, bpf_ringbuf_reserve,
// bpf_inode_storage_get, bpf_task_storage_get, bpf_map_lookup_percpu_elem,
// bpf_dynptr_data, bpf_cgrp_storage_get. A dynptr's memory is a ring buffer's, or a
// map value.
var results = map[int64]Region{
	1: MapValue, 81: MapValue, 107: MapValue, 131: RingBuffer, 145: MapValue,
	156: MapValue, 195: MapValue, 203: RingBuffer, 210: MapValue,
}

// called returns the functions of the object that a call runs: one, or the callbacks that
// it is given. Nil is among them if that may be any.
func (d *pointerDomain) called(s *state[pointer], i int, ins *instruction) []*Subprogram {
	if callee := d.fn.callee(i); callee != nil {
		return []*Subprogram{callee}
	}
	var called []*Subprogram
	for _, r := range ins.Arguments().List() {
		for _, p := range d.sets.list(s.regs[r]) {
			if p.Region == Code {
				called = append(called, p.Subprogram)
			}
		}
	}
	if _, callsBack := callbacks[ins.Imm]; len(called) == 0 && (callsBack || !ins.IsHelperCall()) {
		return []*Subprogram{nil}
	}
	return called
}

// during reports whether a function may run while another one does that was called: it,
// or one that it leads to.
func (p *Pointers) during(called, other *Subprogram) bool {
	if called == nil || called == other {
		return true
	}
	runs, known := p.runs[called]
	if !known {
		runs = make(map[*Subprogram]bool)
		work := []*Subprogram{called}
		for len(work) > 0 {
			sub := work[len(work)-1]
			work = work[:len(work)-1]
			for _, callee := range sub.Calls {
				if !runs[callee] {
					runs[callee] = true
					work = append(work, callee)
				}
			}
		}
		p.runs[called] = runs
	}
	return runs[other]
}

// lend gives functions that are called the stack from r10+from up.
func (d *pointerDomain) lend(s *state[pointer], from int64, called []*Subprogram) {
	lent := false
	for n := range s.stack {
		c := &s.stack[n]
		if !d.effects || int64(c.end()) <= from || c.value == 0 || c.size != 8 || d.isPending(c.value) {
			continue
		}
		for _, sub := range called {
			if d.fn.lent[sub] == nil {
				d.fn.lent[sub] = make(map[int64]pointer)
			}
			lent = d.put(d.fn, d.fn.lent[sub], int64(c.at), c.value) || lent
		}
	}
	if lent {
		d.queueAll(d.fn.readers)
	}
	d.storeAnywhere(s, d.fn.leftAnywhere)
	for _, at := range slices.Sorted(maps.Keys(d.fn.left)) {
		if at < from {
			continue
		}
		d.addAt(s, at, d.fn.left[at])
	}
}

// fillIn lets a helper fill a part of the stack: what is there then may be an address
// that nobody knows.
func (d *pointerDomain) fillIn(s *state[pointer], i int, ins *instruction) {
	output, ok := ins.Fills()
	if !ok {
		return
	}
	size := int64(MaxStack)
	if argument, isTold := insn.SizeArgument(ins.Imm, output); isTold {
		if n, known := d.fn.constants.Value(d.fn.sub.start+i, argument); known {
			size = min(size, max(0, n))
		}
	}
	unknown := d.sets.of(Pointee{Region: Unknown})
	for _, p := range d.sets.list(s.regs[output]) {
		if p.Region != Stack {
			continue
		}
		if p.Indexed || p.Field.Subprogram != nil {
			d.storeBeyond(s, &p, p.Offset, unknown)
			continue
		}
		for at := p.Offset; at+8 <= min(p.Offset+size, 0); at += 8 {
			d.storeBeyond(s, &p, at, unknown)
		}
	}
}
