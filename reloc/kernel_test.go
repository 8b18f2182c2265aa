package reloc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

const kernelBTF = "/sys/kernel/btf/vmlinux"

// kernelTypes are what a driver's accessors ask for.
var kernelTypes = []string{
	"sk_buff", "net_device", "xdp_buff", "xdp_rxq_info", "xdp_frame", "skb_shared_info", "page_pool", "xdp_mem_type",
	"veth_rq", "veth_xdp_buff", "napi_struct", "sock", "timecounter", "bpf_raw_tracepoint_args", "no_such_struct",
}

var kernelFunctions = []string{"bpf_rdonly_cast", "bpf_xdp_metadata_rx_hash", "no_such_function"}

// The kernel's types are as large as cilium/ebpf says, and its functions are there.
func TestKernelTypes(t *testing.T) {
	raw := readFile(t, kernelBTF)
	layout := newLayout(t, "vmlinux", raw)
	kernel, err := btf.LoadSplitSpecFromReader(bytes.NewReader(raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kernelTypes {
		want := uint32(0)
		typ, err := kernel.AnyTypeByName(name)
		if err == nil {
			size, err := btf.Sizeof(typ)
			if err != nil {
				t.Fatal(err)
			}
			want = uint32(size)
		} else if !errors.Is(err, btf.ErrNotFound) {
			t.Fatal(err)
		}
		if got, err := layout.SizeOf(name); err != nil || got != want {
			t.Errorf("%s: %d bytes, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range kernelFunctions {
		functions, err := layout.Functions(name)
		if err != nil {
			t.Fatal(err)
		}
		var function *btf.Func
		if err := kernel.TypeByName(name, &function); errors.Is(err, btf.ErrNotFound) {
			if len(functions) > 0 {
				t.Errorf("%s: %v", name, functions)
			}
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		id, err := kernel.TypeID(function)
		if err != nil {
			t.Fatal(err)
		}
		if len(functions) != 1 || functions[0].ID != id || functions[0].Type.Name != name {
			t.Fatalf("%s: %v, want type %d", name, functions, id)
		}
		if err := btf.CheckTypeCompatibility(function.Type, functions[0].Type.Type); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A record about a struct of the kernel comes to what it does in all that cilium/ebpf
// reads, types behind pointers included.
func TestKernelRecords(t *testing.T) {
	layout := newLayout(t, "vmlinux", readFile(t, kernelBTF))
	kernel, err := btf.LoadSplitSpecFromReader(bytes.NewReader(readFile(t, kernelBTF)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sk_buff", "net_device", "xdp_rxq_info", "napi_struct", "list_head"} {
		var typ *btf.Struct
		if err := kernel.TypeByName(name, &typ); err != nil {
			t.Fatal(err)
		}
		id, err := kernel.TypeID(typ)
		if err != nil {
			t.Fatal(err)
		}
		// The program has the kernel's own struct.
		for kind, want := range map[reloc.Kind]uint64{
			reloc.TypeExists: 1, reloc.TypeMatches: 1, reloc.TypeSize: uint64(typ.Size), reloc.TargetTypeID: uint64(id),
		} {
			a := access(t, binary.LittleEndian, typ, "0", kind)
			if got, err := a.Resolve(layout); err != nil || !got.Exists || got.Value != want {
				t.Errorf("%v of %s: %s, %v, want %d", kind, name, got.String(), err, want)
			}
		}
	}
}

// What a layout of the kernel takes, and what is asked of it: memory.
func TestKernelMemory(t *testing.T) {
	raw := readFile(t, kernelBTF)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	askKernel(t, raw)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > uint64(len(raw)) {
		t.Errorf("%d bytes beside the %d that are read", allocated, len(raw))
	}
}

func askKernel(tb testing.TB, raw []byte) {
	layout := newLayout(tb, "vmlinux", raw)
	for _, name := range kernelTypes {
		if _, err := layout.SizeOf(name); err != nil {
			tb.Fatal(err)
		}
	}
	for _, name := range kernelFunctions {
		if _, err := layout.Functions(name); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkKernel opens the kernel's BTF, and looks for what the accessors of a driver ask.
// Beside it stands what cilium/ebpf takes to open it and to read the first struct.
func BenchmarkKernel(b *testing.B) {
	raw, err := os.ReadFile(kernelBTF)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("layout", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			askKernel(b, raw)
		}
	})
	b.Run("cilium", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			kernel, err := btf.LoadSplitSpecFromReader(bytes.NewReader(raw), nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := kernel.AnyTypeByName(kernelTypes[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// veth's functions for the metadata kfuncs have the prototypes of these.
func TestFunctionsLike(t *testing.T) {
	layout := newLayout(t, "vmlinux", readFile(t, kernelBTF))
	for name, want := range map[string]string{
		"bpf_xdp_metadata_rx_hash":     "veth_xdp_rx_hash",
		"bpf_xdp_metadata_rx_vlan_tag": "veth_xdp_rx_vlan_tag",
		"no_such_function":             "",
	} {
		asked, err := layout.Functions(name)
		if err != nil {
			t.Fatal(err)
		}
		functions, err := layout.FunctionsLike(name)
		switch {
		case err != nil:
			t.Error(err)
		case want == "" || len(asked) == 0: // a kernel without these kfuncs
			if len(functions) > 0 {
				t.Errorf("%s: %v", name, functions)
			}
		case !slices.Contains(functions, want) || slices.Contains(functions, name):
			t.Errorf("%s: %v, without %s, or with itself", name, functions, want)
		}
	}
}
