package btfraw

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
)

// Sizes of the structures of .BTF.ext.
const (
	extHeaderSize    = 24 // struct btf_ext_header without core_relo
	extHeaderFull    = 32 // with core_relo_off and core_relo_len
	infoSectionSize  = 8  // struct btf_ext_info_sec
	coreReloSize     = 16 // struct bpf_core_relo
	lineInfoSize     = 16 // struct bpf_line_info
	maxRecordSize    = 256
	lineColumnBits   = 10 // of line_col, the line is above them
	lineColumnMask   = 1<<lineColumnBits - 1
	recordSizeLength = 4
)

// Positions of the offset fields in the header; the length is 4 bytes on.
const (
	funcInfoField = 8
	lineInfoField = 16
	coreReloField = 24
)

// CORERelo is a CO-RE relocation record, struct bpf_core_relo.
type CORERelo struct {
	Section      string // of the instruction
	InsnOffset   uint32 // in bytes from the start of the section
	TypeID       uint32
	AccessString string
	Kind         uint32
}

// Line is a line_info record: the source line of an instruction.
type Line struct {
	InsnOffset   uint32 // in bytes from the start of the section
	File, Text   string
	Line, Column uint32

	Inherited bool // the compiler names none, this is that of what is in front
}

// FuncInfoRecord is a func_info record: the type of the function that starts with
// an instruction, struct bpf_func_info.
type FuncInfoRecord struct {
	Section    string // of the instruction
	InsnOffset uint32 // in bytes from the start of the section
	TypeID     uint32
}

// Ext is the contents of a .BTF.ext section.
type Ext struct {
	Lines     map[string][]Line // by section name, sorted by InsnOffset
	Functions []FuncInfoRecord  // in the order of the section

	types *BTF
	data  []byte
	order binary.ByteOrder
	funcs region
	lines region
	cores region
}

// region is one of the three tables of records.
type region struct {
	span
	sections []infoSection
}

// infoSection are the records of one section, one behind the other.
type infoSection struct {
	name       string
	header     span
	first      int // of its records among all of the table, by index
	count      int
	recordSize int
}

// record returns where a record lies, by its index in the section.
func (s *infoSection) record(i int) span {
	start := s.header.end + i*s.recordSize
	return span{start, start + s.recordSize}
}

// end returns where the last record ends, or the header if there is none.
func (s *infoSection) end() int { return s.header.end + s.count*s.recordSize }

// records returns where the records lie, by their index in the section.
func (s *infoSection) records() iter.Seq2[int, span] {
	return func(yield func(int, span) bool) {
		for i := range s.count {
			if !yield(i, s.record(i)) {
				return
			}
		}
	}
}

// count returns how many records there are.
func (r *region) count() int {
	if len(r.sections) == 0 {
		return 0
	}
	last := &r.sections[len(r.sections)-1]
	return last.first + last.count
}

// span is a range of bytes of .BTF.ext.
type span struct{ start, end int }

// ParseExt reads a .BTF.ext section, whose names and lines are strings of the
// .BTF beside it. It keeps references to both.
func ParseExt(data []byte, types *BTF) (*Ext, error) {
	order, err := byteOrder(data, ".BTF.ext")
	if err != nil {
		return nil, err
	}
	if order != types.Order {
		return nil, errors.New(".BTF and .BTF.ext differ in byte order")
	}
	if len(data) < extHeaderSize {
		return nil, fmt.Errorf("damaged .BTF.ext: %d bytes are no header", len(data))
	}

	ext := &Ext{types: types, data: data, order: order}
	ext.funcs, err = ext.region(funcInfoField, funcInfoSize, types)
	if err != nil {
		return nil, fmt.Errorf("damaged .BTF.ext: func_info: %w", err)
	}
	ext.readFunctions()
	ext.lines, err = ext.region(lineInfoField, lineInfoSize, types)
	if err != nil {
		return nil, fmt.Errorf("damaged .BTF.ext: line_info: %w", err)
	}
	if order.Uint32(data[4:]) >= extHeaderFull {
		ext.cores, err = ext.region(coreReloField, coreReloSize, types)
		if err != nil {
			return nil, fmt.Errorf("damaged .BTF.ext: core_relo: %w", err)
		}
	}
	if overlap(ext.funcs.span, ext.cores.span) || overlap(ext.lines.span, ext.cores.span) {
		return nil, errors.New("damaged .BTF.ext: core_relo lies on top of another table")
	}

	if err := ext.readLines(types); err != nil {
		return nil, fmt.Errorf("damaged .BTF.ext: line_info: %w", err)
	}
	if err := ext.checkCORERelos(); err != nil {
		return nil, fmt.Errorf("damaged .BTF.ext: core_relo: %w", err)
	}
	return ext, nil
}

