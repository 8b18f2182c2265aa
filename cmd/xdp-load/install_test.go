package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// TestInstall builds and installs as a user or a package does, twice over, uses what is
// there, and takes it away again.
func TestInstall(t *testing.T) {
	netlab.NeedRoot(t) // and with it the compiler
	dest, prefix := t.TempDir(), "/opt/xdp"
	runMake(t, "build")
	for range 2 {
		runMake(t, "install", "DESTDIR="+dest, "PREFIX="+prefix)
	}

	modes := map[string]string{prefix + "/bin/xdp-load": "-rwxr-xr-x"}
	for _, path := range []string{
		"include/xdp-load/md_desc.h",
		"include/xdp-load/md_driver.h",
		"include/xdp-load/md_meta.h",
		"lib/systemd/system/xdp-load-watch.service",
		"lib/systemd/system/xdp-load@.service",
		"share/bash-completion/completions/xdp-load",
		"share/fish/vendor_completions.d/xdp-load.fish",
		"share/zsh/site-functions/_xdp-load",
	} {
		modes[prefix+"/"+path] = "-rw-r--r--"
	}
	for _, cmd := range allCommands(newRoot(&flags{})) {
		modes[prefix+"/share/man/man1/"+pageOf(cmd)+".1"] = "-rw-r--r--"
	}
	if diff := cmp.Diff(modes, filesIn(t, dest)); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}

	for path, wanted := range map[string]string{
		"lib/systemd/system/xdp-load-watch.service":     "\nExecStart=" + prefix + "/bin/xdp-load watch\n",
		"lib/systemd/system/xdp-load@.service":          "\nExecStart=" + prefix + "/bin/xdp-load --iface %I --replace ",
		"share/bash-completion/completions/xdp-load":    "__start_xdp-load",
		"share/zsh/site-functions/_xdp-load":            "#compdef xdp-load\n",
		"share/fish/vendor_completions.d/xdp-load.fish": "complete -c xdp-load",
	} {
		text, err := os.ReadFile(filepath.Join(dest+prefix, path))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), wanted) {
			t.Errorf("%s has no %q:\n%s", path, wanted, text)
		}
	}
	compileAndCheck(t, dest+prefix)

	runMake(t, "uninstall", "DESTDIR="+dest, "PREFIX="+prefix)
	if left := filesIn(t, dest); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// compileAndCheck compiles an example with the installed header, and gives it to the
// installed command.
func compileAndCheck(t *testing.T, prefix string) {
	multiarch, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), "balance.o")
	for _, command := range [][]string{
		{"clang-19", "-O2", "-g", "-target", "bpf", "-I", prefix + "/include/xdp-load", "-I", "/usr/include/" + strings.TrimSpace(string(multiarch)),
			"-c", "../../bpf/examples/balance.c", "-o", object},
		{prefix + "/bin/xdp-load", "check", "--layout", "../../bpf/examples/nic_a-el.o", object},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, output)
		}
	}
}

// runMake runs make at the top of the tree, for somebody whose files nobody else may read.
func runMake(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `umask 077; exec make -C ../.. "$@"`, "make"}, args...)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v: %s", strings.Join(args, " "), err, output)
	}
}

// filesIn returns the modes of the files in a directory, which others have to get at.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	modes := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case !entry.IsDir():
			modes[strings.TrimPrefix(path, dir)] = info.Mode().String()
		case info.Mode().Perm() != 0o755:
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return modes
}
