package link

import (
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// Wanted are functions of a source, by name.
type Wanted struct {
	// Functions are made functions of the object, in its .text. One that the
	// object declares is what it calls then.
	Functions []string

	// Bodies are to be put in the place of instructions: what they refer to is
	// linked, their code is returned (optional).
	Bodies []string
}

// Linked is what has become of what was wanted, by name.
type Linked struct {
	// Functions has the indices of the symbols among those of the object.
	Functions map[string]int

	// Calls has, for each of the functions, what a call of it refers to.
	Calls map[string]code.Relocation

	// Bodies has the code of each, referring to what is in the object now. What
	// leaves it are exits still.
	Bodies map[string]code.Function
}

// Into links functions of the source, with what they need, into an object. ext is what
// the caller has read of the object's .BTF.ext (optional); it is brought up to date.
//
// A static function or variable whose name the object has already gets another one. Of
// a weak function that both have, the object keeps its own. DWARF goes, with its
// symbols, which knows nothing of what is new, and so do relocations of .BTF and
// .BTF.ext, which no loader reads.
//
// It refuses what can't be linked: functions that use maps, data that points at other
// things, what neither object defines, and what both do; and an object without .BTF.ext.
// After an error obj and ext are as they were.
func (s *Source) Into(obj *elfobj.Object, ext *btfraw.Ext, wanted Wanted) (*Linked, error) {
	draft, adopt := obj.Draft()
	l, err := newLinking(s, draft)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return l.reach(wanted) },
		l.addData,
		l.addSymbols,
		l.addTypes,
		l.translate,
		l.putFunctions,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	draft.Section(".BTF").Data = l.edit.Bytes()
	adopt()
	if ext != nil {
		*ext = *l.ext
	}
	return l.linked(wanted), nil
}

// linking is what a source is linked into, and what of it.
type linking struct {
	source *Source

	obj    *elfobj.Object
	ext    *btfraw.Ext
	known  declared // of obj
	edit   *btfraw.Edit
	types  *btfraw.Import
	global map[string]int  // indices of obj's Symbols, but of local ones
	taken  map[string]bool // names of obj
	copies map[string]int  // how many more there are of a name

	// What is needed of the source, whose symbols and sections have numbers here.
	reached   map[int]bool // symbols
	functions []*function  // that are linked
	bodies    map[int]*function
	externs   []int          // symbols
	existing  map[int]string // symbols, by which name the object has them
	needed    []*elfobj.Section

	// Where that is in the object.
	text     *elfobj.Section
	data     map[int]placed // by section of the source
	named    []named
	defined  map[int]bool // symbols of the source that the object declared
	places   map[int]int  // symbols of the object, by those of the source
	sections map[int]int  // symbols of the object's sections
}

// function is one of the source.
type function struct {
	*code.Function
	symbol int    // of the source
	name   string // in the object, once it has one
	start  uint64 // in its .text
}

// placed is where a section of the source starts.
type placed struct {
	section *elfobj.Section
	start   uint64
}

func newLinking(s *Source, obj *elfobj.Object) (*linking, error) {
	if obj.Order != s.obj.Order {
		return nil, errors.New("the two objects differ in byte order")
	}
	_, err := obj.Remove(func(section *elfobj.Section) bool { return code.Stale(section) || isOfTypes(obj, section) })
	if err != nil {
		return nil, err
	}
	types, ext, err := readTypes(obj)
	if err != nil {
		return nil, err
	}
	if ext == nil { // loaders want records of all functions of a program, or of none
		return nil, errors.New("the object has no .BTF.ext: compile with -g")
	}
	l := &linking{
		source: s, obj: obj, ext: ext, global: make(map[string]int), taken: make(map[string]bool), copies: make(map[string]int),
		reached: make(map[int]bool), bodies: make(map[int]*function), existing: make(map[int]string),
		data: make(map[int]placed), defined: make(map[int]bool), places: make(map[int]int), sections: make(map[int]int),
	}
	if l.known, _, err = readDatasecs(types); err != nil {
		return nil, err
	}
	if l.edit, err = btfraw.NewEdit(obj.Section(".BTF").Data); err != nil {
		return nil, err
	}
	if l.types, err = l.edit.Import(s.types); err != nil {
		return nil, err
	}
	for i, symbol := range obj.Symbols {
		if typ := elf.ST_TYPE(symbol.Info); typ == elf.STT_SECTION || typ == elf.STT_FILE || symbol.Name == "" {
			continue
		}
		l.taken[symbol.Name] = true
		if !isLocal(symbol) {
			l.global[symbol.Name] = i
		}
	}
	return l, nil
}

