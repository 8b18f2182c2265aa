package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

func newHeader(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "header {--iface INTERFACE | --layout FILE} [FLAGS]",
		Short: "Write a layout as C",
		Long: `Write a layout as C, for who reads the metadata area without xdp-load. The
struct has the offset of each field in a comment, and assertions for the byte
order and every offset and size. What is compiled from it is the same layout.`,
		Example: `  xdp-load header --iface eth0 > layout.h
  xdp-load header --layout nic.o > layout.h`,
		ValidArgsFunction: completeInterface,
		RunE: func(cmd *cobra.Command, args []string) error {
			layout, title, err := f.layoutOf(args)
			if err != nil {
				return err
			}
			header, err := nic.Header(layout, title)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), headerOutput{layout.Name(), header})
			}
			fmt.Fprint(cmd.OutOrStdout(), header)
			return nil
		},
	}
	f.addInterface(cmd)
	f.addLayoutFile(cmd)
	return cmd
}

// headerOutput is what header prints as JSON.
type headerOutput struct {
	Layout string `json:"layout"` // its name
	Header string `json:"header"`
}

// layoutOf returns the layout that the command line gives, or that of its interface, and
// what it is.
func (f *flags) layoutOf(args []string) (*reloc.Layout, string, error) {
	args = f.takeInterface(args, 0)
	switch {
	case len(args) > 0:
		return nil, "", usagef("unexpected argument %q", args[0])
	case len(f.layouts) > 0 && f.iface != "":
		return nil, "", usagef("--iface and --layout exclude each other: the layout is the interface's or the file's")
	case len(f.layouts) == 0 && f.iface == "":
		return nil, "", usagef("no interface given: --iface INTERFACE, and no layout: --layout FILE")
	}
	if err := f.sources.check(false); err != nil {
		return nil, "", err
	}
	if len(f.layouts) > 0 {
		layout, err := f.openLayout(f.layouts[0])
		return layout, "The metadata area of " + f.layouts[0], err
	}
	return f.layoutOn(f.iface)
}
