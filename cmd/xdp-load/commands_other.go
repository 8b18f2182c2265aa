//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/reloc"
)

const rootHelp = `xdp-load rewrites XDP programs for NICs. Programs are loaded, and NICs looked at,
by xdp-load on Linux: here is what works on files.`

const rootExamples = `  xdp-load check --layout nic.o prog.o
  xdp-load rewrite --layout nic.o prog.o -o out.o`

// onLinux are the commands that this system does not have.
var onLinux = []string{"load", "reload", "watch", "unload", "run", "status", "nic", "verify"}

// newHere returns the root command, and those below it that this system has.
func newHere(f *flags) *cobra.Command {
	root := &cobra.Command{
		Use:     "xdp-load COMMAND",
		Short:   "Rewrite XDP programs for NICs",
		Long:    rootHelp,
		Example: rootExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("no command given")
			case len(cmd.SuggestionsFor(args[0])) > 0:
				return usagef("no command %q, did you mean %q?", args[0], cmd.SuggestionsFor(args[0])[0])
			}
			return needsLinux("loading a program")
		},
	}
	addGroups(root)
	addTo(root, groupLook, newDrivers(f))
	addFileCommands(root, f)
	for _, name := range onLinux {
		root.AddCommand(&cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error { return needsLinux(name) },
		})
	}
	root.FParseErrWhitelist.UnknownFlags = true // they are those of loading, or of a command that is mistyped
	return root
}

// needsLinux is the error about what this system can't do.
func needsLinux(what string) error {
	return fmt.Errorf("%s needs Linux, and this is %s: check, explain, rewrite, header and drivers work here", what, runtime.GOOS)
}

// layoutOn is about an interface, which another system describes otherwise.
func (*sources) layoutOn(string) (*reloc.Layout, string, error) {
	return nil, "", needsLinux("the layout of an interface")
}

// addLoading adds nothing: nothing is loaded here.
func (*failure) addLoading(error) {}
