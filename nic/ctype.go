package nic

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// linuxTypes are the typedefs of include/uapi/linux/types.h, and what they are of.
var linuxTypes = map[string]string{
	"__u8": "unsigned char", "__u16": "unsigned short", "__u32": "unsigned int", "__u64": "unsigned long long",
	"__s8": "signed char", "__s16": "short", "__s32": "int", "__s64": "long long",
	"__be16": "__u16", "__be32": "__u32", "__be64": "__u64",
	"__le16": "__u16", "__le32": "__u32", "__le64": "__u64",
	"__sum16": "__u16", "__wsum": "__u32",
}

// isLinuxType reports whether a typedef is what its name is in linux/types.h.
func isLinuxType(typedef *btf.Typedef) bool {
	of, known := linuxTypes[typedef.Name]
	if !known {
		return false
	}
	if next, ok := typedef.Type.(*btf.Typedef); ok {
		return next.Name == of && isLinuxType(next)
	}
	name, err := spellInt(typedef.Type)
	return err == nil && name == of
}

// plainInts are integers and floats by what C calls them where char is signed and long
// has 64 bits, as it is for BPF.
var plainInts = []struct {
	size   uint32
	signed bool
	names  []string // those by which BTF has it, the first if by another one
}{
	{1, true, []string{"signed char", "char"}},
	{1, false, []string{"unsigned char"}},
	{2, true, []string{"short", "short int"}},
	{2, false, []string{"unsigned short", "short unsigned int"}},
	{4, true, []string{"int"}},
	{4, false, []string{"unsigned int"}},
	{8, true, []string{"long long", "long", "long int", "long long int"}},
	{8, false, []string{"unsigned long long", "unsigned long", "long unsigned int", "long long unsigned int"}},
	{16, true, []string{"__int128"}},
	{16, false, []string{"unsigned __int128", "__int128 unsigned"}},
}

// spellInt returns what C calls an integer, a bool or a floating-point number.
func spellInt(typ btf.Type) (string, error) {
	switch typ := typ.(type) {
	case *btf.Int:
		if typ.Encoding&btf.Bool != 0 && typ.Size == 1 {
			return "_Bool", nil
		}
		for _, plain := range plainInts {
			switch {
			case typ.Encoding&btf.Bool != 0 || plain.size != typ.Size || plain.signed != (typ.Encoding&btf.Signed != 0):
			case slices.Contains(plain.names, typ.Name):
				return typ.Name, nil
			default:
				return plain.names[0], nil
			}
		}
	case *btf.Float:
		if name := map[uint32]string{4: "float", 8: "double"}[typ.Size]; name != "" {
			return name, nil
		}
	}
	size, _ := btf.Sizeof(typ)
	return "", fmt.Errorf("%s has %d bytes: C has no such number", reloc.TypeString(typ), size)
}

// spellEnum returns an enumeration with its enumerators, of the size and the sign that it
// has: those that C chooses, or else the smallest, or else those of a type that is named,
// as C23 has it, and clang without.
func spellEnum(enum *btf.Enum) (string, error) {
	if len(enum.Values) == 0 {
		return "", fmt.Errorf("%s: it has no enumerators: C has no such enumeration", reloc.TypeString(enum))
	}
	var b strings.Builder
	b.WriteString(strings.TrimSuffix("enum "+enum.Name, " "))
	attribute := ""
	signed, sizes := choiceOfC(enum)
	switch {
	case signed == enum.Signed && enum.Size == max(sizes, 4):
	case signed == enum.Signed && enum.Size == sizes:
		attribute = " __attribute__((packed))"
	default:
		encoding := btf.Unsigned
		if enum.Signed {
			encoding = btf.Signed
		}
		name, err := spellInt(&btf.Int{Size: enum.Size, Encoding: encoding})
		if err != nil {
			return "", err
		}
		b.WriteString(" : " + name)
	}
	b.WriteString(" {\n")
	for _, value := range enum.Values {
		fmt.Fprintf(&b, "\t%s = %s,\n", value.Name, spellValue(value.Value, enum.Signed))
	}
	b.WriteString("}" + attribute)
	return b.String(), nil
}

