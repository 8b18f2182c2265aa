package rewrite_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// kernelInterface is what the tools attach programs to.
const kernelInterface = "nic0"

// kernelPins is where bpftool pins programs, in the bpffs of the test alone.
const kernelPins = "/sys/fs/bpf/kernel-test"

// kernelTool is a program of others that loads BPF objects.
type kernelTool struct {
	name string
	// types are those of the programs that the tool can load. It does not look
	// for others: xdp-loader hands a TC program to the kernel as XDP.
	types []ebpf.ProgramType
	// load loads a program of an object and returns its tag: the kernel's hash
	// of its instructions.
	load func(object, program string) (tag string, err error)
	// unload undoes load.
	unload func() error
}

var (
	kernelXDPOnly = []ebpf.ProgramType{ebpf.XDP}
	kernelAnyType = []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS}
)

// They all load with libbpf, where the other tests use cilium/ebpf.
var kernelTools = []kernelTool{
	{
		name:  "bpftool prog loadall",
		types: kernelAnyType,
		load: func(object, program string) (string, error) {
			if _, err := kernelCommand("bpftool", "prog", "loadall", object, kernelPins); err != nil {
				return "", err
			}
			return kernelPinnedTag(filepath.Join(kernelPins, program))
		},
		unload: func() error { return os.RemoveAll(kernelPins) },
	},
	{
		// Loads all and pins the first, whichever is asked for.
		name:  "bpftool prog load",
		types: kernelAnyType,
		load: func(object, _ string) (string, error) {
			if _, err := kernelCommand("bpftool", "prog", "load", object, kernelPins); err != nil {
				return "", err
			}
			return kernelPinnedTag(kernelPins)
		},
		unload: func() error { return os.Remove(kernelPins) },
	},
	{
		name:  "ip link set xdpdrv",
		types: kernelXDPOnly,
		load: func(object, program string) (string, error) {
			if _, err := kernelCommand("ip", "link", "set", "dev", kernelInterface, "xdpdrv", "obj", object, "program", program); err != nil {
				return "", err
			}
			return kernelAttachedTag(program)
		},
		unload: func() error {
			_, err := kernelCommand("ip", "link", "set", "dev", kernelInterface, "xdpdrv", "off")
			return err
		},
	},
	{
		name:  "xdp-loader load -m native",
		types: kernelXDPOnly,
		load: func(object, program string) (string, error) {
			if _, err := kernelCommand("xdp-loader", "load", "-m", "native", "-n", program, kernelInterface, object); err != nil {
				return "", err
			}
			return kernelAttachedTag(program)
		},
		unload: func() error {
			_, err := kernelCommand("xdp-loader", "unload", kernelInterface, "--all")
			return err
		},
	},
	{
		name:  "tc filter add",
		types: []ebpf.ProgramType{ebpf.SchedCLS},
		load: func(object, _ string) (string, error) {
			if _, err := kernelCommand("tc", "qdisc", "add", "dev", kernelInterface, "clsact"); err != nil {
				return "", err
			}
			if _, err := kernelCommand("tc", "filter", "add", "dev", kernelInterface, "ingress", "bpf", "direct-action", "obj", object, "sec", "tc"); err != nil {
				return "", err
			}
			return kernelFilterTag()
		},
		unload: func() error {
			_, err := kernelCommand("tc", "qdisc", "del", "dev", kernelInterface, "clsact")
			return err
		},
	},
}

// A rewritten object is an ordinary object: what others load with loads it, all
// of its programs, the records against the kernel's own types included. They
// load the same program, down to the instruction, as cilium/ebpf does.
func TestKernelLoaders(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	objects := kernelLoaderObjects(t)
	for _, tool := range kernelTools {
		t.Run(tool.name, func(t *testing.T) {
			t.Parallel()
			if _, err := netlab.Enter(t).AddNIC(kernelInterface); err != nil {
				t.Fatal(err)
			}
			loaded := 0
			for _, object := range objects {
				loaded += tool.check(t, object)
			}
			if loaded == 0 {
				t.Error("Loaded nothing")
			}
		})
	}
}

// Where a field is missing that can be read for all they know, they all refuse.
func TestKernelLoadersRefuse(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	path := kernelWrite(t, kernelRewrite(t, "doubtful"+kernelEndian, "sparse"))
	for _, tool := range kernelTools {
		if !slices.Contains(tool.types, ebpf.XDP) {
			continue
		}
		t.Run(tool.name, func(t *testing.T) {
			t.Parallel()
			if _, err := netlab.Enter(t).AddNIC(kernelInterface); err != nil {
				t.Fatal(err)
			}
			if tag, err := tool.load(path, "doubtful"); err == nil {
				t.Errorf("Loaded a program with tag %s", tag)
			}
		})
	}
}

// kernelFile is a rewritten object in a file, and the programs in it.
type kernelFile struct {
	kernelObject
	path     string
	programs []kernelProgram
}

type kernelProgram struct {
	name, tag string
	typ       ebpf.ProgramType
}

// hasTag reports whether a program that another tool has loaded is the same.
// That of kinds.c contains the IDs of its own types, which cilium/ebpf numbers
// anew and libbpf does not.
func (p *kernelProgram) hasTag(tag string) bool {
	return tag == p.tag || tag == kernelDispatched || p.name == "kinds"
}

