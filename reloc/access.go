// Package reloc reads the accesses that clang recorded in a BPF object as CO-RE
// relocations, and resolves each against the layout of a NIC.
//
// Its rules are those of libbpf's relo_core.c, which the comments name function
// by function.
package reloc

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path"
	"sort"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/refuse"
)

// Errors for an object that does not record its accesses, which a caller may
// want to tell from a damaged one.
//
// GCC writes no func_info before version 14. Of the accesses to a
// preserve_access_index type version 12 leaves many unrecorded, and records
// others on the instruction in front: testdata/invalid/gcc.c has some of each.
// Nothing in the object tells where the unrecorded ones are.
var (
	ErrNoBTF      = errors.New("no BTF: compile with clang -O2 -g -target bpf")
	ErrNoFuncInfo = errors.New("no func_info in .BTF.ext, as GCC before version 14 leaves it, which does not record every access: compile with clang -O2 -g -target bpf")
	ErrNoBTFExt   = errors.New("no .BTF.ext, so no recorded accesses: compile with clang -O2 -g -target bpf, and strip with llvm-strip -g only")
)

// InstructionSize is that of a BPF instruction slot in bytes. LDDW takes two.
const InstructionSize = 8

// Access is one use of a field, a type or an enumerator that the compiler
// recorded.
type Access struct {
	// Record is the index of the record among all of .BTF.ext.
	Record int `json:"record"`

	// Program is the function that the instruction is in, Section its ELF
	// section, Insn the instruction's slot in the section, in units of
	// InstructionSize, and FunctionStart the slot of the function's first one.
	//
	// Program is empty if no symbol says so: no loader loads the instruction then,
	// such as the code of a weak function that another file's took the place of.
	Program       string `json:"program"`
	Section       string `json:"section"`
	Insn          int    `json:"insn"`
	FunctionStart int    `json:"functionStart"`

	Kind    Kind `json:"kind"`
	lacking bool // see Lacking

	// Root is the type that the path starts at, such as "struct md_desc", and
	// Path what the source says, such as "md->hash".
	Root string `json:"root"`
	Path string `json:"path"`

	Source Source `json:"source"`

	// Local is what the access comes to in the object's own types: what the
	// instruction holds as long as nobody has rewritten it. Records of the same share
	// it: it is not to be changed.
	Local *Resolution `json:"local"`

	path   *pathSpec
	nested *nest // where the root type lies in others, see Adopt
}

// RootName returns the name of the root type, its flavour included; empty for
// an anonymous type.
func (a *Access) RootName() string { return a.path.root.TypeName() }

// FieldName returns the name of the member of the root type that is accessed; empty if
// the path leads further, to an element of an array of root types, or to none.
func (a *Access) FieldName() string {
	if !a.Kind.aboutField() || a.path.first != 0 || a.path.end != nil || len(a.path.steps) != 1 {
		return ""
	}
	return a.path.steps[0].name
}

// lastName returns what the source calls what is accessed: the field, the enumerator or
// the type.
func (a *Access) lastName() string {
	if !a.Kind.aboutField() && !a.Kind.AboutEnum() {
		return btfraw.EssentialName(a.RootName())
	}
	name := a.Path[strings.LastIndexAny(a.Path, ".>")+1:]
	name, _, _ = strings.Cut(name, "[")
	return name
}

// PastEnd reports whether the access asks for the address of one past the last
// element of an array, as in p != &md->words[4].
func (a *Access) PastEnd() bool { return a.path.end != nil }

// Source is a place in the C code. It is zero where the compiler recorded none.
type Source struct {
	File   string `json:"file,omitempty"`
	Line   uint32 `json:"line,omitempty"`
	Column uint32 `json:"column,omitempty"`
	Text   string `json:"text,omitempty"` // the whole line
}