// choiceOfC returns whether C makes an enumeration signed, and the smallest size in bytes
// that its values fit in.
func choiceOfC(enum *btf.Enum) (signed bool, size uint32) {
	negative := func(v btf.EnumValue) bool { return enum.Signed && int64(v.Value) < 0 }
	signed = slices.ContainsFunc(enum.Values, negative)
	for size = 1; size < 8; size *= 2 {
		bits := size * 8
		fits := func(v btf.EnumValue) bool {
			if signed {
				return int64(v.Value) >= -1<<(bits-1) && int64(v.Value) < 1<<(bits-1)
			}
			return v.Value < 1<<bits
		}
		if !slices.ContainsFunc(enum.Values, func(v btf.EnumValue) bool { return !fits(v) }) {
			break
		}
	}
	return signed, size
}

// spellValue returns a constant of the type that an enumerator has.
func spellValue(value uint64, signed bool) string {
	switch {
	case signed && int64(value) == math.MinInt64:
		return "-9223372036854775807LL - 1"
	case signed && int64(value) != int64(int32(value)):
		return fmt.Sprintf("%dLL", int64(value))
	case signed:
		return fmt.Sprint(int64(value))
	case value > math.MaxUint32:
		return fmt.Sprintf("%dULL", value)
	case value > math.MaxInt32:
		return fmt.Sprintf("%dU", value)
	}
	return fmt.Sprint(value)
}

// pointee returns what is declared behind a pointer: rules of CO-RE ask no more of it than
// the kind and the name, and only what has a name can be declared ahead. All else is void.
func pointee(typ btf.Type) btf.Type {
	switch typ := typ.(type) {
	case *btf.Const:
		return &btf.Const{Type: pointee(typ.Type)}
	case *btf.Volatile:
		return &btf.Volatile{Type: pointee(typ.Type)}
	case *btf.Pointer:
		return &btf.Pointer{Target: pointee(typ.Target)}
	case *btf.Typedef:
		switch btf.UnderlyingType(typ).(type) {
		case *btf.Int, *btf.Float:
			return typ
		}
		return pointee(typ.Type)
	case *btf.Int, *btf.Float:
		return typ
	case *btf.Struct, *btf.Union, *btf.Fwd:
		if typ.TypeName() != "" {
			return typ
		}
	}
	return &btf.Void{}
}

// declarator is a type taken apart as C declares it: "const", the type itself, and the name
// with the arrays and pointers around it, as in "*name[4]".
type declarator struct {
	qualifiers string
	base       btf.Type
	name       string
	elements   string // "[0]" for each array, which names its first element behind the name
	isPointer  bool   // whether the type itself is pointed to only
}

func declare(typ btf.Type, name string) declarator {
	d := declarator{base: typ, name: name}
	for {
		switch typ := d.base.(type) {
		case *btf.Const:
			d.qualifiers += "const "
			d.base = typ.Type
		case *btf.Volatile:
			d.qualifiers += "volatile "
			d.base = typ.Type
		case *btf.Restrict:
			d.qualifiers += "__restrict "
			d.base = typ.Type
		case *btf.TypeTag:
			d.base = typ.Type
		case *btf.Array:
			d.name += fmt.Sprintf("[%d]", typ.Nelems)
			d.elements += "[0]"
			d.base = typ.Type
		case *btf.Pointer:
			d.name = "*" + d.qualifiers + d.name
			d.qualifiers, d.base, d.isPointer = "", pointee(typ.Target), true
		case *btf.Typedef:
			if typ.Name != "bool" { // a keyword since C23, and a macro before
				return d
			}
			d.base = typ.Type
		default:
			return d
		}
	}
}

// checkName refuses what is no name in C.
func checkName(name string) error {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return fmt.Errorf("%q is no name in C", name)
		}
	}
	if name == "" || slices.Contains(keywords, name) {
		return fmt.Errorf("%q is no name in C", name)
	}
	return nil
}

// keywords are those of C11, and what C17's headers and clang take.
var keywords = strings.Fields(`auto break case char const continue default do double else enum extern float for goto
	if inline int long register restrict return short signed sizeof static struct switch typedef union unsigned void
	volatile while asm typeof bool offsetof _Alignas _Alignof _Atomic _Bool _Complex _Generic _Imaginary _Noreturn
	_Static_assert _Thread_local`)
