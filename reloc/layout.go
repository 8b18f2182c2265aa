package reloc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Layout is where one NIC keeps each field: BTF that defines struct md_desc,
// or one flavour of it. It may be the kernel's, of whose types few are looked at: it
// reads as little as that takes.
//
// It may be shared by goroutines.
type Layout struct {
	name string
	raw  *btfraw.BTF
	base *Layout // what it is split from, nil if it stands alone

	mutex      sync.Mutex             // of candidates
	candidates map[string][]candidate // by essential name
}

// candidate is a type of the layout that a root type of the object may stand
// for.
type candidate struct {
	typ    btf.Type
	id     btf.TypeID
	fields []string  // shared by the resolutions of every access that is not there
	at     *pathSpec // where it is nested, if that led to it and not its name
	from   *excerpt
}

// NewLayout reads a layout from raw BTF in either byte order, to which it keeps a
// reference. name is what messages call it. base is the raw BTF that this one is split
// from, as that of kernel modules is from that of vmlinux, nil if it stands alone.
//
// The error wraps ErrWrongBase if it was split from another one. Damage within a type is
// an error of whatever asks for the type.
func NewLayout(name string, raw, base []byte) (*Layout, error) {
	if base != nil {
		of, err := parseBTF(base)
		if err != nil {
			return nil, fmt.Errorf("layout %s: base: %w", name, err)
		}
		return newLayout(name, of, nil).Split(name, raw)
	}
	blob, err := parseBTF(raw)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", name, err)
	}
	return newLayout(name, blob, nil), nil
}

func parseBTF(raw []byte) (*btfraw.BTF, error) {
	blob, err := btfraw.Parse(raw, nil)
	if err != nil {
		return nil, err
	}
	return blob, blob.Index()
}

// Split reads a layout that is split from this one, as NewLayout does. Both share what
// they know of the types that are in both.
func (l *Layout) Split(name string, raw []byte) (*Layout, error) {
	blob, err := btfraw.Parse(raw, l.raw)
	if err == nil {
		err = blob.CheckReferences() // of all types: a module has few
	}
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w: %w", name, ErrWrongBase, err)
	}
	return newLayout(name, blob, l), nil
}

func newLayout(name string, raw *btfraw.BTF, base *Layout) *Layout {
	return &Layout{name: name, raw: raw, base: base, candidates: make(map[string][]candidate)}
}

// ErrWrongBase is wrapped by NewLayout's error about BTF that was not split from the base
// given, as far as can be told: with the base of another build, names start in the middle
// of strings, and types refer to those that do not exist.
var ErrWrongBase = errors.New("not split from this base")

// Name returns what messages call the layout.
func (l *Layout) Name() string { return l.name }

// ByteOrder returns the byte order of the machine that the layout is for.
func (l *Layout) ByteOrder() binary.ByteOrder { return l.raw.Order }

// SizeOf returns the size in bytes of the layout's type of a name or a flavour of it,
// of the largest if there are several, and 0 if there is none.
func (l *Layout) SizeOf(essential string) (uint32, error) {
	candidates, err := l.named(essential)
	size := uint32(0)
	for _, c := range candidates {
		size = max(size, typeSize(c.typ))
	}
	return size, err
}

// maxCandidates bounds how many types of one name are compared with each other.
const maxCandidates = 256

// named returns the types that bear a name or a flavour of it, of the kinds that a
// root type can be, but no forward declarations. Of equal copies, which failed
// deduplication leaves in the BTF of kernel modules, it returns the first.
func (l *Layout) named(essential string) ([]candidate, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if candidates, ok := l.candidates[essential]; ok {
		return candidates, nil
	}

	ids, err := l.raw.Named(essential)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	if l.base != nil && !slices.ContainsFunc(ids, l.raw.Has) { // as of most, for each module
		return l.base.named(essential)
	}
	candidates, err := l.among(ids, essential, func(btf.Type) bool { return true })
	if err == nil {
		l.candidates[essential] = candidates
	}
	return candidates, err
}

// among returns those of some types that bear a name and are wanted.
func (l *Layout) among(ids []btf.TypeID, essential string, want func(btf.Type) bool) ([]candidate, error) {
	types, part, err := l.read(ids)
	if err != nil {
		return nil, err
	}
	var candidates []candidate
	for i, typ := range types {
		if is[*btf.Fwd](typ) || !sameKind(typ, typ) || !want(typ) || contains(candidates, typ) {
			continue
		}
		if len(candidates) == maxCandidates {
			return nil, fmt.Errorf("layout %s has more than %d different types named %s", l.name, maxCandidates, essential)
		}
		candidates = append(candidates, candidate{typ: typ, id: ids[i], fields: fields(typ), from: part})
	}
	return candidates, nil
}

