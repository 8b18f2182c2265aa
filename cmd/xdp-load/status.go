package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
)

func newStatus(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the programs that xdp-load has attached in this network namespace",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: xdp-load status lists all interfaces", args[0])
			}
			attached, skipped, err := loader.Status()
			if err != nil {
				return err
			}
			for _, reason := range skipped {
				f.warn(fmt.Errorf("skipped %w", reason))
			}
			return f.printStatus(cmd.OutOrStdout(), attached)
		},
	}
}

func (f *flags) printStatus(w io.Writer, attached []loader.Attachment) error {
	all := []statusOf{} // [] rather than null
	for i := range attached {
		all = append(all, newStatusOf(&attached[i]))
	}
	if f.json {
		return printJSON(w, all)
	}
	if len(attached) == 0 {
		fmt.Fprintln(w, "nothing attached by xdp-load in this network namespace")
		return nil
	}
	err := table(w, func(w io.Writer) {
		fmt.Fprintln(w, "INTERFACE\tDRIVER\tPROGRAM\tID\tTAG\tLOADED\tREWRITTEN FOR\tPINNED LINK")
		for i := range all {
			a := all[i].Attachment
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s%s\n",
				a.Interface, a.Driver, a.Program, a.ProgramID, a.Tag, a.Loaded.Format(time.DateTime), rewrittenFor(a.Record), a.Pin, inMountsOf(a))
		}
	})
	for i := range all {
		all[i].printChanges(w)
	}
	return err
}

// statusOf is what status prints of an attachment as JSON.
type statusOf struct {
	*loader.Attachment

	// Changes are what is different now from what the program was rewritten for. If they
	// can't be told, Unknown says why.
	Changes *loader.Changes `json:"changes,omitempty"`
	Unknown string          `json:"changesUnknown,omitempty"`
}

func newStatusOf(a *loader.Attachment) statusOf {
	changes, err := a.Changes(foundAgain(a.Interface))
	if err != nil {
		return statusOf{Attachment: a, Unknown: err.Error()}
	}
	return statusOf{Attachment: a, Changes: changes}
}

// rewrittenFor says what a program was rewritten for in a few words.
func rewrittenFor(record *loader.Record) string {
	switch {
	case record == nil:
		return "unknown"
	case record.Layout != "":
		return "layout " + filepath.Base(record.Layout)
	}
	return "driver " + record.Source
}

// printChanges says what is different now, and what to do about it.
func (s *statusOf) printChanges(w io.Writer) {
	switch {
	case s.Record == nil:
	case s.Changes == nil:
		fmt.Fprintf(w, "%s: for what is there now it can't be rewritten: %s\n", s.Interface, s.Unknown)
	case s.Changes.Outdated:
		fmt.Fprintf(w, "%s: since then, %s: xdp-load reload %[1]s\n", s.Interface, strings.Join(s.Changes.Differences, "; "))
	case len(s.Changes.Differences) > 0:
		fmt.Fprintf(w, "%s: since then, %s, which makes no difference to the program\n", s.Interface, strings.Join(s.Changes.Differences, "; "))
	}
}

func newUnload(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unload INTERFACE",
		Short: "Detach the program that xdp-load has attached to an interface",
		RunE: func(cmd *cobra.Command, args []string) error {
			args = f.takeInterface(args, 0)
			switch {
			case len(args) > 0:
				return usagef("unexpected argument %q", args[0])
			case f.iface == "":
				return usagef("no interface given: unload INTERFACE")
			}
			if err := loader.Unload(f.iface); err != nil {
				return err
			}
			if !f.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: program detached\n", f.iface)
			}
			return nil
		},
	}
	f.addInterface(cmd)
	return cmd
}
