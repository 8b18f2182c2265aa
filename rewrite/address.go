package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// patchOffset edits an instruction that keeps the offset of a field, to add it to
// a pointer. Which loads and stores that pointer reaches is not recorded, but
// follows from the code.
func (p *planner) patchOffset(edit *Edit, ins asm.Instruction) error {
	access := edit.Access
	if p.isMacro(access) {
		return p.patchMacro(edit, ins)
	}
	if err := p.patchValue(edit, ins, p.offsetFor(access, edit.Resolution)); err != nil {
		return err
	}
	if err := p.checkEntered(access); err != nil {
		return err
	}
	uses, err := p.usesOf(access)
	if err != nil && !p.accessesOf(access).follows {
		return nil // whatever uses it does so with the layout's field as well
	}
	if err != nil {
		return err
	}
	if err := uses.patch(p, edit); err != nil {
		return err
	}
	return p.patchSums(edit)
}

// checkEntered refuses an offset in code that no path of its function leads to: it
// belongs to another function then, of which the symbol is gone. Code that only
// constants keep runs away from is the function's own: nothing follows from an
// offset there.
func (p *planner) checkEntered(access *reloc.Access) error {
	fn := p.function(access)
	if fn.Err == nil && !fn.Flow.Entered(access.Insn) {
		return refuse.Because(refuse.Symbols, "no path leads to it in function %s", access.Program)
	}
	return nil
}

// offsetFor returns what a recorded instruction that keeps an offset has to
// keep.
func (p *planner) offsetFor(access *reloc.Access, resolution *reloc.Resolution) uint64 {
	if p.bodyOf(access) != nil {
		return 0 // its code finds the field
	}
	local, target := access.Local.Field, resolution.Field
	if by, ok := p.distance(local, target); ok && !p.isMacro(access) {
		return uint64(p.accessesOf(access).present[access.Insn] + by)
	}
	return resolution.Value
}

// reachedAnyway returns what the offsets in the function of an access are used
// for, whatever the layout answers.
func (p *planner) reachedAnyway(access *reloc.Access) (*reached, error) {
	fn := p.function(access)
	if fn.unanswered != nil {
		return fn.unanswered, nil
	}
	constants, err := p.constantsOf(fn)
	if err != nil {
		return nil, err
	}
	fn.unanswered = reachedFrom(constants.Origins(fn.offsetSlots()))
	return fn.unanswered, nil
}
