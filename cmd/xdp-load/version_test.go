package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

// TestVersionOfBuilds builds the command as it is built with and without git, and asks it
// for its version.
func TestVersionOfBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the command several times")
	}
	tree := t.TempDir()
	runIn(t, "../..", "sh", "-c", `tar -c --exclude=.git --exclude=./bin . | tar -x -C "$1"`, "sh", tree)
	release := regexp.QuoteMeta(strings.TrimSpace(release))

	wantVersion(t, tree, release, "-buildvcs=auto")
	runIn(t, tree, "sh", "-ec", `
		git init -q
		git add .
		git -c user.name=Somebody -c user.email=somebody@example.com commit -qm everything`)
	commit := strings.TrimSpace(runIn(t, tree, "git", "rev-parse", "--short=12", "HEAD"))
	wantVersion(t, tree, release+` \(`+commit+`\)`, "-buildvcs=auto")
	wantVersion(t, tree, release, "-buildvcs=false")
	if err := os.WriteFile(filepath.Join(tree, "cmd/xdp-load/VERSION"), []byte("7.8.9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, tree, `7\.8\.9 \(`+commit+`, modified\)`, "-buildvcs=auto")
}

func wantVersion(t *testing.T, tree, pattern, vcs string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "xdp-load")
	runIn(t, tree, "go", "build", "-trimpath", vcs, "-o", binary, "./cmd/xdp-load") // so that all trees share what is built
	if output := runIn(t, tree, binary, "--version"); !regexp.MustCompile("^xdp-load version " + pattern + "\n$").MatchString(output) {
		t.Errorf("go build %s: %s is not %s", vcs, output, pattern)
	}
}

func runIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// What the go command records of a build, and what becomes of it.
func TestCommitOf(t *testing.T) {
	for _, test := range []struct {
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		{"(devel)", nil, ""},
		{"v1.2.3", nil, ""}, // go install module@v1.2.3
		{"v1.2.4-0.20260102030405-0123456789ab", nil, "v1.2.4-0.20260102030405-0123456789ab"},
		{"v1.2.3", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}}, "0123456789ab"},
		{"v1.2.3+dirty", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}, "0123456789ab, modified"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: test.module}, Settings: test.settings}
		if got := commitOf(info, "1.2.3"); got != test.want {
			t.Errorf("%s %v: %q instead of %q", test.module, test.settings, got, test.want)
		}
	}
}
