// Command xdp-load rewrites XDP programs for the metadata layout of a NIC and
// loads them.
package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes, as the README and --help give them.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes the command line and returns the exit code.
func run(args []string) int {
	root, out := newRoot(), &stdout{Writer: os.Stdout}
	root.SetArgs(args)
	root.SetOut(out)
	cmd, err := root.ExecuteC()
	if err = out.check(err); err == nil {
		return exitDone
	}

	fmt.Fprintf(os.Stderr, "xdp-load: %v\n", err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	var detailed interface{ Details() string }
	if errors.As(err, &detailed) {
		fmt.Fprint(os.Stderr, detailed.Details())
	}
	return exitRefused
}

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// flags are those that several commands share.
type flags struct {
	iface   string
	layouts []string
	base    string
	types   []string
	json    bool
}

func newRoot() *cobra.Command {
	f := &flags{}
	root := newLoad(f)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	root.Version = version()
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON instead of text")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return f.checkTypes() }
	root.AddCommand(newRewrite(f), newCheck(f), newExplain(f), newStatus(f), newUnload(f))
	return root
}

// version returns the module's version, as the go command recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func (f *flags) addLayout(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.layouts, "layout", nil, "`FILE` with the NIC's layout: raw BTF, or an ELF file with .BTF (object, kernel module, vmlinux)")
	cmd.Flags().StringVarP(&f.base, "base-btf", "B", "", "`FILE` that a kernel module's layout is split from: the vmlinux of its kernel")
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "resolve the root types that `GLOB` matches, flavours included (default md_desc; '*' for every record; repeatable)")
}

func (f *flags) checkTypes() error {
	for _, glob := range f.types {
		if _, err := path.Match(glob, ""); err != nil {
			return usagef("--type %q: %w", glob, err)
		}
	}
	return nil
}

func (f *flags) addInterface(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.iface, "iface", "", "network `INTERFACE`, by its name or an altname")
}

// oneObject wants exactly one argument, the object.
func oneObject(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usagef("no object given")
	case len(args) > 1:
		return usagef("more than one argument: %s", strings.Join(args, " "))
	}
	return nil
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
