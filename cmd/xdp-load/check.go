package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

func newCheck(f *flags) *cobra.Command {
	var exact bool
	cmd := &cobra.Command{
		Use:   "check --layout FILE [--layout FILE ...] prog.o",
		Short: "Say whether an object fits each of several layouts",
		Long: `Say whether an object fits each of several layouts.

An object fits if every access can be rewritten. Accesses to fields that the
layout lacks are named: the program then loads only if it guards them with
bpf_core_field_exists. An object with a descriptor and no access to it has nothing
to fit.

Exits with 1 if a layout does not fit.`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(f.layouts) == 0 {
				return usagef("no layout given: --layout FILE, repeatable")
			}
			object, err := readObject(args[0])
			if err != nil {
				return err
			}
			results := make([]checkResult, len(f.layouts))
			for i, path := range f.layouts {
				results[i] = f.check(object, path, exact)
			}
			if err := f.printChecks(cmd.OutOrStdout(), results); err != nil {
				return err
			}
			return unfit(args[0], results)
		},
	}
	f.addLayout(cmd)
	cmd.Flags().BoolVar(&exact, "exact", false, "say whether the object was compiled for exactly this layout")
	return cmd
}

// checkResult is what check says of one layout.
type checkResult struct {
	Layout    string    `json:"layout"`
	Fits      bool      `json:"fits"`
	Exact     bool      `json:"exact"`
	Accesses  int       `json:"accesses"`
	Rewritten bool      `json:"rewritten,omitempty"` // for this layout already, or a part of it
	Missing   []string  `json:"missing,omitempty"`   // paths of poisoned accesses
	Error     string    `json:"error,omitempty"`
	Details   []string  `json:"details,omitempty"`
	Refusals  []refusal `json:"refusals,omitempty"`

	// NothingToFit is set if the object has a descriptor, and no access to it.
	NothingToFit bool     `json:"nothingToFit,omitempty"`
	Unaccessed   []string `json:"unaccessed,omitempty"` // see rewrite.Report

	report *rewrite.Report
}

// check rewrites the object for one layout. With exact, a layout that asks for
// any change does not fit.
func (f *flags) check(object []byte, path string, exact bool) checkResult {
	result := checkResult{Layout: path}
	layout, err := nic.OpenLayout(path, f.base)
	if err == nil {
		_, result.report, err = rewrite.Rewrite(object, layout, rewrite.Options{Types: f.types})
	}
	if err != nil {
		result.Error, result.Refusals = err.Error(), refusalsOf(err)
		if detailed, ok := err.(interface{ Details() string }); ok {
			result.Details = slices.Collect(strings.Lines(detailed.Details()))
		}
		return result
	}

	result.Fits, result.Exact = true, result.report.Exact()
	result.Accesses = len(result.report.Edits)
	result.Rewritten = result.report.Rewritten
	result.NothingToFit, result.Unaccessed = result.report.NothingToFit(), result.report.Unaccessed
	result.Missing = missingPaths(result.report)
	if exact && !result.Exact {
		result.Fits = false
		result.Error = "not exact: " + notExact(result.report)
	}
	return result
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
		fmt.Fprintf(w, "%s: %s\n", results[i].Layout, results[i].String())
	}
	return nil
}

func (r *checkResult) String() string {
	switch {
	case !r.Fits:
		return strings.TrimRight("does not fit: "+r.Error+"\n    "+strings.Join(r.Details, "    "), " \n")
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

// unfit is an error if a layout does not fit.
func unfit(path string, results []checkResult) error {
	failed := 0
	for i := range results {
		if !results[i].Fits {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return inObject(path, fmt.Errorf("does not fit %d of %s", failed, count(len(results), "layout", "layouts")))
}
