package btfraw

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Import copies types of another blob to an edit: those that are asked for, and what
// they refer to, each once.
type Import struct {
	to, from *Edit
	ids      []btf.TypeID                // in to, by that in from; 0 if not copied
	tags     map[btf.TypeID][]btf.TypeID // IDs of DECL_TAGs, by what they are about
	pending  []btf.TypeID                // IDs in from, of which there is only the place yet
}

// Import returns an import of types of from, which is not changed.
func (e *Edit) Import(from *Edit) (*Import, error) {
	if e.order != from.order {
		return nil, errors.New("BTF of the other byte order")
	}
	i := &Import{to: e, from: from, ids: make([]btf.TypeID, len(from.types)), tags: make(map[btf.TypeID][]btf.TypeID)}
	for id, raw := range from.types {
		if id > 0 && from.kind(raw) == kindDeclTag {
			about := btf.TypeID(from.order.Uint32(raw[8:]))
			i.tags[about] = append(i.tags[about], btf.TypeID(id))
		}
	}
	return i, nil
}

// Use takes a type that the edit has for one that would be copied.
func (i *Import) Use(id, instead btf.TypeID) error {
	if instead == 0 || uint64(instead) >= uint64(len(i.ids)) || i.ids[instead] != 0 {
		return fmt.Errorf("type %d is not there, or copied", instead)
	}
	i.ids[instead] = id
	return i.reachTags(instead)
}

// Type returns the ID that a type of the other blob has. 0, which is void, is the same
// in both. After an error the edit is in pieces.
func (i *Import) Type(id btf.TypeID) (btf.TypeID, error) {
	copied, err := i.reach(id)
	for err == nil && len(i.pending) > 0 {
		next := i.pending[len(i.pending)-1]
		i.pending = i.pending[:len(i.pending)-1]
		err = i.copy(next)
	}
	if err != nil {
		return 0, fmt.Errorf("import of BTF: %w", err)
	}
	return copied, nil
}

// reach returns the ID of a type, for which it makes the place.
func (i *Import) reach(id btf.TypeID) (btf.TypeID, error) {
	if id == 0 {
		return 0, nil
	}
	if _, err := i.from.find(id); err != nil {
		return 0, err
	}
	if i.ids[id] == 0 {
		i.ids[id] = i.to.append(nil)
		i.pending = append(i.pending, id)
	}
	return i.ids[id], nil
}

// references says, by BTF kind, where the numbers are that mean something else in
// another blob: of the word for size or type whether it is a type, and the positions in
// each of what follows struct btf_type.
var references = [len(trailing)]struct {
	refers       bool
	names, types []int
}{
	kindPointer:   {refers: true},
	kindArray:     {types: []int{0, 4}},
	kindStruct:    {names: []int{0}, types: []int{4}},
	kindUnion:     {names: []int{0}, types: []int{4}},
	kindEnum:      {names: []int{0}},
	kindTypedef:   {refers: true},
	kindVolatile:  {refers: true},
	kindConst:     {refers: true},
	kindRestrict:  {refers: true},
	kindFunc:      {refers: true},
	kindFuncProto: {refers: true, names: []int{0}, types: []int{4}},
	kindVar:       {refers: true},
	kindDatasec:   {types: []int{0}},
	kindDeclTag:   {refers: true},
	kindTypeTag:   {refers: true},
	kindEnum64:    {names: []int{0}},
}

// copy puts a type into its place.
func (i *Import) copy(id btf.TypeID) error {
	raw := bytes.Clone(i.from.types[id])
	kind := i.from.kind(raw)
	at, size := references[kind], trailing[kind].each
	if size == 0 {
		size = trailing[kind].fixed
	}
	if err := i.translate(raw, []int{0}, nil); err != nil {
		return fmt.Errorf("type %d: %w", id, err)
	}
	if at.refers {
		if err := i.translate(raw, nil, []int{8}); err != nil {
			return fmt.Errorf("type %d: %w", id, err)
		}
	}
	if len(at.names)+len(at.types) > 0 {
		for rest := raw[typeSize:]; len(rest) > 0; rest = rest[size:] {
			if err := i.translate(rest, at.names, at.types); err != nil {
				return fmt.Errorf("type %d: %w", id, err)
			}
		}
	}
	i.to.types[i.ids[id]] = raw
	return i.reachTags(id)
}

// reachTags makes the places of the tags that are about a type.
func (i *Import) reachTags(id btf.TypeID) error {
	for _, tag := range i.tags[id] {
		if _, err := i.reach(tag); err != nil {
			return err
		}
	}
	return nil
}

// translate changes the offsets of strings, and the IDs of types, at some positions.
func (i *Import) translate(raw []byte, names, types []int) error {
	order := i.to.order
	for _, at := range names {
		name, err := i.from.String(order.Uint32(raw[at:]))
		if err != nil {
			return err
		}
		i.to.put(raw[at:], i.to.strings.add(name))
	}
	for _, at := range types {
		id, err := i.reach(btf.TypeID(order.Uint32(raw[at:])))
		if err != nil {
			return err
		}
		i.to.put(raw[at:], uint32(id))
	}
	return nil
}
