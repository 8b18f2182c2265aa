//go:build linux

package main

import (
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
)

func newUnload(f *flags) *cobra.Command {
	var all bool
	var id uint32
	cmd := &cobra.Command{
		Use:   "unload {INTERFACE | --all | --id ID}",
		Short: "Detach programs that xdp-load has attached",
		Example: `  xdp-load unload eth0
  xdp-load unload --all`,
		ValidArgsFunction: completeInterface,
		RunE: func(cmd *cobra.Command, args []string) error {
			args = f.takeInterface(args, 0)
			given := 0
			for _, isGiven := range []bool{f.iface != "", all, cmd.Flags().Changed("id")} {
				if isGiven {
					given++
				}
			}
			switch {
			case len(args) > 0:
				return usagef("unexpected argument %q", args[0])
			case given == 0:
				return usagef("no interface given: unload INTERFACE")
			case given > 1:
				return usagef("an interface, --all and --id exclude each other")
			case all:
				return f.unloadAll(cmd.OutOrStdout())
			case f.iface == "":
				return f.unloadProgram(cmd.OutOrStdout(), ebpf.ProgramID(id))
			}
			if err := loader.Unload(f.iface); err != nil {
				return err
			}
			f.printDetached(cmd.OutOrStdout(), f.iface)
			return nil
		},
	}
	f.addInterface(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "all that xdp-load has attached in this network namespace")
	cmd.Flags().Uint32VarP(&id, "id", "i", 0, "the program of this `ID`, in whatever network namespace")
	return cmd
}

func (f *flags) unloadAll(w io.Writer) error {
	unloaded, skipped, err := loader.UnloadAll()
	for _, reason := range skipped {
		f.warn(fmt.Errorf("skipped %w", reason))
	}
	for _, iface := range unloaded {
		f.printDetached(w, iface)
	}
	return err
}

func (f *flags) unloadProgram(w io.Writer, id ebpf.ProgramID) error {
	if err := loader.UnloadProgram(id); err != nil {
		return err
	}
	f.printDetached(w, fmt.Sprintf("id %d", id))
	return nil
}

func (f *flags) printDetached(w io.Writer, what string) {
	if !f.json {
		fmt.Fprintf(w, "%s: program detached\n", what)
	}
}
