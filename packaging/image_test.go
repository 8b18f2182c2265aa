package packaging

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// TestImage runs what docs/operations.md shows of the image, beside a NIC called eth0, and compares
// what is printed: it is built, and loads, looks and unloads with the capabilities that are named
// there. The image is of an archive like those of make release. Podman stands in for Docker.
func TestImage(t *testing.T) {
	netlab.NeedRoot(t)
	podman, err := exec.LookPath("podman")
	if err != nil {
		t.Skip("needs podman: make deps")
	}
	operations, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	session := regexp.MustCompile("(?ms)^```shellsession\n(.*?)^```$").FindSubmatch(operations)
	if session == nil {
		t.Fatal("docs/operations.md shows no image")
	}

	dir := t.TempDir()
	makeArchive(t, filepath.Join(dir, "dist"))
	copyFile(t, filepath.Join(dir, "prog.o"), "../bpf/examples/balance-el.o")
	copyFile(t, filepath.Join(dir, "packaging/Dockerfile"), "Dockerfile")
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(podman, filepath.Join(bin, "docker")); err != nil {
		t.Fatal(err)
	}
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("eth0"); err != nil {
		t.Fatal(err)
	}
	// The one hierarchy that crun takes. The mount is the test's alone.
	if err := unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}

	shell := exec.Command("bash", "-c", script(string(session[1])))
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"),
		"CONTAINERS_CONF="+containersConf(t, dir), "CONTAINERS_STORAGE_CONF="+storageConf(t, dir))
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if diff := cmp.Diff(withoutNumbers(string(session[1])), withoutNumbers(string(output))); diff != "" {
		t.Errorf("docs/operations.md and what the commands print differ (-document +run):\n%s\nThis is printed:\n%s", diff, output)
	}
}

// makeArchive makes an archive of this tree's binary, with the names of packaging/release.sh.
func makeArchive(t *testing.T, dist string) {
	t.Helper()
	name := "xdp-load-0.9.0-linux-" + runtime.GOARCH
	work := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(work, name, "bin/xdp-load"), "../cmd/xdp-load")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if err := os.Mkdir(dist, 0o755); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dist, name+".tar.gz")
	if output, err := exec.Command("tar", "-C", work, "-czf", archive, name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// script returns the commands of a session as a script that prints it.
func script(session string) string {
	var script strings.Builder
	script.WriteString("exec 2>&1\n")
	for _, command := range regexp.MustCompile(`(?m)^\$ ((?:.*\\\n)*.*)$`).FindAllStringSubmatch(session, -1) {
		fmt.Fprintf(&script, "cat <<'COMMAND'\n$ %s\nCOMMAND\n%s\n", command[1], command[1])
	}
	return script.String()
}

// containersConf has Podman do without what a test may not have, more open files and a cgroup, and
// let who has CAP_BPF call bpf(2), as Docker does.
func containersConf(t *testing.T, dir string) string {
	return writeFile(t, filepath.Join(dir, "containers.conf"), fmt.Sprintf(`
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
seccomp_profile = %q
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
`, seccompProfile(t, dir)))
}

// storageConf keeps images in a directory of the test's.
func storageConf(t *testing.T, dir string) string {
	return writeFile(t, filepath.Join(dir, "storage.conf"), fmt.Sprintf(`
[storage]
driver = "vfs"
graphroot = %q
runroot = "/run/containers/storage"
`, filepath.Join(dir, "storage")))
}

// seccompProfile is Podman's, but for bpf(2), which it allows to who has CAP_SYS_ADMIN only.
func seccompProfile(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile("/usr/share/containers/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	var profile map[string]any
	if err := json.Unmarshal(content, &profile); err != nil {
		t.Fatal(err)
	}
	rules := profile["syscalls"].([]any)
	for _, rule := range rules {
		rule := rule.(map[string]any)
		rule["names"] = slices.DeleteFunc(rule["names"].([]any), func(name any) bool { return name == "bpf" })
	}
	profile["syscalls"] = append(rules, map[string]any{
		"names": []string{"bpf"}, "action": "SCMP_ACT_ALLOW", "includes": map[string]any{"caps": []string{"CAP_BPF"}},
	})
	if content, err = json.Marshal(profile); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Join(dir, "seccomp.json"), string(content))
}

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutNumbers takes out what is different in every run.
func withoutNumbers(text string) string {
	for _, n := range []struct{ pattern, with string }{
		{`(?m)^time=.* argument\. Try adding .*--build-arg.*\n`, ""}, // of Podman, which knows the machine all the same
		{`(?m)^[0-9a-f]{64}$`, "IMAGE"},
		{`\(id \d+\)`, "(id N)"},
		{`(link|maps)-\d+`, "$1-N"},
		{`balance +\d+ +`, "balance N "},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"},
		{`(?m)^(INTERFACE.*)$`, "INTERFACE"},
	} {
		text = regexp.MustCompile(n.pattern).ReplaceAllString(text, n.with)
	}
	return text
}
