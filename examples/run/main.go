// Command run shows an example on emulated NICs.
//
//	run receive
//
// It is run by make run-receive, as root, from the top of the repository. What it makes
// lives in a network namespace of its own, and vanishes with it.
package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

func main() {
	if len(os.Args) != 2 || labs[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: run %s\n", strings.Join(slices.Sorted(maps.Keys(labs)), "|"))
		os.Exit(2)
	}
	err := show(os.Stdout, "bin", os.Args[1])
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("needs root, to make network namespaces and to load programs: %w", err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// step is one run of an example, while packets come in by a NIC of its own.
type step struct {
	args []string
	send func(nic *netlab.NIC) error
}

// nicName is what the interface is called.
const nicName = "eth0"

// show runs the steps of an example, whose command is in a directory, and prints how it is
// called and what it says.
func show(out io.Writer, bin, name string) error {
	for i, step := range labs[name] {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if err := step.show(out, bin, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) show(out io.Writer, bin, name string) error {
	ns, err := netlab.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(func() error {
		nic, err := ns.AddNIC(nicName)
		if err != nil {
			return err
		}
		args := append([]string{"--iface", nicName}, s.args...)
		fmt.Fprintf(out, "$ %s %s\n", name, strings.Join(args, " "))
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM} // if this process can't
		if err := cmd.Start(); err != nil {
			return err
		}
		return errors.Join(s.feed(nic), interrupt(cmd))
	})
}

// feed sends the packets, once the program is there, and gives it time to see the last one.
func (s *step) feed(nic *netlab.NIC) error {
	if err := awaitProgram(); err != nil {
		return err
	}
	if err := s.send(nic); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond)
	return nil
}

// awaitProgram returns when there is a program on the interface.
func awaitProgram() error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		link, err := exec.Command("ip", "link", "show", nicName).Output()
		if err != nil {
			return err
		}
		if strings.Contains(string(link), "prog/xdp") {
			return nil
		}
	}
	return fmt.Errorf("there is no program on %s", nicName)
}

// interrupt ends a command as Ctrl-C does.
func interrupt(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(unix.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return cmd.Wait()
}
