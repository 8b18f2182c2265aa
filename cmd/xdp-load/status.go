//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
)

func newStatus(f *flags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "status [INTERFACE] [--all]",
		Short: "List the XDP and TC programs on interfaces",
		Long: `List the XDP and TC programs on interfaces, whoever has attached them, and what
those of xdp-load were rewritten for. Of one interface, tell all that is known.`,
		Example: `  xdp-load status
  xdp-load status eth0`,
		ValidArgsFunction: completeInterface,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args = f.takeInterface(args, 0); len(args) > 0 {
				return usagef("unexpected argument %q", args[0])
			}
			if all && f.iface != "" {
				return usagef("--all and an interface exclude each other")
			}
			overview, err := loader.Survey(loader.SurveyOptions{Interface: f.iface, AllNamespaces: all})
			if err != nil {
				return err
			}
			for _, reason := range overview.Skipped {
				f.warn(fmt.Errorf("skipped %w", reason))
			}
			for _, gone := range overview.Gone {
				f.warn(errors.New(gone))
			}
			if overview.Denied > 0 {
				f.warn(fmt.Errorf("the network namespaces of %s are left out: this process may not ask for them", count(overview.Denied, "process", "processes")))
			}
			return f.printStatus(cmd.OutOrStdout(), overview.Programs)
		},
	}
	f.addInterface(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "in all network namespaces")
	return cmd
}

func (f *flags) printStatus(w io.Writer, programs []loader.ProgramStatus) error {
	all := []statusOf{} // [] rather than null
	for i := range programs {
		all = append(all, f.newStatusOf(&programs[i]))
	}
	switch {
	case f.json:
		return printJSON(w, all)
	case len(all) == 0 && f.iface != "":
		fmt.Fprintf(w, "%s: no XDP or TC program\n", f.iface)
		return nil
	case len(all) == 0:
		fmt.Fprintln(w, "no XDP or TC program on any interface in this network namespace")
		return nil
	case f.iface != "":
		return table(w, func(w io.Writer) {
			for i := range all {
				all[i].printDetails(w)
			}
		})
	}
	err := printStatusTable(w, all)
	for i := range all {
		if change := all[i].change(); change != "" {
			fmt.Fprintf(w, "%s: %s\n", all[i].Interface, change)
		}
	}
	return err
}

