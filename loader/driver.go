package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// ErrNoAccessors is wrapped by the error about a driver that there are no accessors for.
var ErrNoAccessors = errors.New("no accessors")

// skbDriver is what the accessor file for programs of TC says that it is for: they are
// given an skb, whatever the driver.
const skbDriver = "skb"

// Driver says whose fields programs read, and on which kernel.
type Driver struct {
	// Name is the driver's, as ethtool -i has it (optional if File is given, or if there
	// are programs of TC only).
	Name string

	// File is the path of an accessor file (optional: those that come with xdp-load).
	File string

	// Object and Program are what FindSource looks for: an object, and the name of the program
	// of it to attach, as in Options.Program (optional: an XDP program).
	Object  []byte
	Program string

	// Contents are those of File (optional: it is read each time, which a pipe can't be).
	Contents []byte

	// Kernel is where programs are to run (optional: the kernel that runs).
	Kernel *nic.Kernel

	// Lowering is how the kernel's memory is loaded (optional, the best that the kernel
	// has if empty).
	Lowering accessor.Lowering

	// Kfuncs are the metadata kfuncs that the device has, by name, as nic.Target.Kfuncs
	// returns them (optional). They are asked for the fields that the driver's accessors
	// lack, or that no accessors are there for, by XDP programs that are bound to the device
	// then: see BindToDevice.
	Kfuncs []string

	// Software are the fields that are computed where neither of these tells them, of those
	// that Software returns (optional).
	Software []string

	// More are accessor files with further fields, for flavours of struct md_desc
	// (optional). Where the kernel has nothing for them, the fields are not there.
	More []*accessor.File
}

// Accessors returns what reads the fields in the programs of an object, on the kernel at
// hand: in XDP programs what the driver keeps, in those of TC the skb. An object that is nil
// has XDP programs, for this machine.
//
// Returns an error wrapping ErrNoAccessors, or accessor.ErrNotAsked, and the errors of nic.Kernel.Module,
// accessor.Read and its Resolve.
func (d *Driver) Accessors(object []byte) ([]*rewrite.Accessors, error) {
	return d.each(object, d.resolve)
}

// Portable returns the same for any kernel: whoever loads the object resolves what is
// recorded in the accessors.
func (d *Driver) Portable(object []byte) ([]*rewrite.Accessors, error) {
	return d.each(object, func(file *accessor.File) (*rewrite.Accessors, error) { return file.Portable(d.Kfuncs...) })
}

// each opens the files that the programs of an object need.
func (d *Driver) each(object []byte, fit func(*accessor.File) (*rewrite.Accessors, error)) ([]*rewrite.Accessors, error) {
	given, err := d.openFile()
	if err != nil {
		return nil, err
	}
	return d.forContexts(given, contextsOf(object), object, fit)
}

// forContexts returns the accessors for programs that are given some structs, those of the file
// that the user has given among them, if there is one.
func (d *Driver) forContexts(given *accessor.File, wanted []string, object []byte, fit func(*accessor.File) (*rewrite.Accessors, error)) ([]*rewrite.Accessors, error) {
	if given != nil && !slices.Contains(wanted, given.Context) {
		return nil, fmt.Errorf("accessors %s: they are for programs that are given a struct %s, and the object has none", d.File, given.Context)
	}
	var all []*rewrite.Accessors
	for _, context := range wanted {
		accessors, err := d.inFile(given, context, object, fit)
		if context == "xdp_buff" {
			accessors, err = d.withFallbacks(accessors, err, object, fit)
		}
		if err == nil {
			accessors, err = d.withMore(accessors, context, fit)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, accessors)
	}
	return all, nil
}

// withMore returns accessors with the fields of More.
func (d *Driver) withMore(accessors *rewrite.Accessors, context string, fit func(*accessor.File) (*rewrite.Accessors, error)) (*rewrite.Accessors, error) {
	for _, file := range d.More {
		if file.Context != context {
			continue
		}
		more, err := fit(file)
		if errors.Is(err, accessor.ErrNoAccessors) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if accessors, err = accessor.Complete(accessors, more); err != nil {
			return nil, err
		}
	}
	return accessors, nil
}

// inFile returns the accessors for programs that are given a struct as ctx: those of the
// file that the user has given, if it is for such, or of the driver's.
func (d *Driver) inFile(given *accessor.File, context string, object []byte, fit func(*accessor.File) (*rewrite.Accessors, error)) (_ *rewrite.Accessors, err error) {
	file := given
	if given == nil || given.Context != context {
		if file, err = d.open(context, orderOf(object)); err != nil {
			return nil, err
		}
	}
	accessors, err := fit(file)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", d.nameIn(file), err)
	}
	accessors.Name = d.nameIn(file)
	return accessors, nil
}

