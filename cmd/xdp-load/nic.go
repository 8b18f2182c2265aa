//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

func newNIC(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nic [INTERFACE]",
		Short: "Show what programs on an interface can expect",
		Long: `Show what programs on an interface can expect: its driver and features, and the
source of the fields, with each field in it. Without an interface, show all of
this network namespace in a line each. It loads nothing and needs no privileges.`,
		Example: `  xdp-load nic
  xdp-load nic eth0`,
		ValidArgsFunction: completeInterface,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args = f.takeInterface(args, 0); len(args) > 0 {
				return usagef("unexpected argument %q", args[0])
			}
			if f.iface == "" {
				return f.printAll(cmd.OutOrStdout())
			}
			target, err := nic.ByName(f.iface)
			if err != nil {
				return err
			}
			described, err := f.describe(target)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), []*loader.Description{described})
			}
			return printNIC(cmd.OutOrStdout(), described)
		},
	}
	f.addInterface(cmd)
	return cmd
}

func (s *sources) describe(target *nic.Target) (*loader.Description, error) {
	driver, err := s.driverOn(target)
	if err != nil {
		return nil, err
	}
	return loader.Describe(target, nic.Search{Log: s.log}, driver)
}

// printAll prints a line for each interface. What is wrong with a source is said in its line.
func (f *flags) printAll(w io.Writer) error {
	targets, err := nic.All()
	if err != nil {
		return err
	}
	all := []*loader.Description{}
	for _, target := range targets {
		described, err := f.describe(target)
		if described == nil {
			described = &loader.Description{Target: target}
		}
		if err != nil {
			described.Error = err.Error()
		}
		all = append(all, described)
	}
	if f.json {
		return printJSON(w, all)
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "INTERFACE\tDRIVER\tFIRMWARE\tBUS\tXDP\tMETADATA\tSOURCE")
		for _, d := range all {
			source := d.Source.String()
			if d.Error != "" && len(d.Places) == 0 {
				source = d.Error
			}
			xdp, metadata := features(d)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Interface, orDash(d.Driver), orDash(d.Firmware), orDash(d.Bus), shortXDP(xdp), metadata, source)
		}
	})
}

func orDash(text string) string { return cmp.Or(text, "-") }

// features returns those of a driver as lists: "-" if it has none, "?" if the kernel does
// not tell.
func features(d *loader.Description) (xdp, metadata string) {
	if d.Features == nil {
		return "?", "?"
	}
	return orDash(strings.Join(d.Features.XDP, ", ")), orDash(strings.Join(d.Features.Metadata, ", "))
}

// shortXDP returns in a word or two what a driver does with XDP programs.
func shortXDP(list string) string {
	has := strings.Split(list, ", ")
	short := list
	if slices.Contains(has, "basic") {
		short = "native"
	}
	if slices.Contains(has, "rx-sg") {
		short += ", frags"
	}
	return short
}

// printNIC prints all that is known of an interface.
func printNIC(w io.Writer, d *loader.Description) error {
	xdp, metadata := features(d)
	driver := orDash(d.Driver)
	if d.Receives != "" {
		driver += ", of its slaves " + d.Receives
	}
	rows := [][2]string{{"driver", driver}, {"firmware", orDash(d.Firmware)}, {"bus", orDash(d.Bus)},
		{"XDP", xdp}, {"metadata kfuncs", metadata}, {"source", d.Source.String()}}
	switch source := &rows[len(rows)-1][1]; {
	case d.Source.Kind == "":
		*source = "none: " + d.Error
	case len(d.Layouts) > 1:
		*source += fmt.Sprintf(", with %d flavours: a program can access what they agree on", len(d.Layouts))
	}
	for i, place := range d.Places {
		label := ""
		if i == 0 {
			label = "no layout in"
		}
		rows = append(rows, [2]string{label, place.String()})
	}
	fmt.Fprintln(w, d.Interface)
	err := table(w, func(w io.Writer) {
		for _, row := range rows {
			fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
	})
	if err != nil {
		return err
	}
	for i := range d.Layouts {
		if err := printDescriptor(w, &d.Layouts[i]); err != nil {
			return err
		}
	}
	return printDriverFields(w, d.Fields)
}

// printDescriptor draws a descriptor, with a line for each field below.
func printDescriptor(w io.Writer, d *nic.Descriptor) error {
	fmt.Fprintf(w, "\nstruct %s, %d bytes in front of the packet\n\n%s\n", d.Name, d.Size, d.ByteMap())
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "FIELD\tTYPE\tBYTES")
		for i := range d.Fields {
			field := &d.Fields[i]
			fmt.Fprintf(w, "%s\t%s\t%s\n", field.Path, field.Type, field.Where())
		}
	})
}

func printDriverFields(w io.Writer, fields []loader.DriverField) error {
	if len(fields) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "FIELD\tTYPE\tFROM")
		for _, field := range fields {
			from := field.From
			switch {
			case field.Missing != "":
				from = "not there: " + field.Missing
			case field.Kfunc != "":
				from = "asks " + field.Kfunc
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", field.Field, orDash(field.Type), from)
		}
	})
}
