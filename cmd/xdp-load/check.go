package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

func newCheck(f *flags) *cobra.Command {
	var exact bool
	cmd := &cobra.Command{
		Use:   "check {--layout FILE | --driver NAME}... [FLAGS] prog.o",
		Short: "Say whether an object fits layouts and drivers",
		Long: `Say whether an object fits each of several layouts and drivers: it does if every
access can be rewritten. Fields that are not there are named: the program then
loads only if it guards its accesses with bpf_core_field_exists. An object with
a descriptor and no access to it has nothing to fit. Drivers are looked at as
they are in each of the kernels that --btf gives, by default in the one that
runs. Exits with 1 if one of them does not fit.`,
		Example: `  xdp-load check --layout nic.o prog.o
  xdp-load check --driver ice --driver mlx5_core --btf types/6.12 prog.o`,
		Args:              oneObject,
		ValidArgsFunction: completeObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.sources.check(true); err != nil {
				return err
			}
			if !f.isGiven() {
				return usagef("no layout given: --layout FILE, repeatable; and no driver: --driver NAME, repeatable")
			}
			if err := f.checkKernel(); f.hasDriver() && err != nil {
				return err
			}
			object, err := readObject(args[0])
			if err != nil {
				return err
			}
			results := f.checkAll(object, exact)
			if err := f.printChecks(cmd.OutOrStdout(), results); err != nil {
				return err
			}
			return unfit(args[0], results)
		},
	}
	f.addOffline(cmd)
	cmd.Flags().BoolVar(&exact, "exact", false, "say whether the object was compiled for exactly this layout")
	return cmd
}

// checkResult is what check says of one layout, or of one driver.
type checkResult struct {
	Layout    string    `json:"layout,omitempty"`
	Driver    string    `json:"driver,omitempty"`
	Kernel    string    `json:"kernel,omitempty"` // if there are several
	Fits      bool      `json:"fits"`
	Exact     bool      `json:"exact"`
	Accesses  int       `json:"accesses"`
	Rewritten bool      `json:"rewritten,omitempty"` // for this one already, or a part of it
	Missing   []string  `json:"missing,omitempty"`   // paths of poisoned accesses
	Error     string    `json:"error,omitempty"`
	Details   []string  `json:"details,omitempty"`
	Refusals  []refusal `json:"refusals,omitempty"`

	// NothingToFit is set if the object has a descriptor, and no access to it.
	NothingToFit bool     `json:"nothingToFit,omitempty"`
	Unaccessed   []string `json:"unaccessed,omitempty"` // see rewrite.Report

	report *rewrite.Report
	short  string // why it does not fit, if it is one of many
}

// checkAll rewrites the object for each layout, and for each driver on each kernel. With
// exact, one that asks for any change does not fit.
func (f *flags) checkAll(object []byte, exact bool) []checkResult {
	var results []checkResult
	for _, path := range f.layouts {
		result := checkResult{Layout: path}
		layout, err := f.openLayout(path)
		if err == nil {
			_, result.report, err = loader.Rewrite(object, loader.Options{Layout: layout, Types: f.types})
		}
		result.judge(err, exact)
		results = append(results, result)
	}
	return append(results, f.checkDrivers(object, exact)...)
}

func (f *flags) checkDrivers(object []byte, exact bool) []checkResult {
	names := f.drivers
	if len(names) == 0 && f.accessors != "" {
		names = []string{""}
	}
	kernels := f.kernels()
	var fleet []*loader.Driver
	for _, name := range names {
		for _, kernel := range kernels {
			fleet = append(fleet, f.driverIn(name, kernel))
		}
	}
	results := make([]checkResult, len(fleet))
	for i, fit := range loader.Fits(object, fleet) {
		result := checkResult{Driver: fleet[i].Name, report: fit.Report}
		if len(fleet) > 1 && fit.Err != nil {
			result.short = fit.Why()
		}
		if len(kernels) > 1 {
			result.Kernel = fleet[i].Kernel.Name()
		}
		result.judge(fit.Err, exact)
		results[i] = result
	}
	return results
}

// judge says what is to be said of the report, or of the error if there is none.
func (r *checkResult) judge(err error, exact bool) {
	if err != nil {
		r.Error, r.Refusals = err.Error(), refusalsOf(err)
		var refused *rewrite.RefusedError
		if errors.As(err, &refused) {
			r.Driver = refused.Driver
		}
		if detailed, ok := err.(interface{ Details() string }); ok {
			r.Details = slices.Collect(strings.Lines(detailed.Details()))
		}
		return
	}

	r.Fits, r.Exact = true, r.report.Exact()
	r.Driver = r.report.Driver
	r.Accesses = len(r.report.Edits)
	r.Rewritten = r.report.Rewritten
	r.NothingToFit, r.Unaccessed = r.report.NothingToFit(), r.report.Unaccessed
	r.Missing = missingPaths(r.report)
	if exact && !r.Exact {
		r.Fits = false
		r.Error = "not exact: " + notExact(r.report)
	}
}

