package code

import (
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Error is about one instruction of the object as it was given.
type Error struct {
	Section  string
	Slot     int    // of the instruction, in slots of 8 bytes
	Function string // that it is in; empty if no symbol says so
	Source   string // such as "prog.c:14"; empty without line information
	Err      error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		fmt.Fprintf(&b, "%s: ", e.Source)
	}
	fmt.Fprintf(&b, "section %s, ", e.Section)
	if e.Function != "" {
		fmt.Fprintf(&b, "function %s, ", e.Function)
	}
	fmt.Fprintf(&b, "instruction %d: %s", e.Slot, e.Err)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// ReachError is about a jump that can't be encoded anymore, because there is
// too much between it and its target.
type ReachError struct {
	Target   int // slot in the section as it was
	Distance int // in slots, from the next one
	Bits     int // that the instruction has for it
}

func (e *ReachError) Error() string {
	return fmt.Sprintf("jump to instruction %d does not reach: %d instructions away, with %d bits for it", e.Target, e.Distance, e.Bits)
}

func (s *section) errorAt(slot int, err error) error {
	return &Error{Section: s.elf.Name, Slot: slot, Err: err}
}

// describe adds to an error about an instruction what the object knows of it.
func (m *mover) describe(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if section := m.old.Section(e.Section); section != nil {
		functions := m.old.Functions(section)
		after := sort.Search(len(functions), func(i int) bool { return functions[i].Value > uint64(e.Slot)*insn.SlotSize })
		if after > 0 {
			e.Function = functions[after-1].Name
		}
	}
	if m.oldExt != nil {
		if line, ok := m.oldExt.LineAt(e.Section, uint32(e.Slot*insn.SlotSize)); ok {
			e.Source = fmt.Sprintf("%s:%d", path.Clean(line.File), line.Line)
		}
	}
	return err
}
