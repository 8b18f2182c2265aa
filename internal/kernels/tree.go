package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// tree is a directory with packages of another release of Debian than the machine's, or for
// another kind of machine, and with all that they need, their C library included.
type tree struct {
	source
	name     string // in the cache
	packages []string
}

// treeDir is where a tree is.
func (a archive) treeDir(t *tree) string { return filepath.Join(a.dir, t.name) }

// fetchTree downloads and unpacks a tree.
func (a archive) fetchTree(ctx context.Context, t *tree) error {
	partial := a.treeDir(t) + ".partial"
	if err := a.fetchRoot(ctx, partial, t.source, t.packages...); err != nil {
		return err
	}
	return os.Rename(partial, a.treeDir(t))
}

// fetchRoot downloads packages with all that they need, the C library included, and unpacks
// them into a directory.
func (a archive) fetchRoot(ctx context.Context, dir string, from source, packages ...string) error {
	// By an empty list of what is installed, nothing that they need is.
	err := errors.Join(
		os.RemoveAll(a.apt("cache/archives")),
		os.MkdirAll(a.apt("cache/archives/partial"), 0o755),
		os.WriteFile(a.apt("status"), nil, 0o644),
	)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "downloading", strings.Join(packages, " "), "of", from.suite, "for", from.arch)
	args := []string{
		"--config-file", a.apt("apt.conf"),
		"--option", "Dir::State::status=" + a.apt("status"), "--option", "APT::Architecture=" + from.arch, "--target-release", from.suite,
		"install", "--download-only", "--no-install-recommends", "--yes",
	}
	if _, err := output(ctx, "", "apt-get", append(args, packages...)...); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	return unpack(ctx, a.apt("cache/archives"), dir)
}

// Places in a root directory.
var (
	commandDirs = []string{"usr/sbin", "usr/bin", "sbin", "bin"}
	libraryDirs = []string{"lib/*-linux-gnu", "usr/lib/*-linux-gnu"}
)

// findIn returns the path, in a root directory, of the file of a name that is in one of some
// directories, given as patterns. What is linked to a place outside, as absolute links are
// taken to be, is none.
func findIn(root string, dirs []string, name string) (string, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer r.Close()

	for _, dir := range dirs {
		found, err := fs.Glob(r.FS(), path.Join(dir, name))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("%s in %s: %w", name, root, fs.ErrNotExist)
}

// linkedTo returns what a command, or a library, in a root directory is run with: paths of
// its dynamic linker and of the libraries that it names.
func linkedTo(root, file string) ([]string, error) {
	binary, err := elf.Open(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	defer binary.Close()

	var paths []string
	if interpreter := binary.Section(".interp"); interpreter != nil {
		path, err := interpreter.Data()
		if err != nil {
			return nil, err
		}
		paths = append(paths, strings.Trim(string(path), "/\x00"))
	}
	names, err := binary.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		path, err := findIn(root, libraryDirs, name)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}
