package collection_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

// kernelFunctions returns what finds the running kernel's functions.
func kernelFunctions(tb testing.TB) func(string) []collection.Function {
	tb.Helper()
	kernel, err := nic.KernelTypes()
	if err != nil {
		tb.Fatal(err)
	}
	return func(name string) []collection.Function {
		functions, err := kernel.Functions(name)
		if err != nil {
			tb.Fatal(err)
		}
		var found []collection.Function
		for _, function := range functions {
			found = append(found, collection.Function(function))
		}
		return found
	}
}

func readCasts(tb testing.TB, object string) *ebpf.CollectionSpec {
	tb.Helper()
	raw, err := os.ReadFile("../../loader/testdata/" + object)
	if err != nil {
		tb.Fatal(err)
	}
	spec, err := collection.Read(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	return spec
}

// calls returns the calls of kfuncs, with their names before they are linked.
func calls(spec, before *ebpf.CollectionSpec, program string) map[string]*asm.Instruction {
	all := make(map[string]*asm.Instruction)
	for i := range before.Programs[program].Instructions {
		if name := before.Programs[program].Instructions[i].Reference(); before.Programs[program].Instructions[i].IsKfuncCall() {
			all[name] = &spec.Programs[program].Instructions[i]
		}
	}
	return all
}

// Calls get the IDs that cilium/ebpf finds, and lose nothing else. What is not there, or
// is something else, stays as it was.
func TestLinkKfuncs(t *testing.T) {
	netlab.Need(t, netlab.ContextCast)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, test := range []struct {
		object, program string
		linked          map[string]bool
	}{
		{"casts-el.o", "casts", map[string]bool{"bpf_cast_to_kern_ctx": true, "bpf_rcu_read_lock": true, "bpf_rcu_read_unlock": true}},
		{"casts-el.o", "asks", map[string]bool{"bpf_cast_to_kern_ctx": true, "bpf_that_no_kernel_has": false}},
		{"casts_wrong-el.o", "wrong", map[string]bool{"bpf_cast_to_kern_ctx": false}},
	} {
		spec, before := readCasts(t, test.object), readCasts(t, test.object)
		collection.LinkKfuncs(spec, kernelFunctions(t))
		checkSame(t, spec.Programs[test.program].Instructions, before.Programs[test.program].Instructions)
		for name, call := range calls(spec, before, test.program) {
			found++
			if !test.linked[name] {
				if call.Constant != -1 || call.Reference() != name {
					t.Errorf("%s: %s is linked: %v", test.program, name, call)
				}
				continue
			}
			var function *btf.Func
			if err := kernel.TypeByName(name, &function); err != nil {
				t.Fatal(err)
			}
			id, err := kernel.TypeID(function)
			if err != nil {
				t.Fatal(err)
			}
			if call.Constant != int64(id) || !call.IsKfuncCall() || call.Offset != 0 {
				t.Errorf("%s: %s is %v, want type %d", test.program, name, call, id)
			}
		}
	}
	if found != 6 {
		t.Errorf("%d calls", found)
	}
}

// checkSame wants instructions to have the symbols, functions and lines that they had.
func checkSame(t *testing.T, now, before asm.Instructions) {
	t.Helper()
	for i := range now {
		if now[i].Symbol() != before[i].Symbol() || fmt.Sprint(btf.FuncMetadata(&now[i])) != fmt.Sprint(btf.FuncMetadata(&before[i])) ||
			fmt.Sprint(now[i].Source()) != fmt.Sprint(before[i].Source()) {
			t.Errorf("%v was %v", now[i], before[i])
		}
	}
}

// only returns a specification with nothing but one program.
func only(spec *ebpf.CollectionSpec, program string) *ebpf.CollectionSpec {
	return &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{program: spec.Programs[program]}, Types: spec.Types, ByteOrder: spec.ByteOrder}
}

// A program whose calls are linked loads and does what it did, and cilium/ebpf reads
// nothing of the kernel's BTF, which takes it a megabyte of its own at least.
func TestLinkedKfuncsLoad(t *testing.T) {
	netlab.Need(t, netlab.ContextCast)
	for program, want := range map[string]uint32{"casts": 3, "asks": 1} {
		spec := only(readCasts(t, "casts-el.o"), program)
		collection.LinkKfuncs(spec, kernelFunctions(t))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		loaded, err := ebpf.NewCollection(spec)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		defer loaded.Close()
		if allocated := after.TotalAlloc - before.TotalAlloc; program == "casts" && allocated > 512<<10 {
			t.Errorf("%s: %d bytes to load it", program, allocated)
		}
		got, err := loaded.Programs[program].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
		if err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", program, got, err, want)
		}
	}
}

// BenchmarkLoadKfuncs loads a program that calls kfuncs, by cilium/ebpf alone and linked.
func BenchmarkLoadKfuncs(b *testing.B) {
	netlab.Need(b, netlab.ContextCast)
	spec := only(readCasts(b, "casts-el.o"), "casts")
	for name, link := range map[string]func(*ebpf.CollectionSpec){
		"cilium": func(*ebpf.CollectionSpec) {},
		"linked": func(spec *ebpf.CollectionSpec) { collection.LinkKfuncs(spec, kernelFunctions(b)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				spec := spec.Copy()
				link(spec)
				loaded, err := ebpf.NewCollection(spec)
				if err != nil {
					b.Fatal(err)
				}
				loaded.Close()
			}
		})
	}
}
