package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/bpf"
)

// The Makefile has make run-NAME for each example that there is.
func TestMakefile(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^examples = (.*)$`).FindSubmatch(makefile)
	if match == nil {
		t.Fatal("the Makefile lists no examples")
	}
	names := slices.Sorted(maps.Keys(labs))
	if listed := strings.Fields(string(match[1])); !slices.Equal(listed, names) {
		t.Errorf("the Makefile lists %v instead of %v", listed, names)
	}
	for _, name := range names {
		if _, err := bpf.Example(name); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat("../" + name + "/main.go"); err != nil {
			t.Error(err)
		}
	}
}