func overlap(a, b span) bool {
	return a.start < b.end && b.start < a.end
}

// table returns where the table lies whose offset, from the end of the
// header, and length are at a field of the header.
func (ext *Ext) table(field int) (span, error) {
	headerLen := ext.order.Uint32(ext.data[4:])
	if headerLen < uint32(field+8) || uint64(headerLen) > uint64(len(ext.data)) {
		return span{}, fmt.Errorf("header length %d", headerLen)
	}
	start := uint64(headerLen) + uint64(ext.order.Uint32(ext.data[field:]))
	end := start + uint64(ext.order.Uint32(ext.data[field+4:]))
	if end > uint64(len(ext.data)) {
		return span{}, fmt.Errorf("bytes %d to %d of %d", start, end, len(ext.data))
	}
	return span{int(start), int(end)}, nil
}

// region finds the records of a table: the size of one record, then for each
// section its name, the number of its records, and these.
func (ext *Ext) region(field int, minSize int, types *BTF) (region, error) {
	table, err := ext.table(field)
	if err != nil || table.start == table.end {
		return region{span: table}, err
	}
	if table.end-table.start < recordSizeLength {
		return region{}, errors.New("no record size")
	}

	recordSize := int(ext.order.Uint32(ext.data[table.start:]))
	if recordSize < minSize || recordSize > maxRecordSize {
		return region{}, fmt.Errorf("record size %d", recordSize)
	}

	result := region{span: table}
	for at := table.start + recordSizeLength; at < table.end; {
		if table.end-at < infoSectionSize {
			return region{}, errors.New("section header cut short")
		}
		name, err := types.String(ext.order.Uint32(ext.data[at:]))
		if err != nil {
			return region{}, err
		}
		count := uint64(ext.order.Uint32(ext.data[at+4:]))
		section := infoSection{name: name, header: span{at, at + infoSectionSize}, first: result.count(), count: int(count), recordSize: recordSize}
		at += infoSectionSize
		if count*uint64(recordSize) > uint64(table.end-at) {
			return region{}, fmt.Errorf("%d records of section %s end beyond the table", count, name)
		}
		at = section.end()
		result.sections = append(result.sections, section)
	}
	return result, nil
}

func (ext *Ext) readFunctions() {
	for _, section := range ext.funcs.sections {
		for _, record := range section.records() {
			raw := ext.data[record.start:record.end]
			ext.Functions = append(ext.Functions, FuncInfoRecord{
				Section:    section.name,
				InsnOffset: ext.order.Uint32(raw),
				TypeID:     ext.order.Uint32(raw[4:]),
			})
		}
	}
}

func (ext *Ext) readLines(types *BTF) error {
	ext.Lines = make(map[string][]Line)
	for _, section := range ext.lines.sections {
		for _, record := range section.records() {
			raw := ext.data[record.start:record.end]
			file, err := types.String(ext.order.Uint32(raw[4:]))
			if err != nil {
				return err
			}
			text, err := types.String(ext.order.Uint32(raw[8:]))
			if err != nil {
				return err
			}
			lineColumn := ext.order.Uint32(raw[12:])
			ext.Lines[section.name] = append(ext.Lines[section.name], Line{
				InsnOffset: ext.order.Uint32(raw),
				File:       file,
				Text:       text,
				Line:       lineColumn >> lineColumnBits,
				Column:     lineColumn & lineColumnMask,
			})
		}
	}
	for _, lines := range ext.Lines {
		slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.InsnOffset, b.InsnOffset) })
		nameLines(lines)
	}
	return nil
}

