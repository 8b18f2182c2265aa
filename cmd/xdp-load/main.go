// A command that is done in milliseconds gains nothing from what cgroups say of processors.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

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
	"github.com/spf13/pflag"
)

// Exit codes, as the README and --help give them.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2
)

func main() {
	reserveStack(len(os.Args))
	debug.SetMemoryLimit(plenty)
	os.Exit(run(os.Args[1:]))
}

// plenty is how many bytes of memory an object of usual size is far from. Beyond it, where
// there are tens of thousands of accesses, garbage is collected as it comes: that takes a fifth
// more time, and two thirds of the memory.
const plenty = 150 << 20

// reserveStack has the stack grow once, as long as there is little on it to move. It would
// grow again and again on the way into a load, which takes a twentieth of its processor time.
//
//go:noinline
func reserveStack(n int) byte {
	var room [24 << 10]byte
	return room[n%len(room)]
}

// run executes the command line and returns the exit code.
func run(args []string) int {
	f := &flags{}
	root, out := newRoot(f), &stdout{Writer: os.Stdout}
	root.SetArgs(args)
	root.SetOut(out)
	cmd, err := root.ExecuteC()
	if err = out.check(err); err == nil {
		return exitDone
	}
	f.json = f.json || wantsJSON(args)
	return f.fail(cmd, err)
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
	sources
	iface string
	json  bool

	verbose int
}

func newRoot(f *flags) *cobra.Command {
	cobra.EnableCommandSorting = false // they are listed in the order in which they are added
	root := newHere(f)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	root.Version = version()
	root.CompletionOptions.DisableDefaultCmd = true
	root.DisableFlagsInUseLine = true
	root.SetHelpFunc(printHelp)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON instead of text, on stderr as well")
	root.PersistentFlags().BoolP("help", "h", false, "show this")
	root.PersistentFlags().CountVarP(&f.verbose, "verbose", "v", "log decisions on stderr; -vv: what the verifier says, too")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		f.log = f.newLog()
		return f.checkTypes()
	}
	if err := completeFlags(root); err != nil {
		panic(err) // a flag has two completions
	}
	return root
}

// addFileCommands adds those that need no Linux.
func addFileCommands(root *cobra.Command, f *flags) {
	addTo(root, groupFiles, newCheck(f), newExplain(f), newRewrite(f), newHeader(f), newCompletion())
}

func addTo(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID, cmd.DisableFlagsInUseLine = group, true
		root.AddCommand(cmd)
	}
}

// foreignFlags are those of xdp-loader, and of other commands, that people have in their
// fingers, with what does the same here.
var foreignFlags = map[string]string{
	"prog-name": byName, "n": byName,
	"section": byName, "s": byName,
	"all": onlyOne, "a": onlyOne,
	"id": onlyOne, "i": onlyOne,
	"driver": thisDriver, "btf": thisKernel,
	"kfuncs": whereNeeded, "no-kfuncs": onlyThen,
}

const (
	byName      = "choose a program by its name, --program NAME"
	thisDriver  = "the driver is that of the interface: leave it out"
	thisKernel  = "a program that is loaded is loaded for the kernel that runs: leave it out"
	whereNeeded = "kfuncs are asked for fields that are not read otherwise: leave it out"
	onlyThen    = "kfuncs are asked with --kfuncs only: leave it out"
	onlyOne     = "an interface has one program: leave it out"
)

// flagError makes a usage error of one of pflag's.
func flagError(_ *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && foreignFlags[unknown.GetSpecifiedName()] != "" {
		return usagef("%w: %s", err, foreignFlags[unknown.GetSpecifiedName()])
	}
	return &usageError{err}
}

func (f *flags) checkTypes() error {
	for _, glob := range f.types {
		if _, err := path.Match(glob, ""); err != nil {
			return usagef("--type %q: %w", glob, err)
		}
	}
	return nil
}

// repeated is a flag that may be given several times. Pflag's own writes CSV to tell its
// default, at the start of every command.
type repeated []string

func (r *repeated) Set(value string) error { *r = append(*r, value); return nil }
func (r *repeated) String() string         { return strings.Join(*r, " ") }
func (r *repeated) Type() string           { return "stringArray" }

// separated is a flag that takes several values with commas in between, and several times.
type separated []string

func (s *separated) Set(values string) error {
	*s = append(*s, strings.Split(values, ",")...)
	return nil
}
func (s *separated) String() string { return strings.Join(*s, ",") }
func (s *separated) Type() string   { return "stringSlice" }

func (f *flags) addInterface(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.iface, "iface", "", "the network `INTERFACE`, by its name or an altname")
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

// takeInterface takes the interface from the arguments of a command that has so many
// others, unless --iface names it. It returns what is left of them.
func (f *flags) takeInterface(args []string, others int) []string {
	if f.iface == "" && len(args) > others {
		f.iface, args = args[0], args[1:]
	}
	return args
}
