package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// sources are the flags that say where fields come from: a layout of the metadata area,
// or a driver.
type sources struct {
	layouts []string
	base    string
	types   []string

	drivers   []string
	accessors string
	btf       string
	lower     string
	kfuncs    bool
	noKfuncs  bool
}

func (s *sources) addLayout(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.layouts, "layout", nil, "`FILE` with the NIC's layout: raw BTF, or an ELF file with .BTF (object, kernel module, vmlinux)")
	cmd.Flags().StringVarP(&s.base, "base-btf", "B", "", "`FILE` that a kernel module's layout is split from: the vmlinux of its kernel")
	cmd.Flags().StringArrayVar(&s.types, "type", nil, "resolve the root types that `GLOB` matches, flavours included (default md_desc; '*' for every record; repeatable)")
}

func (s *sources) addAccessors(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.accessors, "accessors", "", "`FILE` with the accessors of a driver, instead of those that come with xdp-load")
	cmd.Flags().StringVar(&s.lower, "lower", "", "load the kernel's memory in this `WAY`: zero, carrier, probe")
	_ = cmd.Flags().MarkHidden("lower")
}

// addOffline adds the flags for a driver that needs not be here.
func (s *sources) addOffline(cmd *cobra.Command) {
	s.addLayout(cmd)
	s.addAccessors(cmd)
	cmd.Flags().StringArrayVar(&s.drivers, "driver", nil, "`NAME` of the driver that the fields come from, as ethtool -i has it")
	cmd.Flags().BoolVar(&s.kfuncs, "kfuncs", false, "ask the kernel's metadata kfuncs for fields that are not read otherwise: programs have to be bound to the device")
	cmd.Flags().StringVar(&s.btf, "btf", "", "`DIRECTORY` with the BTF of the driver's kernel: vmlinux, and a file for each module (default "+nic.KernelBTF+")")
}

// addNoKfuncs adds the flag for a driver that is here.
func (s *sources) addNoKfuncs(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.noKfuncs, "no-kfuncs", false, "leave out fields that only the kernel's metadata kfuncs tell, rather than bind the program to the device")
}

// lowerings are the ways to load the kernel's memory, by their names on the command line.
var lowerings = map[string]accessor.Lowering{"": "", "zero": accessor.Zero, "carrier": accessor.Carrier, "probe": accessor.Probe}

// check refuses flags that make no sense together. several says that there may be more
// than one source.
func (s *sources) check(several bool) error {
	_, known := lowerings[s.lower]
	switch {
	case slices.Contains(s.layouts, ""):
		return usagef("no layout given: --layout FILE says where this NIC keeps each field")
	case slices.Contains(s.drivers, ""):
		return usagef("no driver given: --driver NAME, as ethtool -i has it")
	case !several && len(s.layouts) > 0 && s.hasDriver():
		return usagef("--layout and %s exclude each other: fields come from the metadata area or from the driver", s.driverFlag())
	case !several && len(s.layouts) > 1:
		return usagef("more than one --layout: only check takes several")
	case !several && len(s.drivers) > 1:
		return usagef("more than one --driver: only check takes several")
	case len(s.layouts) == 0 && (len(s.types) > 0 || s.base != ""):
		return usagef("--type and --base-btf are for a layout, and none is given: --layout FILE")
	case s.kfuncs && !s.hasDriver():
		return usagef("--kfuncs is for a driver, and none is given: --driver NAME")
	case s.noKfuncs && len(s.layouts) > 0:
		return usagef("--no-kfuncs is for a driver, and a layout is given")
	case s.btf != "" && !s.hasDriver():
		return usagef("--btf is for a driver, and none is given: --driver NAME")
	case !known:
		return usagef("--lower %q: zero, carrier or probe", s.lower)
	}
	return nil
}

func (s *sources) hasDriver() bool { return len(s.drivers) > 0 || s.accessors != "" }

// isGiven reports whether there is a source at all.
func (s *sources) isGiven() bool { return len(s.layouts) > 0 || s.hasDriver() }

func (s *sources) driverFlag() string {
	if len(s.drivers) > 0 {
		return "--driver"
	}
	return "--accessors"
}

// errNoSource is for the commands that load nothing.
var errNoSource = usagef("no layout given: --layout FILE says where this NIC keeps each field; and no driver: --driver NAME")

// driver returns the driver of a name, empty for that of the accessors.
func (s *sources) driver(name string) *loader.Driver {
	driver := &loader.Driver{Name: name, File: s.accessors, BTF: s.btf, Lowering: lowerings[s.lower]}
	if s.kfuncs {
		driver.Kfuncs = nic.Kfuncs()
	}
	return driver
}