// printStatusTable prints a line for each program. Namespaces and runs have columns only if
// there are some.
func printStatusTable(w io.Writer, all []statusOf) error {
	hasNamespaces, hasRuns := false, false
	for i := range all {
		hasNamespaces = hasNamespaces || all[i].Namespace != ""
		hasRuns = hasRuns || all[i].Runs != nil
	}
	columns := []struct {
		title   string
		isShown bool
		of      func(*statusOf) string
	}{
		{"NAMESPACE", hasNamespaces, func(s *statusOf) string { return s.Namespace }},
		{"INTERFACE", true, func(s *statusOf) string { return orDash(s.Interface) }},
		{"DRIVER", true, func(s *statusOf) string { return orDash(s.Driver) }},
		{"MODE", true, func(s *statusOf) string { return orDash(modeOf(&s.Attachment)) }},
		{"PROGRAM", true, func(s *statusOf) string { return orDash(s.Program) }},
		{"ID", true, func(s *statusOf) string { return fmt.Sprint(s.ProgramID) }},
		{"RUNS", hasRuns, func(s *statusOf) string { return countOf(s.Runs) }},
		{"LOADED", true, func(s *statusOf) string { return loadedAt(s.Loaded) }},
		{"REWRITTEN FOR", true, (*statusOf).rewrittenFor},
		{"PINNED LINK", true, func(s *statusOf) string { return orDash(s.Pin + inMountsOf(&s.Attachment)) }},
	}
	return table(w, func(w io.Writer) {
		var titles []string
		for _, column := range columns {
			if column.isShown {
				titles = append(titles, column.title)
			}
		}
		fmt.Fprintln(w, strings.Join(titles, "\t"))
		for i := range all {
			var cells []string
			for _, column := range columns {
				if column.isShown {
					cells = append(cells, column.of(&all[i]))
				}
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
	})
}

// loadedAt says when a program was loaded, if that is known.
func loadedAt(loaded time.Time) string {
	if loaded.IsZero() {
		return "-"
	}
	return loaded.Format(time.DateTime)
}

func countOf(runs *loader.Runs) string {
	if runs == nil {
		return "-"
	}
	return fmt.Sprint(runs.Count)
}

// statusOf is what status prints of a program as JSON.
type statusOf struct {
	*loader.ProgramStatus

	// Changes are what is different now from what the program was rewritten for. If they
	// can't be told, Unknown says why.
	Changes *loader.Changes `json:"changes,omitempty"`
	Unknown string          `json:"changesUnknown,omitempty"`
}

// newStatusOf looks for changes where the program's interface is at hand.
func (f *flags) newStatusOf(program *loader.ProgramStatus) statusOf {
	s := statusOf{ProgramStatus: program}
	if program.Foreign != "" || program.Namespace != "" || program.Record == nil {
		return s
	}
	changes, err := program.Attachment.Changes(f.foundAgain(program.Interface))
	if err != nil {
		s.Unknown = err.Error()
	}
	s.Changes = changes
	return s
}

// rewrittenFor says what a program was rewritten for in a few words, or whose it is.
func (s *statusOf) rewrittenFor() string {
	switch {
	case len(s.Dispatched) > 0:
		return "libxdp dispatcher of " + s.dispatchedNames()
	case s.Foreign != "" && s.Record == nil:
		return s.Foreign
	case s.Record == nil:
		return "unknown"
	}
	what := "driver " + s.Record.Source
	if s.Record.Layout != "" {
		what = "layout " + filepath.Base(s.Record.Layout)
	}
	if s.Foreign != "" {
		what += ", by " + s.Foreign
	}
	return what
}

// dispatchedNames lists the programs that a dispatcher runs.
func (s *statusOf) dispatchedNames() string {
	var names []string
	for _, d := range s.Dispatched {
		names = append(names, orDash(d.Program))
	}
	return strings.Join(names, ", ")
}

// change says what is different now, and what to do about it. It is empty if nothing is.
func (s *statusOf) change() string {
	switch {
	case s.StandIn != 0:
		return fmt.Sprintf("id %d runs in its place for a while", s.StandIn)
	case s.Unknown != "":
		return "for what is there now it can't be rewritten: " + s.Unknown
	case s.Changes == nil || len(s.Changes.Differences) == 0:
		return ""
	}
	differences := "since then, " + strings.Join(s.Changes.Differences, "; ")
	if !s.Changes.Outdated {
		return differences + ", which makes no difference to the program"
	}
	return differences + ": xdp-load reload " + s.Interface
}

// where says in words where a program runs.
func (s *statusOf) where() string {
	if s.Hook == loader.XDP {
		return string(s.Mode) + " mode"
	}
	return modeOf(&s.Attachment)
}

// printDetails prints all that is known of a program.
func (s *statusOf) printDetails(w io.Writer) {
	fmt.Fprintf(w, "interface\t%s%s, %s\n", s.Interface, inParentheses(s.Driver, ""), s.where())
	fmt.Fprintf(w, "program\t%s, id %d, tag %s\n", orDash(s.Program), s.ProgramID, orDash(s.Tag))
	fmt.Fprintf(w, "loaded\t%s\n", loadedAt(s.Loaded))
	if s.Runs != nil {
		fmt.Fprintf(w, "runs\t%d, in %v\n", s.Runs.Count, s.Runs.Time)
	}
	if s.Foreign != "" {
		fmt.Fprintf(w, "attached by\t%s\n", s.Foreign)
	}
	for _, d := range s.Dispatched {
		fmt.Fprintf(w, "dispatched\t%s, id %d, tag %s\n", orDash(d.Program), d.ProgramID, orDash(d.Tag))
	}
	if s.Record != nil {
		printRecord(w, s.Record)
	}
	for _, m := range s.Maps {
		fmt.Fprintf(w, "map\t%s, id %d, %s: %s\n", m.Name, m.ID, m.Type, strings.Join(m.Pins, ", "))
	}
	if s.LinkID != 0 {
		fmt.Fprintf(w, "link\tid %d\n", s.LinkID)
	}
	if s.Pin != "" {
		fmt.Fprintf(w, "pinned at\t%s%s\n", s.Pin, inMountsOf(&s.Attachment))
	}
	if change := s.change(); change != "" {
		fmt.Fprintf(w, "target\t%s\n", change)
	}
}

func printRecord(w io.Writer, record *loader.Record) {
	fmt.Fprintf(w, "object\t%s, SHA-256 %s\n", orDash(record.Object), record.Digest)
	switch {
	case record.Layout != "":
		fmt.Fprintf(w, "rewritten for\tlayout %s, Linux %s%s\n", record.Layout, record.Kernel, firmwareOf(record))
	default:
		fmt.Fprintf(w, "rewritten for\tdriver %s, Linux %s%s\n", record.Source, record.Kernel, firmwareOf(record))
	}
	for _, field := range record.Fields {
		fmt.Fprintf(w, "field\t%s: %s\n", field.Field, field.From)
	}
}

func firmwareOf(record *loader.Record) string {
	if record.Firmware == "" {
		return ""
	}
	return ", firmware " + record.Firmware
}