// resolve returns the accessors of a file for the kernel.
func (d *Driver) resolve(file *accessor.File) (*rewrite.Accessors, error) {
	kernel := d.Kernel
	if kernel == nil {
		kernel = nic.NewKernel("")
	}
	types, err := kernel.Module(file.Module)
	if err != nil {
		return nil, err
	}
	accessors, err := file.Resolve(types, accessor.Options{Lowering: d.Lowering, Kfuncs: d.Kfuncs})
	if errors.Is(err, accessor.ErrNoAccessors) || errors.Is(err, rewrite.ErrNoDescriptor) {
		return nil, unfitTypes(err, types.Name(), kernel.File(file.Module))
	}
	return accessors, err
}

// unfitError is about types of a kernel that accessors do not fit.
type unfitError struct {
	error
	why string // in short
}

func (e *unfitError) Unwrap() error { return e.error }

// unfitTypes says in which types it is that there is nothing for accessors, given where
// those of the module would be.
func unfitTypes(err error, types, ofModule string) error {
	e := &unfitError{why: err.Error()}
	if lacks := (*accessor.MissingError)(nil); errors.As(err, &lacks) {
		e.why = lacks.Why
	}
	if types != ofModule {
		e.why = noModule(types, ofModule)
	}
	e.error = fmt.Errorf("%w: by the types in %s", err, lookedUp(types, ofModule))
	if errors.Is(err, rewrite.ErrNoDescriptor) { // none of all that the file asks for
		e.error = fmt.Errorf("%w: the types in %s are not those of a kernel with this driver", accessor.ErrNoAccessors, lookedUp(types, ofModule))
	}
	return e
}

// noModule says that accessors fit no types, as far as there are some.
func noModule(types, ofModule string) string {
	return fmt.Sprintf("there is no %s, and %s lacks what the accessors read", ofModule, types)
}

// lookedUp says which types those of a module are.
func lookedUp(types, ofModule string) string {
	if types == ofModule {
		return types
	}
	return fmt.Sprintf("%s (there is no %s)", types, ofModule)
}

// open returns the file, of those that come with xdp-load, for programs that are given a
// struct as ctx.
func (d *Driver) open(context string, order binary.ByteOrder) (*accessor.File, error) {
	name := d.Name
	if context == "sk_buff" {
		name = skbDriver
	}
	var known []string
	for _, file := range nearestFirst(drivers.Names(), name) {
		accessors, err := shipped(file, order)
		switch {
		case err != nil:
			return nil, err
		case accessors.Context != context:
			continue
		case slices.Contains(accessors.Drivers, name):
			return accessors, nil
		}
		known = append(known, accessors.Drivers...)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("driver %s: %w, there are some for %s", name, ErrNoAccessors, strings.Join(known, ", "))
}

// isWithoutAccessors reports whether an error says that there are none, or none that fit the
// kernel.
func isWithoutAccessors(err error) bool {
	return errors.Is(err, ErrNoAccessors) || errors.Is(err, accessor.ErrNoAccessors)
}

// nearestFirst returns names in an order that has the wanted one first.
func nearestFirst(names []string, wanted string) []string {
	at := slices.Index(names, wanted)
	if at < 0 {
		return names
	}
	return append([]string{wanted}, slices.Delete(names, at, at+1)...)
}

// openFile returns the file that the user has given, nil if there is none.
func (d *Driver) openFile() (*accessor.File, error) {
	if d.File == "" {
		return nil, nil
	}
	contents, err := d.Contents, error(nil)
	if contents == nil {
		contents, err = os.ReadFile(d.File)
	}
	if err != nil {
		return nil, fmt.Errorf("accessors %s: %w", d.File, errors.Unwrap(err))
	}
	file, err := accessor.Read(d.File, contents)
	if err != nil {
		return nil, err
	}
	if d.Name != "" && !slices.Contains(file.Drivers, d.Name) && file.Context == "xdp_buff" {
		return nil, fmt.Errorf("driver %s: %w in %s: they are for %s", d.Name, ErrNoAccessors, d.File, strings.Join(file.Drivers, ", "))
	}
	return file, nil
}

// nameIn returns what the report calls the driver.
func (d *Driver) nameIn(file *accessor.File) string {
	if slices.Contains(file.Drivers, d.Name) {
		return d.Name
	}
	return file.Drivers[0]
}

// orderOf returns the byte order of an object, this machine's for what is none.
func orderOf(object []byte) binary.ByteOrder {
	if order := elfOrder(object); order != nil {
		return order
	}
	return binary.NativeEndian
}

// contextsOf returns the structs that ctx is in the programs of an object.
func contextsOf(object []byte) []string {
	spec, err := collection.Read(bytes.NewReader(object))
	if err != nil {
		return []string{"xdp_buff"} // what is wrong with it, its rewriting says
	}
	has := make(map[string]bool)
	for _, program := range spec.Programs {
		has[contexts[program.Type]] = true
	}
	if !has["sk_buff"] {
		return []string{"xdp_buff"}
	}
	if !has["xdp_buff"] {
		return []string{"sk_buff"}
	}
	return []string{"xdp_buff", "sk_buff"}
}
