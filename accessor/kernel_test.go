package accessor_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/rewrite"
)

// runner is a program that calls accessors with a descriptor and writes down what they
// return, and the memory that it may be in.
type runner struct {
	collection *ebpf.Collection
	fields     []string
	start      uint64 // address of the memory
	context    any    // what the kernel makes ctx of
}

// source returns a program that calls the functions of fields, each so often.
func source(fields []string, accessors *rewrite.Accessors, calls int) string {
	var b strings.Builder
	b.WriteString(`
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct memory {
	__u8 bytes[65536];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory);
} memory SEC(".maps");

volatile __u64 start, descriptor, results[16];
`)
	for _, field := range fields {
		fmt.Fprintf(&b, "extern __u64 %s(__u64 at, void *ctx);\n", accessors.Fields[field].Function)
	}
	kind := `SEC("xdp") int program(struct xdp_md *ctx)`
	if accessors.Context == "sk_buff" {
		kind = `SEC("tc") int program(struct __sk_buff *ctx)`
	}
	b.WriteString(`
extern __u64 md_descriptor(void *ctx);

` + kind + `
{
	__u32 zero = 0;

	start = (__u64)bpf_map_lookup_elem(&memory, &zero);
	results[15] = md_descriptor(ctx);
`)
	for i, field := range fields {
		for range calls {
			fmt.Fprintf(&b, "\tresults[%d] = %s(descriptor, ctx);\n", i, accessors.Fields[field].Function)
		}
	}
	b.WriteString("\treturn 0;\n}\n\nchar _license[] SEC(\"license\") = \"GPL\";\n")
	return b.String()
}

// newRunner loads a program. more are types that records are resolved against, too.
func newRunner(tb testing.TB, accessors *rewrite.Accessors, fields []string, calls int, more *btf.Spec) *runner {
	tb.Helper()
	obj, err := elfobj.Parse(compile(tb, "19-v3", "bpfel", source(fields, accessors, calls)))
	if err != nil {
		tb.Fatal(err)
	}
	from, err := elfobj.Parse(accessors.Object)
	if err != nil {
		tb.Fatal(err)
	}
	export(tb, from)
	linkable, err := link.NewSource(from)
	if err != nil {
		tb.Fatal(err)
	}
	functions := []string{accessors.Descriptor.Function}
	for _, field := range fields {
		functions = append(functions, accessors.Fields[field].Function)
	}
	if _, err := linkable.Into(obj, nil, link.Wanted{Functions: functions}); err != nil {
		tb.Fatal(err)
	}
	makeStatic(tb, obj, functions)
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj.Bytes()))
	if err != nil {
		tb.Fatal(err)
	}
	var opts ebpf.CollectionOptions
	if more != nil {
		opts.Programs.ExtraRelocationTargets = []*btf.Spec{more}
	}
	collection, err := ebpf.NewCollectionWithOptions(spec, opts)
	if err != nil {
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			tb.Fatalf("%+v", refused)
		}
		tb.Fatal(err)
	}
	tb.Cleanup(collection.Close)
	r := &runner{collection: collection, fields: fields}
	r.run(tb, 0)
	if err := collection.Variables["start"].Get(&r.start); err != nil {
		tb.Fatal(err)
	}
	return r
}

