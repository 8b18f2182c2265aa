package main

import (
	"cmp"
	"errors"
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
libbpf, cilium/ebpf, bpftool, ip link and xdp-loader load. It carries a mark of
what it was rewritten for: given to another layout it is refused, to the same one
it comes back as it is.`,
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

// writeFile writes a file whole or leaves it as it was. It keeps the mode of a
// file that is there, follows links, and writes devices and pipes in place.
func writeFile(path string, data []byte) error {
	mode := os.FileMode(0o644)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return inObject(path, errors.New("is a directory: give the name of a file"))
	case err == nil && !info.Mode().IsRegular():
		return os.WriteFile(path, data, mode)
	case err == nil:
		mode = info.Mode().Perm()
	}
	if err := replaceFile(path, data, mode); err != nil {
		var pathError *os.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err // about a file that the user does not know
		}
		return inObject(path, err)
	}
	return nil
}

func replaceFile(path string, data []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	err = cmp.Or(err, file.Chmod(mode), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
