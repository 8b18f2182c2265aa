package reloc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Layout is where one NIC keeps each field: BTF that defines struct md_desc,
// or one flavour of it.
//
// It may be shared by goroutines.
type Layout struct {
	name  string
	raw   *btfraw.BTF
	types *btf.Spec

	mutex      sync.Mutex             // of raw, which looks for names when asked, and of
	candidates map[string][]candidate // by essential name
}

// candidate is a type of the layout that a root type of the object may stand
// for.
type candidate struct {
	typ    btf.Type
	id     btf.TypeID
	fields []string  // shared by the resolutions of every access that is not there
	at     *pathSpec // where it is nested, if that led to it and not its name
}

// NewLayout reads a layout from raw BTF in either byte order. name is what
// messages call it. base is the raw BTF that this one is split from, as that of
// kernel modules is from that of vmlinux, nil if it stands alone.
func NewLayout(name string, raw, base []byte) (*Layout, error) {
	var baseTypes *btf.Spec
	var baseRaw *btfraw.BTF
	var err error
	if base != nil {
		if baseRaw, baseTypes, err = parseBTF(base, nil, nil); err != nil {
			return nil, fmt.Errorf("layout %s: base: %w", name, err)
		}
	}
	layout := &Layout{name: name, candidates: make(map[string][]candidate)}
	if layout.raw, layout.types, err = parseBTF(raw, baseRaw, baseTypes); err != nil {
		return nil, fmt.Errorf("layout %s: %w", name, err)
	}
	return layout, nil
}

func parseBTF(raw []byte, base *btfraw.BTF, baseTypes *btf.Spec) (*btfraw.BTF, *btf.Spec, error) {
	blob, err := btfraw.Parse(raw, base)
	if err != nil {
		return nil, nil, err
	}
	types, err := btf.LoadSplitSpecFromReader(bytes.NewReader(raw), baseTypes)
	if err != nil {
		return nil, nil, fmt.Errorf("damaged BTF: %w", err)
	}
	return blob, types, nil
}

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
	var candidates []candidate
	for _, id := range ids {
		typ, err := l.types.TypeByID(id)
		if err != nil {
			return nil, fmt.Errorf("layout %s: type %d: %w", l.name, id, err)
		}
		if is[*btf.Fwd](typ) || !sameKind(typ, typ) || contains(candidates, typ) {
			continue
		}
		if len(candidates) == maxCandidates {
			return nil, fmt.Errorf("layout %s has more than %d different types named %s", l.name, maxCandidates, essential)
		}
		candidates = append(candidates, candidate{typ, id, fields(typ), nil})
	}
	l.candidates[essential] = candidates
	return candidates, nil
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

// FunctionID returns the ID of the kernel's function of a name, and StructID that of the
// struct of a name, of the first if there are several; 0 if the layout has none.
func (l *Layout) FunctionID(name string) (btf.TypeID, error) {
	return l.idOf(name, func(typ btf.Type) bool { return is[*btf.Func](typ) })
}

func (l *Layout) StructID(name string) (btf.TypeID, error) {
	return l.idOf(name, func(typ btf.Type) bool { return is[*btf.Struct](typ) })
}

func (l *Layout) idOf(name string, isWanted func(btf.Type) bool) (btf.TypeID, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	ids, err := l.raw.Named(btfraw.EssentialName(name))
	if err != nil {
		return 0, fmt.Errorf("layout %s: %w", l.name, err)
	}
	for _, id := range ids {
		typ, err := l.types.TypeByID(id)
		if err != nil {
			return 0, fmt.Errorf("layout %s: type %d: %w", l.name, id, err)
		}
		if typ.TypeName() == name && isWanted(typ) {
			return id, nil
		}
	}
	return 0, nil
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