// driverOf returns the driver of a name, that of an interface, with the kfuncs that it has.
func (s *sources) driverOf(target *nic.Target, name string) (driver *loader.Driver, err error) {
	driver = s.driver(name)
	if !s.noKfuncs {
		driver.Kfuncs, err = target.Kfuncs()
	}
	return driver, err
}

// onlyDriver returns the one that the command line gives.
func (s *sources) onlyDriver() *loader.Driver {
	if len(s.drivers) == 0 {
		return s.driver("")
	}
	return s.driver(s.drivers[0])
}

func (s *sources) openLayout(path string) (*reloc.Layout, error) { return nic.OpenLayout(path, s.base) }

// source returns what an object is to be rewritten for: the one layout, or the one driver,
// of the command line.
func (s *sources) source(object []byte) (opts loader.Options, err error) {
	opts.Types = s.types
	if len(s.layouts) > 0 {
		opts.Layout, err = s.openLayout(s.layouts[0])
	} else {
		opts.Accessors, err = s.onlyDriver().Accessors(object)
	}
	return opts, err
}

// origin returns what the flags say, for the record of a program.
func (s *sources) origin() (origin loader.Origin, err error) {
	origin.Lowering, origin.NoKfuncs = s.lower, s.noKfuncs
	layout := ""
	if len(s.layouts) > 0 {
		layout = s.layouts[0]
	}
	for _, file := range []struct {
		flag string
		to   *string
	}{{layout, &origin.Layout}, {s.base, &origin.Base}, {s.accessors, &origin.Accessors}} {
		if file.flag == "" {
			continue
		}
		if *file.to, err = filepath.Abs(file.flag); err != nil {
			return origin, err
		}
	}
	return origin, nil
}

// sourcesFrom returns the flags that a record was made with.
func sourcesFrom(record *loader.Record) *sources {
	origin := &record.Origin
	s := &sources{base: origin.Base, types: record.Types, accessors: origin.Accessors, lower: origin.Lowering, noKfuncs: origin.NoKfuncs}
	if origin.Layout != "" {
		s.layouts = []string{origin.Layout}
	}
	return s
}

// foundAgain returns how to look again for what a program on an interface was rewritten for.
func foundAgain(iface string) loader.Find {
	return func(record *loader.Record) (loader.Options, error) { return sourcesFrom(record).sourceOf(iface) }
}

// sourceOf returns what the programs on an interface are to be rewritten for.
func (s *sources) sourceOf(iface string) (opts loader.Options, err error) {
	opts.Types = s.types
	if opts.Origin, err = s.origin(); err != nil {
		return opts, err
	}
	if len(s.layouts) > 0 {
		opts.Layout, err = s.openLayout(s.layouts[0])
		return opts, err
	}
	target, err := nic.ByName(iface)
	if err != nil {
		return opts, err
	}
	name, err := target.XDPDriver()
	switch {
	case errors.Is(err, nic.ErrNoSlaves):
		return opts, fmt.Errorf("%w, whose driver the fields would come from, and no layout given: add its slaves first, or say where they keep each field, --layout FILE", err)
	case errors.Is(err, nic.ErrSeveralDrivers):
		return opts, fmt.Errorf("%w, and no layout given: a program reads what one driver keeps: load it on each slave instead of the bond, or say where all keep each field, --layout FILE", err)
	case err != nil:
		return opts, err
	case name == "":
		return opts, fmt.Errorf("%s: no layout given, and its driver does not say its name: say where this NIC keeps each field, --layout FILE", iface)
	}
	driver, err := s.driverOf(target, name)
	if err != nil {
		return opts, err
	}
	opts.Accessors, err = driver.Accessors(nil)
	if errors.Is(err, loader.ErrNoAccessors) || errors.Is(err, accessor.ErrNoAccessors) {
		err = fmt.Errorf("%s: no layout given, and %w: say where this NIC keeps each field, --layout FILE, or how its driver is read, --accessors FILE", iface, err)
	}
	return opts, err
}

// rewrite rewrites the object in a file.
func (f *flags) rewrite(path string, object []byte, opts loader.Options) ([]byte, *rewrite.Report, error) {
	out, report, err := loader.Rewrite(object, opts)
	if err != nil {
		return nil, nil, inObject(path, err)
	}
	f.warnUnaccessed(path, report)
	return out, report, nil
}
