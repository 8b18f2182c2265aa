package btfraw

import (
	"bytes"
	"errors"
	"strings"
)

// stringTable is one to which strings can be added.
type stringTable struct {
	old     string
	added   []byte
	offsets map[string]uint32 // nil until a string is added
}

func newStringTable(old string) (stringTable, error) {
	if old == "" || old[0] != 0 || old[len(old)-1] != 0 {
		return stringTable{}, errors.New("damaged BTF: the string table does not start with the empty string, or its last one has no end")
	}
	return stringTable{old: old}, nil
}

func (t *stringTable) size() int { return len(t.old) + len(t.added) }

func (t *stringTable) appendTo(out []byte) []byte {
	return append(append(out, t.old...), t.added...)
}

// add returns the offset of a string, which it adds if it is not there.
func (t *stringTable) add(s string) uint32 {
	if s == "" {
		return 0
	}
	if t.offsets == nil {
		t.index()
	}
	offset, ok := t.offsets[s]
	if !ok {
		offset = t.append(s)
		t.offsets[s] = offset
	}
	return offset
}

// append adds a string, be it there or not, and returns its offset.
func (t *stringTable) append(s string) uint32 {
	offset := uint32(t.size())
	t.added = append(append(t.added, s...), 0)
	return offset
}

func (t *stringTable) index() {
	t.offsets = make(map[string]uint32)
	for at := 0; at < len(t.old); {
		end := at + strings.IndexByte(t.old[at:], 0)
		if s := t.old[at:end]; t.offsets[s] == 0 {
			t.offsets[s] = uint32(at)
		}
		at = end + 1
	}
}

// at returns the string at an offset.
func (t *stringTable) at(offset uint32) (string, error) {
	if old := uint32(len(t.old)); offset >= old && offset < uint32(t.size()) {
		rest := t.added[offset-old:]
		return string(rest[:bytes.IndexByte(rest, 0)]), nil
	}
	return (&BTF{strings: t.old}).String(offset)
}
