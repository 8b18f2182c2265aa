package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// beInit is the first process of a virtual machine: it runs the tests, with
// their output as JSON by the port, and switches the machine off. What it says
// itself is on the console, among the kernel's messages.
func beInit() {
	for _, step := range []func() error{mountAll, loadModules, runSuites} {
		if err := step(); err != nil {
			fmt.Println("init:", err)
			break
		}
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Println("init: power off:", err)
}

// mountAll makes the mounts of a fresh machine, which has no bpffs.
func mountAll() error {
	for _, mount := range []struct{ target, fstype string }{
		{"/proc", "proc"},
		{"/sys", "sysfs"},
		{"/sys/kernel/security", "securityfs"},
		{"/dev", "devtmpfs"},
		{"/dev/pts", "devpts"},
		{"/run", "tmpfs"},
		{"/tmp", "tmpfs"},
	} {
		if err := os.MkdirAll(mount.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(mount.fstype, mount.target, mount.fstype, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", mount.target, err)
		}
	}
	return nil
}

func loadModules() error {
	files, err := filepath.Glob("/" + guestModules + "/*")
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := loadModule(file); err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}
	return nil
}

func loadModule(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()

	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(file.Fd()), "", flags)
}

func runSuites() error {
	here := architectures[runtime.GOARCH]
	port, err := os.OpenFile(here.port, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer port.Close()

	for _, s := range here.suites {
		// test2json says on the port how the tests end.
		var exit *exec.ExitError
		if err := s.command(port).Run(); err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("run the tests of %s: %w", s.pkg, err)
		}
	}
	return nil
}

func (s suite) command(port *os.File) *exec.Cmd {
	args := []string{"-t", "-p", s.name(), s.binary("/bin"), "-test.v=test2json"}
	if s.run != "" {
		args = append(args, "-test.run", s.run)
	}
	if s.skip != "" {
		args = append(args, "-test.skip", s.skip)
	}
	cmd := exec.Command("/bin/test2json", append(args, s.args...)...)
	cmd.Dir = filepath.Join("/"+guestSource, s.pkg)
	cmd.Env = []string{"PATH=/bin", "HOME=/tmp"}
	cmd.Stdout, cmd.Stderr = port, os.Stdout
	return cmd
}
