package nic

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// ErrNoDescriptor is wrapped by the error about types without a struct md_desc.
var ErrNoDescriptor = errors.New("no struct " + reloc.Descriptor)

// errNoDescriptor says what to do about it, where nothing else is known.
var errNoDescriptor = fmt.Errorf("%w: compile it with a variable of the struct in it, since clang leaves out what nothing uses", ErrNoDescriptor)

// Header returns a layout as C: its descriptor, in all its flavours, and the types that it
// is made of, with the offset of each member in a comment, and _Static_assert about the byte
// order and about every offset and size. C asks no offset of a bit-field: those are held by what is around them.
// title is the header's first comment.
//
// What is compiled from it, with a variable of the descriptor's type, is the same layout:
// names, offsets, sizes, signs and byte orders of all members are the same, those behind
// pointers left out. What C can't declare is refused. It wraps ErrNoDescriptor if there
// is none.
func Header(layout *reloc.Layout, title string) (string, error) {
	text, err := header(layout, title)
	if err != nil {
		return "", fmt.Errorf("layout %s: %w", layout.Name(), err)
	}
	return text, nil
}

func header(layout *reloc.Layout, title string) (string, error) {
	descriptors, err := layout.Structs(reloc.Descriptor)
	if err != nil {
		return "", err
	}
	if len(descriptors) == 0 {
		return "", errNoDescriptor
	}
	h := &headerWriter{
		placer:      placer{known: make(map[btf.Type]placing)},
		names:       make(map[string]bool),
		enums:       make(map[*btf.Enum]*anonymousEnum),
		underway:    make(map[btf.Type]bool),
		includes:    true,
		defined:     make(map[btf.Type]bool),
		definitions: make(map[string]string),
		enumerators: make(map[string]string),
	}
	for _, descriptor := range descriptors {
		if err := h.survey(descriptor); err != nil {
			return "", err
		}
	}
	h.nameEnums()
	for _, descriptor := range descriptors {
		if err := h.define(descriptor); err != nil {
			return "", err
		}
	}
	return h.file(title, layout.ByteOrder()), nil
}

// headerWriter writes definitions in the order in which C wants them.
type headerWriter struct {
	placer

	// From the survey.
	names    map[string]bool // of typedefs
	enums    map[*btf.Enum]*anonymousEnum
	underway map[btf.Type]bool
	nodes    int
	includes bool // whether linux/types.h has all typedefs of its names

	defined     map[btf.Type]bool
	definitions map[string]string // by what they define: "struct rx", "typedef u32"
	enumerators map[string]string // what each is of
	forward     []string          // structs and unions that are pointed to
	text        strings.Builder
	needsLinux  bool
}

// anonymousEnum is an enumeration that has no name. It is declared where it is used, or by
// a typedef of this name if that is in several places: its enumerators can't be declared twice.
type anonymousEnum struct {
	uses    int
	typedef string
}

// maxNodes bounds how much is written of a layout of some hundred bytes.
const maxNodes = 1 << 16

// maxDepth bounds how deep types are in each other: compilers don't take more.
const maxDepth = 128

// survey looks at all types that are declared where they are used, or have a name.
func (h *headerWriter) survey(typ btf.Type) error {
	if h.nodes++; h.nodes > maxNodes {
		return errors.New("it is made of more types than its bytes explain")
	}
	d := declare(typ, "")
	base := d.base
	if _, isTypedef := base.(*btf.Typedef); d.isPointer && !isTypedef {
		return nil
	}
	if h.underway[base] || len(h.underway) == maxDepth {
		return fmt.Errorf("%s: it contains itself, or too many others in each other", reloc.TypeString(base))
	}
	switch typ := base.(type) {
	case *btf.Typedef:
		if _, known := linuxTypes[typ.Name]; known && !isLinuxType(typ) {
			h.includes = false
		}
		if h.names[typ.Name] {
			return nil
		}
		h.names[typ.Name] = true
	case *btf.Enum:
		if typ.Name != "" {
			return nil
		}
		if h.enums[typ] == nil {
			h.enums[typ] = &anonymousEnum{}
		}
		h.enums[typ].uses++
		return nil
	}
	h.underway[base] = true
	defer delete(h.underway, base)
	for _, part := range partsOf(base) {
		if err := h.survey(part); err != nil {
			return err
		}
	}
	return nil
}

// partsOf returns the types that one is made of by value.
func partsOf(typ btf.Type) (parts []btf.Type) {
	if typedef, ok := typ.(*btf.Typedef); ok {
		return []btf.Type{typedef.Type}
	}
	for _, member := range membersOf(typ) {
		parts = append(parts, member.Type)
	}
	return parts
}

