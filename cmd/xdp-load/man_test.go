package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const manDir = "../../man"

// TestManPages wants the pages in man/ to be what the commands say of themselves, one for
// each; -update writes them.
func TestManPages(t *testing.T) {
	pages := make(map[string]string)
	for _, cmd := range allCommands(newRoot(&flags{})) {
		pages[pageOf(cmd)+".1"] = manPage(cmd)
	}
	if *update {
		if err := errors.Join(os.RemoveAll(manDir), os.Mkdir(manDir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for name, page := range pages {
		path := filepath.Join(manDir, name)
		if *update {
			if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		present, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(present), page); diff != "" {
			t.Errorf("%s is not what the command says of itself, go test -update writes it (-file +command):\n%s", path, diff)
		}
	}
	files, err := filepath.Glob(filepath.Join(manDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if pages[filepath.Base(file)] == "" {
			t.Errorf("%s is of no command", file)
		}
	}
}

// TestManPagesLint has what reads manual pages look for faults in them.
func TestManPagesLint(t *testing.T) {
	files, err := fs.Glob(os.DirFS(manDir), "*.1")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip(err)
	}
	lint := exec.Command("mandoc", append([]string{"-T", "lint", "-W", "style"}, files...)...)
	lint.Dir = manDir
	if output, err := lint.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("%v: %s", err, output)
	}
}

// allCommands returns a command and those below it that people see.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, below := range cmd.Commands() {
		if below.IsAvailableCommand() {
			all = append(all, allCommands(below)...)
		}
	}
	return all
}

// pageOf returns the name of a command's manual page.
func pageOf(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }
