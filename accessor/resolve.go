package accessor

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// ErrNoAccessors is wrapped by the error about a kernel, or a driver's module, that lacks
// what the descriptor function needs, or every field.
var ErrNoAccessors = errors.New("the driver keeps nothing of it")

// ErrNotAsked is wrapped by the error about a file all of whose fields are asked for by
// metadata kfuncs, none of which may be asked.
var ErrNotAsked = errors.New("every field is asked for by a metadata kfunc, and none of these is to be asked, or the device lacks them")

// Options says how to resolve. The zero value is useful.
type Options struct {
	// Lowering is how the kernel's memory is loaded (optional, the best that the kernel
	// has if empty).
	Lowering Lowering

	// Kfuncs are the metadata kfuncs that may be asked, by name (optional). Fields that
	// others are asked for are not there. A kernel that only interprets programs lets none of
	// them be asked.
	Kfuncs []string
}

// Resolve returns the accessors for a kernel, given by its BTF: that of the module that has
// the driver's types, split from the kernel's own. Nothing is left for a loader to resolve.
//
// A field whose records come to nothing in code that can be reached is missing. It wraps
// ErrNoAccessors if the descriptor function is, ErrNotAsked, and the errors of rewrite.Rewrite.
func (f *File) Resolve(kernel *reloc.Layout, opts Options) (*rewrite.Accessors, error) {
	calls, err := takesKfuncs(kernel)
	if err != nil {
		return nil, fmt.Errorf("accessors %s: %w", f.name, err)
	}
	if !calls {
		opts.Kfuncs = nil
	}
	file, err := f.asked(opts.Kfuncs)
	if err != nil {
		return nil, err
	}
	r := &resolving{file: file, kernel: kernel, missing: make(map[string]string)}
	accessors, err := r.resolve(opts)
	if err != nil {
		return nil, fmt.Errorf("accessors %s: %w", f.name, err)
	}
	return accessors, nil
}

// resolving is a file on its way to fit a kernel.
type resolving struct {
	file    *File
	kernel  *reloc.Layout
	missing map[string]string // why, by function
}

func (r *resolving) resolve(opts Options) (*rewrite.Accessors, error) {
	lowering, cast, err := choose(r.kernel, opts.Lowering)
	if err != nil {
		return nil, err
	}
	raw, err := r.rewrite()
	if err != nil {
		return nil, err
	}
	functions := slices.DeleteFunc(r.file.functions(), func(name string) bool { return r.missing[name] != "" })
	obj, err := newObject(raw)
	if err != nil {
		return nil, err
	}
	if obj, err = obj.trim(functions); err != nil {
		return nil, err
	}
	if err := obj.lower(&lowerer{lowering, cast}, functions); err != nil {
		return nil, err
	}
	return r.file.accessors(obj, r.missing, lowering), nil
}

// rewrite resolves the records, leaving out the functions in which that is not possible.
func (r *resolving) rewrite() ([]byte, error) {
	for {
		opts := rewrite.Options{Types: []string{"*"}, Apart: true, Functions: func(name string) bool { return r.missing[name] == "" }}
		raw, report, err := rewrite.Rewrite(r.file.object, r.kernel, opts)
		var refused *rewrite.RefusedError
		switch {
		case errors.As(err, &refused):
			r.noteRefused(refused) // one function more at least
			continue
		case errors.Is(err, rewrite.ErrNoDescriptor):
			return nil, fmt.Errorf("%w: %w", ErrNoAccessors, err)
		case errors.Is(err, rewrite.ErrNoSuchRoot): // nothing is recorded
			return r.file.object, nil
		case err != nil:
			return nil, err
		}
		r.notePoisoned(report)
		return raw, r.check()
	}
}

func (r *resolving) noteRefused(refused *rewrite.RefusedError) {
	for i := range refused.Refusals {
		refusal := &refused.Refusals[i]
		r.note(&refusal.Access, cmp.Or(refusal.Missing, refusal.Reason))
	}
}

// notePoisoned notes what is not there and may be reached all the same.
func (r *resolving) notePoisoned(report *rewrite.Report) {
	for _, edit := range report.Poisoned() {
		if !edit.Guarded {
			r.note(edit.Access, edit.Resolution.Missing)
		}
	}
}

func (r *resolving) note(access *reloc.Access, why string) {
	if r.missing[access.Program] == "" {
		r.missing[access.Program] = fmt.Sprintf("%s: %s: %s", access.Source, access.Path, why)
	}
}

