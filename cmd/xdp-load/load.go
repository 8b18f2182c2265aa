//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

const rootHelp = `xdp-load loads an XDP program rewritten for a NIC. Each md->field in it becomes
what reads the field there: a load from the metadata area, where a layout says
so, or else code that reads what the NIC's driver keeps of the packet.`

const rootExamples = `  xdp-load --iface eth0 prog.o                  # fields come from the driver
  xdp-load --iface eth0 --layout nic.o prog.o   # from the metadata area
  xdp-load status
  xdp-load unload eth0`

const loadHelp = `Load a program on an interface, in native mode. The link is pinned, and so are
the maps: they stay when xdp-load exits, until unload.`

const loadExamples = `  xdp-load load eth0 prog.o
  xdp-load load eth0 --layout nic.o --dry-run prog.o
  xdp-load load --iface eth0 --iface eth1 --replace prog.o`

// loading is what the root command does, and load.
type loading struct {
	*flags
	ifaces   []string
	dryRun   bool
	pinPath  string
	mode     string
	replace  bool
	force    bool
	programs []string

	redirects []string
}

// newLoads returns the root command, whose own job is to load a program, and load,
// which takes the same in the order that xdp-loader has it.
func newLoads(f *flags) (root, load *cobra.Command) {
	l := &loading{flags: f}
	root = &cobra.Command{
		Use:               "xdp-load --iface INTERFACE [FLAGS OF load] prog.o",
		Short:             "Load XDP programs rewritten for a NIC",
		Long:              rootHelp,
		Example:           rootExamples,
		Args:              l.rootArguments,
		ValidArgsFunction: completeRootObject,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd, args[0]) },
	}
	load = &cobra.Command{
		Use:               "load INTERFACE [FLAGS] prog.o",
		Short:             "Load a program on an interface, as without a command",
		Long:              loadHelp,
		Example:           loadExamples,
		ValidArgsFunction: completeInterfaceAndObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 2 && exists(args[0]) && !exists(args[1]):
				return usagef("the interface comes first: xdp-load load %s %s", args[1], args[0])
			case len(args) == 1 && isInterface(args[0]) && !exists(args[0]):
				return usagef("no object given: xdp-load load %s prog.o", args[0])
			}
			if len(l.ifaces) == 0 && len(args) > 1 {
				l.ifaces, args = args[:1], args[1:]
			}
			if err := oneObject(cmd, args); err != nil {
				return err
			}
			return l.run(cmd, args[0])
		},
	}
	l.addFlags(root)
	l.addFlags(load)
	return root, load
}

func (l *loading) addFlags(cmd *cobra.Command) {
	cmd.Flags().Var((*repeated)(&l.ifaces), "iface", "the network `INTERFACE`; repeatable: all or none")
	l.addLayout(cmd)
	l.addAccessors(cmd)
	l.addNoKfuncs(cmd)
	cmd.Flags().StringVarP(&l.mode, "mode", "m", "", "a `MODE`: native; generic, in the stack, where md_desc(ctx) is NULL; offload; of TC, tcx or clsact")
	_ = cmd.RegisterFlagCompletionFunc("mode", completeModes) // not in completed, as other systems have no modes
	cmd.Flags().StringVarP(&l.pinPath, "pin-path", "p", "", "where maps are pinned that are so by name: a `DIRECTORY` of a bpffs (default /sys/fs/bpf)")
	cmd.Flags().BoolVar(&l.dryRun, "dry-run", false, "check and show all, and load nothing")
	cmd.Flags().BoolVar(&l.replace, "replace", false, "take the place of the program that xdp-load has there, with no packet unseen")
	cmd.Flags().BoolVar(&l.force, "force", false, "with --replace, also of one that is not xdp-load's")
	cmd.Flags().StringArrayVar(&l.programs, "program", nil, "the `NAME` of the program; repeatable: all or none")
	cmd.Flags().StringArrayVar(&l.redirects, "redirect", nil, "an `ENTRY` MAP:KEYS=TO,PROGRAM of a cpumap or a devmap")
}

func (l *loading) run(cmd *cobra.Command, object string) error {
	switch {
	case len(l.ifaces) == 0 || slices.Contains(l.ifaces, ""):
		return usagef("no interface given: --iface INTERFACE, or load INTERFACE")
	case l.mode != "" && modeNamed(l.mode) == "":
		return usagef("--mode %q: native, generic or offload; for a program of TC tcx or clsact", l.mode)
	case (modeNamed(l.mode) == loader.Generic || modeNamed(l.mode) == loader.Offload) && len(l.layouts) == 0:
		return usagef("--mode %s needs --layout FILE: what a program is given there is not the driver's", l.mode)
	case l.force && !l.replace:
		return usagef("--force is for --replace: it takes the place of a program that somebody else has attached")
	}
	if err := l.sources.check(false); err != nil {
		return err
	}
	each, err := l.options(object)
	switch {
	case err != nil:
		return err
	case l.dryRun:
		return l.preview(cmd.OutOrStdout(), object, each)
	}
	return l.load(cmd.OutOrStdout(), object, each)
}

