package accessor

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// object is a BPF object with accessors, and what is known of it.
type object struct {
	file  *elfobj.Object
	ext   *btfraw.Ext
	types *btf.Spec
	model *bpf.Object

	accesses map[bpf.Place]*reloc.Access
}

func newObject(raw []byte) (*object, error) {
	file, err := elfobj.Parse(raw)
	if err != nil {
		return nil, err
	}
	recorded, err := reloc.ReadObject(raw)
	if err != nil {
		return nil, err
	}
	types, err := btfraw.Parse(file.Section(".BTF").Data, nil)
	if err != nil {
		return nil, err
	}
	ext, err := btfraw.ParseExt(file.Section(".BTF.ext").Data, types)
	if err != nil {
		return nil, err
	}
	o := &object{file: file, ext: ext, types: recorded.Types, model: bpf.New(file, ext, recorded), accesses: make(map[bpf.Place]*reloc.Access)}
	for i := range recorded.Accesses {
		access := &recorded.Accesses[i]
		o.accesses[bpf.Place{Section: access.Section, Slot: access.Insn}] = access
	}
	return o, nil
}

// reread returns the object as it is after changes.
func (o *object) reread() (*object, error) { return newObject(o.file.Bytes()) }

// text returns the string in a section, empty if there is none.
func (o *object) text(section string) string {
	s := o.file.Section(section)
	if s == nil {
		return ""
	}
	text, _, _ := bytes.Cut(s.Data, []byte{0})
	return string(text)
}

// texts returns the strings in sections whose names have a prefix, by the rest of the
// name.
func (o *object) texts(prefix string) map[string]string {
	texts := make(map[string]string)
	for _, s := range o.file.Sections {
		if name, ok := strings.CutPrefix(s.Name, prefix); ok {
			texts[name] = o.text(s.Name)
		}
	}
	return texts
}

// fieldFunctions returns the names of the functions of fields, each once, sorted.
func (o *object) fieldFunctions() (names []string) {
	for _, symbol := range o.file.Symbols {
		if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && strings.HasPrefix(symbol.Name, fieldPrefix) {
			names = append(names, symbol.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// function is an accessor in an object.
type function struct {
	*bpf.Function
	object *object
	name   string
	proto  *btf.FuncProto
	tags   []string
}

// function returns the function of a name, nil if there is none. Two of the name, which
// libbpf's linker makes of two files, are refused.
func (o *object) function(name string) (*function, error) {
	var found *function
	for _, symbol := range o.file.Symbols {
		if symbol.Name != name || elf.ST_TYPE(symbol.Info) != elf.STT_FUNC || symbol.Section == elf.SHN_UNDEF {
			continue
		}
		if found != nil {
			return nil, refuse.Because("compile a file for each driver", "it has two functions %s", name)
		}
		if int(symbol.Section) >= len(o.file.Sections) {
			return nil, fmt.Errorf("function %s is in no section", name)
		}
		at := bpf.Place{Section: o.file.Sections[symbol.Section].Name, Slot: int(symbol.Value / insn.SlotSize)}
		if !o.model.IsFunction(at) {
			return nil, fmt.Errorf("function %s: its symbol says no place of instructions", name)
		}
		found = &function{Function: o.model.Function(at), object: o, name: name}
	}
	if found == nil {
		return nil, nil
	}
	if found.Err != nil {
		return nil, found.errorAt(found.Start, found.Err)
	}
	return found, found.declare()
}

// declare finds what the function was declared as.
func (fn *function) declare() error {
	start := uint32(fn.Start) * insn.SlotSize
	for _, record := range fn.object.ext.Functions {
		if record.Section != fn.Section.Name || record.InsnOffset != start {
			continue
		}
		typ, err := fn.object.types.TypeByID(btf.TypeID(record.TypeID))
		if err != nil {
			return fn.errorAt(fn.Start, err)
		}
		declared, ok := typ.(*btf.Func)
		if !ok {
			break
		}
		if fn.proto, ok = declared.Type.(*btf.FuncProto); !ok {
			break
		}
		fn.tags = declared.Tags
		return nil
	}
	return fn.errorAt(fn.Start, errors.New("func_info does not say what the function is declared as: "+refuse.Recompile))
}

// from returns where the field comes from, as the file says.
func (fn *function) from() string {
	for _, tag := range fn.tags {
		if from, ok := strings.CutPrefix(tag, fromTag); ok {
			return from
		}
	}
	return ""
}

func (fn *function) isTagged(tag string) bool { return slices.Contains(fn.tags, tag) }

// errorAt says which source line and function an error is about, by a slot.
func (fn *function) errorAt(slot int, err error) error {
	err = fmt.Errorf("function %s: %w", fn.name, err)
	line, ok := fn.object.ext.LineAt(fn.Section.Name, uint32(slot)*insn.SlotSize)
	if !ok || line.Line == 0 {
		return err
	}
	return fmt.Errorf("%s:%d: %w", path.Clean(line.File), line.Line, err)
}

// arguments returns how many arguments the function takes.
func (fn *function) arguments() int { return len(fn.proto.Params) }
