package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/internal/performance"
)

// loadRounds is how often each loader loads and unloads.
const loadRounds = 41

// loaderTool is a command that loads an object on an interface, and what unloads it.
type loaderTool struct {
	name     string
	commands [][]string

	wall, cpu []float64 // milliseconds from exec to exit, of all commands together
}

// The others load what was rewritten ahead of time.
func loaderTools(xdpLoad, object, rewritten, pin string) []*loaderTool {
	const nic = "nic0"
	return []*loaderTool{
		{name: "xdp-load", commands: [][]string{
			{xdpLoad, "--iface", nic, "--layout", "bpf/examples/nic_a-el.o", object},
			{xdpLoad, "unload", nic},
		}},
		{name: "ip-link", commands: [][]string{
			{"ip", "link", "set", nic, "xdpdrv", "object", rewritten, "section", "xdp"},
			{"ip", "link", "set", nic, "xdpdrv", "off"},
		}},
		{name: "xdp-loader", commands: [][]string{
			{"xdp-loader", "load", "--mode", "native", nic, rewritten},
			{"xdp-loader", "unload", nic, "--all"},
		}},
		{name: "bpftool", commands: [][]string{
			{"bpftool", "prog", "load", rewritten, pin},
			{"bpftool", "net", "attach", "xdpdrv", "pinned", pin, "dev", nic},
			{"bpftool", "net", "detach", "xdpdrv", "dev", nic},
			{"rm", pin},
		}},
	}
}

// compareLoads compares loading and unloading with what other loaders take, in turns.
func compareLoads(dir string) ([]performance.Row, error) {
	xdpLoad, rewritten := filepath.Join(dir, "xdp-load"), filepath.Join(dir, "balance.o")
	const object = "bpf/examples/balance-el.o"
	for _, command := range [][]string{
		{"go", "build", "-o", xdpLoad, "./cmd/xdp-load"},
		{xdpLoad, "rewrite", "--layout", "bpf/examples/nic_a-el.o", object, "-o", rewritten},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", command, err, out)
		}
	}
	ns, err := netlab.New()
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	pin := fmt.Sprintf("/sys/fs/bpf/bench-%d", os.Getpid())
	defer os.Remove(pin) // if it comes to an end in between
	tools := loaderTools(xdpLoad, object, rewritten, pin)
	start := &loaderTool{commands: [][]string{{xdpLoad, "--version"}}}
	all := append(tools, start)
	err = ns.Do(func() error {
		if _, err := ns.AddNIC("nic0"); err != nil {
			return err
		}
		for range loadRounds {
			for _, tool := range all {
				if err := tool.run(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rowsOf(tools, start), nil
}

// run runs the commands once.
func (l *loaderTool) run() error {
	var wall, cpu time.Duration
	for _, command := range l.commands {
		cmd := exec.Command(command[0], command[1:]...)
		start := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%v: %w\n%s", command, err, out)
		}
		wall += time.Since(start)
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	l.wall = append(l.wall, float64(wall.Microseconds())/1000)
	l.cpu = append(l.cpu, float64(cpu.Microseconds())/1000)
	return nil
}

// rowsOf compares the first tool with the others. start is what a process of it takes that
// does nothing.
func rowsOf(tools []*loaderTool, start *loaderTool) (rows []performance.Row) {
	ours := tools[0]
	reason := fmt.Sprintf("loading and unloading are a process each, of which one that only says its version takes %.1f ms of processor time: the start of the Go runtime, and of all packages that are linked in",
		performance.MedianOf(start.cpu).Median)
	compare := func(name string, of, against []float64, bar float64) {
		row := performance.NewRow(name, performance.MedianOf(of), performance.MedianOf(against), "ms", bar)
		if !row.Holds {
			row.Reason = reason
		}
		rows = append(rows, row)
	}
	for _, other := range tools[1:] {
		compare("load/wall/"+other.name, ours.wall, other.wall, 1)
	}
	for _, other := range tools[1:] {
		bar := 0.0
		if other.name == "xdp-loader" {
			bar = 1 / 1.2
		}
		compare("load/cpu/"+other.name, ours.cpu, other.cpu, bar)
	}
	return rows
}
