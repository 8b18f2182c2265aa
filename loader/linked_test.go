package loader_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

// linkedMetadata is a metadata area in the layout that the linked objects are
// rewritten for, and what is in it.
type linkedMetadata struct {
	raw []byte

	hash, hashType, mark, csum, csumStatus uint64
	vlanTCI                                uint64
}

const linkedLayout = "reordered"

func newLinkedMetadata() linkedMetadata {
	raw := make([]byte, 96)
	for i := range raw {
		raw[i] = byte(rand.Uint32())
	}
	u32 := func(offset int) uint64 { return uint64(binary.NativeEndian.Uint32(raw[offset:])) }
	return linkedMetadata{
		raw: raw, mark: u32(4), hashType: u32(20), hash: u32(28), csumStatus: u32(60), csum: u32(92),
		vlanTCI: uint64(binary.NativeEndian.Uint16(raw[2:])),
	}
}

// linked are the directories in testdata/linked, each with the sources of one object,
// and what its programs write down when each is run once, in the order of their names.
var linked = map[string]func(md linkedMetadata) map[string]uint64{
	"weak": func(md linkedMetadata) map[string]uint64 {
		want := map[string]uint64{"got_program": md.vlanTCI + 2000}
		for file := uint64(1); file <= 3; file++ {
			want[fmt.Sprint("got_front_", file)] = low32(md.hashType + file)
			want[fmt.Sprint("got_chosen_", file)] = low32(md.hash + md.csum + 2 + 20)
			want[fmt.Sprint("got_behind_", file)] = low32(md.mark + 2 + file)
		}
		return want
	},
	"missing": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{"got_1": md.hash, "got_2": md.mark, "got_3": md.mark}
	},
	"static": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{
			"got_picked_1": low32(md.hash + 7 + 1), "got_count_1": md.hash*1 + 101, "got_steps_1": 6,
			"got_picked_2": low32(md.csum + 7 + 2), "got_count_2": md.csum*2 + 201, "got_steps_2": 12,
			"got_picked_3": low32(md.mark + 3), "got_step": md.vlanTCI + 5,
		}
	},
	"hidden": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{
			"got_far": low32(md.csum + md.csumStatus), "got_chosen_1": low32(md.csum + 1), "got_chosen_2": low32(md.csum + 1),
			"got_steps_1": 0 + 1 + 2 + 3, "got_steps_2": 0 + 1 + 2 + 3 + 4,
		}
	},
	"maps": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{
			"got_shared_1": md.hash, "got_shared_2": 2 * md.hash, "got_either_1": md.csum, "got_either_2": 2 * md.csum, "got_own": md.vlanTCI,
			"got_data_1": md.mark + 3 + 1 + 0 + 10 + 6 + 8 + 18 + 1000,
			"got_data_2": md.mark + 3 + 1 + 1 + 10 + 60 + 80 + 180 + 1000,
		}
	},
	"kconfig": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{
			"got_mark": md.mark, "got_absent": 1, "got_syscall": 1, "got_neither": 6, "got_version": kernelVersion(),
			"got_absent_2": 1, "got_bpf": 1, "got_no_state": 1, "got_letter": 'y', "got_no_letter": 1, "got_no_text": 1,
		}
	},
	"absent": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{"got_mark": md.mark, "got_absent": 1}
	},
	"license": func(md linkedMetadata) map[string]uint64 {
		return map[string]uint64{"got_1": md.hash + 1, "got_2": md.csum + 2}
	},
}

func low32(v uint64) uint64 { return uint64(uint32(v)) }

// kernelVersion returns KERNEL_VERSION() of the running kernel.
func kernelVersion() uint64 {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return 0
	}
	var major, minor, patch uint64
	fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d.%d", &major, &minor, &patch)
	return major<<16 | minor<<8 | min(patch, 255)
}

var linkedCompilers = []string{"clang-14", "clang-16", "clang-19", "clang-22"}

