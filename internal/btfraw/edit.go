package btfraw

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Edit changes single types of a raw BTF blob. All types and strings keep their IDs
// and offsets.
type Edit struct {
	extension *Extension
	types     [][]byte // by ID: struct btf_type and what follows
}

// NewEdit returns an edit that changes nothing yet. It keeps no reference to raw, and
// refuses what Extend refuses.
func NewEdit(raw []byte) (*Edit, error) {
	extension, err := Extend(bytes.Clone(raw))
	if err != nil {
		return nil, err
	}
	types := [][]byte{nil} // void
	for rest := extension.types.types; len(rest) > 0; {
		size, err := encodedSize(extension.types.Order.Uint32(rest[4:]))
		if err != nil {
			return nil, err
		}
		types = append(types, rest[:size:size])
		rest = rest[size:]
	}
	return &Edit{extension, types}, nil
}

// Rename gives a type another name.
func (e *Edit) Rename(id btf.TypeID, name string) error {
	raw, err := e.find(id)
	if err == nil {
		e.put(raw, e.extension.string(name))
	}
	return err
}

// SetLinkage gives a function another linkage, which is in the place of vlen.
func (e *Edit) SetLinkage(function btf.TypeID, linkage btf.FuncLinkage) error {
	raw, err := e.findKind(function, kindFunc)
	if err == nil {
		e.put(raw[4:], kindFunc<<kindShift|uint32(linkage))
	}
	return err
}

// DropVars takes those variables out of a DATASEC that drop names by their type's ID.
func (e *Edit) DropVars(datasec btf.TypeID, drop func(btf.TypeID) bool) error {
	return e.changeVars(datasec, func(entries [][]byte) [][]byte {
		return slices.DeleteFunc(entries, func(entry []byte) bool { return drop(btf.TypeID(e.extension.types.Order.Uint32(entry))) })
	})
}

// PlaceVars gives variables of a DATASEC the offsets that where says, by their type's
// ID, and puts all in the order of their offsets, as the kernel wants them
// (btf_datasec_check_meta).
func (e *Edit) PlaceVars(datasec btf.TypeID, where map[btf.TypeID]uint32) error {
	order := e.extension.types.Order
	return e.changeVars(datasec, func(entries [][]byte) [][]byte {
		for _, entry := range entries {
			if offset, ok := where[btf.TypeID(order.Uint32(entry))]; ok {
				e.put(entry[4:], offset)
			}
		}
		slices.SortStableFunc(entries, func(a, b []byte) int { return cmp.Compare(order.Uint32(a[4:]), order.Uint32(b[4:])) })
		return entries
	})
}

// changeVars changes the entries of a DATASEC, struct btf_var_secinfo.
func (e *Edit) changeVars(datasec btf.TypeID, change func([][]byte) [][]byte) error {
	raw, err := e.findKind(datasec, kindDatasec)
	if err != nil {
		return err
	}
	entries := change(slices.Collect(slices.Chunk(raw[typeSize:], trailing[kindDatasec].each)))
	changed := append(bytes.Clone(raw[:typeSize]), bytes.Join(entries, nil)...)
	e.put(changed[4:], e.extension.types.Order.Uint32(raw[4:])&^maxMembers|uint32(len(entries)))
	e.types[datasec] = changed
	return nil
}

// BTF kinds, and where the info word has them.
const (
	kindFunc    = 12
	kindDatasec = 15
	kindShift   = 24
	kindMask    = 0x1f
)

func (e *Edit) find(id btf.TypeID) ([]byte, error) {
	if id == 0 || int(id) >= len(e.types) {
		return nil, fmt.Errorf("damaged BTF: no type %d", id)
	}
	return e.types[id], nil
}

func (e *Edit) findKind(id btf.TypeID, kind uint32) ([]byte, error) {
	raw, err := e.find(id)
	if err == nil && e.extension.types.Order.Uint32(raw[4:])>>kindShift&kindMask != kind {
		err = fmt.Errorf("damaged BTF: type %d is of another kind than %d", id, kind)
	}
	return raw, err
}

func (e *Edit) put(at []byte, word uint32) { e.extension.types.Order.PutUint32(at, word) }

// Bytes returns the blob with the changes.
func (e *Edit) Bytes() []byte {
	e.extension.types.types = bytes.Join(e.types, nil)
	return e.extension.Bytes()
}
