package main

import (
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"

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
	btf       []string
	lower     string
	software  []string
	kfuncs    bool
	noKfuncs  bool

	// What is to be attached to an interface, if it has been read.
	object  []byte
	program string

	contents []byte // of the accessors' file, which may be a pipe, nil if it was not read

	log   *slog.Logger          // of decisions
	found map[string]nic.Source // by interface, where the command line does not say it
}

func (s *sources) addLayout(cmd *cobra.Command) {
	s.addLayoutFile(cmd)
	cmd.Flags().Var((*repeated)(&s.types), "type", "root types to resolve: a `GLOB`, '*' for all (default md_desc)")
}

// addLayoutFile adds the flags for what needs no object.
func (s *sources) addLayoutFile(cmd *cobra.Command) {
	cmd.Flags().Var((*repeated)(&s.layouts), "layout", "the NIC's layout: a `FILE` with BTF, or prog:NAME, prog:ID of a loaded program")
	cmd.Flags().StringVarP(&s.base, "base-btf", "B", "", "the vmlinux `FILE` that a module's layout is split from")
}

func (s *sources) addAccessors(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.accessors, "accessors", "", "a `FILE` with accessors, instead of xdp-load's own")
	cmd.Flags().Var((*separated)(&s.software), "software", "compute `FIELDS` that the driver has not: "+strings.Join(loader.Software(), ", "))
	cmd.Flags().StringVar(&s.lower, "lower", "", "load the kernel's memory in this `WAY`: zero, carrier, probe")
	_ = cmd.Flags().MarkHidden("lower")
}

// addOffline adds the flags for a driver that needs not be here.
func (s *sources) addOffline(cmd *cobra.Command) {
	s.addLayout(cmd)
	s.addAccessors(cmd)
	cmd.Flags().Var((*repeated)(&s.drivers), "driver", "the `NAME` of the driver, as ethtool -i has it")
	cmd.Flags().BoolVar(&s.kfuncs, "kfuncs", false, "ask the kernel's kfuncs for the rest: programs are then to be bound to the device")
	s.addBTF(cmd)
}

func (s *sources) addBTF(cmd *cobra.Command) {
	cmd.Flags().Var((*repeated)(&s.btf), "btf", "the driver's kernel: a `DIRECTORY` of vmlinux and modules (default "+nic.KernelBTF+")")
}

// addNoKfuncs adds the flag for a driver that is here.
func (s *sources) addNoKfuncs(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.noKfuncs, "no-kfuncs", false, "leave out fields that only the kernel's kfuncs tell")
}

// lowerings are the ways to load the kernel's memory, by their names on the command line.
var lowerings = map[string]accessor.Lowering{"": "", "zero": accessor.Zero, "carrier": accessor.Carrier, "probe": accessor.Probe}

// check refuses flags that make no sense together, and reads the accessors. several says that
// there may be more than one source.
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
	case !several && len(s.btf) > 1:
		return usagef("more than one --btf: only check and drivers take several")
	case len(s.btf) > 0 && !s.hasDriver():
		return usagef("--btf is for a driver, and none is given: --driver NAME")
	case len(s.software) > 0 && len(s.layouts) > 0:
		return usagef("--software is for a driver, and a layout is given")
	case !isSubset(s.software, loader.Software()):
		return usagef("--software %s: what can be computed is %s", strings.Join(s.software, ","), strings.Join(loader.Software(), ", "))
	case !known:
		return usagef("--lower %q: zero, carrier or probe", s.lower)
	case s.accessors != "":
		s.contents, _ = os.ReadFile(s.accessors) // if that fails, who needs them says so
	}
	return nil
}

func isSubset(some, of []string) bool {
	return !slices.ContainsFunc(some, func(one string) bool { return !slices.Contains(of, one) })
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

// checkKernel wants to know which kernel it is where none runs.
func (s *sources) checkKernel() error {
	if runtime.GOOS != "linux" && len(s.btf) == 0 {
		return usagef("no Linux runs here: --btf DIRECTORY, with the types of the kernel that the driver is in")
	}
	return nil
}

// kernels returns those that the command line gives, or the running one.
func (s *sources) kernels() []*nic.Kernel {
	dirs := s.btf
	if len(dirs) == 0 {
		dirs = []string{""}
	}
	return nic.NewKernels(dirs...)
}

// driver returns the driver of a name, empty for that of the accessors, on the only kernel.
func (s *sources) driver(name string) *loader.Driver { return s.driverIn(name, s.kernels()[0]) }

func (s *sources) driverIn(name string, kernel *nic.Kernel) *loader.Driver {
	driver := &loader.Driver{Name: name, File: s.accessors, Contents: s.contents, Kernel: kernel, Lowering: lowerings[s.lower], Software: s.software}
	if s.kfuncs {
		driver.Kfuncs = nic.Kfuncs()
	}
	return driver
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
	opts.Types, opts.Log = s.types, s.log
	if len(s.layouts) > 0 {
		opts.Layout, err = s.openLayout(s.layouts[0])
	} else {
		opts.Accessors, err = s.onlyDriver().Accessors(object)
	}
	return opts, err
}

// rewrite rewrites the object in a file.
func (f *flags) rewrite(path string, object []byte, opts loader.Options) ([]byte, *rewrite.Report, error) {
	out, report, err := loader.Rewrite(object, opts)
	if err != nil {
		return nil, nil, inObject(path, err)
	}
	f.log.Info("rewritten", "object", path, "accesses", len(report.Edits), "layout", report.Layout, "driver", report.Driver, "lowering", report.Lowering)
	f.warnUnaccessed(path, report)
	return out, report, nil
}
