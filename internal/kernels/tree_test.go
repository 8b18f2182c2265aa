package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A link to a place outside leads nowhere, and not to a file of the machine.
func TestFindIn(t *testing.T) {
	root := t.TempDir()
	for _, dir := range commandDirs {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "tool")
	for _, err := range []error{
		os.WriteFile(outside, nil, 0o755),
		os.Symlink(outside, filepath.Join(root, "sbin/tool")),
		os.WriteFile(filepath.Join(root, "bin/tool"), nil, 0o755),
		os.Symlink(outside, filepath.Join(root, "sbin/other")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if file, err := findIn(root, commandDirs, "tool"); file != "bin/tool" {
		t.Errorf("%q, %v", file, err)
	}
	if file, err := findIn(root, commandDirs, "other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q, %v", file, err)
	}
}
