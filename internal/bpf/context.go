package bpf

import (
	"strings"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// contexts are the types of program that have a metadata area, by the struct that
// the ctx is declared as.
var contexts = map[string]*flow.Context{"xdp_md": &flow.XDP, "__sk_buff": &flow.TC}

// contextSections are the same by how the sections of programs are called
// (libbpf's section_defs), for those that declare the ctx as another thing.
var contextSections = []struct {
	prefix  string
	context *flow.Context
}{
	{"xdp", &flow.XDP},
	{"tc", &flow.TC}, // "tcx" too
	{"classifier", &flow.TC},
	{"action", &flow.TC},
}

// Context returns where the ctx that the function is called with has the bounds of the
// metadata area, if it is one of a program that has such an area; nil otherwise.
func (fn *Function) Context() *flow.Context {
	for _, parameter := range fn.Prototype().Parameters {
		if context := contexts[btfraw.EssentialName(parameter.Struct)]; context != nil {
			return context
		}
	}
	if !fn.IsProgram {
		return nil
	}
	for _, c := range contextSections {
		if strings.HasPrefix(fn.programSection(), c.prefix) {
			return c.context
		}
	}
	return nil
}

// ContextArgument returns which argument is the ctx of a function that is called from
// outside of the object, going by its prototype as the verifier does (btf_prepare_func_args
// of kernel/bpf/btf.c): the first of a program that declares it as another thing. It is 0 if
// there is none.
func (fn *Function) ContextArgument() int {
	for n, parameter := range fn.Prototype().Parameters {
		if contexts[btfraw.EssentialName(parameter.Struct)] != nil {
			return n + 1
		}
	}
	if fn.IsProgram && fn.Context() != nil {
		return 1
	}
	return 0
}

// Parameters returns the regions that the function's arguments point into, going by its
// prototype, for a caller that isn't the object's. One that is declared as a descriptor
// is one.
func (fn *Function) Parameters() (regions [5]flow.Region) {
	for n, parameter := range fn.Prototype().Parameters {
		name := btfraw.EssentialName(parameter.Struct)
		switch {
		case n >= len(regions):
		case name == reloc.Descriptor:
			regions[n] = flow.Area
		case contexts[name] != nil:
			regions[n] = flow.Ctx
		}
	}
	switch {
	case fn.IsProgram && isSyscall(fn.programSection()):
		regions[0] = flow.User
	case fn.IsProgram && regions[0] != flow.Area: // freplace of a function that takes one
		regions[0] = flow.Ctx
	}
	return regions
}

// isSyscall reports whether a section is one of programs that user space calls, with
// memory of its own for a ctx (BPF_PROG_TYPE_SYSCALL).
func isSyscall(section string) bool { return section == "syscall" || section == "syscall.s" }

// programSection returns the section of a program, without the mark of those that are
// not loaded unless somebody asks.
func (fn *Function) programSection() string { return strings.TrimPrefix(fn.Section.Name, "?") }
