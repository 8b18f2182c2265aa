// Package accessor reads the files that say how to read a field of struct md_desc out of
// what a driver keeps of a packet, and makes them fit a kernel.
//
// Such a file is a BPF object, made from C over bpf/md_driver.h: a descriptor function and
// a function for each field, in which the kernel's memory is read by plain loads. A load
// that is not from the stack or the file's own data is lowered: becomes one that the
// verifier of the kernel at hand takes, see Lowering.
//
// Everything here is a pure function of bytes.
package accessor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Where a file says what it is for, as the macros of bpf/md_driver.h have it.
const (
	driversSection = "md_drivers"
	moduleSection  = "md_module"
	lacksPrefix    = "md_lacks_"

	descriptorFunction = "md_descriptor"
	fieldPrefix        = "md_field_"

	fromTag   = "from: "
	packetTag = "packet"
	startTag  = "start"
)

// contexts are the structs that ctx may be, and by that the types of program that the
// accessors can be put into: XDP and TC.
var contexts = []string{"xdp_buff", "sk_buff"}

// File is an accessor file.
type File struct {
	Drivers    []string                    // as ethtool has them
	Module     string                      // whose BTF has the driver's types
	Context    string                      // the struct that ctx is: "xdp_buff" or "sk_buff"
	Descriptor rewrite.Accessor            // the descriptor function
	Fields     map[string]rewrite.Accessor // by the field's name in struct md_desc
	Lacks      map[string]string           // why the driver can't give a field, on no kernel

	name   string
	object []byte
	loads  bool     // whether a function loads from the kernel's memory
	words  []string // that the names of its structs start with
}

// Read reads an accessor file, and checks that its functions are ones that can be lowered.
// name is what messages call it.
//
// Errors name the function and the source line where they are about one. Those of
// reloc.Read are wrapped for an object that can't be read.
func Read(name string, raw []byte) (*File, error) {
	obj, err := newObject(raw)
	if err != nil {
		return nil, fmt.Errorf("accessors %s: %w", name, err)
	}
	f := &File{name: name, object: slices.Clone(raw), Fields: make(map[string]rewrite.Accessor)}
	if err := f.read(obj); err != nil {
		return nil, fmt.Errorf("accessors %s: %w", name, err)
	}
	return f, nil
}

func (f *File) read(obj *object) error {
	f.Drivers = strings.Fields(obj.text(driversSection))
	if len(f.Drivers) == 0 {
		return refuse.Because("write MD_DRIVER(\"...\") of md_driver.h", "it does not say for which drivers it is")
	}
	f.Module = f.Drivers[0]
	if module := strings.TrimSpace(obj.text(moduleSection)); module != "" {
		f.Module = module
	}
	f.Lacks = obj.texts(lacksPrefix)
	var err error
	if f.words, err = obj.structWords(); err != nil {
		return err
	}
	descriptor, err := obj.function(descriptorFunction)
	if err != nil {
		return err
	}
	if descriptor == nil {
		return refuse.Because("write one with MD_DESCRIPTOR of md_driver.h", "it has no descriptor function")
	}
	if err := f.readDescriptor(descriptor); err != nil {
		return descriptor.errorAt(descriptor.Start, err)
	}
	for _, name := range obj.fieldFunctions() {
		fn, err := obj.function(name)
		if err != nil {
			return err
		}
		if err := f.readField(fn, descriptor); err != nil {
			return fn.errorAt(fn.Start, err)
		}
	}
	for field := range f.Lacks {
		if _, ok := f.Fields[field]; ok {
			return refuse.Because("leave out one of them", "it has a function for %s, and MD_LACKS(%[1]s)", field)
		}
	}
	if len(f.Fields) == 0 {
		return refuse.Because("write one with MD_FIELD of md_driver.h", "it has no function for a field")
	}
	for _, name := range f.functions() {
		fn, err := obj.function(name)
		if err != nil {
			return err
		}
		s, err := fn.survey()
		if err != nil {
			return err
		}
		f.loads = f.loads || len(s.loads) > 0
		f.noteKfunc(name, s.kfunc())
	}
	return nil
}

// noteKfunc notes the kfunc that the function of a field calls.
func (f *File) noteKfunc(function, kfunc string) {
	if field := strings.TrimPrefix(function, fieldPrefix); kfunc != "" {
		accessor := f.Fields[field]
		accessor.Kfunc = kfunc
		f.Fields[field] = accessor
	}
}

