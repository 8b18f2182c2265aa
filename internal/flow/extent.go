package flow

// Extent is some bytes from the address in the register of a load or store on, among which
// are those that it moves.
type Extent struct{ From, To int }

// extent returns which bytes from the address in its register on a load or store is for.
func (a *Assumptions) extent(slot int, ins *instruction) Extent {
	if e, ok := a.Extents[slot]; ok {
		return e
	}
	return Extent{int(ins.Off), int(ins.Off) + ins.Width()}
}

// placeIn returns the part of the stack that a load or store goes to, given the
// address in its register. False if that can't be said, or if it is none that a
// function has: the kernel refuses it, and nothing needs to be known of it.
func (a *Assumptions) placeIn(slot int, ins *instruction, base value) (place, bool) {
	e := a.extent(slot, ins)
	from, ok := base.stackOffset()
	at := place{from + int32(e.From), int32(e.To - e.From)}
	return at, ok && e.To-e.From == ins.Width() && at.at >= -MaxStack && at.end() <= 0
}

// rangeIn returns among which bytes of the stack a load or store goes, if all of these are
// in it.
func (a *Assumptions) rangeIn(slot int, ins *instruction, base value) (place, bool) {
	e := a.extent(slot, ins)
	return base.stackRange(e.From, e.To-e.From)
}
