// Package bpf is a BPF object as a loader and the kernel see it: sections of code,
// functions, and what is known of these from outside of their code.
//
// It is read once and does not change. What takes work to find out is found out when
// somebody asks, once: an Object is for one goroutine.
package bpf

import (
	"debug/elf"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// Object is a BPF object.
type Object struct {
	File     *elfobj.Object
	Ext      *btfraw.Ext
	Recorded *reloc.Recorded

	sections  map[string]*Section
	functions map[Place]*Function

	// Unset until somebody asks:
	programs map[Place]bool    // where programs start
	callers  map[Place][]Place // where the code refers to functions, by where these start
	version  int               // of the instruction set
}

// Place is where an instruction is.
type Place struct {
	Section string
	Slot    int
}

// New returns an object, given its .BTF.ext and what is recorded of it. It keeps them all,
// and they must not change.
func New(file *elfobj.Object, ext *btfraw.Ext, recorded *reloc.Recorded) *Object {
	return &Object{
		File:      file,
		Ext:       ext,
		Recorded:  recorded,
		sections:  make(map[string]*Section),
		functions: make(map[Place]*Function),
	}
}

// Order returns the byte order of the object.
func (o *Object) Order() binary.ByteOrder { return o.File.Order }

// Section returns the section of a name. That it has none the section itself tells.
func (o *Object) Section(name string) *Section {
	s, ok := o.sections[name]
	if !ok {
		s = &Section{Section: o.File.Section(name), object: o}
		o.sections[name] = s
	}
	return s
}

// Code returns the sections of code, in the order of the file.
func (o *Object) Code() []*Section {
	var code []*Section
	for _, section := range o.File.Sections {
		if HoldsCode(section) {
			code = append(code, o.Section(section.Name))
		}
	}
	return code
}

// HoldsCode reports whether a section consists of instructions.
func HoldsCode(section *elfobj.Section) bool { return section.Flags&elf.SHF_EXECINSTR != 0 }

// IsFunction reports whether a function starts at a place.
func (o *Object) IsFunction(at Place) bool {
	s := o.Section(at.Section)
	return s.IsCode() && at.Slot < s.Slots() && s.startsAt(at.Slot)
}

// Programs returns where the object's programs start: the functions outside of
// .text and, with -ffunction-sections, of .text.NAME (bpf_object__add_programs of
// libbpf). A static one is a program if no other function calls it: libbpf refuses
// such a program, cilium/ebpf loads it.
func (o *Object) Programs() map[Place]bool {
	if o.programs != nil {
		return o.programs
	}
	o.programs = make(map[Place]bool)
	var static []Place
	for _, section := range o.Code() {
		if section.Name == ".text" || strings.HasPrefix(section.Name, ".text.") {
			continue
		}
		for _, symbol := range o.File.Functions(section.Section) {
			at := Place{section.Name, int(symbol.Value / insn.SlotSize)}
			if isGlobal(symbol) {
				o.programs[at] = true
			} else {
				static = append(static, at)
			}
		}
	}
	for _, at := range static {
		o.programs[at] = !o.Called(at)
	}
	return o.programs
}

// Called reports whether a function of the object calls the one that starts at a place, or
// takes its address.
func (o *Object) Called(at Place) bool { return len(o.references()[at]) > 0 }

// references returns where the code refers to functions, by where these start.
func (o *Object) references() map[Place][]Place {
	if o.callers != nil {
		return o.callers
	}
	o.callers = make(map[Place][]Place)
	for _, section := range o.Code() {
		references := section.References(0, section.Slots())
		for _, slot := range slices.Sorted(maps.Keys(references)) {
			at := references[slot]
			o.callers[at] = append(o.callers[at], Place{section.Name, slot})
		}
	}
	return o.callers
}

// InstructionSet returns the version of the instruction set that the object needs, as
// far as it makes a difference: 4 if it has instructions that came with it, 3 otherwise.
func (o *Object) InstructionSet() int {
	if o.version == 0 {
		o.version = 3
		for _, section := range o.Code() {
			if section.needsVersion4() {
				o.version = 4
			}
		}
	}
	return o.version
}

// sectionName returns the name of the section that a symbol is in.
func (o *Object) sectionName(symbol elf.Symbol) string {
	if index := int(symbol.Section); index < len(o.File.Sections) {
		return o.File.Sections[index].Name
	}
	return ""
}

// isGlobal reports whether a symbol is visible to other objects.
func isGlobal(symbol elf.Symbol) bool { return elf.ST_BIND(symbol.Info) != elf.STB_LOCAL }

// isHidden reports whether a symbol is __hidden: loaders give a function with such a
// one to the kernel as a static one (bpf_object__add_programs of libbpf).
func isHidden(symbol elf.Symbol) bool {
	visibility := elf.ST_VISIBILITY(symbol.Other)
	return visibility == elf.STV_HIDDEN || visibility == elf.STV_INTERNAL
}
