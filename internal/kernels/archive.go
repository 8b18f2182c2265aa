package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// archive is where Debian's kernels, and what goes with them, come from, and the directory
// that they are kept in. It has an apt of its own, so that the machine's does not see
// the suites of other releases.
type archive struct{ dir string }

// kernelDir is where a kernel is unpacked.
func (a archive) kernelDir(k kernel) string { return filepath.Join(a.dir, "kernels", k.name()) }

// fetch downloads the kernels, and what they are run with, that are not there yet.
func (a archive) fetch(ctx context.Context, wanted []kernel) error {
	kernels := slices.DeleteFunc(slices.Clone(wanted), func(k kernel) bool { return a.has(k) })
	var trees []*tree
	for _, k := range wanted {
		for _, t := range k.trees() {
			if !isThere(a.treeDir(t)) && !slices.Contains(trees, t) {
				trees = append(trees, t)
			}
		}
	}
	if len(kernels) == 0 && len(trees) == 0 {
		return nil
	}
	if err := a.update(ctx, sourcesOf(kernels, trees)); err != nil {
		return err
	}
	defer os.RemoveAll(a.apt("")) // some 300 MB of lists
	for _, t := range trees {
		if err := a.fetchTree(ctx, t); err != nil {
			return fmt.Errorf("fetch %s: %w", strings.Join(t.packages, " "), err)
		}
	}
	for _, k := range kernels {
		if err := a.fetchKernel(ctx, k); err != nil {
			return fmt.Errorf("fetch kernel %s: %w", k.name(), err)
		}
	}
	return nil
}

// has reports whether a kernel is there, with the module that is built for it.
func (a archive) has(k kernel) bool {
	if k.built == nil {
		return isThere(a.kernelDir(k))
	}
	release, err := release(a.kernelDir(k))
	return err == nil && isThere(filepath.Join(a.kernelDir(k), k.built.place(release)))
}