// An object of several files is rewritten, and comes to the same whether libbpf loads
// what it was rewritten to, or xdp-load the object.
func TestLinked(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(linked)) {
		for _, clang := range linkedCompilers {
			t.Run(name+"/"+clang, func(t *testing.T) {
				netlab.Enter(t)
				object := linkObject(t, name, clang)
				rewritten := rewriteTwice(t, object)
				md := newLinkedMetadata()
				want := linked[name](md)

				byLibbpf, err := runByLibbpf(t, rewritten, md)
				if err != nil {
					t.Fatal(err)
				}
				for variable, value := range want {
					if got, ok := byLibbpf[variable]; !ok || got != value {
						t.Errorf("By libbpf, %s is %#x, want %#x", variable, got, value)
					}
				}
				for variable := range byLibbpf {
					if _, ok := want[variable]; !ok && !slices.Contains(ofThisKernel, variable) {
						t.Errorf("%s: no value to compare with", variable)
					}
				}

				loaded, err := loader.LoadRewritten(object, loader.Options{Layout: layout(t, linkedLayout)})
				if err != nil {
					t.Fatal(err)
				}
				defer loaded.Close()
				got := runAll(t, rewritten, md, loaded.Programs, func(section string) *ebpf.Map { return loaded.Maps[section] })
				if !maps.Equal(got, byLibbpf) {
					t.Errorf("%v, by libbpf %v", got, byLibbpf)
				}
			})
		}
	}
}

// ofThisKernel are variables of which only libbpf says what they have to be.
var ofThisKernel = []string{"got_hz", "got_hz_2", "got_text"}