// nameEnums gives names to the anonymous enumerations that are used in several places.
func (h *headerWriter) nameEnums() {
	byFirst := func(a, b *btf.Enum) int { return cmp.Compare(firstEnumerator(a), firstEnumerator(b)) }
	number := 0
	for _, enum := range slices.SortedFunc(maps.Keys(h.enums), byFirst) {
		found := h.enums[enum]
		for found.uses > 1 && found.typedef == "" {
			number++
			if name := fmt.Sprintf("%s_enum%d", reloc.Descriptor, number); !h.names[name] {
				found.typedef = name
			}
		}
	}
}

func firstEnumerator(enum *btf.Enum) string {
	if len(enum.Values) == 0 {
		return ""
	}
	return enum.Values[0].Name
}

// define writes what has to be known of a type before it is used by value.
func (h *headerWriter) define(typ btf.Type) error {
	d := declare(typ, "")
	if !d.isPointer {
		if h.defined[d.base] {
			return nil
		}
		h.defined[d.base] = true
	}
	switch base := d.base.(type) {
	case *btf.Typedef:
		return h.defineTypedef(base)
	case *btf.Struct, *btf.Union:
		if d.isPointer {
			return nil // it is declared ahead
		}
		for _, part := range partsOf(base) {
			if err := h.define(part); err != nil {
				return err
			}
		}
		if base.TypeName() == "" {
			return nil // where it is used
		}
		return h.defineRecord(base)
	case *btf.Enum:
		return h.defineEnum(base)
	case *btf.Int, *btf.Float:
		_, err := spellInt(base)
		return err
	case *btf.Void, *btf.Fwd:
		if d.isPointer {
			return nil
		}
	}
	return fmt.Errorf("%s: C has no member of this type", reloc.TypeString(typ))
}

func (h *headerWriter) defineTypedef(typedef *btf.Typedef) error {
	if h.includes && isLinuxType(typedef) {
		h.needsLinux = true
		return nil
	}
	if err := h.define(typedef.Type); err != nil {
		return err
	}
	d := declare(typedef.Type, typedef.Name)
	lines, err := h.declaration(d, 0, typedef.Name)
	if err != nil {
		return err
	}
	text := "typedef " + spellLines(lines)
	if isAnonymousRecord(d.base) && d.elements == "" && d.name == typedef.Name {
		text += h.assertions(typedef.Name, d.base)
	}
	return h.add("typedef "+typedef.Name, typedef.Name, text)
}

func (h *headerWriter) defineRecord(record btf.Type) error {
	lines, err := h.record(record, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", reloc.TypeString(record), err)
	}
	lines[len(lines)-1].text += ";"
	name := reloc.TypeString(record)
	return h.add(name, record.TypeName(), spellLines(lines)+h.assertions(name, record))
}

func (h *headerWriter) defineEnum(enum *btf.Enum) error {
	owner := reloc.TypeString(enum)
	if enum.Name == "" {
		owner = fmt.Sprintf("enum {%s, ...}", firstEnumerator(enum))
	}
	for _, value := range enum.Values {
		if err := checkName(value.Name); err != nil {
			return fmt.Errorf("%s: %w", owner, err)
		}
		if other, taken := h.enumerators[value.Name]; taken && other != owner {
			return fmt.Errorf("%s is in %s and %s: C has no two enumerators of a name", value.Name, other, owner)
		}
		h.enumerators[value.Name] = owner
	}
	text, err := spellEnum(enum)
	if err != nil {
		return err
	}
	if enum.Name != "" {
		return h.add(owner, enum.Name, text+";\n")
	}
	if found := h.enums[enum]; found.typedef != "" {
		return h.add("typedef "+found.typedef, found.typedef, "typedef "+text+" "+found.typedef+";\n")
	}
	return nil
}

// add writes a definition, unless it is there.
func (h *headerWriter) add(what, name, text string) error {
	if err := checkName(name); err != nil {
		return err
	}
	switch present, there := h.definitions[what]; {
	case !there:
		h.definitions[what] = text
		h.text.WriteString("\n" + text)
	case present != text:
		return fmt.Errorf("there are different types %s: C has one of a name", strings.TrimPrefix(what, "typedef "))
	}
	return nil
}

// line is one of a definition.
type line struct {
	text    string
	comment string
}

