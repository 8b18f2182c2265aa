package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the number of columns that help takes, whatever the terminal has.
const helpWidth = 80

// The groups that help lists commands in.
const (
	groupLoad  = "load"
	groupLook  = "look"
	groupFiles = "files"
)

func addGroups(root *cobra.Command) {
	root.AddGroup(
		&cobra.Group{ID: groupLoad, Title: "Load and run:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupFiles, Title: "Work on files:"},
	)
}

// exitStatuses are what the command exits with.
var exitStatuses = []struct{ code, meaning string }{
	{"0", "done"},
	{"1", "refused or failed"},
	{"2", "wrong usage"},
}

// flagGroups are what help lists flags in. What is in none of them is a command's own, and
// listed first.
var flagGroups = []struct {
	title string
	flags []string
}{
	{"Where fields come from:", []string{"layout", "base-btf", "type", "driver", "accessors", "btf", "software", "kfuncs", "no-kfuncs", "lower"}},
	{"Every command:", []string{"json", "verbose", "help", "version"}},
}

func groupOf(flag *pflag.Flag) string {
	for _, group := range flagGroups {
		if slices.Contains(group.flags, flag.Name) {
			return group.title
		}
	}
	return "Flags:"
}

// printHelp prints the help of a command. It starts with how the command is used.
func printHelp(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	if cmd.HasExample() {
		fmt.Fprintf(w, "%s\n\n", cmd.Example)
	}
	fmt.Fprintf(w, "%s\n\n", longOf(cmd))
	fmt.Fprintf(w, "Usage: %s\n", cmd.UseLine())
	if cmd.HasParent() {
		printFlags(w, cmd)
		return
	}
	printCommands(w, cmd)
	fmt.Fprintln(w)
	fmt.Fprintln(w, exitCodes())
	fmt.Fprintln(w, "xdp-load COMMAND --help has more of each, --version the version.")
}

// longOf returns what a command says of itself at length.
func longOf(cmd *cobra.Command) string {
	if cmd.Long == "" {
		return cmd.Short + "."
	}
	return cmd.Long
}

func exitCodes() string {
	var codes []string
	for _, status := range exitStatuses {
		codes = append(codes, status.code+" "+status.meaning)
	}
	return "Exit codes: " + strings.Join(codes, ", ") + "."
}

func printCommands(w io.Writer, root *cobra.Command) {
	for _, group := range root.Groups() {
		if !slices.ContainsFunc(root.Commands(), func(cmd *cobra.Command) bool { return cmd.GroupID == group.ID }) {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", group.Title)
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID && cmd.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-11s %s\n", cmd.Name(), cmd.Short)
			}
		}
	}
}

// printFlags prints the flags of a command by groups, its own first.
func printFlags(w io.Writer, cmd *cobra.Command) {
	cmd.InheritedFlags() // adds them to those of the command
	groups := make(map[string]*pflag.FlagSet)
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		title := groupOf(flag)
		if groups[title] == nil {
			groups[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
		}
		groups[title].AddFlag(flag)
	})
	titles := []string{"Flags:"}
	for _, group := range flagGroups {
		titles = append(titles, group.title)
	}
	for _, title := range titles {
		if groups[title] != nil && groups[title].HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s\n%s", title, groups[title].FlagUsagesWrapped(helpWidth))
		}
	}
}
