package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

func newExplain(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [--layout FILE | --driver NAME] [FLAGS] prog.o",
		Short: "Show the accesses that an object records",
		Long: `Show the accesses that the compiler recorded in an object. With a layout or a
driver, show what it has for each, the instruction before and after, and why an
access that can't be rewritten is refused. Records that it is not asked about
are left to whoever loads the object.`,
		Example: `  xdp-load explain prog.o
  xdp-load explain --layout nic.o prog.o
  xdp-load explain --driver veth prog.o`,
		Args:              oneObject,
		ValidArgsFunction: completeObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.sources.check(false); err != nil {
				return err
			}
			if err := f.checkKernel(); f.hasDriver() && err != nil {
				return err
			}
			object, err := readObject(args[0])
			if err != nil {
				return err
			}
			accesses, err := reloc.Read(object)
			if err != nil {
				return inObject(args[0], err)
			}
			if !f.isGiven() {
				accesses = slices.DeleteFunc(accesses, func(access reloc.Access) bool { return access.IsMarker() })
				return f.printAccesses(cmd.OutOrStdout(), args[0], accesses)
			}
			return f.explain(cmd.OutOrStdout(), args[0], object, accesses)
		},
	}
	f.addOffline(cmd)
	return cmd
}

func (f *flags) printAccesses(w io.Writer, path string, accesses []reloc.Access) error {
	if f.json {
		return printJSON(w, accesses)
	}
	if len(accesses) == 0 {
		fmt.Fprintf(w, "%s: no recorded accesses left\n", path)
		return nil
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "SOURCE\tPROGRAM\tINSN\tACCESS\tKIND\tROOT TYPE\tCOMPILED FOR")
		for i := range accesses {
			access := &accesses[i]
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", place(access), access.Program, access.Insn-access.FunctionStart,
				access.Path, access.Kind, access.Root, access.Local.String())
		}
	})
}

// explain shows what rewriting comes to. Refused accesses make it fail, after
// everything has been shown.
func (f *flags) explain(w io.Writer, path string, object []byte, accesses []reloc.Access) error {
	opts, err := f.source(object)
	if err != nil {
		return err
	}
	_, report, err := f.rewrite(path, object, opts)
	var refused *rewrite.RefusedError
	if errors.As(err, &refused) {
		report = &rewrite.Report{Layout: refused.Layout, Driver: refused.Driver, Edits: refused.Edits, OtherSource: refused.OtherSource}
	} else if err != nil {
		return err
	}

	rows := explainRows(accesses, report, refused)
	if f.json {
		if err := printJSON(w, rows); err != nil {
			return err
		}
	} else if err := printRows(w, rows, report.Driver); err != nil {
		return err
	}
	if refused != nil {
		return inObject(path, fmt.Errorf("%s %w for %s", count(len(refused.Refusals), "access", "accesses"), rewrite.ErrRefused, refused.Source()))
	}
	return nil
}

// row is what explain says of one access: its edit, or why it was refused, or that the
// code is for another source; nothing if it is left to the loader.
type row struct {
	Access      reloc.Access     `json:"access"`
	Edit        *rewrite.Edit    `json:"edit,omitempty"`
	Refusal     *rewrite.Refusal `json:"refusal,omitempty"`
	OtherSource bool             `json:"otherSource,omitempty"`
}

func explainRows(accesses []reloc.Access, report *rewrite.Report, refused *rewrite.RefusedError) []row {
	rows := make([]row, len(accesses))
	for i, access := range accesses {
		rows[i].Access = access
	}
	for i := range report.Edits {
		edit := &report.Edits[i]
		if record := edit.Access.Record; rows[record].Edit == nil {
			rows[record] = row{Access: *edit.Access, Edit: edit}
		} else { // another one of a copy
			rows = append(rows, row{Access: *edit.Access, Edit: edit})
		}
	}
	for _, record := range report.OtherSource {
		rows[record].OtherSource = true
	}
	if refused != nil {
		for i := range refused.Refusals {
			refusal := &refused.Refusals[i]
			if refusal.Unrecorded {
				rows = append(rows, row{Access: refusal.Access, Refusal: refusal})
			} else {
				rows[refusal.Access.Record].Refusal = refusal
			}
		}
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.Edit == nil && r.Refusal == nil && r.Access.IsMarker() })
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Access.Section, b.Access.Section), cmp.Compare(a.Access.Insn, b.Access.Insn))
	})
	return rows
}

func printRows(w io.Writer, rows []row, driver string) error {
	source := "IN THE LAYOUT"
	if driver != "" {
		source = "IN THE DRIVER"
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintf(w, "SOURCE\tACCESS\tKIND\t%s\tBEFORE\tAFTER\n", source)
		for i := range rows {
			access := &rows[i].Access
			target, before, after := rows[i].columns(driver)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", place(access), access.Path, rows[i].kind(), target, before, after)
			for _, other := range rows[i].others() {
				fmt.Fprintf(w, "\t\t\t\t%s\t%s\n", other.Before, other.After)
			}
		}
	})
}

// others returns the further instructions that change for the access.
func (r *row) others() []rewrite.Patch {
	if r.Edit == nil {
		return nil
	}
	return r.Edit.Others
}

// kind returns what was recorded of the access.
func (r *row) kind() string {
	if r.Refusal != nil && r.Refusal.Unrecorded {
		return "not recorded"
	}
	return r.Access.Kind.String()
}

// columns returns what the access is in the layout or the driver, and what the instruction
// was and becomes.
func (r *row) columns(driver string) (target, before, after string) {
	switch {
	case r.Refusal != nil:
		return "", "", "refused: " + r.Refusal.Reason + ": " + r.Refusal.Remedy
	case r.OtherSource:
		return "", "", "in code for another source"
	case r.Edit == nil && r.Access.Program == "":
		return "", "", "in code that is not loaded"
	case r.Edit == nil:
		return "", "", "left to the loader"
	}
	after = spellAfter(r.Edit)
	switch {
	case r.Edit.Guarded:
		after += " (guarded)"
	case r.Edit.Note != "" && r.Edit.Resolution.Exists:
		after += " (" + r.Edit.Note + ")"
	}
	if r.Edit.Own != "" {
		return "own copy, " + r.Edit.Own, r.Edit.Before.String(), after
	}
	return r.target(driver), r.Edit.Before.String(), after
}

// target returns what there is of an access. A driver's fields have no offset.
func (r *row) target(driver string) string {
	resolution := r.Edit.Resolution
	switch {
	case r.Edit.From != "":
		return r.Edit.Driver + ": " + r.Edit.From
	case r.Edit.Driver != "":
		return r.Edit.Driver + ": the descriptor"
	case driver != "" && resolution.Exists && resolution.Field != nil:
		return "there"
	}
	return resolution.String()
}
