package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// Places in the initrd, which is the root directory of the virtual machine.
const (
	guestSource  = "xdp-load" // the repository
	guestModules = "modules"  // in the order in which they are to be loaded

	// What compilers make of
	guestPairs    = "pairs"    // random pairs
	guestRandom   = "random"   // random programs for a driver
	guestPortable = "portable" // programs for each driver, and libbpf
)

// buildTests compiles, into a directory, what runs in the virtual machines: the
// tests, what makes JSON of their output, and the first process; and what tests compile.
func (a *architecture) buildTests(ctx context.Context, work string) error {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	for _, c := range a.compiled {
		args := []string{"test", "-count=1", "./" + c.pkg, "-run", "^" + c.test + "$", c.flag, filepath.Join(work, c.dir)}
		if _, err := output(ctx, "", "go", append(args, c.args...)...); err != nil {
			return err
		}
	}
	builds := [][]string{
		{"build", "-o", filepath.Join(work, "init"), "./internal/kernels"},
		{"build", "-o", filepath.Join(work, "test2json"), "cmd/test2json"},
		append([]string{"test", "-c", "-o", work + "/"}, a.packages()...),
	}
	for _, args := range builds {
		// Nobody debugs there, and the initrd is in memory.
		cmd := exec.CommandContext(ctx, "go", slices.Insert(args, 1, "-ldflags=-s -w")...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+a.arch)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, output)
		}
	}
	return nil
}

// packages are the directories with tests, each once.
func (a *architecture) packages() []string {
	var packages []string
	for _, s := range a.suites {
		if dir := "./" + s.pkg; !slices.Contains(packages, dir) {
			packages = append(packages, dir)
		}
	}
	return packages
}

// binary is the file in a directory that go test -c compiles the tests of a suite to.
func (s suite) binary(dir string) string { return filepath.Join(dir, path.Base(s.pkg)+".test") }

// initrd is an archive of files, which the kernel unpacks into memory.
type initrd struct {
	*cpio.Writer
	there map[string]bool
}

// writeInitrd writes the initrd with the tests for a kernel, and tools from a root directory.
func (k kernel) writeInitrd(ctx context.Context, file, kernelDir, toolDir, work string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()

	archive := &initrd{cpio.NewWriter(out), map[string]bool{".": true}}
	for _, dir := range []string{"dev", "proc", "run", "sys", "tmp", guestModules} {
		if err := archive.addDirectory(dir); err != nil {
			return err
		}
	}
	if err := archive.addFile("init", filepath.Join(work, "init")); err != nil {
		return err
	}
	if err := archive.addTests(work, k.suites); err != nil {
		return err
	}
	for _, c := range k.compiled {
		if err := archive.addTree(c.dir, filepath.Join(work, c.dir)); err != nil {
			return err
		}
		if c.runs == "" {
			continue
		}
		if err := archive.addLinked("/", filepath.Join(work, c.dir, c.runs)); err != nil {
			return err
		}
	}
	if err := archive.addTools(toolDir, k.tools); err != nil {
		return err
	}
	if err := archive.addModules(ctx, k.allModules(), kernelDir); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return out.Close()
}

func (i *initrd) addDirectory(name string) error {
	if i.there[name] {
		return nil
	}
	if err := i.addDirectory(path.Dir(name)); err != nil {
		return err
	}
	i.there[name] = true
	return i.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755, Links: 2})
}

// addFile adds a file, found at a path, and the directories that it is in.
func (i *initrd) addFile(name, from string) error {
	if i.there[name] {
		return nil
	}
	if err := i.addDirectory(path.Dir(name)); err != nil {
		return err
	}
	contents, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	i.there[name] = true
	if err := i.WriteHeader(&cpio.Header{Name: name, Mode: 0o755, Size: int64(len(contents))}); err != nil {
		return err
	}
	_, err = i.Write(contents)
	return err
}

// addTests adds the tests, and the repository that they read their data from.
func (i *initrd) addTests(work string, suites []suite) error {
	if err := i.addFile("bin/test2json", filepath.Join(work, "test2json")); err != nil {
		return err
	}
	for _, s := range suites {
		if err := i.addFile(s.binary("bin"), s.binary(work)); err != nil {
			return err
		}
	}
	return i.addTree(guestSource, ".")
}

// addTree adds the files in a directory, but for what is not the repository's in it.
func (i *initrd) addTree(name, from string) error {
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "site/dist", "site/node_modules"}, filepath.ToSlash(file)):
			return filepath.SkipDir
		case file == ".git": // of another work tree
			return nil
		case entry.Type().IsRegular():
			within, err := filepath.Rel(from, file)
			if err != nil {
				return err
			}
			return i.addFile(path.Join(name, within), file)
		}
		return nil
	})
}

// addTools adds commands that are in a root directory, with what they are run with.
func (i *initrd) addTools(root string, tools []string) error {
	for _, tool := range tools {
		file, err := findIn(root, commandDirs, tool)
		if err != nil {
			return err
		}
		if err := i.addFile(path.Join("bin", tool), filepath.Join(root, file)); err != nil {
			return err
		}
		if err := i.addLinked(root, file); err != nil {
			return err
		}
	}
	return nil
}

// addLinked adds what a file in a root directory is linked to.
func (i *initrd) addLinked(root, file string) error {
	paths, err := linkedTo(root, file)
	if err != nil {
		return err
	}
	for _, needed := range paths {
		if i.there[needed] {
			continue
		}
		if err := i.addFile(needed, filepath.Join(root, needed)); err != nil {
			return err
		}
		if err := i.addLinked(root, needed); err != nil {
			return err
		}
	}
	return nil
}

// addModules adds modules, and those that they depend on, each once.
func (i *initrd) addModules(ctx context.Context, modules []string, kernelDir string) error {
	release, err := release(kernelDir)
	if err != nil {
		return err
	}
	saysBuiltin := isThere(filepath.Join(kernelDir, "lib/modules", release, "modules.builtin"))
	added := make(map[string]bool)
	for _, module := range modules {
		// Lines are "insmod FILE PARAMETER...", or "builtin NAME".
		steps, err := output(ctx, "", "modprobe", "--config", "/dev/null", "--dirname", kernelDir, "--set-version", release, "--show-depends", module)
		if err != nil && !saysBuiltin {
			continue // as in 7.3: what is not there has to be built in
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(steps) {
			words := strings.Fields(line)
			if words[0] != "insmod" || added[words[1]] {
				continue
			}
			name := fmt.Sprintf("%s/%03d-%s", guestModules, len(added), filepath.Base(words[1]))
			if err := i.addFile(name, words[1]); err != nil {
				return err
			}
			added[words[1]] = true
		}
	}
	return nil
}
