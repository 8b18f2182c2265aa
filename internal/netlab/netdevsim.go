package netlab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	simBus  = "/sys/bus/netdevsim"
	debugfs = "/sys/kernel/debug"
)

// SimNIC is a device of the driver netdevsim, which takes programs to run them on the NIC, and
// has no packets to run them on.
type SimNIC struct {
	Name  string
	Index int

	ns     *Namespace
	number int // of the device, on its bus
}

// NeedSimNICs skips a test on a kernel without the driver netdevsim, which most are built
// without. One of those that make test-kernels runs has it.
func NeedSimNICs(tb testing.TB) {
	tb.Helper()

	NeedRoot(tb)
	if _, err := os.Stat(simBus); err != nil {
		tb.Skip("needs the driver netdevsim: make test-kernels has a kernel with it")
	}
}

// AddSimNIC makes a device in the namespace, where its knobs in debugfs are within reach. It is
// the caller's to remove: without its namespace it goes to the machine's.
func (ns *Namespace) AddSimNIC(name string) (*SimNIC, error) {
	nic := &SimNIC{Name: name, ns: ns}
	if err := ns.Do(nic.create); err != nil {
		return nil, fmt.Errorf("add simulated NIC %s: %w", name, err)
	}
	return nic, nil
}

func (nic *SimNIC) create() error {
	if err := unix.Mount("debugfs", debugfs, "debugfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount debugfs: %w", err)
	}
	before, err := net.Interfaces()
	if err != nil {
		return err
	}
	if nic.number, err = freeNumber(); err != nil {
		return err
	}
	if err := write(simBus+"/new_device", fmt.Sprintf("%d 1", nic.number)); err != nil {
		return err
	}
	after, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range after {
		if !slices.ContainsFunc(before, func(b net.Interface) bool { return b.Index == i.Index }) {
			nic.Index = i.Index
			return run("ip", "link", "set", i.Name, "name", nic.Name)
		}
	}
	return fmt.Errorf("device %d has no interface", nic.number)
}

// freeNumber returns a number that no device of the bus has.
func freeNumber() (int, error) {
	for number := 1; ; number++ {
		_, err := os.Stat(fmt.Sprintf("%s/devices/netdevsim%d", simBus, number))
		if errors.Is(err, os.ErrNotExist) {
			return number, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// Remove unplugs the device.
func (nic *SimNIC) Remove() error {
	return write(simBus+"/del_device", fmt.Sprint(nic.number))
}

// Set writes a knob of the device, or of its port: see nsim_bpf_dev_init and nsim_bpf_init in
// drivers/net/netdevsim/bpf.c.
func (nic *SimNIC) Set(knob, value string) error {
	return nic.ns.Do(func() error { return write(nic.knob(knob), value) })
}

// Get reads what Set writes.
func (nic *SimNIC) Get(knob string) (value string, err error) {
	err = nic.ns.Do(func() error {
		raw, err := os.ReadFile(nic.knob(knob))
		value = strings.TrimSpace(string(raw))
		return err
	})
	return value, err
}

func (nic *SimNIC) knob(name string) string {
	dir := fmt.Sprintf("%s/netdevsim/netdevsim%d", debugfs, nic.number)
	if port := filepath.Join(dir, "ports/0", name); exists(port) {
		return port
	}
	return filepath.Join(dir, name)
}

// BoundPrograms returns how many programs the kernel has loaded for the device.
func (nic *SimNIC) BoundPrograms() (number int, err error) {
	err = nic.ns.Do(func() error {
		programs, err := os.ReadDir(nic.knob("bpf_bound_progs"))
		number = len(programs)
		return err
	})
	return number, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func write(path, value string) error {
	return os.WriteFile(path, []byte(value), 0)
}
