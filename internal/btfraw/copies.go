package btfraw

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
)

// Copy says that an instruction is there once more, at another place: both are
// offsets in bytes from the start of their section.
type Copy struct{ From, To uint32 }

// WithCopies returns the section with records for copies of instructions, given
// by the name of their section and by ascending To: the CO-RE records of the
// originals, behind the others of the section, and their lines. types are those
// of ParseExt.
//
// The function that it returns says where a byte of the old section is in the
// new one, first, and if a record starts with it, where its copies are.
func (ext *Ext) WithCopies(types *BTF, copies map[string][]Copy) (*Ext, func(int) []int, error) {
	g := &growth{ext: ext, data: bytes.Clone(ext.data)}
	for _, section := range ext.lines.sections {
		g.grow(section, lineInfoField, ext.lines.span, ext.copiedLines(section, copies[section.name]))
	}
	for _, section := range ext.cores.sections {
		g.grow(section, coreReloField, ext.cores.span, ext.copiedCORERelos(section, copies[section.name]))
	}
	grown, err := ParseExt(g.bytes(), types)
	if err != nil {
		return nil, nil, err
	}
	return grown, g.moved, nil
}

// insertion is a record that is put in front of a byte.
type insertion struct {
	at     int
	record span // that it is a copy of
	offset uint32
}

// copiedLines returns the line records for copies: one wherever the line is
// another than that of the instruction before. Those of a section ascend.
func (ext *Ext) copiedLines(section infoSection, copies []Copy) []insertion {
	offset := func(i int) uint32 { return ext.insnOffset(section.record(i)) }
	after := func(of uint32) int {
		return sort.Search(section.count, func(i int) bool { return offset(i) > of })
	}
	var insertions []insertion
	last := -1
	for i, c := range copies {
		line := after(c.From) - 1
		contiguous := i > 0 && c.To-copies[i-1].To == c.From-copies[i-1].From
		if line < 0 || contiguous && line == last {
			continue
		}
		last = line
		at := section.header.end
		if n := after(c.To); n > 0 {
			at = section.record(n - 1).end
		}
		insertions = append(insertions, insertion{at, section.record(line), c.To})
	}
	return insertions
}

func (ext *Ext) copiedCORERelos(section infoSection, copies []Copy) []insertion {
	byOffset := make(map[uint32][]span, section.count)
	for _, record := range section.records() {
		byOffset[ext.insnOffset(record)] = append(byOffset[ext.insnOffset(record)], record)
	}
	var insertions []insertion
	for _, c := range copies {
		for _, record := range byOffset[c.From] {
			insertions = append(insertions, insertion{section.end(), record, c.To})
		}
	}
	return insertions
}

// growth puts records into a section.
type growth struct {
	ext        *Ext
	data       []byte // as long as the old section, with new lengths
	insertions []insertion

	added  []int         // bytes up to and with each insertion
	copies map[int][]int // by the old start of a record
}

// grow puts records into a section of a table that lies in a span.
func (g *growth) grow(section infoSection, field int, table span, insertions []insertion) {
	if len(insertions) == 0 {
		return
	}
	g.insertions = append(g.insertions, insertions...)
	order, bytes := g.ext.order, uint32(0)
	for _, i := range insertions {
		bytes += uint32(i.record.end - i.record.start)
	}
	add := func(at int, by uint32) { order.PutUint32(g.data[at:], order.Uint32(g.data[at:])+by) }
	add(section.header.start+4, uint32(len(insertions)))
	add(field+4, bytes)
	for _, other := range []int{funcInfoField, lineInfoField, coreReloField} {
		if int(order.Uint32(g.data[4:])) < other+8 {
			continue
		}
		if t, err := g.ext.table(other); err == nil && other != field && t.start >= table.end {
			add(other, bytes)
		}
	}
}

// bytes returns the section with the records in it.
func (g *growth) bytes() []byte {
	slices.SortStableFunc(g.insertions, func(a, b insertion) int { return cmp.Compare(a.at, b.at) })
	g.copies = make(map[int][]int, len(g.insertions))
	out := make([]byte, 0, len(g.data)+len(g.insertions)*lineInfoSize)
	from := 0
	for _, i := range g.insertions {
		out = append(out, g.data[from:i.at]...)
		from = i.at
		g.copies[i.record.start] = append(g.copies[i.record.start], len(out))
		out = append(out, g.data[i.record.start:i.record.end]...)
		g.ext.order.PutUint32(out[len(out)-(i.record.end-i.record.start):], i.offset)
		g.added = append(g.added, len(out)-from)
	}
	return append(out, g.data[from:]...)
}

// moved returns where a byte of the old section is, and the copies of a record
// that starts with it.
func (g *growth) moved(old int) []int {
	before := sort.Search(len(g.insertions), func(i int) bool { return g.insertions[i].at > old })
	now := old
	if before > 0 {
		now += g.added[before-1]
	}
	return append([]int{now}, g.copies[old]...)
}
