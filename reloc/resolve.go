package reloc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Errors that Resolve wraps.
var (
	// ErrAmbiguous: different types of one layout resolve the access differently.
	ErrAmbiguous = errors.New("ambiguous layout")
	// ErrByteOrder: object and layout are for machines of different byte order.
	ErrByteOrder = errors.New("byte order differs")
)

// Resolution is what an access comes to in a layout.
type Resolution struct {
	// Exists is false for "not there": Missing then says why, and Fields are
	// the names that the layout's type has instead, if a field is missing.
	Exists  bool     `json:"exists"`
	Missing string   `json:"missing,omitempty"`
	Fields  []string `json:"fields,omitempty"`

	// Value is what the instruction has to hold: an offset or a size in bytes,
	// 0 or 1, a shift in bits, a type ID, or an enumerator's value. It is
	// meaningless if Poison is set.
	Value uint64 `json:"value"`

	// Poison is set if there is no such value: the access must not be reached.
	Poison bool `json:"poison,omitempty"`

	// Field is what lies at the end of the path, nil for records about types
	// and enumerators, and for a field that is not there.
	Field *Field `json:"field,omitempty"`

	// Type is the layout's type that the root type stands for, TypeSize its size
	// in bytes, 0 if it has none.
	Type     string `json:"type,omitempty"`
	TypeSize uint32 `json:"typeSize,omitempty"`
}

// Resolve returns what the access comes to in a layout, by the rules of CO-RE:
// types of the same name are candidates, flavours aside; members are matched by
// name, through anonymous structs and unions, as long as their types are
// compatible.
//
// Where libbpf drops candidates that lack the field, Resolve wants all of them
// to agree, and wraps ErrAmbiguous if they don't: two NICs' layouts in one file
// must not be mixed. It wraps ErrByteOrder if object and layout are for machines of different
// byte order.
func (a *Access) Resolve(layout *Layout) (Resolution, error) {
	if a.Kind == LocalTypeID {
		return *a.Local, nil
	}
	if a.path.order != layout.ByteOrder() {
		return Resolution{}, fmt.Errorf("%w: the object is %s and layout %s is %s: compile the program with -target %s, or take the layout of a %s machine",
			ErrByteOrder, orderName(a.path.order), layout.name, orderName(layout.ByteOrder()), bpfTarget(layout.ByteOrder()), orderName(a.path.order))
	}

	candidates, err := a.candidates(layout)
	if err != nil {
		return Resolution{}, err
	}
	if len(candidates) == 0 && a.Adopted() {
		return a.missing(fmt.Sprintf("layout %s has no %s at %s", layout.name, TypeString(a.path.root), a.NestedIn())), nil
	}
	if len(candidates) == 0 {
		return a.missing(fmt.Sprintf("layout %s has no %s", layout.name, a.rootName())), nil
	}

	results := make([]Resolution, len(candidates))
	for i, candidate := range candidates {
		if results[i], err = a.resolveIn(candidate); err != nil {
			return Resolution{}, err
		}
		if err := a.checkNested(candidate, &results[i]); err != nil {
			return Resolution{}, err
		}
	}
	for _, other := range results[1:] {
		if !results[0].agrees(&other, a.path.order) {
			return Resolution{}, &ambiguousError{a, layout.name, results}
		}
	}
	return results[0], nil
}

// Resolver returns a function that does what Access.Resolve does for the layout, and looks
// for each field, type or enumerator that an object accesses once: what it returns is
// shared, and not to be changed. It is for one goroutine.
func (l *Layout) Resolver() func(*Access) (*Resolution, error) {
	type same struct {
		path   *pathSpec // of one kind of record, see reader.what
		nested *nest
	}
	known := make(map[same]*Resolution)
	return func(a *Access) (*Resolution, error) {
		key := same{a.path, a.nested}
		if resolution, ok := known[key]; ok {
			return resolution, nil
		}
		resolution, err := a.Resolve(l)
		if err == nil {
			known[key] = &resolution
		}
		return &resolution, err
	}
}

