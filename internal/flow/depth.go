package flow

import "github.com/xdp-load/xdp-load/internal/insn"

// StackDepth returns how many bytes of its stack a function uses below r10, like that of
// its Constants, and knows more: what other functions of the object do with an address in
// the stack that they are given. Only understood objects have one.
func (p *Pointers) StackDepth(sub *Subprogram) (int, bool) {
	fn := p.functions[sub]
	if fn == nil || sub.Alone {
		return 0, false
	}
	if depth, exact := fn.constants.StackDepth(); exact || fn.constants.computed {
		return depth, exact
	}
	s := &stackSearch{Pointers: p, owner: sub, lowest: int64(fn.constants.lowest)}
	for _, other := range p.functions {
		if other.solver != nil && !s.search(other) {
			return 0, false
		}
	}
	return int(-s.lowest), true
}

// stackSearch looks for the lowest byte of a function's stack that others use.
type stackSearch struct {
	*Pointers
	owner  *Subprogram
	lowest int64
}

// search reports whether it is known where a function uses the owner's stack.
func (s *stackSearch) search(fn *pointerFunction) bool {
	for i := range fn.sub.insns {
		ins := &fn.sub.insns[i]
		if ins.IsSecondHalf() || !ins.Reads() && !ins.Writes() && !ins.IsCall() {
			continue
		}
		st := fn.solver.at(i)
		if st == nil {
			continue
		}
		registers, by := insn.Registers(1)<<ins.Address(), int64(ins.Off)
		if ins.IsCall() {
			registers, by = ins.Arguments(), 0
		}
		for _, r := range registers.List() {
			if !s.use(fn, ins, s.sets.list(st.regs[r]), by) {
				return false
			}
		}
	}
	return true
}

// use notes the use of what an address may point at, plus some bytes.
func (s *stackSearch) use(fn *pointerFunction, ins *instruction, pointees []Pointee, by int64) bool {
	for n := range pointees {
		p := &pointees[n]
		switch {
		case p.Region != Stack || p.Subprogram != s.owner:
			continue
		case ins.IsCall() && !ins.onlyGoesUp():
			if fn.sub.Alone || ins.FromReg() {
				return false
			}
			continue // the called function is searched, too
		case p.Indexed || p.Field.Subprogram != nil:
			return false
		}
		s.lowest = min(s.lowest, p.Offset+by)
	}
	return true
}
