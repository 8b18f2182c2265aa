package btfraw

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Excerpt is a part of a blob, as one that stands alone.
type Excerpt struct {
	Raw       []byte
	Originals []btf.TypeID // by ID in Raw: that of the blob
}

// Excerpt returns some types of a blob, which have the IDs from 1 on, and what they are
// made of: types that they have by value whole, and what pointers lead to as far as the
// rules of CO-RE ask for it. Those look at no member behind a pointer, and nothing else
// leads to most of the kernel's types: a struct or union there has a name and a size.
//
// Tags are left out. No ID may be given twice.
func (b *BTF) Excerpt(ids ...btf.TypeID) (*Excerpt, error) {
	edit := &Edit{order: b.Order, header: make([]byte, headerSize), types: [][]byte{nil}, strings: stringTable{old: "\x00"}}
	b.Order.PutUint16(edit.header, magic)
	edit.header[2] = version
	edit.put(edit.header[4:], headerSize)

	taken := &Import{to: edit, from: b, isBrief: true, ids: make(map[original]btf.TypeID)}
	for _, id := range ids {
		if _, err := taken.reach(original{id: id}); err != nil {
			return nil, err
		}
	}
	if err := taken.copyPending(); err != nil {
		return nil, err
	}
	excerpt := &Excerpt{Raw: edit.Bytes(), Originals: make([]btf.TypeID, len(edit.types))}
	for typ, id := range taken.ids {
		excerpt.Originals[id] = typ.id
	}
	return excerpt, nil
}

// CheckReferences wants what the types refer to, types and names, to be there. It does
// not look at the types of the base.
func (b *BTF) CheckReferences() error {
	if err := b.Index(); err != nil {
		return err
	}
	name := func(at []byte) error { return b.checkString(b.word(at)) }
	typ := func(at []byte) error {
		if id := btf.TypeID(b.word(at)); id >= b.end() {
			return fmt.Errorf("damaged BTF: no type %d", id)
		}
		return nil
	}
	for id := b.first; id < b.end(); id++ {
		raw, err := b.find(id)
		if err == nil {
			err = refer(raw, b.kind(raw), name, typ)
		}
		if err != nil {
			return fmt.Errorf("type %d: %w", id, err)
		}
	}
	return nil
}
