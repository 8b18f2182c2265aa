//go:build linux

package loader

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

var (
	// ErrNoSource is what NoSourceError is.
	ErrNoSource = errors.New("no source of its fields")

	// ErrUnnamedDriver is wrapped by a NoSourceError about an interface without a driver, or
	// with one that can't be told.
	ErrUnnamedDriver = errors.New("its driver does not say its name")
)

// NoSourceError is about an interface that has neither a layout nor accessors.
type NoSourceError struct {
	Interface string
	Places    []nic.Place // where a layout was looked for, and why there is none
	Err       error       // why there are no accessors
}

// Error says what there is none of, and of accessors why.
func (e *NoSourceError) Error() string {
	if len(e.Places) == 0 {
		return fmt.Sprintf("%s: %s", e.Interface, e.why())
	}
	return fmt.Sprintf("%s: no layout found, and %s", e.Interface, e.why())
}

// why says why there are no accessors.
func (e *NoSourceError) why() string { return strings.TrimPrefix(e.Err.Error(), e.Interface+": ") }

// Unwrap returns ErrNoSource, and why there are no accessors.
func (e *NoSourceError) Unwrap() []error { return []error{ErrNoSource, e.Err} }

// Details returns a line for each place where a layout was looked for.
func (e *NoSourceError) Details() string {
	var b strings.Builder
	for _, place := range e.Places {
		fmt.Fprintf(&b, "    %s\n", place)
	}
	return b.String()
}

// FindSource looks for what the fields of programs on an interface come from: a layout,
// as Target.FindLayout does, or else, for XDP programs, the accessors of the driver that they get
// their packets from, whose name is filled in, and for those of TC the accessors of the skb. A driver with a File, or Software, is asked for
// accessors only.
// The options have the layout or the accessors, and target.Source says what was found.
//
// Returns a NoSourceError if there is nothing, which wraps ErrNoSource, and the reason why there are
// no accessors, such as ErrUnnamedDriver or ErrNoAccessors; and the errors of FindLayout and
// Driver.Accessors.
func FindSource(target *nic.Target, search nic.Search, driver *Driver) (opts Options, err error) {
	var places []nic.Place
	if driver.File == "" && len(driver.Software) == 0 {
		if places, err = target.FindLayout(search); err != nil {
			return opts, err
		}
		if target.Layout != nil {
			return Options{Layout: target.Layout}, nil
		}
	}
	accessors, err := driver.accessorsOn(target)
	if isWithoutSource(err) {
		err = &NoSourceError{Interface: target.Interface, Places: places, Err: err}
	}
	if err != nil {
		return opts, err
	}
	target.Source = driver.source(accessors)
	if search.Log != nil {
		search.Log.Info("source", "interface", target.Interface, "kind", target.Source.Kind, "name", target.Source.Name)
	}
	return Options{Accessors: accessors}, nil
}

// accessorsOn returns the accessors for an interface. Those of TC are the same on each.
func (d *Driver) accessorsOn(target *nic.Target) ([]*rewrite.Accessors, error) {
	of := *d
	context := d.context()
	if context == "xdp_buff" {
		name, err := target.XDPDriver()
		if err != nil {
			return nil, err
		}
		if name == "" {
			return nil, ErrUnnamedDriver
		}
		of.Name = name
	}
	given, err := of.openFile()
	if err != nil {
		return nil, err
	}
	return of.forContexts(given, []string{context}, nil, of.resolve)
}

// context returns the struct that the program to attach is given.
func (d *Driver) context() string {
	if spec, err := collection.Read(bytes.NewReader(d.Object)); err == nil {
		if name, _, err := chooseProgram(spec, d.Program, anyHook); err == nil {
			return contexts[spec.Programs[name].Type]
		}
	}
	return contexts[ebpf.XDP] // what is wrong with the object, its loading says
}

// isWithoutSource reports whether an error says that there are no accessors for an interface.
func isWithoutSource(err error) bool {
	return isWithoutAccessors(err) || errors.Is(err, ErrUnnamedDriver) || errors.Is(err, nic.ErrNoSlaves) || errors.Is(err, nic.ErrSeveralDrivers)
}

// source says where accessors come from.
func (d *Driver) source(accessors []*rewrite.Accessors) nic.Source {
	first := accessors[0]
	found := nic.Source{Kind: nic.Computed, Name: first.Name}
	for field, accessor := range first.Fields {
		switch {
		case accessor.Kfunc != "":
			found.Kind = nic.MetadataKfuncs
		case !d.computes(field):
			return nic.Source{Kind: nic.DriverAccessors, Name: cmp.Or(d.File, first.Name)}
		}
	}
	return found
}

// computes reports whether a field is one that is computed where nothing else tells it.
func (d *Driver) computes(field string) bool {
	return slices.ContainsFunc(d.Software, func(asked string) bool { return slices.Contains(software[asked], field) })
}
