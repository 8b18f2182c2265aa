package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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
	memory    []float64 // MiB, of the command that took most, or more
}

// mostMemory is how much a load may take, in MiB.
const mostMemory = 20

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
	empty, err := buildEmpty(dir)
	if err != nil {
		return nil, err
	}
	if err := build("./cmd/xdp-load", xdpLoad); err != nil {
		return nil, err
	}
	command := []string{xdpLoad, "rewrite", "--layout", "bpf/examples/nic_a-el.o", object, "-o", rewritten}
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", command, err, out)
	}
	ns, err := netlab.New()
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	pin := fmt.Sprintf("/sys/fs/bpf/bench-%d", os.Getpid())
	defer os.Remove(pin) // if it comes to an end in between
	tools := loaderTools(xdpLoad, object, rewritten, pin)
	start, nothing := &loaderTool{commands: [][]string{{xdpLoad, "--version"}}}, &loaderTool{commands: [][]string{{empty}}}
	all := append(tools, start, nothing)
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
	return rowsOf(tools, start, nothing), nil
}

// buildEmpty builds a program in Go that does nothing, and returns its path.
func buildEmpty(dir string) (string, error) {
	source, binary := filepath.Join(dir, "empty.go"), filepath.Join(dir, "empty")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return "", err
	}
	return binary, build(source, binary)
}

// build builds a command as make build does, and installs it: what the linker has written lies
// in memory in smaller pieces than what is copied, as by a package, and takes longer to start.
func build(source, path string) error {
	built := path + ".built"
	defer os.Remove(built)
	for _, command := range [][]string{{"go", "build", "-o", built, source}, {"install", built, path}} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", command, err, out)
		}
	}
	return nil
}

// run runs the commands once.
func (l *loaderTool) run() error {
	var wall, cpu time.Duration
	var memory int64
	for _, command := range l.commands {
		cmd := exec.Command(command[0], command[1:]...)
		start := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%v: %w\n%s", command, err, out)
		}
		wall += time.Since(start)
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		// In kB, and no less than this process takes: exec carries that over.
		memory = max(memory, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	l.wall = append(l.wall, float64(wall.Microseconds())/1000)
	l.cpu = append(l.cpu, float64(cpu.Microseconds())/1000)
	l.memory = append(l.memory, float64(memory)/1024)
	return nil
}

// rowsOf compares the first tool with the others. start is what a process of it takes that
// loads nothing, and nothing what one takes that is empty.
func rowsOf(tools []*loaderTool, start, nothing *loaderTool) (rows []performance.Row) {
	ours := tools[0]
	cpu := func(tool *loaderTool) float64 { return performance.MedianOf(tool.cpu).Median }
	reason := fmt.Sprintf("of %.1f ms of processor time %.1f are the start of two processes, to load and to unload: an empty program in Go takes %.1f, and this one, which says its version, %.1f, with its packages; what the rest is for, make profile shows",
		cpu(ours), 2*cpu(start), cpu(nothing), cpu(start))
	compare := func(name string, of, against []float64, bar float64, reason string) {
		row := performance.NewRow(name, performance.MedianOf(of), performance.MedianOf(against), "ms", bar)
		if !row.Holds {
			row.Reason = reason
		}
		rows = append(rows, row)
	}
	for _, other := range tools[1:] {
		compare("load/wall/"+other.name, ours.wall, other.wall, 1, "most of it is the kernel's, which all wait for, as it attaches and detaches; "+reason)
	}
	for _, other := range tools[1:] {
		bar := 0.0
		if other.name == "xdp-loader" {
			bar = 1 / 1.2
		}
		compare("load/cpu/"+other.name, ours.cpu, other.cpu, bar, reason)
	}
	return append(rows, performance.NewRow("load/memory/limit", performance.MedianOf(ours.memory), performance.Median{Median: mostMemory}, "MiB", 1))
}
