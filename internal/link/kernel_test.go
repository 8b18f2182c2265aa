package link_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

const (
	nic  = "nic0"
	pins = "/sys/fs/bpf/link-test"
)

// loaders load the program of an object into the kernel, one after the other.
var loaders = []struct {
	name   string
	load   func(t *testing.T, object []byte) (*ebpf.Program, error)
	unload func() error
}{
	{
		name: "cilium/ebpf",
		load: func(t *testing.T, object []byte) (*ebpf.Program, error) {
			spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
			if err != nil {
				return nil, err
			}
			collection, err := ebpf.NewCollection(spec)
			if err != nil {
				return nil, fmt.Errorf("%+v", err)
			}
			t.Cleanup(collection.Close)
			return collection.Programs["program"], nil
		},
		unload: func() error { return nil },
	},
	{
		name: "bpftool",
		load: func(t *testing.T, object []byte) (*ebpf.Program, error) {
			if err := run("bpftool", "prog", "load", write(t, object), pins); err != nil {
				return nil, err
			}
			return ebpf.LoadPinnedProgram(pins, nil)
		},
		unload: func() error { return os.Remove(pins) },
	},
	{
		name: "ip link",
		load: func(t *testing.T, object []byte) (*ebpf.Program, error) {
			if err := run("ip", "link", "set", "dev", nic, "xdpdrv", "obj", write(t, object), "sec", "xdp"); err != nil {
				return nil, err
			}
			return attached()
		},
		unload: func() error { return run("ip", "link", "set", "dev", nic, "xdpdrv", "off") },
	},
	{
		name: "xdp-loader",
		load: func(t *testing.T, object []byte) (*ebpf.Program, error) {
			if err := run("xdp-loader", "load", "-m", "native", "-n", "program", nic, write(t, object)); err != nil {
				return nil, err
			}
			return attached() // the dispatcher, which calls it
		},
		unload: func() error { return run("xdp-loader", "unload", nic, "--all") },
	},
}