// DefinedIn reports whether a layout has types that the root type may stand for:
// a typedef md_desc is no struct md_desc.
func (a *Access) DefinedIn(layout *Layout) (bool, error) {
	candidates, err := a.candidates(layout)
	return len(candidates) > 0, err
}

// candidates returns the types of the layout that the root type may stand for.
func (a *Access) candidates(layout *Layout) ([]candidate, error) {
	if a.Adopted() {
		return a.nested.candidatesIn(layout)
	}
	return layout.candidatesFor(a.path.root)
}

// candidatesFor returns the types of the layout that have a root type's name and
// are of its kind.
func (l *Layout) candidatesFor(root btf.Type) ([]candidate, error) {
	named, err := l.named(btfraw.EssentialName(root.TypeName()))
	if err != nil {
		return nil, err
	}
	var candidates []candidate
	for _, c := range named {
		if sameKind(c.typ, root) {
			candidates = append(candidates, c)
		}
	}
	return candidates, nil
}

// rootName spells the root type without its flavour.
func (a *Access) rootName() string {
	full := TypeString(a.path.root)
	return strings.Replace(full, a.path.root.TypeName(), btfraw.EssentialName(a.path.root.TypeName()), 1)
}

// missing returns the resolution of an access to what is not there. What libbpf
// documents as "0 if there is none" is 0, what it would have to invent a value
// for is poison.
func (a *Access) missing(why string) Resolution {
	r := Resolution{Missing: why}
	switch a.Kind {
	case FieldExists, TypeExists, TypeMatches, EnumExists, TypeSize, TargetTypeID:
	default:
		r.Poison = true
	}
	return r
}

// resolveIn resolves the access in one candidate.
func (a *Access) resolveIn(c candidate) (Resolution, error) {
	switch {
	case a.Kind.aboutField():
		return a.resolveField(c)
	case a.Kind.AboutEnum():
		return a.resolveEnumerator(c)
	default:
		return a.resolveType(c)
	}
}

func (a *Access) resolveField(c candidate) (Resolution, error) {
	loc, why, err := match(a.path, c.typ)
	if err != nil {
		return Resolution{}, err
	}
	if why != "" {
		r := a.missing(why)
		r.Type, r.Fields = TypeString(c.typ), c.fields
		return r, nil
	}
	if a.path.end != nil {
		if why, err = loc.matchEnd(a.path.end, a.path.order); err != nil {
			return Resolution{}, err
		}
		if why != "" {
			r := a.missing(why)
			r.Type = TypeString(c.typ)
			return r, nil
		}
	}
	r, err := fieldResolution(a.Kind, loc, c.typ, a.path.order)
	r.TypeSize = typeSize(c.typ)
	return r, err
}

// typeSize returns the size of a type in bytes, 0 if it has none.
func typeSize(typ btf.Type) uint32 {
	size, err := btf.Sizeof(typ)
	if err != nil {
		return 0
	}
	return uint32(min(size, math.MaxUint32))
}

func (a *Access) resolveEnumerator(c candidate) (Resolution, error) {
	enum, ok := btf.UnderlyingType(c.typ).(*btf.Enum)
	if !ok {
		return a.missing(fmt.Sprintf("%s is no enumeration", TypeString(c.typ))), nil
	}
	wanted := btfraw.EssentialName(a.path.enumerator.Name)
	for _, value := range enum.Values {
		if btfraw.EssentialName(value.Name) == wanted {
			return enumResolution(a.Kind, value, c.typ), nil
		}
	}
	r := a.missing(fmt.Sprintf("%s has no %s", TypeString(c.typ), wanted))
	r.Type = TypeString(c.typ)
	return r, nil
}

func (a *Access) resolveType(c candidate) (Resolution, error) {
	matches := compatible
	if a.Kind == TypeMatches {
		matches = structurallyMatches
	}
	local := a.path.root
	if c.at != nil { // a typedef need not be one there
		local = btf.UnderlyingType(local)
	}
	if !matches(local, c.typ) {
		r := a.missing(fmt.Sprintf("%s differs from the program's", TypeString(c.typ)))
		r.Type = TypeString(c.typ)
		return r, nil
	}
	return typeResolution(a.Kind, c.typ, c.id)
}