// nameLines gives instructions that are of no particular line, 0, as the compiler
// says of those that it made of several, the line of what is before them.
func nameLines(lines []Line) {
	for i := 1; i < len(lines); i++ {
		if lines[i].Line == 0 {
			offset := lines[i].InsnOffset
			lines[i] = lines[i-1]
			lines[i].InsnOffset, lines[i].Inherited = offset, true
		}
	}
}

// checkCORERelos wants each record to have an access string.
func (ext *Ext) checkCORERelos() error {
	for _, section := range ext.cores.sections {
		for _, record := range section.records() {
			if _, err := ext.types.String(ext.order.Uint32(ext.data[record.start+8:])); err != nil {
				return err
			}
		}
	}
	return nil
}

// CountCORERelos returns how many CO-RE relocation records there are.
func (ext *Ext) CountCORERelos() int { return ext.cores.count() }

// CORERelo returns a CO-RE relocation record by its index, in the order of the section.
func (ext *Ext) CORERelo(index int) CORERelo {
	sections := ext.cores.sections
	after := sort.Search(len(sections), func(i int) bool { return sections[i].first > index })
	section := &sections[after-1] // the last of those that start there: empty ones do, too
	return ext.coreRelo(section, section.record(index-section.first))
}

// CORERelos returns the CO-RE relocation records with their indices.
func (ext *Ext) CORERelos() iter.Seq2[int, CORERelo] {
	return func(yield func(int, CORERelo) bool) {
		for i := range ext.cores.sections {
			section := &ext.cores.sections[i]
			for n, record := range section.records() {
				if !yield(section.first+n, ext.coreRelo(section, record)) {
					return
				}
			}
		}
	}
}

func (ext *Ext) coreRelo(section *infoSection, record span) CORERelo {
	raw := ext.data[record.start:record.end]
	access, _ := ext.types.String(ext.order.Uint32(raw[8:])) // see checkCORERelos
	return CORERelo{
		Section:      section.name,
		InsnOffset:   ext.order.Uint32(raw),
		TypeID:       ext.order.Uint32(raw[4:]),
		AccessString: access,
		Kind:         ext.order.Uint32(raw[12:]),
	}
}

// LineAt returns the source line of the instruction at an offset, in bytes, of
// a section: that of the last record at or before it.
func (ext *Ext) LineAt(section string, insnOffset uint32) (Line, bool) {
	lines := ext.Lines[section]
	after := sort.Search(len(lines), func(i int) bool { return lines[i].InsnOffset > insnOffset })
	if after == 0 {
		return Line{}, false
	}
	return lines[after-1], true
}

// LineFrom returns the source line of the first record at or behind an offset, in bytes,
// of a section, that is of a particular line, and whether it is in front of end.
func (ext *Ext) LineFrom(section string, insnOffset, end uint32) (Line, bool) {
	lines := ext.Lines[section]
	first := sort.Search(len(lines), func(i int) bool { return lines[i].InsnOffset >= insnOffset })
	for first < len(lines) && lines[first].Inherited {
		first++
	}
	if first == len(lines) || lines[first].InsnOffset >= end {
		return Line{}, false
	}
	return lines[first], true
}

// Without returns the section without those CO-RE relocation records that drop
// names by their index, and a function that says where a byte of
// the old section is in the new one: nowhere if it is gone.
func (ext *Ext) Without(drop func(int) bool) ([]byte, func(int) []int) {
	return ext.without(coreReloField, ext.cores, drop)
}

// WithoutDoubleLines is Without for line_info records: of those of one instruction only
// the last is left that is of a particular line, as the kernel wants one
// (check_btf_line). None is left of what is beyond the end of a section, which is in bytes.
func (ext *Ext) WithoutDoubleLines(end func(section string) uint32) ([]byte, func(int) []int) {
	double := make(map[int]bool)
	index, kept := 0, 0
	for _, section := range ext.lines.sections {
		size := end(section.name)
		for i, record := range section.records() {
			isSame := i > 0 && ext.insnOffset(record) == ext.insnOffset(section.record(i-1))
			switch {
			case ext.insnOffset(record) >= size:
				double[index] = true
			case !isSame:
				kept = index
			case ext.isOfNoLine(record):
				double[index] = true
			default:
				double[kept] = true
				kept = index
			}
			index++
		}
	}
	return ext.without(lineInfoField, ext.lines, func(record int) bool { return double[record] })
}