// kernelLoaderObjects rewrites each program for each layout that accepts it.
// What other compilers made of it is rewritten for one layout only.
func kernelLoaderObjects(t *testing.T) []kernelFile {
	t.Helper()
	var files []kernelFile
	for _, name := range kernelPrograms(t) {
		if kernelSource(name) == "entries" {
			continue // libbpf loads no static programs
		}
		layouts := kernelAccepting(t, kernelSource(name))
		if compilerMatrix.MatchString(name) {
			layouts = slices.DeleteFunc(layouts, func(layout string) bool { return layout != "nested" })
		}
		for _, layout := range layouts {
			object := kernelRewrite(t, name, layout)
			files = append(files, kernelFile{object, kernelWrite(t, object), kernelListPrograms(t, object.object)})
		}
	}
	return files
}

func kernelWrite(t *testing.T, object kernelObject) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), object.name+"."+object.layout+".o")
	if err := os.WriteFile(path, object.object, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kernelListPrograms returns the programs of an object as cilium/ebpf loads
// them, in the object's order.
func kernelListPrograms(t *testing.T, object []byte) []kernelProgram {
	t.Helper()
	loaded := kernelLoad(t, object)
	defer loaded.Close()

	var programs []kernelProgram
	for name, program := range loaded.Programs {
		info, err := program.Info()
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, kernelProgram{name, info.Tag, program.Type()})
	}
	offsets := kernelSymbols(t, object)
	slices.SortFunc(programs, func(a, b kernelProgram) int { return offsets[a.name] - offsets[b.name] })
	return programs
}

// kernelSymbols returns the offset of each symbol in its section.
func kernelSymbols(t *testing.T, object []byte) map[string]int {
	t.Helper()
	symbols, err := parseELF(t, object).Symbols()
	if err != nil {
		t.Fatal(err)
	}
	offsets := make(map[string]int)
	for _, symbol := range symbols {
		offsets[symbol.Name] = int(symbol.Value)
	}
	return offsets
}

// check loads and unloads each program of an object that the tool is for, and
// returns how many that are.
func (tool *kernelTool) check(t *testing.T, file kernelFile) int {
	t.Helper()
	loaded := 0
	for _, program := range file.programs {
		if !slices.Contains(tool.types, program.typ) {
			continue
		}
		if tool.name == "bpftool prog load" && program != file.programs[0] {
			continue
		}
		tag, err := tool.load(file.path, program.name)
		if err != nil {
			t.Errorf("%s for %s: %v", file.name, file.layout, err)
		} else if !program.hasTag(tag) {
			t.Errorf("%s for %s: %s has tag %s, loaded by cilium/ebpf %s", file.name, file.layout, program.name, tag, program.tag)
		}
		if err := tool.unload(); err != nil {
			t.Errorf("%s for %s: unload: %v", file.name, file.layout, err)
		}
		loaded++
	}
	return loaded
}

// kernelCommand runs a command in the test's namespace and returns its output.
func kernelCommand(name string, args ...string) ([]byte, error) {
	var stderr strings.Builder
	command := exec.Command(name, args...)
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", command, err, output, stderr.String())
	}
	return output, nil
}

func kernelPinnedTag(path string) (string, error) {
	program, err := ebpf.LoadPinnedProgram(path, nil)
	if err != nil {
		return "", err
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return "", err
	}
	return info.Tag, nil
}

// kernelDispatched stands for the tag of a program behind libxdp's dispatcher,
// which is what the interface shows then. Where the kernel has no use for the
// dispatcher, xdp-loader attaches the program itself.
const kernelDispatched = "behind a dispatcher"

// kernelIPProgram is a program in the output of ip -json and tc -json.
type kernelIPProgram struct{ Name, Tag string }

// kernelAttachedTag returns the tag of the program that is attached to the
// interface in native mode, which is to be that of a name.
func kernelAttachedTag(name string) (string, error) {
	output, err := kernelCommand("ip", "-json", "link", "show", "dev", kernelInterface)
	if err != nil {
		return "", err
	}
	var links []struct {
		XDP struct {
			Mode int
			Prog kernelIPProgram
		}
	}
	if err := json.Unmarshal(output, &links); err != nil {
		return "", err
	}

	const native = 1 // XDP_ATTACHED_DRV of include/uapi/linux/if_link.h
	xdp := links[0].XDP
	switch {
	case xdp.Prog.Name == "xdp_dispatcher":
		return kernelDispatched, nil
	case xdp.Prog.Name != name || xdp.Mode != native:
		return "", fmt.Errorf("program %q is attached in mode %d instead of %q in mode %d", xdp.Prog.Name, xdp.Mode, name, native)
	}
	return xdp.Prog.Tag, nil
}

// kernelFilterTag returns the tag of the program that filters ingress.
func kernelFilterTag() (string, error) {
	output, err := kernelCommand("tc", "-json", "filter", "show", "dev", kernelInterface, "ingress")
	if err != nil {
		return "", err
	}
	var filters []struct {
		Options struct{ Prog kernelIPProgram }
	}
	if err := json.Unmarshal(output, &filters); err != nil {
		return "", err
	}
	for _, filter := range filters {
		if filter.Options.Prog.Tag != "" {
			return filter.Options.Prog.Tag, nil
		}
	}
	return "", fmt.Errorf("no filter: %s", output)
}