// What libbpf refuses is refused, and the message names what it is about.
func TestLinkedRefused(t *testing.T) {
	for name, want := range map[string]string{
		"refused/proprietary": "cannot call GPL-restricted function from non-GPL compatible program",
		"refused/option":      `"CONFIG_DOES_NOT_EXIST" does not exist on this kernel`,
		"refused/verifier":    "testdata/linked/refused/verifier/2.c:15: md->mark: ",
		"refused/programs":    "section xdp has a static program program, and that is not the only one of this name: make it global",
	} {
		t.Run(name, func(t *testing.T) {
			netlab.Enter(t)
			object := linkObject(t, name, "clang-19")
			if _, err := runByLibbpf(t, rewriteTwice(t, object), newLinkedMetadata()); err == nil {
				t.Error("libbpf loads it")
			}
			loaded, err := loader.LoadRewritten(object, loader.Options{Layout: layout(t, linkedLayout)})
			if err == nil {
				loaded.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// linkObject compiles the sources in a directory and links them.
func linkObject(t *testing.T, directory, clang string) (object string) {
	t.Helper()
	netlab.NeedTools(t, clang, "bpftool", "gcc")
	sources, err := filepath.Glob("testdata/linked/" + directory + "/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%s: no sources: %v", directory, err)
	}
	triplet, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		t.Fatal(err)
	}
	object = filepath.Join(t.TempDir(), "linked.o")
	arguments := []string{"gen", "object", object}
	for i, source := range sources {
		arguments = append(arguments, filepath.Join(t.TempDir(), fmt.Sprint(i, ".o")))
		execute(t, clang, "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror", "-I../bpf",
			"-isystem", "/usr/include/"+strings.TrimSpace(string(triplet)), "-c", source, "-o", arguments[len(arguments)-1])
	}
	if len(sources) == 1 {
		return arguments[len(arguments)-1]
	}
	execute(t, "bpftool", arguments...)
	return object
}

func execute(t *testing.T, name string, arguments ...string) {
	t.Helper()
	if out, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// rewriteTwice rewrites an object, which gives the same again, also of what comes out.
func rewriteTwice(t *testing.T, object string) []byte {
	t.Helper()
	raw, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	var rewritten []byte
	for _, from := range []*[]byte{&raw, &raw, &rewritten} {
		out, report, err := rewrite.Rewrite(*from, layout(t, linkedLayout), rewrite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if again := len(report.Edits) == 0; again != report.Rewritten || rewritten != nil && !bytes.Equal(out, rewritten) {
			t.Fatalf("%d edits, rewritten before: %t, or other bytes", len(report.Edits), report.Rewritten)
		}
		rewritten = out
	}
	return rewritten
}

// runByLibbpf loads an object by bpftool and runs its programs, as runAll does.
func runByLibbpf(t *testing.T, object []byte, md linkedMetadata) (map[string]uint64, error) {
	t.Helper()
	const programPins, mapPins = bpffs + "/programs", bpffs + "/maps"
	defer os.RemoveAll(programPins)
	defer os.RemoveAll(mapPins)
	file := filepath.Join(t.TempDir(), "o.o")
	if err := os.WriteFile(file, object, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bpftool", "prog", "loadall", file, programPins, "pinmaps", mapPins).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bpftool: %w: %s", err, out)
	}
	programs := make(map[string]*ebpf.Program)
	for _, name := range entries(t, programPins) {
		program, err := ebpf.LoadPinnedProgram(filepath.Join(programPins, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		programs[name] = program
	}
	data := make(map[string]*ebpf.Map)
	for _, name := range entries(t, mapPins) {
		m, err := ebpf.LoadPinnedMap(filepath.Join(mapPins, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		data[name] = m
	}
	return runAll(t, object, md, programs, func(section string) *ebpf.Map {
		// "o.bss", and pins have no dots in their names
		return data["o"+strings.ReplaceAll(section, ".", "_")]
	}), nil
}

func entries(t *testing.T, directory string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		names = append(names, entry.Name())
	}
	return names
}

// runAll runs programs on a packet with a metadata area in front, by their names, and
// returns the variables whose names start with got_, which are in the sections of data
// that the object's BTF says.
func runAll(t *testing.T, object []byte, md linkedMetadata, programs map[string]*ebpf.Program, dataOf func(section string) *ebpf.Map) map[string]uint64 {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		options := ebpf.RunOptions{
			Data:    append(bytes.Clone(md.raw), make([]byte, 64)...),
			Context: struct{ Data, DataEnd, DataMeta, IngressIfindex, RXQueueIndex, EgressIfindex uint32 }{Data: uint32(len(md.raw)), DataEnd: uint32(len(md.raw)) + 64},
		}
		_, err := programs[name].Run(&options)
		for errors.Is(err, unix.EINTR) {
			_, err = programs[name].Run(&options)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}

	types, _, err := btf.LoadSpecAndExtInfosFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for typ, err := range types.All() {
		if err != nil {
			t.Fatal(err)
		}
		section, ok := typ.(*btf.Datasec)
		if !ok {
			continue
		}
		for _, v := range section.Vars {
			if name := v.Type.TypeName(); strings.HasPrefix(name, "got_") {
				data, err := dataOf(section.Name).LookupBytes(uint32(0))
				if err != nil {
					t.Fatal(err)
				}
				got[name] = binary.NativeEndian.Uint64(data[v.Offset:])
			}
		}
	}
	return got
}

// The kernel is told of each function what it is, whatever is left of those that were not
// chosen.
func TestLinkedNames(t *testing.T) {
	for _, name := range []string{"weak", "static", "hidden"} {
		object, err := os.Open(linkObject(t, name, "clang-19"))
		if err != nil {
			t.Fatal(err)
		}
		defer object.Close()
		spec, _, err := loader.RewrittenSpec(object, loader.Options{Layout: layout(t, linkedLayout)})
		if err != nil {
			t.Fatal(err)
		}
		functions := 0
		for _, program := range spec.Programs {
			for i := range program.Instructions {
				ins := &program.Instructions[i]
				if ins.Symbol() == "" {
					continue
				}
				functions++
				function := btf.FuncMetadata(ins)
				if function == nil || !strings.HasPrefix(ins.Symbol(), function.Name) {
					t.Errorf("%s: %s is %v for the kernel", name, ins.Symbol(), function)
				}
			}
		}
		if functions < 5 {
			t.Errorf("%s: only %d functions", name, functions)
		}
	}
}

// A program is attached although one of another file can't be rewritten.
func TestLinkedPart(t *testing.T) {
	lab := newLab(t)
	object := linkObject(t, "part", "clang-19")
	opts := loader.Options{Layout: layout(t, linkedLayout), Interface: lab.nic.Name, Program: "program_2"}
	if loaded, err := loader.LoadRewritten(object, opts); !errors.Is(err, rewrite.ErrRefused) {
		t.Errorf("program_2: %v, %v", loaded, err)
	}
	opts.Program = "program_1"
	loaded, err := loader.LoadRewritten(object, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	md := newLinkedMetadata()
	deliver(t, lab.nic, md.raw)
	var got uint64
	if err := loaded.Variables["got_1"].Get(&got); err != nil || got != md.hash {
		t.Errorf("%#x instead of %#x, %v", got, md.hash, err)
	}
	if err := loader.Unload(lab.nic.Name); err != nil {
		t.Fatal(err)
	}
}