func isThere(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// update writes the configuration of the private apt, and has it fetch the lists
// of packages.
func (a archive) update(ctx context.Context, from []source) error {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	var sources strings.Builder
	for _, s := range from {
		fmt.Fprintf(&sources, "deb [arch=%s signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", s.arch, mirror, s.suite)
	}
	// What the machine has set up to happen after an update is not for these
	// lists.
	config := fmt.Sprintf(`
		#clear APT::Update;
		#clear Acquire::IndexTargets::deb::DEP-11;
		#clear APT::Architectures;
		APT::Architectures { "amd64"; "s390x"; };
		Acquire::Languages "none";
		APT::Sandbox::User "root";
		Dir::Cache %[1]q;
		Dir::State::lists %[2]q;
		Dir::Etc::sourcelist %[3]q;
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
	`, a.apt("cache"), a.apt("lists"), a.apt("sources.list"))
	err = errors.Join(
		os.MkdirAll(a.apt("cache/archives/partial"), 0o755),
		os.MkdirAll(a.apt("lists/partial"), 0o755),
		os.WriteFile(a.apt("sources.list"), []byte(sources.String()), 0o644),
		os.WriteFile(a.apt("apt.conf"), []byte(config), 0o644),
	)
	if err != nil {
		return err
	}
	_, err = output(ctx, "", "apt-get", "--config-file", a.apt("apt.conf"), "update", "--error-on=any")
	return err
}

func (a archive) apt(name string) string { return filepath.Join(a.dir, "apt", name) }

// source is where packages are listed.
type source struct{ arch, suite string }

func sourcesOf(kernels []kernel, trees []*tree) []source {
	var sources []source
	add := func(from source) {
		if !slices.Contains(sources, from) {
			sources = append(sources, from)
		}
	}
	for _, k := range kernels {
		add(source{k.arch, k.suite})
	}
	for _, t := range trees {
		add(t.source)
	}
	return sources
}

// debianMirror returns the URI that the machine has its own release of Debian
// from.
func debianMirror(ctx context.Context) (string, error) {
	release, err := output(ctx, "", "sh", "-c", ". /etc/os-release && echo $ID $VERSION_CODENAME")
	if err != nil {
		return "", err
	}
	codename, isDebian := strings.CutPrefix(strings.TrimSpace(release), "debian ")
	if !isDebian {
		return "", fmt.Errorf("this is no Debian, from whose mirror the kernels could come: /etc/os-release says %s", release)
	}
	targets, err := output(ctx, "", "apt-get", "indextargets", "--format", "$(REPO_URI)", "Release: "+codename, "Component: main", "Created-By: Packages")
	if err != nil {
		return "", err
	}
	mirror, _, _ := strings.Cut(targets, "\n")
	if mirror == "" {
		return "", fmt.Errorf("no mirror of Debian: the sources of apt have no %s main", codename)
	}
	return mirror, nil
}

// fetchKernel downloads and unpacks the newest kernel of a series, and builds the module for it
// that is to be.
func (a archive) fetchKernel(ctx context.Context, k kernel) error {
	releases, err := a.releases(ctx, k)
	if err != nil {
		return err
	}
	partial := a.kernelDir(k) + ".partial"
	if err := a.download(ctx, partial, releases); err != nil {
		return err
	}
	if err := unpack(ctx, partial, partial); err != nil {
		return err
	}
	if err := linkModules(partial); err != nil {
		return err
	}
	if k.built != nil {
		if err := a.build(ctx, k, partial); err != nil {
			return fmt.Errorf("build module %s: %w", k.built.name, err)
		}
	}
	if err := listModules(ctx, partial); err != nil {
		return err
	}
	if err := os.RemoveAll(a.kernelDir(k)); err != nil { // one without the module
		return err
	}
	return os.Rename(partial, a.kernelDir(k))
}

// unpack unpacks all packages that are in a directory into another, and removes them.
func unpack(ctx context.Context, from, dir string) error {
	debs, err := filepath.Glob(filepath.Join(from, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := output(ctx, "", "dpkg-deb", "--extract", deb, dir); err != nil {
			return err
		}
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	return nil
}

// download downloads, into a directory of its own, the packages of the newest of some
// releases that the mirror has: for a while it may list packages without having them.
func (a archive) download(ctx context.Context, dir string, releases [][]string) error {
	var missing error
	for _, packages := range releases {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "downloading", strings.Join(packages, " "))
		args := append([]string{"--config-file", a.apt("apt.conf"), "download"}, packages...)
		_, err := output(ctx, dir, "apt-get", args...)
		if err == nil {
			return nil
		}
		missing = errors.Join(missing, err)
	}
	return missing
}

// kernelPackage is the name of a package of a kernel: of its kind, and of its
// release. From 7.3 on linux-image only depends on the two others.
var kernelPackage = regexp.MustCompile(`^linux-(?:image|binary|modules)-(.*)$`)

// releases returns the packages of each kernel of a series, the newest first.
func (a archive) releases(ctx context.Context, k kernel) ([][]string, error) {
	// Names end in "6.1.0-50-amd64", or "6.18.15+deb13-amd64".
	pattern := `^linux-(image|binary|modules)-` + regexp.QuoteMeta(k.series) + `\.[^-]*(-[0-9]+)?-` + k.arch + `$`
	found, err := output(ctx, "", "apt-cache", "--config-file", a.apt("apt.conf"), "search", "--names-only", pattern)
	if err != nil {
		return nil, err
	}
	byRelease := make(map[string][]string)
	for line := range strings.Lines(found) {
		name, _, _ := strings.Cut(line, " ")
		release := kernelPackage.FindStringSubmatch(name)[1]
		byRelease[release] = append(byRelease[release], name+":"+k.arch)
	}
	if len(byRelease) == 0 {
		return nil, fmt.Errorf("%s has no package whose name matches %s", k.suite, pattern)
	}
	var releases [][]string
	for _, release := range slices.SortedFunc(maps.Keys(byRelease), func(a, b string) int { return slices.Compare(numbers(b), numbers(a)) }) {
		releases = append(releases, byRelease[release])
	}
	return releases, nil
}

var number = regexp.MustCompile(`\d+`)

// numbers returns the numbers in the name of a release, which sort as releases do.
func numbers(release string) []int {
	var list []int
	for _, digits := range number.FindAllString(release, -1) {
		n, _ := strconv.Atoi(digits)
		list = append(list, n)
	}
	return list
}

// linkModules has the modules of an unpacked kernel in /lib, where newer packages do not have them.
func linkModules(dir string) error {
	lib := filepath.Join(dir, "lib")
	if isThere(lib) {
		return nil
	}
	return os.Symlink("usr/lib", lib)
}

// listModules has depmod list what the modules of an unpacked kernel depend on.
func listModules(ctx context.Context, dir string) error {
	release, err := release(dir)
	if err != nil {
		return err
	}
	_, err = output(ctx, "", "depmod", "-b", dir, release)
	return err
}

// release returns what uname -r will say of an unpacked kernel.
func release(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s has the modules of %d kernels instead of one", dir, len(found))
	}
	return filepath.Base(found[0]), nil
}

// output runs a command in a directory and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", cmd, err, stdout, stderr.String())
	}
	return string(stdout), nil
}
