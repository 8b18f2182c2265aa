package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// builders are the packages of what builds a module, besides the compiler.
var builders = []string{"make", "dash", "bash", "coreutils", "sed", "grep", "mawk", "findutils", "tar", "xz-utils"}

// place is where the module is in an unpacked kernel of a release.
func (m *builtModule) place(release string) string {
	return filepath.Join("lib/modules", release, "extra", m.name+".ko")
}

// build builds a module for an unpacked kernel, which it puts there. It does so in a root
// directory of the kernel's suite: only the compiler that has compiled the kernel takes the
// arguments that its makefiles give.
func (a archive) build(ctx context.Context, k kernel, kernelDir string) error {
	release, err := release(kernelDir)
	if err != nil {
		return err
	}
	root := builder{filepath.Join(a.dir, "build")}
	defer os.RemoveAll(root.dir)
	if err := a.fetchBuilder(ctx, root, k, release); err != nil {
		return err
	}
	for _, step := range []string{
		"mkdir /module",
		fmt.Sprintf("tar --extract --file /usr/src/linux-source-%s.tar.xz --directory /module --strip-components %d linux-source-%[1]s/%[3]s",
			k.series, len(strings.Split(k.built.source, "/"))+1, k.built.source),
		fmt.Sprintf("make --jobs 2 --directory /usr/src/linux-headers-%s M=/module %s=m modules", release, k.built.option),
	} {
		if err := root.run(ctx, step); err != nil {
			return err
		}
	}
	built := filepath.Join(kernelDir, k.built.place(release))
	if err := os.MkdirAll(filepath.Dir(built), 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(root.dir, "module", path.Base(built)), built)
}

// fetchBuilder makes the root directory to build in, with the headers and the source of a kernel
// of a release.
func (a archive) fetchBuilder(ctx context.Context, root builder, k kernel, release string) error {
	common := strings.TrimSuffix(release, "-"+k.arch)
	packages := append([]string{k.built.compiler, "linux-kbuild-" + common}, builders...)
	if err := a.fetchRoot(ctx, root.dir, source{k.arch, k.suite}, packages...); err != nil {
		return err
	}
	version, err := a.version(ctx, "linux-headers-"+release)
	if err != nil {
		return err
	}
	kernels := filepath.Join(root.dir, "packages")
	err = a.download(ctx, kernels, [][]string{{
		"linux-headers-" + release + "=" + version,
		"linux-headers-" + common + "-common=" + version,
		"linux-source-" + k.series + "=" + version,
	}})
	if err != nil {
		return err
	}
	return errors.Join(unpack(ctx, kernels, root.dir), root.finish())
}

// version returns the newest version of a package.
func (a archive) version(ctx context.Context, pkg string) (string, error) {
	shown, err := output(ctx, "", "apt-cache", "--config-file", a.apt("apt.conf"), "show", "--no-all-versions", pkg)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(shown) {
		if version, ok := strings.CutPrefix(line, "Version: "); ok {
			return strings.TrimSpace(version), nil
		}
	}
	return "", fmt.Errorf("package %s has no version", pkg)
}

// builder is a root directory that packages are unpacked in, but not configured.
type builder struct{ dir string }

// finish does what configuring would, as far as building needs it.
func (b builder) finish() error {
	return errors.Join(
		os.Symlink("mawk", filepath.Join(b.dir, "usr/bin/awk")),
		unix.Mknod(filepath.Join(b.dir, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
	)
}

// run runs a command, with the directory as root.
func (b builder) run(ctx context.Context, line string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: b.dir}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C"}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, output)
	}
	return nil
}