// fieldResolution gives the value of a record about a field
// (bpf_core_calc_field_relo of libbpf).
func fieldResolution(kind Kind, loc location, root btf.Type, order binary.ByteOrder) (Resolution, error) {
	field, err := loc.field()
	if err != nil {
		return Resolution{}, err
	}
	r := Resolution{Exists: true, Field: field, Type: TypeString(root)}

	bitSize, bitOffset := field.Size*8, uint32(0)
	if field.IsBitField() {
		bitSize, bitOffset = field.BitSize, field.BitOffset-field.Offset*8
	}
	if (kind == LeftShift || kind == RightShift) && field.Size > 8 {
		return Resolution{}, fmt.Errorf("%s of %d bytes has no shift", field.Type, field.Size)
	}
	if (kind == LeftShift || kind == ByteSize) && field.IsBitField() && field.Size == 0 {
		return Resolution{}, fmt.Errorf("the bit-field %s crosses an 8-byte boundary: no single load reads it", field)
	}
	switch kind {
	case ByteOffset:
		r.Value = uint64(field.Offset)
	case ByteSize:
		r.Value = uint64(field.Size)
	case FieldExists:
		r.Value = 1
	case Signed:
		if field.Signed {
			r.Value = 1
		}
	case LeftShift:
		// The field's top bit goes to bit 63 of a register that holds its unit.
		if order == binary.BigEndian {
			r.Value = uint64((8-field.Size)*8 + bitOffset)
		} else {
			r.Value = uint64(64 - (bitOffset + bitSize))
		}
	case RightShift:
		r.Value = uint64(64 - bitSize)
	}
	return r, nil
}

func enumResolution(kind Kind, value btf.EnumValue, root btf.Type) Resolution {
	r := Resolution{Exists: true, Value: 1, Type: TypeString(root)}
	if kind == EnumValue {
		r.Value = value.Value
	}
	return r
}

func typeResolution(kind Kind, root btf.Type, id btf.TypeID) (Resolution, error) {
	r := Resolution{Exists: true, Value: 1, Type: TypeString(root)}
	switch kind {
	case TypeSize:
		size, err := btf.Sizeof(root)
		if err != nil {
			return Resolution{}, fmt.Errorf("size of %s: %w", r.Type, err)
		}
		r.Value = uint64(size)
	case LocalTypeID, TargetTypeID:
		r.Value = uint64(id)
	}
	return r, nil
}

// agrees reports whether two candidates come to the same.
func (r *Resolution) agrees(other *Resolution, order binary.ByteOrder) bool {
	return r.Exists == other.Exists && r.Poison == other.Poison && r.Value == other.Value && sameField(r.Field, other.Field, order)
}

// sameField reports whether two candidates have the same at the same place, or both nothing.
func sameField(a, b *Field, order binary.ByteOrder) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Offset == b.Offset && a.BitOffset == b.BitOffset && SameRepresentation(a, b, order)
}

// String describes the resolution in a few words: "__u32 at 8", "1",
// "not there: ...".
func (r *Resolution) String() string {
	switch {
	case !r.Exists:
		return "not there: " + r.Missing
	case r.Field != nil:
		return r.Field.String()
	default:
		return fmt.Sprint(r.Value)
	}
}

// ambiguousError lists what each candidate says.
type ambiguousError struct {
	access  *Access
	layout  string
	results []Resolution
}

func (e *ambiguousError) Error() string {
	said := make([]string, len(e.results))
	for i, r := range e.results {
		said[i] = fmt.Sprintf("%s says %s", r.Type, r.String())
	}
	remedy := "keep the one that this NIC uses"
	if e.access.Adopted() {
		remedy = "declare a type for each of the fields that they are of"
	}
	return fmt.Sprintf("%s: the types in layout %s disagree: %s: %s",
		e.access.Path, e.layout, strings.Join(said, "; "), remedy)
}

func (e *ambiguousError) Unwrap() error { return ErrAmbiguous }
