// Package link puts functions of one BPF object into another: static and global ones,
// with what they call, the data they use, the kernel functions they name, and what is
// recorded of them in .BTF and .BTF.ext.
//
// It is for two objects of the same byte order, one of which is loaded then; libbpf's
// linker (bpftool gen object) merges whole objects.
package link

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Source is an object that functions are taken from. It stays as it is, and serves any
// number of objects, one after the other.
type Source struct {
	obj       *elfobj.Object
	types     *btfraw.Edit
	cutter    *code.Cutter
	functions map[string]int    // indices of Symbols; ambiguous if several have the name
	declared  declared          // what it only declares
	variables map[string][]data // by section
}

// Order returns the byte order of the source.
func (s *Source) Order() binary.ByteOrder { return s.obj.Order }

// Code returns the code of a function, referring to what is in the source.
func (s *Source) Code(name string) (*code.Function, error) {
	symbol, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return s.cutter.Cut(symbol)
}

// find returns the symbol of a function.
func (s *Source) find(name string) (int, error) {
	symbol, ok := s.functions[name]
	switch {
	case !ok:
		return 0, fmt.Errorf("no function %s in what is linked", name)
	case symbol == ambiguous:
		return 0, fmt.Errorf("two functions in what is linked are called %s: give one of them another name", name)
	}
	return symbol, nil
}

// ambiguous is the index of several symbols.
const ambiguous = -1

// NewSource reads an object, of which it keeps a reference. It refuses one without BTF.
func NewSource(obj *elfobj.Object) (*Source, error) {
	types, ext, err := readTypes(obj)
	if err != nil {
		return nil, err
	}
	s := &Source{obj: obj, functions: make(map[string]int)}
	if s.types, err = btfraw.NewEdit(obj.Section(".BTF").Data); err != nil {
		return nil, err
	}
	if s.cutter, err = code.NewCutter(obj, ext); err != nil {
		return nil, err
	}
	for i, symbol := range obj.Symbols {
		if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && symbol.Section != elf.SHN_UNDEF {
			if _, ok := s.functions[symbol.Name]; ok {
				i = ambiguous
			}
			s.functions[symbol.Name] = i
		}
	}
	s.declared, s.variables, err = readDatasecs(types)
	return s, err
}

// readTypes reads .BTF and .BTF.ext of an object; that is nil if there is none.
func readTypes(obj *elfobj.Object) (*btf.Spec, *btfraw.Ext, error) {
	section := obj.Section(".BTF")
	if section == nil {
		return nil, nil, errors.New("the object has no BTF: compile with -g")
	}
	types, err := btf.LoadSpecFromReader(bytes.NewReader(section.Data))
	if err != nil {
		return nil, nil, fmt.Errorf(".BTF: %w", err)
	}
	raw, err := btfraw.Parse(section.Data, nil)
	if err != nil {
		return nil, nil, err
	}
	if raw.Order != obj.Order {
		return nil, nil, errors.New("the object and its BTF differ in byte order")
	}
	records := obj.Section(".BTF.ext")
	if records == nil {
		return types, nil, nil
	}
	ext, err := btfraw.ParseExt(records.Data, raw)
	return types, ext, err
}

// declared is what an object declares and does not define, by name.
type declared map[string]declaration

// declaration is an extern.
type declaration struct {
	id      btf.TypeID // of its FUNC or VAR
	section string     // the DATASEC that it is in: .ksyms, .kconfig, or none
	size    uint32     // that it has there
}

// data is a variable in a section of data.
type data struct {
	id           btf.TypeID
	name         string
	isStatic     bool
	offset, size uint32
}

const ksymsSection = ".ksyms"

// The DATASECs of what the kernel has.
var ofKernel = map[string]bool{ksymsSection: true, ".kconfig": true}

// readDatasecs returns what the types say of externs and of variables.
func readDatasecs(types *btf.Spec) (declared, map[string][]data, error) {
	externs, variables := make(declared), make(map[string][]data)
	for typ, err := range types.All() {
		if err != nil {
			return nil, nil, fmt.Errorf(".BTF: %w", err)
		}
		switch typ := typ.(type) {
		case *btf.Datasec:
			for _, v := range typ.Vars {
				id, err := types.TypeID(v.Type)
				if err != nil {
					return nil, nil, fmt.Errorf(".BTF: %w", err)
				}
				if ofKernel[typ.Name] {
					externs[v.Type.TypeName()] = declaration{id, typ.Name, v.Size}
					continue
				}
				variable, ok := v.Type.(*btf.Var)
				if !ok {
					return nil, nil, fmt.Errorf(".BTF: %s of section %s is no variable", v.Type.TypeName(), typ.Name)
				}
				variables[typ.Name] = append(variables[typ.Name], data{id, variable.Name, variable.Linkage == btf.StaticVar, v.Offset, v.Size})
			}
		case *btf.Func:
			id, err := types.TypeID(typ)
			if err != nil {
				return nil, nil, fmt.Errorf(".BTF: %w", err)
			}
			if _, ok := externs[typ.Name]; !ok && typ.Linkage == btf.ExternFunc {
				externs[typ.Name] = declaration{id: id}
			}
		}
	}
	return externs, variables, nil
}