// WithoutCode returns the section without the records, of all three tables, of
// instructions that are gone, by the name of their section and their offset in it.
// types are those of ParseExt. The function that it returns is that of Without.
func (ext *Ext) WithoutCode(types *BTF, gone func(section string, insnOffset uint32) bool) (*Ext, func(int) []int, error) {
	now := func(old int) []int { return []int{old} }
	for _, field := range []int{funcInfoField, lineInfoField, coreReloField} {
		table := map[int]region{funcInfoField: ext.funcs, lineInfoField: ext.lines, coreReloField: ext.cores}[field]
		drop := make(map[int]bool)
		index := 0
		for _, section := range table.sections {
			for _, record := range section.records() {
				drop[index] = gone(section.name, ext.insnOffset(record))
				index++
			}
		}
		data, moved := ext.without(field, table, func(record int) bool { return drop[record] })
		var err error
		if ext, err = ParseExt(data, types); err != nil {
			return nil, nil, err
		}
		before := now
		now = func(old int) []int {
			if at := before(old); len(at) > 0 {
				return moved(at[0])
			}
			return nil
		}
	}
	return ext, now, nil
}

// isOfNoLine reports whether a line_info record has line 0.
func (ext *Ext) isOfNoLine(record span) bool {
	return ext.order.Uint32(ext.data[record.start+12:])>>lineColumnBits == 0
}

// insnOffset is what the records of all tables start with.
func (ext *Ext) insnOffset(record span) uint32 { return ext.order.Uint32(ext.data[record.start:]) }

// without drops records of the table that is at a field of the header.
func (ext *Ext) without(field int, table region, drop func(int) bool) ([]byte, func(int) []int) {
	data := bytes.Clone(ext.data)
	gone := ext.dropRecords(data, table, drop)

	out := make([]byte, 0, len(data))
	gaps := make([]gap, 0, len(gone))
	at, removed := 0, 0
	for _, s := range gone {
		out = append(out, data[at:s.start]...)
		gaps = append(gaps, gap{s, removed})
		removed += s.end - s.start
		at = s.end
	}
	out = append(out, data[at:]...)
	ext.shiftTables(out, field, table.span, removed)

	return out, func(old int) []int {
		if at, kept := moved(gaps, old); kept {
			return []int{at}
		}
		return nil
	}
}

// gap is a span that is gone, and how many bytes before it are.
type gap struct {
	span
	before int
}

// moved returns where a byte is once the gaps, which are in ascending order,
// are closed.
func moved(gaps []gap, old int) (int, bool) {
	next := sort.Search(len(gaps), func(i int) bool { return gaps[i].start > old })
	if next == 0 {
		return old, true
	}
	last := gaps[next-1]
	if old < last.end {
		return 0, false
	}
	return old - last.before - (last.end - last.start), true
}

// dropRecords updates the record counts in data and returns what has to go, in
// ascending order: records, the headers of sections that have none left, and
// the whole table if nothing is left in it.
func (ext *Ext) dropRecords(data []byte, table region, drop func(int) bool) []span {
	var gone []span
	index, kept := 0, 0
	for _, section := range table.sections {
		var records []span
		for _, record := range section.records() {
			if drop(index) {
				records = append(records, record)
			}
			index++
		}
		left := section.count - len(records)
		if left == 0 && len(records) > 0 {
			gone = append(gone, section.header)
		}
		gone = append(gone, records...)
		ext.order.PutUint32(data[section.header.start+4:], uint32(left))
		kept += left
	}
	if kept == 0 && len(gone) > 0 {
		return []span{table.span}
	}
	return gone
}

// shiftTables corrects, in the header of a section that lost bytes from the
// table at a field, that table's length and the offset of what is behind it.
func (ext *Ext) shiftTables(out []byte, field int, shrunk span, removed int) {
	if removed == 0 {
		return
	}
	subtract := func(field int) {
		ext.order.PutUint32(out[field:], ext.order.Uint32(out[field:])-uint32(removed))
	}
	subtract(field + 4)
	for _, other := range []int{funcInfoField, lineInfoField, coreReloField} {
		table, err := ext.table(other)
		if err == nil && other != field && table.start >= shrunk.end {
			subtract(other)
		}
	}
}
