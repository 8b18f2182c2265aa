package collection

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// definedExterns is the section that gets the externs that are defined here. Like .kconfig
// itself a program can't write to it.
const definedExterns = ".rodata.kconfig"

// defineExterns makes variables of those externs of .kconfig that cilium/ebpf does not
// give the value that libbpf does, and makes the others strong, as it knows no weak
// ones.
func (r *reading) defineExterns() error {
	if r.types == nil {
		return nil
	}
	var datasec *btf.Datasec
	if err := r.types.TypeByName(".kconfig", &datasec); errors.Is(err, btf.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	externs, err := r.makeExternsStrong(datasec)
	if err != nil {
		return err
	}
	values, err := findValues(externs)
	if err != nil || len(values) == 0 {
		return err
	}
	if err := r.define(externs, values); err != nil {
		return err
	}
	return r.dropExterns(datasec, values)
}

// extern is a variable of .kconfig.
type extern struct {
	*btf.Var
	symbol int // its index
	weak   bool
}

// makeExternsStrong makes the weak externs of a DATASEC strong, and returns all as they
// were.
func (r *reading) makeExternsStrong(datasec *btf.Datasec) (externs []extern, err error) {
	variables := make(map[string]*btf.Var)
	for _, v := range datasec.Vars {
		if variable, ok := v.Type.(*btf.Var); ok {
			variables[variable.Name] = variable
		}
	}
	for i, symbol := range r.object.Symbols {
		if variable := variables[symbol.Name]; variable != nil && symbol.Section == elf.SHN_UNDEF {
			externs = append(externs, extern{variable, i, isWeak(symbol)})
			if err := r.object.SetSymbol(i, global(symbol)); err != nil {
				return nil, err
			}
		}
	}
	return externs, nil
}

// findValues returns what externs are to be defined as. It asks the kernel only if there
// may be such.
func findValues(externs []extern) (map[*btf.Var][]byte, error) {
	var options map[string]string
	values := make(map[*btf.Var][]byte)
	for _, e := range externs {
		if !e.mayDiffer() {
			continue
		}
		if options == nil && e.isOption() {
			var err error
			if options, err = kernelOptions(); err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
		}
		value, isSet := options[e.Name]
		contents, err := e.contents(value, isSet)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		if contents != nil {
			values[e.Var] = contents
		}
	}
	return values, nil
}

// What externs are called that are no options is what a loader finds out.
const (
	optionPrefix = "CONFIG_"
	loaderPrefix = "LINUX_"
)

var foundByLoader = []string{"LINUX_KERNEL_VERSION", "LINUX_HAS_SYSCALL_WRAPPER", "LINUX_HAS_BPF_COOKIE"}

func (e extern) isOption() bool { return strings.HasPrefix(e.Name, optionPrefix) }

// mayDiffer reports whether libbpf and cilium/ebpf may differ in the extern's value.
func (e extern) mayDiffer() bool {
	if e.isOption() {
		_, isText := room(e.Type)
		return e.weak || isText || isLetter(e.Type)
	}
	return e.weak && strings.HasPrefix(e.Name, loaderPrefix) && !slices.Contains(foundByLoader, e.Name)
}

// isLetter reports whether a variable is for a character: for libbpf all numbers of a
// byte are (find_kcfg_type).
func isLetter(typ btf.Type) bool {
	number, ok := btf.UnderlyingType(typ).(*btf.Int)
	return ok && number.Size == 1 && number.Encoding != btf.Bool
}

// room returns for how many characters a variable is, if it is for text.
func room(typ btf.Type) (characters int, ok bool) {
	array, ok := btf.UnderlyingType(typ).(*btf.Array)
	if !ok || !isLetter(array.Type) {
		return 0, false
	}
	return int(array.Nelems), true
}

// contents returns what libbpf makes of an option's value, or nil if cilium/ebpf makes
// the same of it: a weak extern of an option that is not set is zero, a character is the
// letter y, n or m, and a text that is too long is cut so that it ends with a zero
// (bpf_object__resolve_externs, set_kcfg_value_tri, set_kcfg_value_str).
func (e extern) contents(value string, isSet bool) ([]byte, error) {
	if !isSet {
		return e.zero()
	}
	if isLetter(e.Type) && (value == "y" || value == "n" || value == "m") {
		return []byte(value), nil
	}
	text, isQuoted := strings.CutPrefix(value, `"`)
	text = strings.TrimSuffix(text, `"`)
	if length, isText := room(e.Type); isText && isQuoted && 0 < length && length <= len(text) {
		return append([]byte(text[:length-1]), 0), nil
	}
	return nil, nil
}

// zero returns the contents of a weak extern that is nowhere, nil of others.
func (e extern) zero() ([]byte, error) {
	if !e.weak {
		return nil, nil
	}
	size, err := btf.Sizeof(e.Type)
	if err != nil {
		return nil, err
	}
	if size > maxExtern {
		return nil, fmt.Errorf("an option of %d bytes, where the kernel has none of more than %d", size, maxExtern)
	}
	return make([]byte, size), nil
}

// maxExtern is the length of the longest line that libbpf reads of a configuration.
const maxExtern = 4096

// define makes variables of externs, in a section of their own.
func (r *reading) define(externs []extern, values map[*btf.Var][]byte) error {
	const align = 8 // that of the largest type
	section, err := r.object.AddSection(definedExterns, elf.SHF_ALLOC, align, nil)
	if err != nil {
		return err
	}
	for _, e := range externs {
		value, ok := values[e.Var]
		if !ok {
			continue
		}
		symbol := r.object.Symbols[e.symbol]
		symbol.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT)
		symbol.Other = byte(elf.STV_HIDDEN) // no variable of the program's
		symbol.Section = elf.SectionIndex(section.Index)
		symbol.Value, symbol.Size = uint64(len(section.Data)), uint64(len(value))
		if err := r.object.SetSymbol(e.symbol, symbol); err != nil {
			return err
		}
		section.Data = append(section.Data, value...)
		section.Data = append(section.Data, make([]byte, -len(section.Data)&(align-1))...)
	}
	return nil
}

// dropExterns takes what is defined out of the DATASEC that cilium/ebpf finds externs
// in. If none are left it must not find it either.
func (r *reading) dropExterns(datasec *btf.Datasec, values map[*btf.Var][]byte) error {
	if len(values) == len(datasec.Vars) {
		return r.rename(datasec, definedExterns+".externs")
	}
	dropped := make(map[btf.TypeID]bool)
	for variable := range values {
		id, err := r.types.TypeID(variable)
		if err != nil {
			return err
		}
		dropped[id] = true
	}
	id, err := r.types.TypeID(datasec)
	if err != nil {
		return err
	}
	edit, err := r.change()
	if err != nil {
		return err
	}
	return edit.DropVars(id, func(variable btf.TypeID) bool { return dropped[variable] })
}
