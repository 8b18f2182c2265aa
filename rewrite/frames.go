package rewrite

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// What code in line spills around a cast costs nothing where the verifier knows it for
// that: in the lowest places of the function's stack (mark_fastcall_pattern_for_call of
// kernel/bpf/verifier.c). So all such code of a function uses the same ones, below
// everything else.

// alignFrames moves the stack of code that is put in line to the bottom of that of its
// function. plans are finished but for that.
func (p *planner) alignFrames(plans []accessPlan) {
	bottoms := make(map[bpf.Place]*bottom)
	each := func(visit func(at bpf.Place, slot int, after *Instructions)) {
		for i := range plans {
			plan := &plans[i]
			if plan.refused != nil {
				continue
			}
			at := functionPlace(plan.Access)
			if plan.body != nil {
				visit(at, plan.Access.Insn, &plan.After)
			}
			for n := range plan.Others {
				if plan.Others[n].body != nil {
					visit(at, plan.Others[n].Insn, &plan.Others[n].After)
				}
			}
		}
	}
	each(func(at bpf.Place, _ int, after *Instructions) {
		if bottoms[at] == nil {
			bottoms[at] = &bottom{moved: make(map[int]Instructions)}
		}
		bottoms[at].note(*after)
	})
	each(func(at bpf.Place, slot int, after *Instructions) {
		if b := bottoms[at]; !p.isLowered(p.functionAt(at)) || b.above+b.height <= headroom {
			*after = b.move(slot, *after)
		}
	})
}

// bottom is the lowest part of a function's stack.
type bottom struct {
	above  int                  // how deep what else is in place of instructions goes
	height int                  // of the largest frame
	moved  map[int]Instructions // by slot: several accesses may change one instruction
}

// depthsOf returns how deep code in line uses the stack, in words of 8 bytes: from and to.
func depthsOf(after Instructions) (from, to int) {
	from = flow.MaxStack
	for _, item := range after {
		depth := -int(item.Offset)
		switch {
		case item.Origin == 0:
			continue
		case item.Kind == insn.Stack:
			depth = -int(item.Constant)
		case item.Kind != insn.Spill && item.Kind != insn.Restore:
			continue
		}
		from, to = min(from, (depth-1)/8*8), max(to, (depth+7)/8*8)
	}
	return min(from, to), to
}

func (b *bottom) note(after Instructions) {
	from, to := depthsOf(after)
	b.height = max(b.height, to-from)
	for _, item := range after {
		if item.Origin == 0 && item.Kind == insn.Spill {
			b.above = max(b.above, -int(item.Offset))
		}
	}
	if to > 0 {
		b.above = max(b.above, from)
	}
}

// move returns the code with its frame at the bottom.
func (b *bottom) move(slot int, after Instructions) Instructions {
	_, to := depthsOf(after)
	by := b.above + b.height - to
	switch moved, ok := b.moved[slot]; {
	case ok:
		return moved
	case to == 0 || by == 0:
		return after
	}
	after = slices.Clone(after)
	for i := range after {
		switch item := &after[i]; {
		case item.Origin == 0:
		case item.Kind == insn.Stack:
			item.Constant -= int64(by)
		case item.Kind == insn.Spill || item.Kind == insn.Restore:
			item.Offset -= int16(by)
		}
	}
	b.moved[slot] = after
	return after
}