// modes are those of a program.
var modes = []loader.Mode{loader.Native, loader.Generic, loader.Offload, loader.TCX, loader.Clsact}

// modesOfXDPLoader are those that xdp-loader calls otherwise.
var modesOfXDPLoader = map[string]loader.Mode{"skb": loader.Generic, "hw": loader.Offload}

// modeNamed returns the mode of a name, none if there is no such one.
func modeNamed(name string) loader.Mode {
	if mode := loader.Mode(name); slices.Contains(modes, mode) {
		return mode
	}
	return modesOfXDPLoader[name]
}

func completeModes(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, mode := range modes {
		names = append(names, string(mode))
	}
	return completeWords(names...)(cmd, args, begun)
}

// options returns what is to be done on each interface, with each program.
func (l *loading) options(path string) (each []loader.Options, err error) {
	if l.pinPath != "" {
		if l.pinPath, err = filepath.Abs(l.pinPath); err != nil {
			return nil, err
		}
	}
	redirects, err := parseRedirects(l.redirects)
	if err != nil {
		return nil, err
	}
	// Once, as it may be a pipe.
	if l.object, err = readObject(path); err != nil {
		return nil, err
	}
	programs := l.programs
	if len(programs) == 0 {
		programs = []string{""} // the only one
	}
	var opts loader.Options
	for _, iface := range l.ifaces {
		for _, l.program = range programs {
			if len(each) == 0 || len(l.layouts) == 0 { // a layout, which may be a pipe, too, is the same for all
				if opts, err = l.sourceOf(iface); err != nil {
					return nil, err
				}
			}
			opts.Object, opts.Interface, opts.Program = l.object, iface, l.program
			opts.Mode, opts.Replace, opts.Force = modeNamed(l.mode), l.replace, l.force
			opts.Redirects, opts.Collection.Maps.PinPath = redirects, l.pinPath
			each = append(each, opts)
		}
	}
	return each, nil
}

// rootArguments tells a misspelt command, or a forgotten one, from an object.
func (l *loading) rootArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 && cmd.Flags().NFlag() == 0 {
		return usagef("no command and no object given")
	}
	if len(args) > 0 && !exists(args[0]) {
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 && !isInterface(args[0]) {
			return usagef("no command %q, did you mean %q?", args[0], similar[0])
		}
		if len(args) == 2 && len(l.ifaces) == 0 {
			return usagef("more than one argument, and no --iface: to load %s on interface %s, %s", args[1], args[0], l.withLoad())
		}
	}
	if len(args) == 2 && len(l.ifaces) == 0 && isInterface(args[1]) {
		return usagef("the interface comes first: xdp-load load %s %s", args[1], args[0])
	}
	if err := oneObject(cmd, args); err != nil {
		return err
	}
	if cmd.Flags().NFlag() == 0 && !exists(args[0]) {
		return usagef("%s: no such command or file", args[0])
	}
	return nil
}

// withLoad returns the command line with the command that was left out.
func (l *loading) withLoad() string {
	return "xdp-load load " + strings.Join(os.Args[1:], " ")
}

