package loader

import (
	"cmp"
	"slices"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

// KnownDriver is a driver that accessors come with xdp-load for, and what programs on a
// kernel can read of its packets.
type KnownDriver struct {
	Driver string `json:"driver"` // as ethtool -i has it; "skb" stands for any, in programs of TC
	Module string `json:"module"` // "vmlinux" if it needs none
	Kernel string `json:"kernel"` // see nic.Kernel.Name

	// Fields has every field of struct md_desc.
	Fields map[string]accessor.Source `json:"fields"`

	// Err says what is wrong with the module's types, if they are there and can't be read.
	// The reasons in Fields say so, too.
	Err error `json:"-"`
}

// KnownDrivers returns the drivers that accessors come with xdp-load for, sorted by name, and what
// programs read of each on a kernel. If the types of a module are not there, its Fields say so.
//
// Returns an error if the types of the kernel itself can't be read.
func KnownDrivers(kernel *nic.Kernel) ([]KnownDriver, error) {
	types, err := kernel.Types()
	if err != nil {
		return nil, err
	}
	files, err := filesFor(types)
	if err != nil {
		return nil, err
	}
	rows := make([][]KnownDriver, len(files))
	inParallel(len(files), func(i int) { rows[i] = knownIn(files[i], kernel) })

	known := slices.Concat(rows...)
	for i := range known {
		known[i].Kernel = kernel.Name()
	}
	slices.SortFunc(known, func(a, b KnownDriver) int { return cmp.Compare(a.Driver, b.Driver) })
	return known, nil
}

// filesFor returns the accessor files that come with xdp-load, for programs of a kernel's
// byte order.
func filesFor(kernel *reloc.Layout) ([]*accessor.File, error) {
	names := drivers.Names()
	files := make([]*accessor.File, len(names))
	for i, name := range names {
		var err error
		if files[i], err = shipped(name, kernel.ByteOrder()); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// knownIn returns what a file has for a kernel, for each of its drivers.
func knownIn(file *accessor.File, kernel *nic.Kernel) []KnownDriver {
	row := KnownDriver{Module: moduleOf(file)}
	row.Fields, row.Err = sourcesOf(file, kernel)
	if row.Err != nil {
		row.Fields = nowhere(row.Err.Error())
	}
	rows := make([]KnownDriver, len(file.Drivers))
	for i, driver := range file.Drivers {
		rows[i] = row
		rows[i].Driver = driver
	}
	return rows
}

// moduleOf returns the module whose types a file needs.
func moduleOf(file *accessor.File) string {
	if file.Context == "sk_buff" {
		return "vmlinux"
	}
	return file.Module
}

// sourcesOf returns where programs have each field from.
func sourcesOf(file *accessor.File, kernel *nic.Kernel) (map[string]accessor.Source, error) {
	types, err := kernel.Module(moduleOf(file))
	if err != nil {
		return nil, err
	}
	kfuncs, err := shipped(drivers.Kfuncs, types.ByteOrder())
	if err != nil {
		return nil, err
	}
	sources, err := accessor.Sources(file, kfuncs, types, drivers.Fields)
	if own := kernel.File(moduleOf(file)); err == nil && types.Name() != own && !isAnywhere(sources) {
		return nowhere(noModule(types.Name(), own)), nil
	}
	return sources, err
}

func isAnywhere(sources map[string]accessor.Source) bool {
	for _, source := range sources {
		if source.From != "" {
			return true
		}
	}
	return false
}

// nowhere returns that no field is there, for one reason.
func nowhere(reason string) map[string]accessor.Source {
	sources := make(map[string]accessor.Source)
	for _, field := range drivers.Fields {
		sources[field] = accessor.Source{Reason: reason}
	}
	return sources
}
