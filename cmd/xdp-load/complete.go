package main

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/loader"
)

// newCompletion returns the command that writes what a shell needs to complete the others.
func newCompletion() *cobra.Command {
	shells := map[string]func(*cobra.Command) error{
		"bash": func(cmd *cobra.Command) error { return cmd.Root().GenBashCompletionV2(cmd.OutOrStdout(), true) },
		"zsh":  func(cmd *cobra.Command) error { return cmd.Root().GenZshCompletion(cmd.OutOrStdout()) },
		"fish": func(cmd *cobra.Command) error { return cmd.Root().GenFishCompletion(cmd.OutOrStdout(), true) },
	}
	return &cobra.Command{
		Use:   "completion {bash|zsh|fish}",
		Short: "Write the completion for a shell",
		Long: `Write the completion for a shell: of commands and flags, interfaces, objects and
the programs in them, drivers, fields and modes.`,
		Example: `  source <(xdp-load completion bash)
  xdp-load completion zsh > "${fpath[1]}/_xdp-load"
  xdp-load completion fish > ~/.config/fish/completions/xdp-load.fish`,
		ValidArgs: slices.Sorted(maps.Keys(shells)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return usagef("which shell: xdp-load completion bash, zsh or fish")
			}
			return shells[args[0]](cmd)
		},
	}
}

// completed are the values of flags, by the flag's name, in whatever command it is.
var completed = map[string]cobra.CompletionFunc{
	"iface":     completeInterfaces,
	"layout":    completeFiles("o", "ko", "btf"),
	"base-btf":  completeFiles(),
	"accessors": completeFiles("o"),
	"output":    completeFiles("o"),
	"btf":       completeDirectories,
	"pin-path":  completeDirectories,
	"driver":    completeDrivers,
	"program":   completePrograms,
	"lower":     completeWords(slices.Sorted(maps.Keys(lowerings))...),
	"software":  completeList(loader.Software()),
	"redirect":  cobra.NoFileCompletions,
	"type":      cobra.NoFileCompletions,
	"id":        cobra.NoFileCompletions,
	"meta":      cobra.NoFileCompletions,
	"packet":    cobra.NoFileCompletions,
	"packets":   cobra.NoFileCompletions,
	"seconds":   cobra.NoFileCompletions,
	"repeat":    cobra.NoFileCompletions,
	"interval":  cobra.NoFileCompletions,
}

// completeFlags sets what completes the flags of a command and of those below it.
func completeFlags(cmd *cobra.Command) error {
	for name, complete := range completed {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			return err
		}
	}
	for _, below := range cmd.Commands() {
		if err := completeFlags(below); err != nil {
			return err
		}
	}
	return nil
}

// completeObject completes the one argument of a command that takes an object.
func completeObject(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeFiles("o")(cmd, args, begun)
}

// completeRootObject completes the object where no command is: that takes a flag, and
// without one it is a command that comes.
func completeRootObject(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if cmd.Flags().NFlag() == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeObject(cmd, args, begun)
}

// completeInterface completes the one argument of a command that takes an interface.
func completeInterface(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 || cmd.Flags().Changed("iface") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeInterfaces(cmd, args, begun)
}

// completeInterfaceAndObject completes the arguments of load.
func completeInterfaceAndObject(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 && !cmd.Flags().Changed("iface") {
		return completeInterfaces(cmd, args, begun)
	}
	if len(args) == 1 && !cmd.Flags().Changed("iface") {
		args = nil
	}
	return completeObject(cmd, args, begun)
}

func completeInterfaces(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	interfaces, _ := net.Interfaces() // none if they can't be asked for
	var names []cobra.Completion
	for _, iface := range interfaces {
		names = append(names, iface.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func completeDirectories(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeFiles completes files with one of the extensions, of all without one.
func completeFiles(extensions ...cobra.Completion) cobra.CompletionFunc {
	if len(extensions) == 0 {
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	}
	return cobra.FixedCompletions(extensions, cobra.ShellCompDirectiveFilterFileExt)
}

func completeWords(words ...cobra.Completion) cobra.CompletionFunc {
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// completeList completes a list of words, separated by commas.
func completeList(words []cobra.Completion) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) (lists []cobra.Completion, _ cobra.ShellCompDirective) {
		before := begun[:strings.LastIndex(begun, ",")+1]
		for _, word := range words {
			if !slices.Contains(strings.Split(before, ","), word) {
				lists = append(lists, before+word)
			}
		}
		return lists, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeDrivers completes the names of drivers that accessors come with xdp-load for.
func completeDrivers(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, name := range drivers.Names() {
		object, err := drivers.Object(name, binary.NativeEndian)
		if err != nil {
			continue
		}
		if file, err := accessor.Read(name, object); err == nil {
			names = append(names, file.Drivers...)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completePrograms completes the names of the programs in the object that interfaces take, on the command line.
func completePrograms(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, path := range args {
		object, err := os.ReadFile(path)
		if err != nil {
			continue // an interface
		}
		spec, err := collection.Read(bytes.NewReader(object))
		if err != nil {
			continue
		}
		for name, program := range spec.Programs {
			if loader.HookOf(program) != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}
