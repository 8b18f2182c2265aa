package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

func newRewrite(f *flags) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "rewrite {--layout FILE | --driver NAME} [FLAGS] prog.o -o out.o",
		Short: "Rewrite an object for a layout or a driver",
		Long: `Rewrite an object from file to file. It needs no privileges and no kernel. What
comes out is an ordinary object that libbpf, cilium/ebpf, bpftool, ip link and
xdp-loader load. It is marked with what it was rewritten for: for another layout
it is refused, for the same one it comes back as it is.

For a driver it keeps what the accessors record of the kernel's types: whoever
loads it resolves that. With --btf it is checked against a kernel, too. With
--kfuncs it asks the kernel for what there is no accessor for: its programs have
to be loaded with BPF_F_XDP_DEV_BOUND_ONLY and the interface's number.`,
		Example: `  xdp-load rewrite --layout nic.o prog.o -o out.o
  xdp-load rewrite --driver mlx5_core prog.o -o out.o`,
		Args:              oneObject,
		ValidArgsFunction: completeObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usagef("no output file given: -o out.o")
			}
			if err := f.checkSource(); err != nil {
				return err
			}
			object, err := readObject(args[0])
			if err != nil {
				return err
			}
			opts, err := f.portable(args[0], object)
			if err != nil {
				return err
			}
			out, report, err := f.rewrite(args[0], object, opts)
			if err != nil {
				return err
			}
			if err := writeFile(output, out); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), report)
			}
			if err := printEdits(cmd.OutOrStdout(), report); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s%s\n", output, summary(report), toBeBound(report))
			return nil
		},
	}
	f.addOffline(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write the rewritten object to")
	return cmd
}

// toBeBound says how an object has to be loaded that asks kfuncs.
func toBeBound(report *rewrite.Report) string {
	if !report.AsksKfuncs() {
		return ""
	}
	return "; asks kfuncs: load it with BPF_F_XDP_DEV_BOUND_ONLY and the number of the interface"
}

// checkSource wants one source, and flags that fit it.
func (f *flags) checkSource() error {
	if err := f.sources.check(false); err != nil {
		return err
	}
	if !f.isGiven() {
		return errNoSource
	}
	return nil
}

// portable returns what an object is to be rewritten for that others load.
func (f *flags) portable(path string, object []byte) (loader.Options, error) {
	if !f.hasDriver() {
		return f.source(object)
	}
	if f.lower != "" {
		return loader.Options{}, usagef("--lower is for a kernel, and the object is for any")
	}
	if len(f.btf) > 0 {
		opts, err := f.source(object)
		if err == nil {
			_, _, err = loader.Rewrite(object, opts)
		}
		if err != nil {
			return opts, inObject(path, err)
		}
	}
	accessors, err := f.onlyDriver().Portable(object)
	return loader.Options{Accessors: accessors}, err
}