// name returns what the result is about.
func (r *checkResult) name() string {
	inKernel := ""
	if r.Kernel != "" {
		inKernel = ", " + r.Kernel
	}
	switch {
	case r.Layout != "":
		return r.Layout
	case r.Driver != "":
		return "driver " + r.Driver + inKernel
	}
	return "accessors" + inKernel
}

// missingPaths returns the paths of accesses to what the layout lacks, each once.
func missingPaths(report *rewrite.Report) []string {
	var paths []string
	seen := make(map[string]bool)
	for i := range report.Edits {
		if edit := &report.Edits[i]; edit.Resolution.Poison && !seen[edit.Access.Path] {
			seen[edit.Access.Path] = true
			paths = append(paths, edit.Access.Path)
		}
	}
	return paths
}

// notExact says why an object is not for exactly this layout.
func notExact(report *rewrite.Report) string {
	if report.NothingToFit() {
		return unaccessed(report)
	}
	for i := range report.Edits {
		if edit := &report.Edits[i]; !edit.Exact {
			return fmt.Sprintf("%s: %s: %s: %s in the program, %s in the layout",
				edit.Access.Source, edit.Access.Path, edit.Access.Kind, edit.Access.Local.String(), edit.Resolution.String())
		}
	}
	return ""
}

func (f *flags) printChecks(w io.Writer, results []checkResult) error {
	if f.json {
		return printJSON(w, results)
	}
	for i := range results {
		fmt.Fprintf(w, "%s: %s\n", results[i].name(), results[i].String())
	}
	return nil
}

func (r *checkResult) String() string {
	switch {
	case !r.Fits && r.short != "":
		return "does not fit: " + strings.TrimPrefix(r.short, "driver "+r.Driver+": ")
	case !r.Fits:
		return strings.TrimRight("does not fit: "+strings.TrimPrefix(r.Error, r.name()+": ")+"\n    "+strings.Join(r.Details, "    "), " \n")
	case r.NothingToFit:
		return "nothing to fit: " + unaccessed(r.report)
	case len(r.Unaccessed) > 0:
		return r.fit() + ", but " + unaccessed(r.report)
	}
	return r.fit()
}

func (r *checkResult) fit() string {
	switch {
	case len(r.Missing) > 0:
		return fmt.Sprintf("fits if guarded: not there: %s (%s)", strings.Join(r.Missing, ", "), summary(r.report))
	case r.Rewritten && r.Accesses == 0:
		return summary(r.report)
	case r.Exact:
		return fmt.Sprintf("fits exactly (%s)", summary(r.report))
	}
	return fmt.Sprintf("fits (%s)", summary(r.report))
}

// unfit is an error if one of them does not fit. Where all layouts do and a driver does
// not, or the other way round, it says so.
func unfit(path string, results []checkResult) error {
	var layouts, drivers, unfitLayouts, unfitDrivers []*checkResult
	for i := range results {
		r := &results[i]
		all, unfit := &layouts, &unfitLayouts
		if r.Layout == "" {
			all, unfit = &drivers, &unfitDrivers
		}
		*all = append(*all, r)
		if !r.Fits {
			*unfit = append(*unfit, r)
		}
	}
	failed := len(unfitLayouts) + len(unfitDrivers)
	switch {
	case failed == 0:
		return nil
	case len(layouts) > 0 && len(unfitLayouts) == 0:
		return inObject(path, fmt.Errorf("fits the metadata area; %s: %s", unfitDrivers[0].name(), unfitDrivers[0].why()))
	case len(drivers) > 0 && len(unfitDrivers) == 0:
		return inObject(path, fmt.Errorf("fits the driver; %s: %s", unfitLayouts[0].name(), unfitLayouts[0].why()))
	case len(drivers) == 0:
		return inObject(path, fmt.Errorf("does not fit %d of %s", failed, count(len(results), "layout", "layouts")))
	case len(layouts) == 0 && drivers[0].Kernel != "":
		return inObject(path, fmt.Errorf("does not fit %d of %d combinations of driver and kernel", failed, len(results)))
	case len(layouts) == 0:
		return inObject(path, fmt.Errorf("does not fit %d of %s", failed, count(len(results), "driver", "drivers")))
	}
	return inObject(path, fmt.Errorf("does not fit %d of %d layouts and drivers", failed, len(results)))
}

// why says in short why it does not fit.
func (r *checkResult) why() string {
	if len(r.Refusals) == 0 {
		return r.Error
	}
	return r.Refusals[0].Field + ": " + r.Refusals[0].Reason
}
