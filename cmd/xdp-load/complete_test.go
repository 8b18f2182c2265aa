package main

import (
	"testing"

	"github.com/spf13/pflag"
)

// Each flag that takes a value is completed, be it with nothing: shells offer files otherwise.
// What is completed is a flag.
func TestFlagsAreCompleted(t *testing.T) {
	known := make(map[string]bool)
	for _, cmd := range allCommands(newRoot(&flags{})) {
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			known[flag.Name] = true
			if _, ok := cmd.GetFlagCompletionFunc(flag.Name); !ok && flag.NoOptDefVal == "" {
				t.Errorf("%s --%s is not completed", cmd.CommandPath(), flag.Name)
			}
		})
	}
	for name := range completed {
		if !known[name] {
			t.Errorf("no command has a flag --%s", name)
		}
	}
}
