package loader

import (
	"errors"
	"fmt"
	"strings"

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
	why := strings.TrimPrefix(e.Err.Error(), e.Interface+": ")
	if len(e.Places) == 0 {
		return fmt.Sprintf("%s: %s", e.Interface, why)
	}
	return fmt.Sprintf("%s: no layout found, and %s", e.Interface, why)
}

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

// FindSource looks for what the fields of XDP programs on an interface come from: a layout,
// as Target.FindLayout does, or else the accessors of the driver that the programs get their
// packets from. A driver that has a File is asked for accessors only; its Name is filled in.
// The options have the layout or the accessors, and target.Source says what was found.
//
// Returns a NoSourceError if there is nothing, and the errors of FindLayout and
// Driver.Accessors.
func FindSource(target *nic.Target, search nic.Search, driver *Driver) (opts Options, err error) {
	var places []nic.Place
	if driver.File == "" {
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
	return Options{Accessors: accessors}, nil
}

// accessorsOn returns the accessors for an interface.
func (d *Driver) accessorsOn(target *nic.Target) ([]*rewrite.Accessors, error) {
	name, err := target.XDPDriver()
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, ErrUnnamedDriver
	}
	of := *d
	of.Name = name
	return of.Accessors(nil)
}

// isWithoutSource reports whether an error says that there are no accessors for an interface.
func isWithoutSource(err error) bool {
	return isWithoutAccessors(err) || errors.Is(err, ErrUnnamedDriver) || errors.Is(err, nic.ErrNoSlaves) || errors.Is(err, nic.ErrSeveralDrivers)
}

// source says where accessors come from.
func (d *Driver) source(accessors []*rewrite.Accessors) nic.Source {
	first := accessors[0] // of XDP programs
	switch {
	case d.File != "":
		return nic.Source{Kind: nic.DriverAccessors, Name: d.File}
	case asksOnly(first):
		return nic.Source{Kind: nic.MetadataKfuncs, Name: first.Name}
	}
	return nic.Source{Kind: nic.DriverAccessors, Name: first.Name}
}

// asksOnly reports whether kfuncs are asked for all that there is.
func asksOnly(a *rewrite.Accessors) bool {
	for _, field := range a.Fields {
		if field.Kfunc == "" {
			return false
		}
	}
	return true
}
