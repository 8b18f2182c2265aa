package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newRewrite(f *flags) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "rewrite --layout FILE prog.o -o out.o",
		Short: "Rewrite an object for a layout, from file to file",
		Long: `Rewrite an object for a layout, from file to file.

Needs no privileges and no kernel. What comes out is an ordinary BPF object that
libbpf, cilium/ebpf, bpftool, ip link and xdp-loader load.`,
		Args: oneObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usagef("no output file given: -o out.o")
			}
			out, report, err := f.rewritten(args[0])
			if err != nil {
				return err
			}
			if err := writeFile(output, out); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), report)
			}
			if err := printEdits(cmd.OutOrStdout(), report.Edits); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", output, summary(report))
			return nil
		},
	}
	f.addLayout(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write the rewritten object to")
	return cmd
}

// writeFile writes the whole file or leaves what was there.
func writeFile(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(file.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