// asked returns the file without the fields of kfuncs that are not to be asked. It wraps
// ErrNotAsked if there are no others.
func (f *File) asked(kfuncs []string) (*File, error) {
	asked := *f
	asked.Fields = maps.Clone(f.Fields)
	maps.DeleteFunc(asked.Fields, func(_ string, accessor rewrite.Accessor) bool {
		return accessor.Kfunc != "" && !slices.Contains(kfuncs, accessor.Kfunc)
	})
	if len(asked.Fields) == 0 {
		return nil, fmt.Errorf("accessors %s: %w", f.name, ErrNotAsked)
	}
	return &asked, nil
}

// functions returns the names of the file's functions, the descriptor function first.
func (f *File) functions() []string {
	names := []string{f.Descriptor.Function}
	for _, field := range slices.Sorted(maps.Keys(f.Fields)) {
		names = append(names, f.Fields[field].Function)
	}
	return names
}

func (f *File) readDescriptor(fn *function) error {
	params := fn.proto.Params
	if len(params) == 1 {
		f.Context = structOf(params[0].Type)
	}
	if !slices.Contains(contexts, f.Context) {
		return refuse.Because("declare it by MD_DESCRIPTOR(struct ..., struct xdp_buff *xdp), or with a struct sk_buff *skb for TC programs",
			"the descriptor function takes %s instead of ctx", parameters(params))
	}
	if !isPointer(fn.proto.Return) {
		return refuse.Because("let it return the descriptor's address", "the descriptor function returns %s", reloc.TypeString(fn.proto.Return))
	}
	field, err := reloc.FieldOf(fn.proto.Return)
	f.Descriptor = rewrite.Accessor{Function: fn.name, From: fn.from(), Packet: fn.isTagged(packetTag), Field: field}
	return err
}

func (f *File) readField(fn *function, descriptor *function) error {
	name, params := strings.TrimPrefix(fn.name, fieldPrefix), fn.proto.Params
	const remedy = "declare it by MD_FIELD(name, \"...\", struct ... *descriptor), with ctx behind the descriptor if it needs that"
	start := fn.isTagged(startTag)
	switch {
	case start && len(params) > 0:
		return refuse.Because("declare it by MD_START_FIELD(name, \"...\")", "it takes %s, and when the program starts there is nothing", parameters(params))
	case start:
	case len(params) < 1 || len(params) > 2 || !isPointer(params[0].Type):
		return refuse.Because(remedy, "it takes %s instead of a descriptor, or a descriptor and ctx", parameters(params))
	case len(params) == 2 && structOf(params[1].Type) != f.Context:
		return refuse.Because(remedy, "its second parameter is %s, and ctx is a struct %s *", reloc.TypeString(params[1].Type), f.Context)
	}
	takes, returned := "", structOf(descriptor.proto.Return)
	if !start {
		takes = structOf(params[0].Type)
	}
	if takes != returned && takes != "" && returned != "" {
		return refuse.Because("let both be of one type", "it takes a struct %s *, and the descriptor function returns a struct %s *", takes, returned)
	}
	field, err := reloc.FieldOf(fn.proto.Return)
	if err != nil || field.Class != reloc.Integer && field.Class != reloc.Bool {
		return refuse.Because("let it return the type that the field has in struct md_desc", "it returns %s, which is no number", reloc.TypeString(fn.proto.Return))
	}
	f.Fields[name] = rewrite.Accessor{Function: fn.name, From: fn.from(), Packet: fn.isTagged(packetTag), Start: start, Context: len(params) == 2, Field: field}
	return nil
}

func isPointer(typ btf.Type) bool {
	_, ok := btf.UnderlyingType(typ).(*btf.Pointer)
	return ok
}

// structOf returns the name of the struct that a type is a pointer to, without its
// flavour; empty if it is another type.
func structOf(typ btf.Type) string {
	pointer, ok := btf.UnderlyingType(typ).(*btf.Pointer)
	if !ok {
		return ""
	}
	s, ok := btf.UnderlyingType(pointer.Target).(*btf.Struct)
	if !ok {
		return ""
	}
	return btfraw.EssentialName(s.Name)
}

// parameters spells parameters for messages.
func parameters(params []btf.FuncParam) string {
	if len(params) == 0 {
		return "nothing"
	}
	names := make([]string, len(params))
	for i, param := range params {
		names[i] = reloc.TypeString(param.Type)
	}
	return strings.Join(names, ", ")
}
