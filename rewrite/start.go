package rewrite

import (
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// What an access starts from has to be what its root type says: where the program's
// own struct has that, in plain C, the layout may have something else.

// checkStart refuses an access whose pointer is not the address of the descriptor, or
// of what is nested in it.
func (p *planner) checkStart(i int, pointees []flow.Pointee) error {
	for n := range pointees {
		pointee := &pointees[n]
		var err error
		switch access := &p.accesses[i]; {
		case p.drivers != nil && !access.IsMarker():
			err = checkStartAtDriver(pointee)
		case pointee.OfRoot:
			err = p.checkStartAtField(access, pointee)
		case !access.Adopted():
			err = p.checkStartOfDescriptor(i, pointee)
		case p.isInPlainC(pointee) && p.section(access.Section).IsMemoryAt(access.Insn): // of others see judgeUse
			err = nestedInPlainC(access)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkStartAtDriver refuses an access whose pointer is not just what md_desc() has found.
func checkStartAtDriver(pointee *flow.Pointee) error {
	if pointee.Offset == 0 && !pointee.Indexed && !pointee.Past && pointee.Field.Subprogram == nil {
		return nil
	}
	return refuse.Because("start from md_desc(ctx), and read each field by its name",
		"its pointer is the driver's descriptor plus something, and what lies there is not laid out as struct md_desc")
}

// isInPlainC reports whether no record says where in the descriptor an address leads. Of
// an object that was rewritten in part they may be gone.
func (p *planner) isInPlainC(pointee *flow.Pointee) bool {
	return pointee.Region == p.home() && !pointee.OfRoot && len(p.recorded.Resolved) == 0
}

// nestedInPlainC refuses an access to what is nested in the descriptor, if no record
// says where that is.
func nestedInPlainC(access *reloc.Access) error {
	return refuse.Because("take the address of "+access.NestedIn(),
		"its pointer leads into the descriptor in plain C, and %s may be at another place in the layout", access.Root)
}

// checkStartAtField refuses an access from the address of a field unless that is of the
// root type, or everything up to there is where the program has it. Of a sum of several
// offsets the last one need not be that of the field that the access is in.
func (p *planner) checkStartAtField(access *reloc.Access, pointee *flow.Pointee) error {
	at, ok := p.program.places[pointee.Field.Subprogram]
	if !ok {
		return nil
	}
	offsets := p.accessesAt(at).offsets
	for _, slot := range p.program.pointers.FieldsOf(pointee) {
		q, ok := offsets[slot]
		if !ok || q.resolution.Poison || q.resolution.Field == nil {
			continue // it is refused, or never comes here
		}
		field := q.access.Local.Field
		if by, same := p.distance(field, q.resolution.Field); same && by == 0 && !access.Adopted() {
			continue
		}
		accessed := access.Local.Field // which may be of an element further on
		within := pointee.Offset+int64(accessed.Offset) >= 0 && pointee.Offset+int64(accessed.Offset+accessed.Size) <= int64(field.Size)
		isArray := field.Size > access.Local.TypeSize
		isOf := access.RootIsOf(field)
		if isOf && within && (!pointee.Indexed || isArray) || !isOf && pointee.OfNested && access.Adopted() {
			continue
		}
		return refuse.Because("start from md_desc(ctx), and access each field by its name",
			"its pointer comes from the address of %s, and what lies around that is something else in the layout", q.access.Path)
	}
	return nil
}

// checkStartOfDescriptor refuses an access whose pointer is not the descriptor's own
// address but a multiple of its size further, as that is the size of the program's
// struct.
func (p *planner) checkStartOfDescriptor(i int, pointee *flow.Pointee) error {
	access, resolution := &p.accesses[i], p.resolutions[i]
	size := int64(access.Local.TypeSize)
	if size == int64(resolution.TypeSize) || resolution.TypeSize == 0 {
		return nil
	}
	from, known := pointee.From()
	switch {
	case pointee.Past:
	case !known:
		return refuse.Because("get the descriptor by md_desc(ctx)", "its pointer is the address of the metadata area plus something that is not constant and not recorded")
	case size > 0 && from != 0 && from%size == 0:
		return refuse.Because("add bpf_core_type_size(struct md_desc) to the address instead",
			"its pointer is %d bytes into the metadata area, the size of %s in the program, and the layout's has %d", from, access.Root, resolution.TypeSize)
	}
	return nil
}
