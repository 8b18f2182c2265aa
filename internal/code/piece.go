package code

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Attached is what instructions bring along that come from elsewhere.
type Attached struct {
	// Relocations are those of calls of functions and kfuncs, and of LDDWs of
	// addresses of functions and data.
	Relocations []Relocation

	// CORERelos are CO-RE records, and Lines source lines, these in the order of
	// instructions. Their offsets are in bytes from the start of the code, and the
	// section means nothing.
	CORERelos []btfraw.CORERelo
	Lines     []btfraw.Line
}

// Relocation says what an instruction refers to. What its immediate holds does not
// matter.
type Relocation struct {
	At     int   // slot in the code
	Symbol int   // index of the object's Symbols
	Addend int64 // bytes from the symbol to what is referred to
}

// Function is the code of a function, and what it refers to.
type Function struct {
	Code []byte
	Attached
	TypeID uint32 // of its FUNC in the BTF; 0 if the object does not say
}

// IsCall reports whether a relocation of the function is for a call.
func (f *Function) IsCall(rel *Relocation) bool { return rel.isCall(f.Code) }

// LineAt returns the source line of the instruction in a slot, and whether one is known.
func (a *Attached) LineAt(slot int) (line btfraw.Line, ok bool) {
	for _, next := range a.Lines {
		if next.InsnOffset > uint32(slot)*insn.SlotSize {
			break
		}
		line, ok = next, true
	}
	return line, ok
}

func (a *Attached) isEmpty() bool {
	return len(a.Relocations)+len(a.CORERelos)+len(a.Lines) == 0
}

// records returns the records of code that starts at a byte of a section.
func (a *Attached) records(section string, start uint32) btfraw.Records {
	records := btfraw.Records{Lines: make(map[string][]btfraw.Line)}
	for _, relo := range a.CORERelos {
		relo.Section = section
		relo.InsnOffset += start
		records.CORERelos = append(records.CORERelos, relo)
	}
	for _, line := range a.Lines {
		line.InsnOffset += start
		records.Lines[section] = append(records.Lines[section], line)
	}
	return records
}

// merge puts records behind others.
func merge(to *btfraw.Records, more btfraw.Records) {
	to.Functions = append(to.Functions, more.Functions...)
	to.CORERelos = append(to.CORERelos, more.CORERelos...)
	for section, lines := range more.Lines {
		if to.Lines == nil {
			to.Lines = make(map[string][]btfraw.Line)
		}
		to.Lines[section] = append(to.Lines[section], lines...)
	}
}

// check wants what is attached to be about instructions of the code.
func (a *Attached) check(code []byte, second []bool, order binary.ByteOrder) error {
	relocated := make(map[int]bool, len(a.Relocations))
	for _, rel := range a.Relocations {
		if rel.At < 0 || rel.At >= len(second) || relocated[rel.At] {
			return fmt.Errorf("slot %d is no instruction, or has two relocations", rel.At)
		}
		relocated[rel.At] = true
		if _, err := instructionPointer(code, uint64(rel.At)*insn.SlotSize, order); err != nil {
			return fmt.Errorf("slot %d has a relocation, but is neither a call of a function nor an LDDW", rel.At)
		}
		if rel.isCall(code) && rel.Addend%insn.SlotSize != 0 {
			return fmt.Errorf("slot %d calls what is %d bytes from a symbol: %w", rel.At, rel.Addend, errNoInstruction)
		}
	}
	starts := func(offset uint32) error {
		if slot := int(offset / insn.SlotSize); offset%insn.SlotSize != 0 || slot >= len(second) || second[slot] {
			return fmt.Errorf("record for byte %d: %w", offset, errNoInstruction)
		}
		return nil
	}
	for i := range a.CORERelos {
		if err := starts(a.CORERelos[i].InsnOffset); err != nil {
			return err
		}
	}
	for i := range a.Lines {
		if err := starts(a.Lines[i].InsnOffset); err != nil {
			return err
		}
	}
	return nil
}

// isCall reports whether the relocation is for a call in the code, and not for an LDDW.
func (r *Relocation) isCall(code []byte) bool { return code[r.At*insn.SlotSize] != insn.LDDW }

// entry returns the relocation as an entry of an SHT_REL section, if the code starts at
// a byte of a section.
func (r *Relocation) entry(code []byte, start uint64) elfobj.Rel {
	kind := uint32(rel64)
	if r.isCall(code) {
		kind = rel32
	}
	return elfobj.Rel{Offset: start + uint64(r.At)*insn.SlotSize, Type: kind, Index: r.Symbol}
}

// Append puts functions behind the code of a section, one behind the other. The symbols
// of their relocations are there already.
//
// It returns their records, which are not in the object's .BTF.ext yet. After an error
// the object is in pieces.
func Append(obj *elfobj.Object, section *elfobj.Section, functions []Function) (btfraw.Records, error) {
	var records btfraw.Records
	if _, err := findCode(obj, section.Name); err != nil {
		return records, fmt.Errorf("append function: %w", err)
	}
	var rels []elfobj.Rel
	for i := range functions {
		f := &functions[i]
		second, bad := insn.SecondHalves(f.Code)
		if bad >= 0 || len(f.Code)%insn.SlotSize != 0 {
			return records, errors.New("append function: it is no code")
		}
		if err := f.check(f.Code, second, obj.Order); err != nil {
			return records, fmt.Errorf("append function: %w", err)
		}
		start, err := obj.Grow(section, insn.SlotSize, uint64(len(f.Code)))
		if err != nil {
			return records, err
		}
		code := section.Data[start:]
		copy(code, f.Code)
		for _, rel := range f.Relocations {
			p, err := instructionPointer(code, uint64(rel.At)*insn.SlotSize, obj.Order)
			if err == nil && !p.setAddend(rel.Addend) {
				err = fmt.Errorf("slot %d refers to something more than 32 bits away", rel.At)
			}
			if err != nil {
				return records, fmt.Errorf("append function: %w", err)
			}
			rels = append(rels, rel.entry(code, start))
		}
		if f.TypeID != 0 {
			records.Functions = append(records.Functions, btfraw.FuncInfoRecord{Section: section.Name, InsnOffset: uint32(start), TypeID: f.TypeID})
		}
		merge(&records, f.records(section.Name, uint32(start)))
	}
	return records, obj.AddRelocations(section, rels)
}