// makeStatic has the kernel verify functions for what they are called with, as it does
// code in line.
func makeStatic(tb testing.TB, obj *elfobj.Object, functions []string) {
	tb.Helper()
	section := obj.Section(".BTF")
	types, err := btf.LoadSpecFromReader(bytes.NewReader(section.Data))
	if err != nil {
		tb.Fatal(err)
	}
	edit, err := btfraw.NewEdit(section.Data)
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range functions {
		var function *btf.Func
		if err := types.TypeByName(name, &function); err != nil {
			tb.Fatal(err)
		}
		id, err := types.TypeID(function)
		if err == nil {
			err = edit.SetLinkage(id, btf.StaticFunc)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	section.Data = edit.Bytes()
}

// export makes the functions of an object ones that others may declare.
func export(tb testing.TB, obj *elfobj.Object) {
	tb.Helper()
	for i, symbol := range obj.Symbols {
		if elf.ST_TYPE(symbol.Info) != elf.STT_FUNC {
			continue
		}
		symbol.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC)
		if err := obj.SetSymbol(i, symbol); err != nil {
			tb.Fatal(err)
		}
	}
}

func (r *runner) fill(tb testing.TB, memory []byte) {
	tb.Helper()
	if err := r.collection.Maps["memory"].Put(uint32(0), memory); err != nil {
		tb.Fatal(err)
	}
}

// run returns what the accessors return for a descriptor at an address.
func (r *runner) run(tb testing.TB, descriptor uint64) map[string]uint64 {
	tb.Helper()
	if err := r.collection.Variables["descriptor"].Set(descriptor); err != nil {
		tb.Fatal(err)
	}
	options := ebpf.RunOptions{Data: make([]byte, 64), Context: r.context}
	_, err := r.collection.Programs["program"].Run(&options)
	for errors.Is(err, unix.EINTR) {
		_, err = r.collection.Programs["program"].Run(&options)
	}
	if err != nil {
		tb.Fatal(err)
	}
	var results [16]uint64
	if err := r.collection.Variables["results"].Get(&results); err != nil {
		tb.Fatal(err)
	}
	values := make(map[string]uint64)
	for i, field := range r.fields {
		values[field] = results[i]
	}
	values["descriptor"] = results[15]
	return values
}

// truncate leaves of values what the fields have bits for.
func truncate(values map[string]uint64, accessors *rewrite.Accessors) {
	for field, value := range values {
		if f := accessors.Fields[field].Field; f != nil && f.Size < 8 {
			values[field] = value & (1<<(8*f.Size) - 1)
		}
	}
}

var lowerings = []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe}

// All lowerings read what is in memory, and 0 where there is none.
func TestKernelValues(t *testing.T) {
	raw := withTypes(t)
	kernel := newKernel(t, raw)
	for _, variant := range variants {
		file := readFile(t, compile(t, variant, "bpfel", include("nic.c")))
		for _, lowering := range lowerings {
			t.Run(variant+"/"+string(lowering), func(t *testing.T) {
				accessors, err := file.Resolve(kernel, accessor.Options{Lowering: lowering})
				if err != nil {
					t.Fatal(err)
				}
				if accessors.Lowering != string(lowering) {
					t.Errorf("lowered by %s", accessors.Lowering)
				}
				checkValues(t, accessors, nil)
			})
		}
	}
}

// Records that are left to the loader come to the same.
func TestKernelPortable(t *testing.T) {
	raw := withTypes(t)
	more, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			accessors, err := readFile(t, compile(t, variant, "bpfel", include("nic.c"))).Portable()
			if err != nil {
				t.Fatal(err)
			}
			delete(accessors.Fields, "csum") // which is not there, as the loader finds
			checkValues(t, accessors, more)
		})
	}
}

func checkValues(t *testing.T, accessors *rewrite.Accessors, more *btf.Spec) {
	t.Helper()
	fields := slices.Sorted(maps.Keys(accessors.Fields))
	r := newRunner(t, accessors, fields, 1, more)
	memory, want := layOut(binary.LittleEndian, r.start)
	if len(fields) != len(want) {
		t.Fatalf("%d fields instead of %d: %v", len(fields), len(want), accessors.Missing)
	}
	r.fill(t, memory)
	got := r.run(t, r.start)
	if got["descriptor"] != 77 {
		t.Errorf("the descriptor is %d", got["descriptor"])
	}
	delete(got, "descriptor")
	if truncate(got, accessors); !maps.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}

	// What is no memory reads as 0, here and in what the descriptor points to.
	nothing := map[string]uint64{"hash": 0, "hash_type": 0, "rx_timestamp": 0, "csum_status": 5, "vlan_tci": 0, "vlan_proto": 0, "mark": 1, "ptype": 0}
	for _, address := range wild {
		got := r.run(t, address)
		delete(got, "descriptor")
		if truncate(got, accessors); !maps.Equal(got, nothing) {
			t.Errorf("at %#x: %v", address, got)
		}
		binary.LittleEndian.PutUint64(memory, address)
		r.fill(t, memory)
		if got := r.run(t, r.start)["rx_timestamp"]; got != ^uint64(4) {
			t.Errorf("a ring at %#x: a time of %#x", address, got)
		}
	}
}

// wild are addresses of no memory: NULL, of user space, of the edges, non-canonical, of a
// hole.
var wild = []uint64{0, 1, 4096, 0x4141414141, 1<<47 - 8, 1 << 47, 1 << 63, 0xdead4ead00000000, 0xffff_8000_0000_0000, ^uint64(7), ^uint64(0)}
