package btfraw

import (
	"bytes"
	"errors"
	"fmt"
)

// Table is one of the three tables of .BTF.ext.
type Table int

// What the tables tell of an instruction: the function that starts with it,
// the source line it is on, the CO-RE relocation it is subject to.
const (
	FuncInfo Table = iota
	LineInfo
	COREReloInfo
)

var tables = map[Table]struct {
	name       string
	field      int
	recordSize int // the least
}{
	FuncInfo:     {"func_info", funcInfoField, funcInfoSize},
	LineInfo:     {"line_info", lineInfoField, lineInfoSize},
	COREReloInfo: {"core_relo", coreReloField, coreReloSize},
}

const funcInfoSize = 8 // struct bpf_func_info

// Bytes returns the section.
func (ext *Ext) Bytes() []byte { return ext.data }

// Moved returns the section with its records changed to where their
// instructions are now, which where tells for each: offsets are in bytes from
// the start of the instruction's section. types are those of ParseExt. The
// records stay in their places, so that relocations against them and indices
// of CO-RE records still hold.
//
// Records of two instructions must not end up at one, except for lines, of which
// WithoutDoubleLines takes out the first.
func (ext *Ext) Moved(types *BTF, where func(table Table, section string, insnOffset uint32) (uint32, error)) (*Ext, error) {
	data := bytes.Clone(ext.data)
	var used []span
	for _, table := range []Table{FuncInfo, LineInfo, COREReloInfo} {
		info := tables[table]
		if table == COREReloInfo && ext.order.Uint32(ext.data[4:]) < extHeaderFull {
			continue
		}
		records, err := ext.region(info.field, info.recordSize, types)
		if err != nil {
			return nil, fmt.Errorf("damaged .BTF.ext: %s: %w", info.name, err)
		}
		for _, other := range used {
			if overlap(other, records.span) {
				return nil, fmt.Errorf("damaged .BTF.ext: %s lies on top of another table", info.name)
			}
		}
		used = append(used, records.span)
		if err := ext.moveRecords(data, table, records, where); err != nil {
			return nil, fmt.Errorf("%s: %w", info.name, err)
		}
	}
	return ParseExt(data, types)
}

var errTwoRecords = errors.New("records of two instructions would be at one")

// moveRecords writes the new offsets, with which each record starts, to data.
func (ext *Ext) moveRecords(data []byte, table Table, records region, where func(Table, string, uint32) (uint32, error)) error {
	for _, section := range records.sections {
		var before, movedBefore uint32
		for i, record := range section.records() {
			old := ext.order.Uint32(ext.data[record.start:])
			moved, err := where(table, section.name, old)
			if err != nil {
				return fmt.Errorf("section %s: %w", section.name, err)
			}
			apart := moved > movedBefore || table == LineInfo && moved == movedBefore
			if i > 0 && old > before && !apart {
				return fmt.Errorf("section %s, offset %#x: %w", section.name, old, errTwoRecords)
			}
			ext.order.PutUint32(data[record.start:], moved)
			before, movedBefore = old, moved
		}
	}
	return nil
}
