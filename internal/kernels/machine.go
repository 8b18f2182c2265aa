package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a machine may take.
const patience = 30 * time.Minute

// machine is a virtual machine.
type machine struct {
	*architecture
	release string   // of the kernel, as uname -r says it
	command []string // QEMU's
	image   string   // the kernel's
	initrd  string
	console string          // where the console's output goes
	stderr  strings.Builder // QEMU's
}

// newMachine returns the machine for an unpacked kernel, with tools from a root directory. It
// boots once.
func newMachine(ctx context.Context, k kernel, command []string, kernelDir, toolDir, work string) (*machine, error) {
	release, err := release(kernelDir)
	if err != nil {
		return nil, err
	}
	image, err := imageOf(kernelDir, release)
	if err != nil {
		return nil, err
	}
	m := &machine{
		architecture: k.architecture,
		release:      release,
		command:      command,
		image:        image,
		initrd:       filepath.Join(work, release+".initrd"),
		console:      filepath.Join(work, release+".console"),
	}
	return m, k.writeInitrd(ctx, m.initrd, kernelDir, toolDir, work)
}

// imageOf returns the image of an unpacked kernel. Newer packages have it beside
// the modules.
func imageOf(kernelDir, release string) (string, error) {
	for _, place := range []string{"boot/vmlinuz-" + release, "lib/modules/" + release + "/vmlinuz"} {
		image := filepath.Join(kernelDir, place)
		if _, err := os.Stat(image); err == nil {
			return image, nil
		}
	}
	return "", fmt.Errorf("%s: no image of the kernel", kernelDir)
}

// test boots the machine, and prints what the tests come to.
func (m *machine) test(ctx context.Context) error {
	results, err := m.boot(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case results == nil:
		return fmt.Errorf("%s: %w", m.release, err)
	}
	fmt.Printf("%s: %s", m.release, results.summary())
	failures := results.failures()
	if failures == "" && err == nil {
		return nil
	}
	fmt.Printf("%sconsole:\n%s\n", failures, m.lastWords())
	return errors.Join(fmt.Errorf("%s: tests failed", m.release), err)
}

// boot runs the machine until it switches itself off, and returns what the tests
// say, nil if it does not start.
func (m *machine) boot(ctx context.Context) (*results, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	// Without KVM, which not every machine that tests has. A kernel that panics
	// reboots, which ends QEMU.
	args := append(m.command[1:len(m.command):len(m.command)],
		"-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "2048",
		"-nodefaults", "-no-reboot", "-display", "none", "-nic", "none",
		"-chardev", "file,id=console,path="+m.console, "-chardev", "stdio,id=port",
		"-kernel", m.image, "-initrd", m.initrd, "-append", m.append+" quiet panic=-1",
	)
	args = append(args, m.devices...)
	for number, n := range m.nics {
		args = append(args, n.arguments(number)...)
	}
	qemu := exec.CommandContext(ctx, m.command[0], args...)
	qemu.Stderr = &m.stderr
	port, err := qemu.StdoutPipe()
	if err != nil {
		return nil, err
	}

	start := time.Now()
	if err := m.start(qemu.Start); err != nil {
		return nil, err
	}
	r, readErr := readResults(port, m.suites)
	if readErr != nil {
		cancel()
	}
	err = qemu.Wait()
	r.took = time.Since(start)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done after %s", patience)
	}
	return r, errors.Join(readErr, err)
}

// lastWords returns the end of what the console says, and what QEMU does. One that
// is told to stop does so without an error.
func (m *machine) lastWords() string {
	const lines = 40

	console, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.ReplaceAll(string(console), "\r", ""), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n") + m.stderr.String()
}