func run(name string, arguments ...string) error {
	if out, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func write(t *testing.T, object []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.o")
	if err := os.WriteFile(path, object, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// attached returns the program on the NIC.
func attached() (*ebpf.Program, error) {
	out, err := exec.Command("ip", "-j", "link", "show", "dev", nic).Output()
	if err != nil {
		return nil, err
	}
	var links []struct {
		XDP struct{ Prog struct{ ID uint32 } }
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return nil, fmt.Errorf("%s: %w", out, err)
	}
	return ebpf.NewProgramFromID(ebpf.ProgramID(links[0].XDP.Prog.ID))
}

// runOnce returns what a program returns. The packet is one of the loopback device, whose
// index is 1.
func runOnce(t *testing.T, program *ebpf.Program) uint32 {
	t.Helper()
	options := ebpf.RunOptions{Data: make([]byte, 64)}
	action, err := program.Run(&options)
	for errors.Is(err, unix.EINTR) {
		action, err = program.Run(&options)
	}
	if err != nil {
		t.Fatal(err)
	}
	return action
}

// checkLoaders wants a program to return something, whatever loads it.
func checkLoaders(t *testing.T, object []byte, want uint32) {
	t.Helper()
	for _, loader := range loaders {
		program, err := loader.load(t, object)
		if err != nil {
			t.Errorf("%s: %v", loader.name, err)
			continue
		}
		if got := runOnce(t, program); got != want {
			t.Errorf("%s: the program returns %d instead of %d", loader.name, got, want)
		}
		program.Close()
		if err := loader.unload(); err != nil {
			t.Error(err)
		}
	}
}

func enter(t *testing.T) {
	t.Helper()
	netlab.NeedTools(t, "bpftool", "xdp-loader")
	if _, err := netlab.Enter(t).AddNIC(nic); err != nil {
		t.Fatal(err)
	}
}

// A program calls functions that were compiled apart: one that reads kernel memory at
// offsets that the loader finds, with data, a kfunc, a callback, and names that the
// program has, too.
func TestKernelCalls(t *testing.T) {
	const want = 1*3 + 41 + 6*100 + 1000 + 70000
	for _, clang := range compilers {
		t.Run(clang, func(t *testing.T) {
			enter(t)
			checkLoaders(t, linkCalls(t, clang, "bpfel").Bytes(), want)
		})
	}
}

func linkCalls(t *testing.T, clang, target string) *elfobj.Object {
	t.Helper()
	obj := compile(t, clang, target, "calls")
	source := newSource(t, compile(t, clang, target, "device"))
	ext := readExt(t, obj)
	linked, err := source.Into(obj, ext, link.Wanted{Functions: []string{"device", "sum_below"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, index := range linked.Functions {
		if symbol := obj.Symbols[index]; symbol.Name != name || int(symbol.Section) != obj.Section(".text").Index {
			t.Errorf("%s has symbol %+v", name, symbol)
		}
	}
	if !bytes.Equal(ext.Bytes(), obj.Section(".BTF.ext").Data) {
		t.Error("the records are others than those of the object")
	}
	return obj
}

// Compilers of one kind may be mixed.
func TestKernelMixed(t *testing.T) {
	enter(t)
	obj := compile(t, "clang-22", "bpfel", "calls")
	source := newSource(t, compile(t, "clang-14", "bpfel", "device"))
	if _, err := source.Into(obj, nil, link.Wanted{Functions: []string{"device", "sum_below"}}); err != nil {
		t.Fatal(err)
	}
	checkLoaders(t, obj.Bytes(), 1*3+41+6*100+1000+70000)
}

// What is linked uses what the object has: its functions, also in the stead of a weak one,
// its data, and a kfunc, which has to be there from now on.
func TestKernelShared(t *testing.T) {
	const want = 1 + (1 + 10*5 + 9001 + 9000) + 5 + 9001
	for _, clang := range compilers {
		t.Run(clang, func(t *testing.T) {
			enter(t)
			obj := compile(t, clang, "bpfel", "shares")
			source := newSource(t, compile(t, clang, "bpfel", "uses"))
			if _, err := source.Into(obj, nil, link.Wanted{Functions: []string{"uses_all"}}); err != nil {
				t.Fatal(err)
			}
			const kfunc = "bpf_cast_to_kern_ctx"
			var bindings []elf.SymBind
			for _, symbol := range obj.Symbols {
				if symbol.Name == kfunc {
					bindings = append(bindings, elf.ST_BIND(symbol.Info))
				}
			}
			if !slices.Equal(bindings, []elf.SymBind{elf.STB_GLOBAL}) {
				t.Errorf("%s is %v", kfunc, bindings)
			}
			checkLoaders(t, obj.Bytes(), want)
		})
	}
}

// The body of a function takes the place of a load, in an object that has no function
// beside its program, and declares nothing of the kernel's.
func TestKernelBody(t *testing.T) {
	const want = 1*3 + 41 + 100
	for _, clang := range compilers {
		t.Run(clang, func(t *testing.T) {
			enter(t)
			checkLoaders(t, replaceLoad(t, clang, "bpfel").Bytes(), want)
		})
	}
}

// Instructions of struct bpf_insn, by their opcode.
const (
	opLoad = 0x61 // BPF_LDX | BPF_MEM | BPF_W
	opGoto = 0x05
	opExit = 0x95
)

// replaceLoad puts static_device where loads.c loads the index.
func replaceLoad(t *testing.T, clang, target string) *elfobj.Object {
	t.Helper()
	obj := compile(t, clang, target, "loads")
	for _, section := range []string{".text", ".data"} {
		if s := obj.Section(section); s != nil && len(s.Data) > 0 {
			t.Fatalf("%s is there already", section)
		}
	}
	putBody(t, obj, compile(t, clang, target, "device"), "static_device")
	return obj
}

// putBody puts the body of a function of another object where the program loads first.
func putBody(t *testing.T, obj, from *elfobj.Object, name string) {
	t.Helper()
	ext := readExt(t, obj)
	linked, err := newSource(t, from).Into(obj, ext, link.Wanted{Bodies: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	program := obj.Section("xdp")
	slot := 0
	for program.Data[slot*8] != opLoad {
		slot++
	}
	body := linked.Bodies[name]
	for at := 0; at < len(body.Code); at += 8 {
		if body.Code[at] == opExit {
			body.Code[at] = opGoto
			obj.Order.PutUint16(body.Code[at+2:], uint16(len(body.Code)/8-at/8-1))
		}
	}
	if err := code.Replace(obj, ext, map[string][]code.Replacement{"xdp": {{Slot: slot, Code: body.Code, Kept: -1, Attached: &body.Attached}}}); err != nil {
		t.Fatal(err)
	}
}

// What clang leaves to the loader, libbpf's linker has filled in: sizes of sections,
// offsets of variables. Each may be put into each.
func TestKernelVarious(t *testing.T) {
	const want = 7 + 200 + 3*10000 + 100 + 1000 + 1
	for name, test := range map[string]struct {
		into, from func(*testing.T, *elfobj.Object) *elfobj.Object
	}{
		"compiled into compiled": {asIs, asIs},
		"compiled into linked":   {relinked, asIs},
		"linked into compiled":   {asIs, relinked},
		"linked into linked":     {relinked, relinked},
	} {
		for _, clang := range compilers {
			t.Run(name+"/"+clang, func(t *testing.T) {
				enter(t)
				obj := test.into(t, compile(t, clang, "bpfel", "data"))
				source := newSource(t, test.from(t, compile(t, clang, "bpfel", "various")))
				if _, err := source.Into(obj, nil, link.Wanted{Functions: []string{"various"}}); err != nil {
					t.Fatal(err)
				}
				checkSizes(t, obj)
				checkLoaders(t, obj.Bytes(), want)
				checkLoaders(t, relinked(t, obj).Bytes(), want)
			})
		}
	}
}

// checkSizes wants a DATASEC that has a size to have that of its section: the kernel
// makes no map of another one.
func checkSizes(t *testing.T, obj *elfobj.Object) {
	t.Helper()
	types, err := btf.LoadSpecFromReader(bytes.NewReader(obj.Section(".BTF").Data))
	if err != nil {
		t.Fatal(err)
	}
	for typ, err := range types.All() {
		if err != nil {
			t.Fatal(err)
		}
		datasec, ok := typ.(*btf.Datasec)
		if !ok || datasec.Size == 0 || obj.Section(datasec.Name) == nil {
			continue
		}
		if size := obj.Section(datasec.Name).Length(); uint64(datasec.Size) != size {
			t.Errorf("%s has %d bytes, and %d in the BTF", datasec.Name, size, datasec.Size)
		}
	}
}

func asIs(_ *testing.T, obj *elfobj.Object) *elfobj.Object { return obj }

// relinked returns what libbpf's linker makes of an object.
func relinked(t *testing.T, obj *elfobj.Object) *elfobj.Object {
	t.Helper()
	out := filepath.Join(t.TempDir(), "relinked.o")
	if err := run("bpftool", "gen", "object", out, write(t, obj.Bytes())); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, raw)
}

// A program calls a kfunc that its object did not declare.
func TestKernelKfunc(t *testing.T) {
	enter(t)
	obj := compile(t, "clang-19", "bpfel", "loads")
	ext := readExt(t, obj)
	declare := func(edit *btfraw.Edit) (btf.TypeID, error) {
		return edit.FuncProto(edit.Pointer(0), btfraw.Member{Name: "ctx", Type: edit.Pointer(0)})
	}
	index, err := link.Kfunc(obj, "bpf_cast_to_kern_ctx", declare)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := link.Kfunc(obj, "bpf_cast_to_kern_ctx", nil); err != nil || again != index {
		t.Errorf("it is declared again: %d instead of %d, %v", again, index, err)
	}
	if other, err := link.Kfunc(obj, "program", declare); err == nil {
		t.Errorf("a program is a kfunc: %d", other)
	}
	slot := 0
	for obj.Section("xdp").Data[slot*8] != opLoad {
		slot++
	}
	r := code.Replacement{Slot: slot, Code: []byte{
		0x85, 0x10, 0, 0, 0, 0, 0, 0, // call
		0xb7, 0x00, 0, 0, 7, 0, 0, 0, // r0 = 7
	}}
	r.Attached = &code.Attached{Relocations: []code.Relocation{{At: 0, Symbol: index}}}
	if err := code.Replace(obj, ext, map[string][]code.Replacement{"xdp": {r}}); err != nil {
		t.Fatal(err)
	}
	checkLoaders(t, obj.Bytes(), 107)
}

// The kernel knows the functions that were linked by their names, and their
// instructions by the source lines of both files.
func TestKernelLines(t *testing.T) {
	for name, object := range map[string]*elfobj.Object{
		"calls": linkCalls(t, "clang-19", "bpfel"),
		"body":  replaceLoad(t, "clang-19", "bpfel"),
	} {
		t.Run(name, func(t *testing.T) {
			enter(t)
			for _, loader := range loaders[:2] {
				program, err := loader.load(t, object.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				functions, lines := known(t, program)
				program.Close()
				if err := loader.unload(); err != nil {
					t.Error(err)
				}
				want := []string{"program", "device", "static_device", "index_of__2", "sum_below", "add", "index_of"}
				text := []string{
					"device: return static_device(ctx);", "static_device: calls[1]++;", "index_of__2: last = xdp->rxq->dev->ifindex;",
					"sum_below: bpf_loop(n, add, &sum, 0);", "add: *(int *)sum += i;", "index_of: return calls[i & 1];",
				}
				if name == "body" {
					want = []string{"program", "index_of"}
					text = []string{"program: calls[1]++;", "program: return ctx->ingress_ifindex + 100;", "index_of: return last * factor;"}
				}
				slices.Sort(want)
				if !slices.Equal(functions, want) {
					t.Errorf("%s: functions %v instead of %v", loader.name, functions, want)
				}
				for _, line := range text {
					if !slices.Contains(lines, line) {
						t.Errorf("%s: no %q in %q", loader.name, line, lines)
					}
				}
			}
		})
	}
}

// known returns the functions of a program, and the lines, each behind its function's
// name.
func known(t *testing.T, program *ebpf.Program) (functions, lines []string) {
	t.Helper()
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	insns, err := info.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	for i := range insns {
		if function := btf.FuncMetadata(&insns[i]); function != nil {
			functions = append(functions, function.Name)
		}
		if source := insns[i].Source(); source != nil {
			lines = append(lines, functions[len(functions)-1]+": "+strings.TrimSpace(source.String()))
		}
	}
	slices.Sort(functions)
	return functions, lines
}

// Of both byte orders, the same comes out.
func TestByteOrders(t *testing.T) {
	for _, clang := range compilers {
		for name, link := range map[string]func(*testing.T, string, string) *elfobj.Object{"calls": linkCalls, "body": replaceLoad} {
			t.Run(name+"/"+clang, func(t *testing.T) {
				little, big := spelled(t, link(t, clang, "bpfel")), spelled(t, link(t, clang, "bpfeb"))
				if len(little) < 10 || !slices.Equal(little, big) {
					t.Errorf("%s\n\nas bpfeb\n\n%s", strings.Join(little, "\n"), strings.Join(big, "\n"))
				}
			})
		}
	}
}

// spelled returns what cilium/ebpf reads of an object.
func spelled(t *testing.T, obj *elfobj.Object) (all []string) {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	program := spec.Programs["program"]
	for i := range program.Instructions {
		ins := &program.Instructions[i]
		all = append(all, fmt.Sprintf("%v, at %s, refers to %s, is %v, %v, %v", ins, ins.Symbol(), ins.Reference(), btf.FuncMetadata(ins), btf.CORERelocationMetadata(ins), ins.Source()))
	}
	for _, name := range []string{".data", ".rodata", ".bss"} {
		if m := spec.Maps[name]; m != nil {
			all = append(all, fmt.Sprintf("%v: %d bytes of %v", name, m.ValueSize, m.Value))
		}
	}
	return all
}
