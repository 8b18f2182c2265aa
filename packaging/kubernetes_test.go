package packaging

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// TestManifest decodes the manifest as an API server with strict field validation does.
func TestManifest(t *testing.T) {
	pod := daemonSet(t).Spec.Template.Spec
	if !pod.HostNetwork || len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
		t.Fatalf("not one container to load and one to watch in the network of the host: %+v", pod)
	}
	volumes := make(map[string]corev1.Volume)
	for _, volume := range pod.Volumes {
		volumes[volume.Name] = volume
	}
	for _, container := range append(pod.InitContainers, pod.Containers...) {
		context := container.SecurityContext
		if context.Privileged != nil || !*context.ReadOnlyRootFilesystem || *context.AllowPrivilegeEscalation || context.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s may more than it needs: %+v", container.Name, context)
		}
		for _, mount := range container.VolumeMounts {
			if _, ok := volumes[mount.Name]; !ok {
				t.Errorf("%s: no volume %s", container.Name, mount.Name)
			}
		}
	}
}

// TestLeastPrivileges runs what the manifest does on a node, with the capabilities that it
// gives, and each time without one of them.
func TestLeastPrivileges(t *testing.T) {
	netlab.NeedRoot(t)
	pod := daemonSet(t).Spec.Template.Spec
	dir := t.TempDir()
	binary := filepath.Join(dir, "xdp-load")
	if output, err := exec.Command("go", "build", "-o", binary, "../cmd/xdp-load").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	copyFile(t, filepath.Join(dir, "prog.o"), "../bpf/examples/balance-el.o")
	layouts := filepath.Join(dir, "layouts")
	copyFile(t, filepath.Join(layouts, "eth0.o"), "../testdata/layouts/exact-el.o")
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("eth0"); err != nil {
		t.Fatal(err)
	}

	command := func(container corev1.Container, added []corev1.Capability) *exec.Cmd {
		bounding := "-all"
		for _, capability := range added {
			bounding += ",+" + strings.ToLower(string(capability))
		}
		args := []string{"--no-new-privs", "--inh-caps=-all", "--bounding-set=" + bounding, binary}
		for _, arg := range container.Args {
			args = append(args, strings.Replace(arg, "/program/", dir+"/", 1))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		cmd := exec.CommandContext(ctx, "setpriv", args...)
		cmd.Env = append(os.Environ(), "XDP_LOAD_LAYOUTS="+layouts)
		return cmd
	}

	loads, watches := pod.InitContainers[0], pod.Containers[0]
	given := loads.SecurityContext.Capabilities.Add
	for i := range given {
		fewer := append(append([]corev1.Capability{}, given[:i]...), given[i+1:]...)
		if output, err := command(loads, fewer).CombinedOutput(); err == nil {
			t.Errorf("%s does without CAP_%s: %s", loads.Name, given[i], output)
		}
	}
	for range 2 { // the second replaces the first
		if output, err := command(loads, given).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", loads.Name, err, output)
		}
	}

	watch := command(watches, watches.SecurityContext.Capabilities.Add)
	var log strings.Builder
	watch.Stderr = &log
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(layouts, "eth0.o"), "../testdata/layouts/sparse-el.o")
	status := func() string {
		output, err := exec.Command(binary, "status", "eth0").CombinedOutput()
		if err != nil {
			t.Fatalf("status: %v: %s", err, output)
		}
		return string(output)
	}
	// In the one layout the hash is at 8, in the other at 12.
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(status(), "md->hash: __u32 at 12"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not replaced: %s", status())
		}
	}
	if err := watch.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("%s: %v: %s", watches.Name, err, log.String())
	}
	if !strings.Contains(status(), "balance") {
		t.Errorf("gone with the pod: %s", status())
	}
}

func daemonSet(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	manifest, err := os.ReadFile("kubernetes/xdp-load.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set := new(appsv1.DaemonSet)
	if err := yaml.UnmarshalStrict(manifest, set); err != nil {
		t.Fatal(err)
	}
	return set
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	// As another process may be reading it.
	if err := os.WriteFile(to+".new", content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}
