package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/loader"
)

func newDrivers(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drivers [--btf DIRECTORY]...",
		Short: "List the drivers, and which fields each has",
		Long: `List the drivers, and which fields of a packet each has. A field is read from
the descriptor that the driver keeps; or asked for by a kfunc, for which the
program has to be bound to the device; or not there: the lines below the table
say why. What of this a device has, only the device says. "skb" is what programs
of TC read, whatever the driver.`,
		Example: `  xdp-load drivers
  xdp-load drivers --btf types/6.1 --btf types/6.12`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: xdp-load drivers lists all that there are", args[0])
			}
			if err := f.checkKernel(); err != nil {
				return err
			}
			known, err := f.knownDrivers()
			if err != nil {
				return err
			}
			return f.printDrivers(cmd.OutOrStdout(), known)
		},
	}
	f.addBTF(cmd)
	return cmd
}

// knownDrivers returns the drivers on each kernel, and warns of types that can't be read.
func (f *flags) knownDrivers() ([]loader.KnownDriver, error) {
	var all []loader.KnownDriver
	for _, kernel := range f.kernels() {
		known, err := loader.KnownDrivers(kernel)
		if err != nil {
			return nil, err
		}
		for i := range known {
			if known[i].Err != nil {
				f.warn(known[i].Err)
			}
		}
		all = append(all, known...)
	}
	return all, nil
}

func (f *flags) printDrivers(w io.Writer, known []loader.KnownDriver) error {
	if f.json {
		return printJSON(w, known)
	}
	err := table(w, func(w io.Writer) {
		fmt.Fprintf(w, "DRIVER\tMODULE\tKERNEL\t%s\n", strings.Join(drivers.Fields, "\t"))
		for i := range known {
			fmt.Fprintf(w, "%s\t%s\t%s", known[i].Driver, known[i].Module, known[i].Kernel)
			for _, field := range drivers.Fields {
				fmt.Fprintf(w, "\t%s", cmp.Or(known[i].Fields[field].From, "-"))
			}
			fmt.Fprintln(w)
		}
	})
	fmt.Fprintln(w)
	for i := range known {
		printReasons(w, &known[i])
	}
	return err
}

// printReasons prints why fields are not there, those of one reason in a line.
func printReasons(w io.Writer, known *loader.KnownDriver) {
	var reasons []string
	fields := make(map[string][]string)
	for _, field := range drivers.Fields {
		source := known.Fields[field]
		if source.From != "" {
			continue
		}
		if fields[source.Reason] == nil {
			reasons = append(reasons, source.Reason)
		}
		fields[source.Reason] = append(fields[source.Reason], field)
	}
	for _, reason := range reasons {
		without := strings.Join(fields[reason], ", ")
		if len(fields[reason]) == len(drivers.Fields) {
			without = "no field"
		}
		fmt.Fprintf(w, "%s, %s: %s: %s\n", known.Driver, known.Kernel, without, reason)
	}
}
