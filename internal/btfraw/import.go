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
	to      *Edit
	from    source
	isBrief bool                        // see BTF.Excerpt
	ids     map[original]btf.TypeID     // in to
	tags    map[btf.TypeID][]btf.TypeID // IDs of DECL_TAGs, by what they are about
	pending []original                  // of which there is only the place yet
}

// source is a blob that types are copied from.
type source interface {
	find(id btf.TypeID) ([]byte, error)
	String(offset uint32) (string, error)
}

// original is a type to copy, or what of it counts behind a pointer.
type original struct {
	id            btf.TypeID
	behindPointer bool // in an excerpt
}

// Import returns an import of types of from, which is not changed.
func (e *Edit) Import(from *Edit) (*Import, error) {
	if e.order != from.order {
		return nil, errors.New("BTF of the other byte order")
	}
	i := &Import{to: e, from: from, ids: make(map[original]btf.TypeID), tags: make(map[btf.TypeID][]btf.TypeID)}
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
	if _, err := i.from.find(instead); err != nil || i.ids[original{id: instead}] != 0 {
		return fmt.Errorf("type %d is not there, or copied", instead)
	}
	i.ids[original{id: instead}] = id
	return i.reachTags(instead)
}

// Type returns the ID that a type of the other blob has. 0, which is void, is the same
// in both. After an error the edit is in pieces.
func (i *Import) Type(id btf.TypeID) (btf.TypeID, error) {
	copied, err := i.reach(original{id: id})
	if err == nil {
		err = i.copyPending()
	}
	if err != nil {
		return 0, fmt.Errorf("import of BTF: %w", err)
	}
	return copied, nil
}

// copyPending copies what is reached, and what that leads to.
func (i *Import) copyPending() error {
	for len(i.pending) > 0 {
		next := i.pending[len(i.pending)-1]
		i.pending = i.pending[:len(i.pending)-1]
		if err := i.copy(next); err != nil {
			return fmt.Errorf("type %d: %w", next.id, err)
		}
	}
	return nil
}

// reach returns the ID of a type, for which it makes the place.
func (i *Import) reach(typ original) (btf.TypeID, error) {
	if typ.id == 0 {
		return 0, nil
	}
	if _, err := i.from.find(typ.id); err != nil {
		return 0, err
	}
	if i.ids[typ] == 0 {
		i.ids[typ] = i.to.append(nil)
		i.pending = append(i.pending, typ)
	}
	return i.ids[typ], nil
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

// refer calls name for each place of a type that has the offset of a string, and typ for
// each that has the ID of a type.
func refer(raw []byte, kind uint32, name, typ func(at []byte) error) error {
	if err := name(raw); err != nil {
		return err
	}
	at := references[kind]
	if at.refers {
		if err := typ(raw[8:]); err != nil {
			return err
		}
	}
	size := max(trailing[kind].each, trailing[kind].fixed)
	for rest := raw[typeSize:]; len(rest) > 0 && len(at.names)+len(at.types) > 0; rest = rest[size:] {
		for _, n := range at.names {
			if err := name(rest[n:]); err != nil {
				return err
			}
		}
		for _, n := range at.types {
			if err := typ(rest[n:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// copy puts a type into its place.
func (i *Import) copy(typ original) error {
	raw, err := i.from.find(typ.id)
	if err != nil {
		return err
	}
	raw = bytes.Clone(raw)
	kind := i.to.kind(raw)
	if typ.behindPointer && (kind == kindStruct || kind == kindUnion) {
		raw = raw[:typeSize]
		i.to.put(raw[4:], i.to.order.Uint32(raw[4:])&^maxMembers)
	}
	behindPointer := typ.behindPointer || i.isBrief && kind == kindPointer
	err = refer(raw, kind, i.translateName, func(at []byte) error { return i.translateType(at, behindPointer) })
	if err != nil {
		return err
	}
	i.to.types[i.ids[typ]] = raw
	return i.reachTags(typ.id)
}

// reachTags makes the places of the tags that are about a type.
func (i *Import) reachTags(id btf.TypeID) error {
	for _, tag := range i.tags[id] {
		if _, err := i.reach(original{id: tag}); err != nil {
			return err
		}
	}
	return nil
}

// translateName changes the offset of a string.
func (i *Import) translateName(at []byte) error {
	name, err := i.from.String(i.to.order.Uint32(at))
	if err == nil {
		i.to.put(at, i.to.strings.add(name))
	}
	return err
}

// translateType changes the ID of a type.
func (i *Import) translateType(at []byte, behindPointer bool) error {
	id, err := i.reach(original{btf.TypeID(i.to.order.Uint32(at)), behindPointer})
	if err == nil {
		i.to.put(at, uint32(id))
	}
	return err
}
