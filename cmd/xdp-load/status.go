package main

import (
	"fmt"
	"io"
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
	if f.json {
		if attached == nil {
			attached = []loader.Attachment{}
		}
		return printJSON(w, attached)
	}
	if len(attached) == 0 {
		fmt.Fprintln(w, "nothing attached by xdp-load in this network namespace")
		return nil
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "INTERFACE\tDRIVER\tPROGRAM\tID\tTAG\tLOADED\tPINNED LINK")
		for _, a := range attached {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s%s\n",
				a.Interface, a.Driver, a.Program, a.ProgramID, a.Tag, a.Loaded.Format(time.DateTime), a.Pin, inMountsOf(&a))
		}
	})
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
