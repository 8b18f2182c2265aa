package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// The units do what they are for under a systemd of their own, with udev, as PID 1 of
// namespaces: their restrictions leave xdp-load all that it needs.
func TestUnits(t *testing.T) {
	netlab.NeedRoot(t)
	netlab.NeedTools(t, "systemctl", "udevadm", "ip")
	self, err := os.Executable() // which is xdp-load by that name
	if err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(output, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	boot := exec.CommandContext(ctx, "bash", "testdata/systemd/boot.sh", t.TempDir(), self, ".", "testdata/systemd/steps.sh", output,
		"../../bpf/examples/balance-el.o", "../../bpf/examples/nic_a-el.o", "../../bpf/examples/nic_b-el.o")
	boot.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	console, err := boot.CombinedOutput()
	steps, _ := os.ReadFile(output)
	if err != nil || !strings.HasSuffix(string(steps), "all done\n") {
		t.Errorf("%v\n%s\nsteps:\n%s", err, console, steps)
	}
}

// Nothing in the units is unknown to systemd.
func TestUnitsAreValid(t *testing.T) {
	netlab.NeedTools(t, "systemd-analyze")
	units, err := filepath.Glob("*.service")
	if err != nil || len(units) != 2 {
		t.Fatal(units, err)
	}
	dir := t.TempDir()
	for _, unit := range units {
		name := strings.Replace(filepath.Base(unit), "@", "@nic0", 1)
		if err := copyFile(filepath.Join(dir, name), unit); err != nil {
			t.Fatal(err)
		}
		// It looks for the command, too, which need not be installed.
		analyze := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, name))
		output, _ := analyze.CombinedOutput()
		for line := range strings.Lines(string(output)) {
			if !strings.Contains(line, "/usr/bin/xdp-load is not executable") {
				t.Errorf("%s: %s", unit, line)
			}
		}
	}
}