// record returns the lines of a struct or union that is at an offset in bits, without the
// semicolon at the end.
func (h *headerWriter) record(record btf.Type, at uint64) ([]line, error) {
	so, err := h.placer.of(record)
	if err != nil {
		return nil, err
	}
	keyword := "struct"
	_, isUnion := record.(*btf.Union)
	if isUnion {
		keyword = "union"
	}
	size, err := btf.Sizeof(record)
	if err != nil {
		return nil, err
	}
	lines := []line{{strings.TrimSuffix(keyword+" "+record.TypeName(), " ") + " {", ""}}
	end := uint64(0)
	for i, member := range membersOf(record) {
		if !isUnion {
			lines = append(lines, h.padding(record, i, end, at, so)...)
		}
		inner, err := h.member(&member, at+uint64(member.Offset))
		if err != nil {
			return nil, err
		}
		lines = append(lines, inner...)
		bits, err := bitsOf(&member)
		if err != nil {
			return nil, err
		}
		end = uint64(member.Offset) + bits
	}
	switch {
	case so.filler > 64:
		lines = append(lines, line{fmt.Sprintf("\tunsigned __int128 : %d;", so.filler), comment(at, so.filler) + " unused"})
	case so.filler > 0:
		lines = append(lines, line{fmt.Sprintf("\tunsigned long long : %d;", so.filler), comment(at, so.filler) + " unused"})
	case !isUnion:
		lines = append(lines, h.paddingAtEnd(end, uint64(size)*8, at, so)...)
	}
	return append(lines, line{"}" + so.attributes(), ""}), nil
}

// padding returns the lines for what is between the end of the members before one and it.
func (h *headerWriter) padding(record btf.Type, i int, end, at uint64, so placing) []line {
	member := &membersOf(record)[i]
	offset := uint64(member.Offset)
	if placed, _, err := h.next(member, end, so.packed); err != nil || placed == offset {
		return unused(end, offset, at, nil)
	}
	return unused(end, offset, at, padding(end, offset, so.unit()))
}

// paddingAtEnd returns those for what is behind the last member.
func (h *headerWriter) paddingAtEnd(end, size, at uint64, so placing) []line {
	if roundUp(end, uint64(so.align)*8) == size {
		return unused(end, size, at, nil)
	}
	return unused(end, size, at, padding(end, size, so.unit()))
}

// unused returns the lines for a gap, with the unnamed bit-fields that it takes, if any.
func unused(from, to, at uint64, bits []uint64) (lines []line) {
	if from == to {
		return nil
	}
	if len(bits) == 0 {
		return []line{{"\t", comment(at+from, to-from) + " unused"}}
	}
	for _, width := range bits {
		lines = append(lines, line{fmt.Sprintf("\t%s : %d;", cmp.Or(paddingTypes[width], "unsigned char"), width), comment(at+from, width) + " unused"})
		from += width
	}
	return lines
}

// paddingTypes are those of unnamed bit-fields of more than 8 bits.
var paddingTypes = map[uint64]string{16: "unsigned short", 32: "unsigned int", 64: "unsigned long long"}

// comment says where bits are: "20" for the bytes from 20 on, or "bit 67".
func comment(at, bits uint64) string {
	if at%8 == 0 && bits%8 == 0 {
		return fmt.Sprint(at / 8)
	}
	return fmt.Sprintf("bit %d", at)
}

// member returns the lines of a member that is at a bit.
func (h *headerWriter) member(member *btf.Member, at uint64) ([]line, error) {
	if member.Name != "" {
		if err := checkName(member.Name); err != nil {
			return nil, err
		}
	}
	d := declare(member.Type, member.Name)
	if member.Name == "" && !isAnonymousRecord(d.base) {
		return nil, fmt.Errorf("a member of type %s has no name: C has no such member", reloc.TypeString(member.Type))
	}
	where := fmt.Sprint(at / 8)
	if member.BitfieldSize > 0 {
		d.name += fmt.Sprintf(" : %d", member.BitfieldSize)
		where = fmt.Sprintf("bit %d", at)
	}
	lines, err := h.declaration(d, at, member.Name)
	if err != nil {
		return nil, err
	}
	lines[0].comment = where
	for i := range lines {
		lines[i].text = "\t" + lines[i].text
	}
	return lines, nil
}

// declaration returns the lines that declare something by a type.
func (h *headerWriter) declaration(d declarator, at uint64, name string) ([]line, error) {
	lines, err := h.base(d.base, at)
	if err != nil {
		return nil, err
	}
	lines[0].text = d.qualifiers + lines[0].text
	last := &lines[len(lines)-1].text
	*last = strings.TrimSuffix(*last+" "+d.name, " ") + ";"
	return lines, nil
}