// isOfTypes reports whether a section has the relocations of .BTF or .BTF.ext.
func isOfTypes(obj *elfobj.Object, section *elfobj.Section) bool {
	if section.Type != elf.SHT_REL || uint64(section.Info) >= uint64(len(obj.Sections)) {
		return false
	}
	of := obj.Sections[section.Info].Name
	return of == ".BTF" || of == ".BTF.ext"
}

func isLocal(symbol elf.Symbol) bool { return elf.ST_BIND(symbol.Info) == elf.STB_LOCAL }
func isWeak(symbol elf.Symbol) bool  { return elf.ST_BIND(symbol.Info) == elf.STB_WEAK }

// existingInOrder returns what the object has itself, by the symbols of the source.
func (l *linking) existingInOrder() []int { return slices.Sorted(maps.Keys(l.existing)) }

// translate makes the code that is linked refer to what is in the object.
func (l *linking) translate() error {
	for _, f := range append(l.functions[:len(l.functions):len(l.functions)], l.bodiesInOrder()...) {
		for i := range f.Relocations {
			if err := l.refer(f.Function, &f.Relocations[i]); err != nil {
				return f.errorAt(f.Relocations[i].At, err)
			}
		}
		for i := range f.CORERelos {
			id, err := l.types.Type(btf.TypeID(f.CORERelos[i].TypeID))
			if err != nil {
				return fmt.Errorf("function %s: %w", f.name, err)
			}
			l.renumber(f.Function, &f.CORERelos[i], uint32(id))
		}
	}
	return nil
}

// renumber gives the type of a record the ID that it has in the object. What asks for an
// ID holds it, too: cilium/ebpf compares the two.
func (l *linking) renumber(f *code.Function, relo *btfraw.CORERelo, id uint32) {
	immediate := f.Code[relo.InsnOffset+insn.ImmediateAt:]
	kind := reloc.Kind(relo.Kind)
	if (kind == reloc.LocalTypeID || kind == reloc.TargetTypeID) && l.obj.Order.Uint32(immediate) == relo.TypeID {
		l.obj.Order.PutUint32(immediate, id)
	}
	relo.TypeID = id
}

func (l *linking) bodiesInOrder() (bodies []*function) {
	for _, symbol := range slices.Sorted(maps.Keys(l.bodies)) {
		bodies = append(bodies, l.bodies[symbol])
	}
	return bodies
}

// putFunctions puts the code into .text, and its records into .BTF.ext.
func (l *linking) putFunctions() (err error) {
	functions := make([]code.Function, len(l.functions))
	for i, f := range l.functions {
		functions[i] = *f.Function
	}
	var records btfraw.Records
	if len(functions) > 0 {
		if records, err = code.Append(l.obj, l.text, functions); err != nil {
			return err
		}
	}
	if l.ext, err = l.ext.With(records, l.edit); err != nil {
		return fmt.Errorf(".BTF.ext: %w", err)
	}
	l.obj.Section(".BTF.ext").Data = l.ext.Bytes()
	return nil
}

// linked returns what was wanted.
func (l *linking) linked(wanted Wanted) *Linked {
	linked := &Linked{Functions: make(map[string]int), Calls: make(map[string]code.Relocation), Bodies: make(map[string]code.Function)}
	for _, name := range wanted.Functions {
		place := l.places[l.source.functions[name]]
		linked.Functions[name], linked.Calls[name] = place, l.call(place)
	}
	for _, name := range wanted.Bodies {
		body := *l.bodies[l.source.functions[name]].Function
		body.TypeID = 0 // which is that of the source
		linked.Bodies[name] = body
	}
	return linked
}
