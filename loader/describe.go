//go:build linux

package loader

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Description is what programs on an interface can expect.
type Description struct {
	*nic.Target

	// Receives is the driver that XDP programs get their packets from, if that is not the
	// interface's: of a bond, that of its slaves.
	Receives string `json:"receives,omitempty"`

	// Features are nil if the kernel does not tell them.
	Features *nic.Features `json:"features,omitempty"`

	// Layouts are the descriptors of the layout, if the source is one: as nic.Descriptors
	// returns them.
	Layouts []nic.Descriptor `json:"layouts,omitempty"`

	// Fields are those that the driver is read for, and others of which it is known why they
	// can't be, if the source is one of accessors. They are sorted by their names.
	Fields []DriverField `json:"fields,omitempty"`

	// Without a source Places says where a layout was looked for, and Error why there are no
	// accessors.
	Places []nic.Place `json:"places,omitempty"`
	Error  string      `json:"error,omitempty"`
}

// DriverField is a field of struct md_desc in a driver.
type DriverField struct {
	Field   string `json:"field"`
	Type    string `json:"type,omitempty"`
	From    string `json:"from,omitempty"`    // where the driver has it
	Kfunc   string `json:"kfunc,omitempty"`   // that is asked for it
	Missing string `json:"missing,omitempty"` // why it is not there
}

// Describe returns what programs on an interface can expect: what its driver tells of
// itself, and the source, looked for as FindSource does. It needs no privileges. Where there
// is no source the description says so. What is found and can't be used is an error, and
// the description is without it.
func Describe(target *nic.Target, search nic.Search, driver *Driver) (*Description, error) {
	d := &Description{Target: target}
	if name, err := target.XDPDriver(); err == nil && name != target.Driver {
		d.Receives = name
	}
	features, err := target.Features()
	switch {
	case err == nil:
		d.Features = &features
	case !errors.Is(err, nic.ErrFeaturesUnknown):
		return nil, err
	}

	source, err := FindSource(target, search, driver)
	var nowhere *NoSourceError
	switch {
	case errors.As(err, &nowhere):
		d.Places, d.Error = nowhere.Places, nowhere.why()
		return d, nil
	case err != nil:
		return d, err
	case source.Layout != nil:
		d.Layouts, err = nic.Descriptors(source.Layout)
		return d, err
	}
	d.Fields = driverFields(source.Accessors[0])
	return d, nil
}

func driverFields(accessors *rewrite.Accessors) []DriverField {
	var fields []DriverField
	for name, accessor := range accessors.Fields {
		fields = append(fields, DriverField{Field: name, Type: accessor.Field.Type, From: accessor.From, Kfunc: accessor.Kfunc})
	}
	for _, missing := range []map[string]string{accessors.Missing, accessors.Lacks} {
		for _, name := range slices.Sorted(maps.Keys(missing)) {
			if !slices.ContainsFunc(fields, func(f DriverField) bool { return f.Field == name }) {
				fields = append(fields, DriverField{Field: name, Missing: missing[name]})
			}
		}
	}
	slices.SortFunc(fields, func(a, b DriverField) int { return cmp.Compare(a.Field, b.Field) })
	return fields
}