// base returns the lines of a type without qualifiers, arrays and pointers.
func (h *headerWriter) base(typ btf.Type, at uint64) ([]line, error) {
	switch typ := typ.(type) {
	case *btf.Typedef:
		return []line{{typ.Name, ""}}, nil
	case *btf.Int, *btf.Float:
		name, err := spellInt(typ)
		return []line{{name, ""}}, err
	case *btf.Void:
		return []line{{"void", ""}}, nil
	case *btf.Enum:
		return h.enum(typ)
	}
	name := reloc.TypeString(typ)
	switch {
	case isAnonymousRecord(typ):
		return h.record(typ, at)
	case h.definitions[name] == "" && !slices.Contains(h.forward, name): // behind a pointer
		h.forward = append(h.forward, name)
	}
	return []line{{name, ""}}, checkName(typ.TypeName())
}

func (h *headerWriter) enum(enum *btf.Enum) (lines []line, err error) {
	if enum.Name != "" {
		return []line{{"enum " + enum.Name, ""}}, nil
	}
	if name := h.enums[enum].typedef; name != "" {
		return []line{{name, ""}}, nil
	}
	text, err := spellEnum(enum)
	for part := range strings.SplitSeq(text, "\n") {
		lines = append(lines, line{part, ""})
	}
	return lines, err
}

func isAnonymousRecord(typ btf.Type) bool {
	switch typ.(type) {
	case *btf.Struct, *btf.Union:
		return typ.TypeName() == ""
	}
	return false
}

// assertions returns those about a type that is written out, and what is anonymous in it.
func (h *headerWriter) assertions(name string, record btf.Type) string {
	var b strings.Builder
	size, _ := btf.Sizeof(record)
	fmt.Fprintf(&b, "\n_Static_assert(sizeof(%s) == %d, \"size of %[1]s\");\n", name, size)
	h.assertMembers(&b, name, record, "", 0)
	return b.String()
}

func (h *headerWriter) assertMembers(b *strings.Builder, name string, record btf.Type, path string, at uint64) {
	for _, member := range membersOf(record) {
		d, place := declare(member.Type, member.Name), at+uint64(member.Offset)
		inner := path
		if member.Name != "" && member.BitfieldSize == 0 {
			size, _ := btf.Sizeof(member.Type)
			fmt.Fprintf(b, "_Static_assert(offsetof(%s, %s) == %d, \"offset of %[2]s\");\n", name, path+member.Name, place/8)
			fmt.Fprintf(b, "_Static_assert(sizeof(((%s *)0)->%s) == %d, \"size of %[2]s\");\n", name, path+member.Name, size)
			inner = path + member.Name + d.elements + "."
		}
		if isAnonymousRecord(d.base) {
			h.assertMembers(b, name, d.base, inner, place)
		}
	}
}

// spellLines returns lines with their comments below each other.
func spellLines(lines []line) string {
	const tab = 8
	width := func(text string) int {
		tabs := strings.Count(text, "\t")
		return len(text) + tabs*(tab-1)
	}
	column := 0
	for _, l := range lines {
		if l.comment != "" {
			column = max(column, width(l.text)+2)
		}
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
		if l.comment != "" {
			fmt.Fprintf(&b, "%s/* %s */", strings.Repeat(" ", column-width(l.text)), l.comment)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// guard keeps the header from being included twice: not that of bpf/md_desc.h, which
// declares what programs see.
const guard = "__MD_DESC_LAYOUT_H__"

// file returns the whole header. In the other byte order numbers are others, and bit-fields
// elsewhere.
func (h *headerWriter) file(title string, order binary.ByteOrder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "/*\n")
	for line := range strings.SplitSeq(strings.ReplaceAll(title, "*/", "* /"), "\n") {
		b.WriteString(strings.TrimRight(" * "+line, " ") + "\n")
	}
	fmt.Fprintf(&b, " */\n#ifndef %s\n#define %[1]s\n\n#include <stddef.h>\n", guard)
	if h.needsLinux {
		b.WriteString("#ifndef __VMLINUX_H__\n#include <linux/types.h>\n#endif\n")
	}
	if len(h.forward) > 0 {
		b.WriteString("\n")
	}
	for _, name := range h.forward {
		fmt.Fprintf(&b, "%s;\n", name)
	}
	fmt.Fprintf(&b, "\n_Static_assert(__BYTE_ORDER__ == __ORDER_%s__, \"byte order\");\n", orderMacro(order))
	b.WriteString(h.text.String())
	fmt.Fprintf(&b, "\n#endif /* %s */\n", guard)
	return b.String()
}

// orderMacro returns the end of the name by which compilers have a byte order.
func orderMacro(order binary.ByteOrder) string {
	if order.Uint16([]byte{0, 1}) == 1 {
		return "BIG_ENDIAN"
	}
	return "LITTLE_ENDIAN"
}