// Flavour returns the layout as one that has no other flavour of a type than that of a name,
// which may be the essential one; nil if it has no such struct. With own, it has to be in
// what was split from a base, if that is what the layout is.
func (l *Layout) Flavour(name string, own bool) (*Layout, error) {
	essential := btfraw.EssentialName(name)
	ids, err := l.raw.Named(essential)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	if own {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id btf.TypeID) bool { return !l.raw.Has(id) })
	}
	candidates, err := l.among(ids, essential, func(typ btf.Type) bool { return is[*btf.Struct](typ) && typ.TypeName() == name })
	if err != nil || len(candidates) == 0 {
		return nil, err
	}
	flavour := newLayout(l.name, l.raw, l.base)
	flavour.candidates[essential] = candidates
	return flavour, nil
}

// excerpt is a part of the layout. Behind pointers, structs and unions have no members
// in it, which nothing asks for: see btfraw.BTF.Excerpt.
type excerpt struct {
	types     *btf.Spec
	originals []btf.TypeID
}

// read returns types of the layout, and the part that they are in.
func (l *Layout) read(ids []btf.TypeID) ([]btf.Type, *excerpt, error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	part, err := l.raw.Excerpt(ids...)
	if err != nil {
		return nil, nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	spec, err := loadTypes(part.Raw)
	if err != nil {
		return nil, nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	types := make([]btf.Type, len(ids))
	for i, id := range ids {
		if types[i], err = spec.TypeByID(btf.TypeID(i + 1)); err != nil {
			return nil, nil, fmt.Errorf("layout %s: type %d: %w", l.name, id, err)
		}
	}
	return types, &excerpt{spec, part.Originals}, nil
}

func loadTypes(raw []byte) (*btf.Spec, error) {
	types, err := btf.LoadSplitSpecFromReader(bytes.NewReader(raw), nil)
	if err != nil {
		return nil, fmt.Errorf("damaged BTF: %w", err)
	}
	return types, nil
}

// id returns the ID that a type of the part has in the layout.
func (e *excerpt) id(typ btf.Type) (btf.TypeID, error) {
	id, err := e.types.TypeID(typ)
	if err != nil {
		return 0, err
	}
	return e.originals[id], nil
}

func contains(candidates []candidate, typ btf.Type) bool {
	for _, c := range candidates {
		if equalCopies(c.typ, typ) {
			return true
		}
	}
	return false
}

// fields returns the names of the members that C code can name, those of
// anonymous structs and unions included.
func fields(typ btf.Type) []string {
	var names []string
	seen := make(map[btf.Type]bool)
	var collect func(btf.Type)
	collect = func(typ btf.Type) {
		typ = btf.UnderlyingType(typ)
		if seen[typ] {
			return
		}
		seen[typ] = true
		for _, member := range members(typ) {
			if member.Name == "" {
				collect(member.Type)
				continue
			}
			names = append(names, member.Name)
		}
	}
	collect(typ)
	return names
}

// members returns the members of a struct or union, nil for other types.
func members(typ btf.Type) []btf.Member {
	switch typ := typ.(type) {
	case *btf.Struct:
		return typ.Members
	case *btf.Union:
		return typ.Members
	}
	return nil
}

// StructID returns the ID of the struct of a name, of the first if there are several; 0 if
// the layout has none.
func (l *Layout) StructID(name string) (btf.TypeID, error) {
	candidates, err := l.named(btfraw.EssentialName(name))
	if err != nil {
		return 0, err
	}
	for _, c := range candidates {
		if c.typ.TypeName() == name && is[*btf.Struct](c.typ) {
			return c.id, nil
		}
	}
	return 0, nil
}

// Structs returns the structs of a name and its flavours, of equal copies the first. What
// they have by value is whole; structs and unions behind their pointers have no members.
func (l *Layout) Structs(essential string) ([]*btf.Struct, error) {
	candidates, err := l.named(essential)
	var structs []*btf.Struct
	for _, c := range candidates {
		if typ, ok := c.typ.(*btf.Struct); ok {
			structs = append(structs, typ)
		}
	}
	return structs, err
}

// HasEnumerator reports whether the layout has an enumeration of a name, or a flavour of
// it, with an enumerator.
func (l *Layout) HasEnumerator(enum, name string) (bool, error) {
	candidates, err := l.named(enum)
	for _, c := range candidates {
		typ, ok := c.typ.(*btf.Enum)
		if ok && slices.ContainsFunc(typ.Values, func(v btf.EnumValue) bool { return v.Name == name }) {
			return true, nil
		}
	}
	return false, err
}
