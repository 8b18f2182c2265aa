//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
)

func newReload(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload INTERFACE [FLAGS]",
		Short: "Rewrite the programs on an interface anew",
		Long: `Rewrite the objects that the programs on an interface came from once more, for
the layout or the driver as it is now, and replace the programs with no packet
unseen. An object is the one that was loaded then: its file is not read.
Without flags the layout or the driver is looked for as it was then.`,
		Example: `  xdp-load reload eth0
  xdp-load reload eth0 --layout newer.o`,
		ValidArgsFunction: completeInterface,
		RunE: func(cmd *cobra.Command, args []string) error {
			args = f.takeInterface(args, 0)
			switch {
			case len(args) > 0:
				return usagef("unexpected argument %q", args[0])
			case f.iface == "":
				return usagef("no interface given: reload INTERFACE")
			}
			if err := f.sources.check(false); err != nil {
				return err
			}
			reloaded, err := loader.Reload(f.iface, f.findAgain)
			if err != nil {
				return err
			}
			defer reloaded.Close()
			return f.printLoaded(cmd.OutOrStdout(), append([]*loader.Loaded{reloaded}, reloaded.With...))
		},
	}
	f.addInterface(cmd)
	f.addLayout(cmd)
	f.addAccessors(cmd)
	f.addNoKfuncs(cmd)
	return cmd
}

// findAgain looks for what a program is rewritten for as the flags say, or, if there are
// none, as they did when it was loaded.
func (f *flags) findAgain(record *loader.Record) (loader.Options, error) {
	if !f.isGiven() && !f.noKfuncs && f.lower == "" && len(f.software) == 0 {
		return f.foundAgain(f.iface)(record)
	}
	f.object, f.program = record.OriginalObject(), record.Program
	return f.sourceOf(f.iface)
}
