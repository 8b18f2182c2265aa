package btfraw

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Records are what is added to the tables of .BTF.ext, as Ext has it.
type Records struct {
	Functions []FuncInfoRecord
	Lines     map[string][]Line // by section name
	CORERelos []CORERelo
}

// With returns the section with more records, whose strings are added to the types
// beside it. Functions and lines are put among the others of their section, a line
// behind those of the same instruction; CO-RE records behind those of their section.
//
// It refuses a second function, or CO-RE record, for an instruction, and a section with
// more tables than are known here. Nothing refers to bytes of what is returned:
// relocations against the old section, which no loader reads, have to go.
func (ext *Ext) With(added Records, types *Edit) (*Ext, error) {
	headerLen := ext.order.Uint32(ext.data[4:])
	if uint64(headerLen) > uint64(len(ext.data)) || headerLen > extHeaderFull && slices.Max(ext.data[extHeaderFull:headerLen]) > 0 {
		return nil, errors.New(".BTF.ext has more tables than this program knows: made by a newer compiler")
	}
	w := &extWriter{ext: ext, types: types}
	functions, lines, cores := w.table(FuncInfo, ext.funcs), w.table(LineInfo, ext.lines), w.table(COREReloInfo, ext.cores)
	for _, record := range added.Functions {
		functions.add(record.Section, record.InsnOffset, record.TypeID)
	}
	for _, section := range slices.Sorted(maps.Keys(added.Lines)) {
		for i := range added.Lines[section] {
			lines.add(section, w.line(&added.Lines[section][i])...)
		}
	}
	for _, record := range added.CORERelos {
		cores.add(record.Section, record.InsnOffset, record.TypeID, types.strings.add(record.AccessString), record.Kind)
	}
	out, err := w.bytes(headerLen, functions, lines, cores)
	if err != nil {
		return nil, err
	}
	parsed, err := Parse(types.Bytes(), nil)
	if err != nil {
		return nil, err
	}
	return ParseExt(out, parsed)
}

// extWriter puts the tables of a section together anew.
type extWriter struct {
	ext   *Ext
	types *Edit
}

// line returns a struct bpf_line_info. Where the compiler names no line, it has 0.
func (w *extWriter) line(line *Line) []uint32 {
	file := w.types.strings.add(line.File)
	if line.Inherited {
		return []uint32{line.InsnOffset, file, 0, 0}
	}
	return []uint32{line.InsnOffset, file, w.types.strings.add(line.Text), line.Line<<lineColumnBits | line.Column&lineColumnMask}
}

// recordTable is a table whose records are given room.
type recordTable struct {
	writer     *extWriter
	kind       Table
	recordSize int
	groups     []*recordGroup
	byName     map[string]*recordGroup
}

// recordGroup is what a table has of a section.
type recordGroup struct {
	name    uint32
	records [][]byte
	old     int // how many of them were there before
}

func (w *extWriter) table(kind Table, old region) *recordTable {
	t := &recordTable{writer: w, kind: kind, recordSize: tables[kind].recordSize, byName: make(map[string]*recordGroup)}
	if old.end > old.start {
		t.recordSize = int(w.ext.order.Uint32(w.ext.data[old.start:]))
	}
	for _, section := range old.sections {
		group := &recordGroup{name: w.ext.order.Uint32(w.ext.data[section.header.start:]), old: section.count}
		for _, record := range section.records() {
			group.records = append(group.records, w.ext.data[record.start:record.end])
		}
		t.groups = append(t.groups, group)
		if t.byName[section.name] == nil {
			t.byName[section.name] = group
		}
	}
	return t
}

// add adds a record. What newer compilers put behind the words that are known is 0 in
// it, which is how the kernel takes a shorter record.
func (t *recordTable) add(section string, words ...uint32) {
	group := t.byName[section]
	if group == nil {
		group = &recordGroup{name: t.writer.types.strings.add(section)}
		t.groups = append(t.groups, group)
		t.byName[section] = group
	}
	record := make([]byte, t.recordSize)
	for i, word := range words {
		t.writer.ext.order.PutUint32(record[4*i:], word)
	}
	group.records = append(group.records, record)
}

// order puts the records of a section, if there are more now, in the order of their
// instructions.
func (t *recordTable) order(group *recordGroup) error {
	if len(group.records) == group.old {
		return nil
	}
	offset := t.writer.ext.order.Uint32
	byOffset := slices.Clone(group.records)
	slices.SortStableFunc(byOffset, func(a, b []byte) int { return cmp.Compare(offset(a), offset(b)) })
	for i := 1; i < len(byOffset) && t.kind != LineInfo; i++ {
		if at := offset(byOffset[i]); at == offset(byOffset[i-1]) {
			return fmt.Errorf("%s: two records for the instruction at byte %d", tables[t.kind].name, at)
		}
	}
	if t.kind != COREReloInfo {
		group.records = byOffset
	}
	return nil
}

// bytes returns the table, nothing if there is nothing in it.
func (t *recordTable) bytes() ([]byte, error) {
	if len(t.groups) == 0 {
		return nil, nil
	}
	order := t.writer.ext.order
	out := make([]byte, recordSizeLength)
	order.PutUint32(out, uint32(t.recordSize))
	for _, group := range t.groups {
		if err := t.order(group); err != nil {
			return nil, err
		}
		header := make([]byte, infoSectionSize)
		order.PutUint32(header, group.name)
		order.PutUint32(header[4:], uint32(len(group.records)))
		out = append(append(out, header...), bytes.Join(group.records, nil)...)
	}
	return out, nil
}

// bytes returns the section. Its header has room for all tables.
func (w *extWriter) bytes(headerLen uint32, all ...*recordTable) ([]byte, error) {
	out := bytes.Clone(w.ext.data[:headerLen])
	if len(out) < extHeaderFull {
		out = append(out, make([]byte, extHeaderFull-len(out))...)
		w.ext.order.PutUint32(out[4:], extHeaderFull)
	}
	start := len(out)
	for _, t := range all {
		data, err := t.bytes()
		if err != nil {
			return nil, err
		}
		field := out[tables[t.kind].field:]
		w.ext.order.PutUint32(field, uint32(len(out)-start))
		w.ext.order.PutUint32(field[4:], uint32(len(data)))
		out = append(out, data...)
	}
	return out, nil
}