// String returns "prog.c:14", or "?" for the zero value.
func (s Source) String() string {
	if s.File == "" {
		return "?"
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}

// Read returns the accesses that are recorded in a BPF object, in the order of
// its .BTF.ext section.
//
// It wraps ErrNoBTF or ErrNoBTFExt if the compiler recorded nothing because it
// was not told to, ErrNoFuncInfo if it is one that does not record every access,
// and refuses an object in which a record points outside its section or its
// type.
func Read(object []byte) ([]Access, error) {
	recorded, err := ReadObject(object)
	if err != nil {
		return nil, err
	}
	return recorded.Accesses, nil
}

// Recorded is what the compiler recorded in an object: the accesses, and the functions'
// prototypes.
type Recorded struct {
	Accesses []Access
	Types    *btf.Spec // the object's

	// Resolved are accesses of which somebody who knows took the records, made by
	// NewAccess (optional).
	Resolved []Access

	prototypes map[place]Prototype
	externs    map[string]Prototype
	raw        *btfraw.BTF
}

// all returns the accesses, those included that are resolved.
func (r *Recorded) all() iter.Seq[*Access] {
	return func(yield func(*Access) bool) {
		for _, accesses := range [][]Access{r.Accesses, r.Resolved} {
			for i := range accesses {
				if !yield(&accesses[i]) {
					return
				}
			}
		}
	}
}

// ReadObject returns all that is recorded in a BPF object, and the same errors as Read.
func ReadObject(object []byte) (*Recorded, error) {
	obj, err := elfobj.Parse(object)
	if err != nil {
		return nil, err
	}
	typesSection, extSection := obj.Section(".BTF"), obj.Section(".BTF.ext")
	switch {
	case typesSection == nil:
		return nil, ErrNoBTF
	case extSection == nil:
		return nil, ErrNoBTFExt
	}

	recorded, err := readRecords(obj, typesSection.Data, extSection.Data)
	if err != nil && !errors.Is(err, ErrNoFuncInfo) {
		err = fmt.Errorf("%w: %s", err, refuse.Recompile)
	}
	return recorded, err
}

// readRecords reads .BTF and .BTF.ext of an object.
func readRecords(obj *elfobj.Object, rawTypes, rawExt []byte) (*Recorded, error) {
	raw, err := btfraw.Parse(rawTypes, nil)
	if err != nil {
		return nil, err
	}
	types, err := loadTypes(rawTypes)
	if err != nil {
		return nil, err
	}
	if raw.Order != obj.Order {
		return nil, errors.New("damaged object: ELF header and .BTF differ in byte order")
	}
	ext, err := btfraw.ParseExt(rawExt, raw)
	if err != nil {
		return nil, err
	}

	if len(ext.Functions) == 0 {
		return nil, ErrNoFuncInfo
	}

	r := &reader{obj: obj, types: types, ext: ext, sections: make(map[string]*codeSection), known: make(map[recordedWhat]Access)}
	accesses := make([]Access, 0, ext.CountCORERelos())
	for i, record := range ext.CORERelos() {
		access, err := r.access(i, &record)
		if err != nil {
			return nil, fmt.Errorf("CO-RE record %d (section %s, offset %#x): %w", i, record.Section, record.InsnOffset, err)
		}
		accesses = append(accesses, access)
	}
	return &Recorded{
		Accesses:   accesses,
		prototypes: prototypes(types, ext),
		externs:    externs(types, obj),
		Types:      types,
		raw:        raw,
	}, nil
}

// NewAccess returns an access that no record is about any more, and so of no
// instruction: what a record of that kind, with that access string, from a root type
// would be about. The byte order is the object's.
func NewAccess(root btf.Type, accessString string, kind Kind, order binary.ByteOrder) (Access, error) {
	root = withoutTypedef(root)
	access := Access{Kind: kind, Root: TypeString(root)}
	return access, access.resolveLocally(root, 0, accessString, order)
}

// reader turns records into accesses.
type reader struct {
	obj      *elfobj.Object
	types    *btf.Spec
	ext      *btfraw.Ext
	sections map[string]*codeSection
	known    map[recordedWhat]Access
}

// recordedWhat is what a record says but for the place of its instruction.
type recordedWhat struct {
	typeID       uint32
	accessString string
	kind         Kind
}

// codeSection is a section that records point into.
type codeSection struct {
	code      []byte
	functions []elf.Symbol // by address
}

// classALU is the first of the classes of instructions that don't access memory
// (Documentation/bpf/standardization/instruction-set.rst).
const classALU = 4

func (r *reader) access(index int, record *btfraw.CORERelo) (Access, error) {
	section, err := r.section(record.Section)
	if err != nil {
		return Access{}, err
	}
	if err := section.check(record.InsnOffset); err != nil {
		return Access{}, err
	}
	if !Kind(record.Kind).known() {
		return Access{}, fmt.Errorf("unknown kind %d: made by a newer compiler than this program knows", record.Kind)
	}
	access, err := r.what(record)
	access.Record, access.Section, access.Insn = index, record.Section, int(record.InsnOffset/InstructionSize)
	access.Program, access.FunctionStart = section.function(record.InsnOffset)
	if access.path == nil { // of a type that is not there
		return Access{}, err
	}
	access.Source = r.source(&access, section)
	if err != nil {
		return Access{}, fmt.Errorf("%s: %w", access.Source, err)
	}
	return access, nil
}

// what returns what a record is about, wherever its instruction is. Records of the same
// share it.
func (r *reader) what(record *btfraw.CORERelo) (Access, error) {
	key := recordedWhat{record.TypeID, record.AccessString, Kind(record.Kind)}
	if access, ok := r.known[key]; ok {
		return access, nil
	}
	root, err := r.types.TypeByID(btf.TypeID(record.TypeID))
	if err != nil {
		return Access{}, fmt.Errorf("type %d: %w", record.TypeID, err)
	}
	root = withoutTypedef(root)
	access := Access{Kind: key.kind, Root: TypeString(root)}
	if err := access.resolveLocally(root, btf.TypeID(record.TypeID), record.AccessString, r.obj.Order); err != nil {
		return access, err
	}
	r.known[key] = access
	return access, nil
}

// withoutTypedef returns the descriptor if a type is another name for it, and other
// types as they are: they are looked for by the name that the program has for them.
func withoutTypedef(typ btf.Type) btf.Type {
	descriptor, ok := btf.UnderlyingType(typ).(*btf.Struct)
	if ok && btfraw.EssentialName(descriptor.Name) == Descriptor {
		return descriptor
	}
	return typ
}

func (r *reader) section(name string) (*codeSection, error) {
	if section, ok := r.sections[name]; ok {
		return section, nil
	}
	elfSection := r.obj.Section(name)
	if elfSection == nil {
		return nil, errors.New("the object has no such section")
	}
	section := &codeSection{code: elfSection.Data, functions: r.obj.Functions(elfSection)}
	r.sections[name] = section
	return section, nil
}

func (s *codeSection) check(insnOffset uint32) error {
	if insnOffset%InstructionSize != 0 {
		return errors.New("points between two instructions")
	}
	if uint64(insnOffset)+InstructionSize > uint64(len(s.code)) {
		return fmt.Errorf("points outside the section, which has %d bytes", len(s.code))
	}
	return nil
}

// function returns the name and the first slot of the function that an offset
// lies in; an empty name if no symbol says so.
func (s *codeSection) function(insnOffset uint32) (string, int) {
	after := sort.Search(len(s.functions), func(i int) bool { return s.functions[i].Value > uint64(insnOffset) })
	if after == 0 {
		return "", 0
	}
	symbol := s.functions[after-1]
	name, start := symbol.Name, int(symbol.Value/InstructionSize)
	if symbol.Size > 0 && uint64(insnOffset)-symbol.Value >= symbol.Size {
		name = ""
	}
	return name, start
}

// functionEnd returns where the function ends, in bytes, that an offset lies in.
func (s *codeSection) functionEnd(insnOffset uint32) uint32 {
	after := sort.Search(len(s.functions), func(i int) bool { return s.functions[i].Value > uint64(insnOffset) })
	if after == len(s.functions) {
		return uint32(len(s.code))
	}
	return uint32(s.functions[after].Value)
}

// source returns the line of an access. Clang gives none to a MOV that puts a recorded
// number into a register: then it is that of what comes next, which uses it, if that
// names what is accessed and the line in front does not.
func (r *reader) source(a *Access, section *codeSection) Source {
	offset := uint32(a.Insn * InstructionSize)
	line, ok := r.ext.LineAt(a.Section, offset)
	if next, found := r.ext.LineFrom(a.Section, offset, section.functionEnd(offset)); found && section.code[offset]&7 >= classALU {
		if name := a.lastName(); !ok || !strings.Contains(line.Text, name) && strings.Contains(next.Text, name) {
			line, ok = next, true
		}
	}
	if !ok {
		return Source{}
	}
	return Source{File: path.Clean(line.File), Line: line.Line, Column: line.Column, Text: line.Text}
}

// resolveLocally follows an access string in the object's own types.
func (a *Access) resolveLocally(root btf.Type, id btf.TypeID, accessString string, order binary.ByteOrder) error {
	a.path, a.Local = &pathSpec{root: root, order: order}, &Resolution{}
	switch {
	case a.Kind.aboutField():
		return a.resolveLocalField(root, accessString)
	case a.Kind.AboutEnum():
		return a.resolveLocalEnumerator(root, accessString)
	}

	a.Path = a.Root
	if accessString != "0" {
		return fmt.Errorf("%s of %s with access string %.20q instead of \"0\"", a.Kind, a.Root, accessString)
	}
	var err error
	*a.Local, err = typeResolution(a.Kind, root, id)
	return err
}

func (a *Access) resolveLocalField(root btf.Type, accessString string) error {
	p, err := newPath(root, accessString, a.Kind)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", a.Kind, a.Root, err)
	}
	p.order = a.path.order
	a.path, a.Path = p, p.String()
	*a.Local, err = fieldResolution(a.Kind, p.location, root, p.order)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", a.Kind, a.Path, err)
	}
	a.Local.TypeSize = typeSize(root)
	return nil
}

func (a *Access) resolveLocalEnumerator(root btf.Type, accessString string) error {
	enum, ok := btf.UnderlyingType(root).(*btf.Enum)
	if !ok {
		return fmt.Errorf("%s of %s, which is no enumeration", a.Kind, a.Root)
	}
	indices, err := parseAccess(accessString)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", a.Kind, a.Root, err)
	}
	if len(indices) > 1 || int(indices[0]) >= len(enum.Values) {
		return fmt.Errorf("%s of %s has no enumerator %.20q", a.Kind, a.Root, accessString)
	}
	a.path.enumerator = enum.Values[indices[0]]
	a.Path = a.path.enumerator.Name
	*a.Local = enumResolution(a.Kind, a.path.enumerator, root)
	return nil
}

func orderName(order binary.ByteOrder) string {
	if order == binary.BigEndian {
		return "big-endian"
	}
	return "little-endian"
}

// bpfTarget returns clang's name for the target of a byte order.
func bpfTarget(order binary.ByteOrder) string {
	if order == binary.BigEndian {
		return "bpfeb"
	}
	return "bpfel"
}