func isInterface(name string) bool {
	_, err := nic.ByName(name)
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// loaded is what load prints as JSON.
type loaded struct {
	Report     *rewrite.Report        `json:"report"`
	Attachment *loader.Attachment     `json:"attachment"`
	Maps       []loader.PinnedMap     `json:"maps"`
	ForMaps    []loader.PinnedProgram `json:"forMaps,omitempty"`  // programs for cpumaps and devmaps
	Bound      bool                   `json:"bound,omitempty"`    // to the device
	Replaced   ebpf.ProgramID         `json:"replaced,omitempty"` // that was there before
}

func (f *flags) load(w io.Writer, path string, each []loader.Options) error {
	all, err := loadEach(path, each)
	if err != nil {
		return err
	}
	for _, object := range all {
		defer object.Close()
		f.warnUnaccessed(path, object.Report)
	}
	return f.printLoaded(w, all)
}

func loadEach(path string, each []loader.Options) ([]*loader.Loaded, error) {
	if len(each) > 1 {
		return loader.LoadOnAll(path, each)
	}
	object, err := loader.LoadRewritten(path, each[0])
	return []*loader.Loaded{object}, err
}

// printLoaded prints what was loaded: as JSON an object, or an array for several interfaces.
func (f *flags) printLoaded(w io.Writer, all []*loader.Loaded) error {
	if f.json {
		values := make([]any, len(all))
		for i, object := range all {
			maps := append([]loader.PinnedMap{}, object.Pinned...) // [] rather than null
			values[i] = loaded{object.Report, object.Attachment, maps, object.ForMaps, object.Bound, object.Replaced}
		}
		return printJSON(w, oneOrAll(values))
	}
	for _, object := range all {
		if err := f.printAttached(w, object); err != nil {
			return err
		}
	}
	return nil
}

// oneOrAll returns the one value that there is, or all.
func oneOrAll(values []any) any {
	if len(values) == 1 {
		return values[0]
	}
	return values
}

func (f *flags) printAttached(w io.Writer, object *loader.Loaded) error {
	if err := printEdits(w, object.Report); err != nil {
		return err
	}
	printPinned(w, object.Pinned)
	for _, program := range object.ForMaps {
		fmt.Fprintf(w, "program %s (id %d) for a %s: pinned at %s\n", program.Name, program.ID, program.For, program.Path)
	}
	a := object.Attachment
	fmt.Fprintf(w, "%s (id %d) attached to %s%s%s%s, %s%s, pinned at %s%s\n",
		a.Program, a.ProgramID, a.Interface, inParentheses(a.Driver, ""), inMode(a), inPlaceOf(object.Replaced), f.foundFor(a.Interface, object.Report), bound(object.Bound, a.Interface), a.Pin, inMountsOf(a))
	return nil
}

// bound says that a program is bound to the device, if it is.
func bound(isBound bool, iface string) string {
	if !isBound {
		return ""
	}
	return ", bound to " + iface + " by the kfuncs that it calls"
}

// inMode says where a program of TC is, and what mode one of XDP is in, if that is not the
// usual one.
func inMode(a *loader.Attachment) string {
	switch {
	case a.Hook != loader.XDP:
		return " at " + modeOf(a)
	case a.Mode == loader.Native:
		return ""
	}
	return fmt.Sprintf(" in %s mode", a.Mode)
}

// modeOf returns the mode of a program, of one of TC with its hook, in words such as "tcx
// ingress".
func modeOf(a *loader.Attachment) string {
	if a.Hook == loader.XDP {
		return string(a.Mode)
	}
	return string(a.Mode) + " " + string(a.Hook)
}

// inPlaceOf says which program was there before.
func inPlaceOf(replaced ebpf.ProgramID) string {
	if replaced == 0 {
		return ""
	}
	return fmt.Sprintf(" in place of id %d", replaced)
}

// printPinned tells where the maps are that the program declares. Those of its
// variables are left out.
func printPinned(w io.Writer, maps []loader.PinnedMap) {
	for _, m := range maps {
		switch {
		case strings.Contains(m.Name, "."):
		case m.Reused:
			fmt.Fprintf(w, "map %s: used again, pinned at %s\n", m.Name, m.Path)
		case m.Taken != "":
			fmt.Fprintf(w, "map %s: pinned at %s, as %s is in use on another interface\n", m.Name, m.Path, m.Taken)
		default:
			fmt.Fprintf(w, "map %s: pinned at %s\n", m.Name, m.Path)
		}
	}
}

// inMountsOf says which mount namespace a pin is in, unless it is this process's.
func inMountsOf(a *loader.Attachment) string {
	if a.MountsOf == 0 {
		return ""
	}
	return fmt.Sprintf(" in the mount namespace of process %d", a.MountsOf)
}

// planned is what load prints as JSON with --dry-run.
type planned struct {
	Report     *rewrite.Report `json:"report"`
	Target     *nic.Target     `json:"target"`
	Program    string          `json:"program"`
	Bound      bool            `json:"bound,omitempty"`    // to the device
	Replaces   ebpf.ProgramID  `json:"replaces,omitempty"` // that is there
	Conditions []string        `json:"conditions"`         // that have to be true besides
}

func (f *flags) preview(w io.Writer, path string, each []loader.Options) error {
	plans, err := previewEach(path, each)
	if err != nil {
		return err
	}
	values := make([]any, len(plans))
	for i, plan := range plans {
		f.warnUnaccessed(path, plan.Report)
		plan.Target.Source = f.sourceFor(plan.Target.Interface)
		values[i] = planned{plan.Report, plan.Target, plan.Program, plan.Bound, plan.Replaces, plan.Conditions}
	}
	if f.json {
		return printJSON(w, oneOrAll(values))
	}
	for _, plan := range plans {
		if err := f.printPlan(w, plan); err != nil {
			return err
		}
	}
	return nil
}

func previewEach(path string, each []loader.Options) ([]*loader.Plan, error) {
	if len(each) > 1 {
		return loader.PreviewOnAll(path, each)
	}
	plan, err := loader.Preview(path, each[0])
	return []*loader.Plan{plan}, err
}

func (f *flags) printPlan(w io.Writer, plan *loader.Plan) error {
	if err := printEdits(w, plan.Report); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s would be attached to %s%s%s, %s%s, if %s; nothing was loaded\n",
		plan.Program, plan.Target.Interface, inParentheses(plan.Target.Driver, plan.Target.Firmware), inPlaceOf(plan.Replaces), f.foundFor(plan.Target.Interface, plan.Report), bound(plan.Bound, plan.Target.Interface),
		strings.Join(plan.Conditions, ", and if "))
	return nil
}

// inParentheses returns " (driver, firmware 1.2)", as far as they are known.
func inParentheses(driver, firmware string) string {
	switch {
	case driver == "":
		return ""
	case firmware == "":
		return fmt.Sprintf(" (%s)", driver)
	}
	return fmt.Sprintf(" (%s, firmware %s)", driver, firmware)
}
