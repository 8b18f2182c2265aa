package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/rewrite"
)

// software are the fields that can be computed, with those that are no use without each
// other.
var software = map[string][]string{
	"hash":         {"hash", "hash_type"},
	"rx_timestamp": {"rx_timestamp"},
}

// Software returns the names of the fields that can be computed without the NIC, sorted:
// the hash of the packet's flow, with its hash_type, which has MD_HASH_SOFTWARE set then,
// and the time, of CLOCK_TAI in nanoseconds, at which the program reads rx_timestamp.
func Software() []string { return slices.Sorted(maps.Keys(software)) }

// withFallbacks returns a driver's accessors, or none if err says that there are none, with
// those for what they lack: first the kernel's metadata kfuncs, then what is computed.
func (d *Driver) withFallbacks(accessors *rewrite.Accessors, err error, object []byte, fit func(*accessor.File) (*rewrite.Accessors, error)) (*rewrite.Accessors, error) {
	if len(d.Kfuncs) > 0 {
		accessors, err = d.withFallback(drivers.Kfuncs, nil, accessors, err, object, fit)
	}
	for _, field := range d.Software {
		fields, ok := software[field]
		if !ok {
			return nil, fmt.Errorf("%q can't be computed, what can be is %s", field, strings.Join(Software(), ", "))
		}
		accessors, err = d.withFallback(drivers.Software, fields, accessors, err, object, fit)
	}
	return accessors, err
}

// withFallback returns accessors with those of a file that is for no driver: of the fields
// that are given, if the accessors have none of them, or of all that they lack.
func (d *Driver) withFallback(name string, fields []string, accessors *rewrite.Accessors, err error, object []byte, fit func(*accessor.File) (*rewrite.Accessors, error)) (*rewrite.Accessors, error) {
	if err != nil && !(d.Name != "" && isWithoutAccessors(err)) {
		return nil, err
	}
	if err == nil && slices.ContainsFunc(fields, func(field string) bool { _, ok := accessors.Fields[field]; return ok }) {
		return accessors, nil
	}
	file, failed := shipped(name, orderOf(object))
	if failed != nil {
		return nil, failed
	}
	others, failed := fit(file)
	if errors.Is(failed, accessor.ErrNotAsked) { // the kernel lets no program ask
		return accessors, err
	}
	if failed != nil {
		return nil, fmt.Errorf("driver %s: %w", d.Name, failed)
	}
	if fields != nil {
		maps.DeleteFunc(others.Fields, func(field string, _ rewrite.Accessor) bool { return !slices.Contains(fields, field) })
	}
	if err == nil {
		return accessor.Complete(accessors, others)
	}
	others.Name = d.Name
	return others, nil
}