// check wants the descriptor function, and a field, to be there.
func (r *resolving) check() error {
	if why := r.missing[r.file.Descriptor.Function]; why != "" {
		return &MissingError{"the descriptor function: " + why}
	}
	var whys []string
	for _, field := range slices.Sorted(maps.Keys(r.file.Fields)) {
		why := r.missing[r.file.Fields[field].Function]
		if why == "" {
			return nil
		}
		whys = append(whys, why)
	}
	return &MissingError{"no field is there: " + strings.Join(slices.Compact(whys), "; ")}
}

// MissingError is ErrNoAccessors with what the kernel lacks.
type MissingError struct{ Why string }

func (e *MissingError) Error() string { return ErrNoAccessors.Error() + ": " + e.Why }
func (e *MissingError) Unwrap() error { return ErrNoAccessors }

// choose returns the lowering that a kernel has, and how it casts. One that is wanted and
// that the kernel lacks is an error.
func choose(kernel *reloc.Layout, wanted Lowering) (Lowering, cast, error) {
	functions, err := kernel.Functions(castFunction)
	if err != nil {
		return "", cast{}, err
	}
	calls, err := takesKfuncs(kernel)
	if err != nil {
		return "", cast{}, err
	}
	if !calls {
		functions = nil
	}
	newer, err := kernel.Functions(newerFunction)
	if err != nil {
		return "", cast{}, err
	}
	carrier, err := kernel.StructID(carrierStruct)
	if err != nil {
		return "", cast{}, err
	}
	toVoid, err := kernel.HasEnumerator(featuresEnum, castsToVoid)
	if err != nil {
		return "", cast{}, err
	}
	var has []Lowering // the best first
	if len(functions) == 1 && toVoid {
		has = append(has, Zero)
	}
	if len(functions) == 1 && carrier != 0 && len(newer) > 0 {
		has = append(has, Carrier)
	}
	has = append(has, Probe) // since 5.5
	lowering := cmp.Or(wanted, has[0])
	if !slices.Contains(has, lowering) {
		return "", cast{}, fmt.Errorf("%s has no lowering %q: it has %q", kernel.Name(), wanted, has)
	}
	var c cast
	if lowering != Probe {
		c.id = uint32(functions[0].ID)
	}
	if lowering == Carrier {
		c.carrier = uint32(carrier)
	}
	return lowering, c, nil
}

// takesKfuncs reports whether programs may call kfuncs at all: not on a kernel that only
// interprets programs (add_kfunc_call in kernel/bpf/verifier.c), as Debian's for s390x does.
func takesKfuncs(kernel *reloc.Layout) (bool, error) {
	interpreter, err := kernel.Functions(interpreterFunction)
	if err != nil {
		return false, err
	}
	compiler, err := kernel.Functions(compilerFunction)
	return len(interpreter) == 0 || len(compiler) > 0, err
}

// lower lowers functions of the object.
func (o *object) lower(l *lowerer, functions []string) error {
	return o.change(functions, l.lower)
}

// change replaces instructions of functions.
func (o *object) change(functions []string, by func(*survey) ([]code.Replacement, error)) error {
	replacements := make(map[string][]code.Replacement)
	for _, name := range functions {
		fn, err := o.function(name)
		if err != nil {
			return err
		}
		s, err := fn.survey()
		if err != nil {
			return err
		}
		more, err := by(s)
		if err != nil {
			return err
		}
		replacements[fn.Section.Name] = append(replacements[fn.Section.Name], more...)
	}
	return code.Replace(o.file, o.ext, replacements)
}

// accessors returns what the file has for a kernel.
func (f *File) accessors(obj *object, missing map[string]string, lowering Lowering) *rewrite.Accessors {
	a := &rewrite.Accessors{
		Name:       f.Drivers[0],
		Object:     obj.file.Bytes(),
		Context:    f.Context,
		Descriptor: f.Descriptor,
		Fields:     make(map[string]rewrite.Accessor, len(f.Fields)),
		Missing:    make(map[string]string),
		Lacks:      f.Lacks,
	}
	if f.loads {
		a.Lowering = string(lowering)
	}
	for field, accessor := range f.Fields {
		if why := missing[accessor.Function]; why != "" {
			a.Missing[field] = why
		} else {
			a.Fields[field] = accessor
		}
	}
	return a
}
