package accessor

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Source is where programs have a field from.
type Source struct {
	From   From   `json:"from"`
	Reason string `json:"reason"` // why it is not there; empty if it is
}

// From is what is read or asked for a field. It is empty if the field is not there.
type From string

const (
	FromDescriptor From = "descriptor" // what the driver keeps of the packet, in line
	FromKfunc      From = "kfunc"      // a metadata kfunc, by programs that are bound to the device
)

// Sources returns where programs on a kernel have fields from: the file for the driver, or
// else the file with the accessors that ask kfuncs, if the driver has functions for these.
// Where the driver's descriptor is not found, it may have the latter all the same.
//
// Returns the errors of Resolve but those that say that nothing is there.
func Sources(file, kfuncs *File, kernel *reloc.Layout, fields []string) (map[string]Source, error) {
	implemented, err := file.Implements(kernel, kfuncs.kfuncs())
	if err != nil {
		return nil, err
	}
	accessors, err := file.Resolve(kernel, Options{Kfuncs: slices.Collect(maps.Keys(implemented))})
	if errors.Is(err, ErrNoAccessors) || errors.Is(err, ErrNotAsked) {
		accessors = &rewrite.Accessors{Missing: file.without(err)}
	} else if err != nil {
		return nil, err
	}
	sources := make(map[string]Source, len(fields))
	for _, field := range fields {
		own, other := accessors.Fields[field], kfuncs.Fields[field]
		switch {
		case own.Function != "" && own.Kfunc == "":
			sources[field] = Source{From: FromDescriptor}
		case own.Function != "", implemented[other.Kfunc] != "":
			sources[field] = Source{From: FromKfunc}
		default:
			sources[field] = Source{Reason: cmp.Or(accessors.Missing[field], file.Lacks[field], noFunction)}
		}
	}
	return sources, nil
}

const noFunction = "the accessors have no function for it"

// without returns why the fields of the file are not there if none is.
func (f *File) without(err error) map[string]string {
	why := err.Error()
	var lacks *MissingError
	if errors.As(err, &lacks) {
		why = lacks.Why
	}
	missing := make(map[string]string)
	for field := range f.Fields {
		missing[field] = why
	}
	return missing
}

// kfuncs returns the names of the kfuncs that the file asks, each once.
func (f *File) kfuncs() []string {
	var names []string
	for _, accessor := range f.Fields {
		if accessor.Kfunc != "" {
			names = append(names, accessor.Kfunc)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
