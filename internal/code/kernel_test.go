package code_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// kernelObjects returns objects that the running kernel loads: fixtures that
// need no layout, and what others are rewritten to.
func kernelObjects(t *testing.T) map[string][]byte {
	t.Helper()
	objects := make(map[string][]byte)
	for _, path := range fixtures(t) {
		if name, little := strings.CutSuffix(filepath.Base(path), "-el.o"); little && !slices.Contains(unloadable, name) {
			if object := fitting(t, path); object != nil {
				objects[name] = object
			}
		}
	}
	if len(objects) < 20 {
		t.Errorf("only %d objects", len(objects))
	}
	return objects
}

// unloadable are objects that take more than the tests do to load: kfuncs an
// interface, gotox Linux 6.19 and a loader that makes maps of its tables.
var unloadable = []string{"kfuncs", "gotox"}

// rewritten are the programs of testdata that are rewritten for a layout here.
var rewritten = []string{
	"baked", "doubtful", "fields", "flavour", "kinds", "merged", "mixed", "oneload", "store", "subprog", "tc", "unguarded",
}

// fitting returns an object as the kernel loads it, nil if it takes a layout and is
// none of those that are rewritten here.
func fitting(t *testing.T, path string) []byte {
	t.Helper()
	name, isProgram := strings.CutPrefix(strings.TrimSuffix(path, "-el.o"), "../../testdata/programs/")
	p := read(t, path)
	switch {
	case p.ext.CountCORERelos() == 0:
		return p.Bytes()
	case !isProgram || !slices.Contains(rewritten, name):
		return nil
	}
	types := read(t, "../../testdata/layouts/reordered-el.o").Section(".BTF").Data
	layout, err := reloc.NewLayout("reordered", types, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, _, err := rewrite.Rewrite(p.Bytes(), layout, rewrite.Options{Types: []string{"md_*"}})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

const kernelSeeds = 4

// A program with code that does nothing in it does what it did.
func TestKernel(t *testing.T) {
	netlab.NeedRoot(t)
	for name, object := range kernelObjects(t) {
		t.Run(name, func(t *testing.T) {
			want := results(t, object)
			for seed := range kernelSeeds {
				p := parse(t, object)
				p.replace(t, pad(p.Object, rand.New(rand.NewSource(int64(seed)))).in)
				if got := results(t, p.Bytes()); !slices.Equal(got, want) {
					t.Errorf("seed %d:\n%q, want\n%q", seed, got, want)
				}
			}
		})
	}
}

const packets = 50

// results loads an object, runs each of its programs on random metadata, and
// returns what they did: action, packet, global variables.
func results(t *testing.T, object []byte) []string {
	t.Helper()
	spec, err := collection.Read(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer loaded.Close()

	var all []string
	random := rand.New(rand.NewSource(7))
	for range packets {
		metadata := make([]byte, 128)
		random.Read(metadata)
		metadata[0] &= 3 // the slots of a map of programs
		for _, name := range slices.Sorted(maps.Keys(loaded.Programs)) {
			all = append(all, fmt.Sprintf("%s: %s", name, run(t, loaded, loaded.Programs[name], metadata)))
		}
	}
	return all
}

// xdpContext is struct xdp_md as bpf_prog_test_run takes it.
type xdpContext struct{ Data, DataEnd, DataMeta, IngressIfindex, RXQueueIndex, EgressIfindex uint32 }

func run(t *testing.T, loaded *ebpf.Collection, program *ebpf.Program, metadata []byte) string {
	t.Helper()
	options := ebpf.RunOptions{Data: bytes.Repeat([]byte{0xee}, 64), DataOut: make([]byte, 1024)}
	if program.Type() == ebpf.XDP {
		options.Data = append(bytes.Clone(metadata), options.Data...)
		options.Context = xdpContext{Data: uint32(len(metadata)), DataEnd: uint32(len(options.Data))}
	}
	action, err := program.Run(&options)
	for errors.Is(err, unix.EINTR) {
		action, err = program.Run(&options)
	}
	if err != nil {
		t.Fatal(err)
	}
	var variables []byte
	if bss := loaded.Maps[".bss"]; bss != nil {
		if variables, err = bss.LookupBytes(uint32(0)); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%d %x %x", action, options.DataOut, variables)
}

// libbpf loads what comes out, and its linker takes it.
func TestBpftool(t *testing.T) {
	netlab.NeedTools(t, "bpftool")
	objects := kernelObjects(t)
	netlab.Enter(t)
	directory := t.TempDir()
	for name, object := range objects {
		p := parse(t, object)
		p.replace(t, pad(p.Object, rand.New(rand.NewSource(8))).in)
		file := filepath.Join(directory, name+".o")
		if err := os.WriteFile(file, p.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		commands := [][]string{{"prog", "loadall", file, "/sys/fs/bpf/code"}}
		if name != "data" { // "relocation against STT_SECTION in non-exec section is not supported"
			commands = append(commands, []string{"gen", "object", file + ".linked", file})
		}
		for _, arguments := range commands {
			if out, err := exec.Command("bpftool", arguments...).CombinedOutput(); err != nil {
				t.Errorf("%s: bpftool %s: %v: %s", name, arguments[1], err, out)
			}
		}
		if err := os.RemoveAll("/sys/fs/bpf/code"); err != nil {
			t.Fatal(err)
		}
	}
}
