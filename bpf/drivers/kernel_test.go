package drivers_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/memlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// kernel is one whose types accessors are resolved against. They run on this machine's.
type kernel struct {
	name   string
	types  *memlab.Types
	layout *reloc.Layout
	raw    []byte   // the BTF that layout is
	lacks  []string // fields of the driver that is asked for, sorted
}

const vmlinux = "/sys/kernel/btf/vmlinux"

// kernelsOf returns the kernels that there are a driver's types of: those under testdata,
// and the running one if the driver is built into it.
func kernelsOf(t *testing.T, driver string) []kernel {
	t.Helper()
	if known, ok := knownKernels.Load(driver); ok {
		return known.([]kernel)
	}
	kernels := readKernels(t, driver)
	knownKernels.Store(driver, kernels)
	return kernels
}

// knownKernels are those that were read, by driver.
var knownKernels sync.Map

func readKernels(t *testing.T, driver string) []kernel {
	t.Helper()
	files, err := filepath.Glob("testdata/" + driver + "-*.btf")
	if err != nil {
		t.Fatal(err)
	}
	var kernels []kernel
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), driver+"-"), ".btf")
		k := newKernel(t, name, raw, behindRunning(t, raw))
		k.lacks = models[driver].lacks[name]
		kernels = append(kernels, k)
	}
	if running := runningKernel(t); running.types.Has(driver+"_priv") || driver == "skb" {
		kernels = append(kernels, running)
	}
	return kernels
}

func newKernel(t *testing.T, name string, raw, resolved []byte) kernel {
	t.Helper()
	types, err := memlab.ReadTypes(raw)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	layout, err := reloc.NewLayout(name, resolved, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return kernel{name: name, types: types, layout: layout, raw: resolved}
}

func runningKernel(t *testing.T) kernel {
	t.Helper()
	return newKernel(t, "running", runningBTF(t), runningBTF(t))
}

var readRunning = sync.OnceValues(func() ([]byte, error) { return os.ReadFile(vmlinux) })

func runningBTF(t *testing.T) []byte {
	t.Helper()
	raw, err := readRunning()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// behindRunning returns types behind those of the running kernel that loads are lowered
// to, which have the IDs that they have there. In front of them are types of no use.
func behindRunning(t *testing.T, raw []byte) []byte {
	t.Helper()
	running, err := btf.LoadSpecFromReader(bytes.NewReader(runningBTF(t)))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	b := padded{ids: make(map[btf.TypeID]btf.Type)}
	for _, name := range []string{"bpf_rdonly_cast", "bpf_dynptr_clone", "bpf_raw_tracepoint_args", "bpf_features"} {
		typ, err := running.AnyTypeByName(name)
		if err != nil {
			continue // this kernel lacks it, and what is lowered to it
		}
		id, err := running.TypeID(typ)
		if err != nil {
			t.Fatal(err)
		}
		b.ids[id] = typ
	}
	out, err := b.marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// padded is BTF in which some types have a given ID.
type padded struct {
	ids     map[btf.TypeID]btf.Type
	builder btf.Builder
}

func (b *padded) marshal(behind *btf.Spec) ([]byte, error) {
	var last btf.TypeID
	for id := range b.ids {
		last = max(last, id)
	}
	for id := btf.TypeID(1); id <= last; {
		typ := b.ids[id]
		if typ == nil {
			typ = &btf.Int{Name: "filler", Size: 4}
		} else {
			typ = withoutReferences(typ)
		}
		got, err := b.builder.Add(typ)
		if err != nil {
			return nil, err
		}
		if b.ids[id] != nil && got != id {
			return nil, fmt.Errorf("%s has ID %d instead of %d", typ.TypeName(), got, id)
		}
		id = got + 1
	}
	for typ, err := range behind.All() {
		if err == nil {
			_, err = b.builder.Add(typ)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.builder.Marshal(nil, nil)
}

// void is a prototype that all functions share.
var void = &btf.FuncProto{Return: &btf.Void{}}

// withoutReferences returns a type that brings no other along.
func withoutReferences(typ btf.Type) btf.Type {
	switch typ := typ.(type) {
	case *btf.Func:
		return &btf.Func{Name: typ.Name, Type: void, Linkage: typ.Linkage}
	case *btf.Struct:
		return &btf.Struct{Name: typ.Name, Size: typ.Size}
	default:
		return typ
	}
}

// native is the byte order of this machine.
func native() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// read reads the accessor file of a driver.
func read(t *testing.T, driver string) *accessor.File {
	t.Helper()
	object, err := drivers.Object(driver, native())
	if err != nil {
		t.Fatal(err)
	}
	file, err := accessor.Read(driver, object)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// lowerings are those that the running kernel takes.
func lowerings(t *testing.T) []accessor.Lowering {
	t.Helper()
	file, layout := read(t, "skb"), runningKernel(t).layout
	var taken []accessor.Lowering
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		if _, err := file.Resolve(layout, accessor.Options{Lowering: lowering}); err == nil {
			taken = append(taken, lowering)
		}
	}
	return taken
}

// accessors are a driver's, in the running kernel.
type accessors struct {
	descriptor *memlab.Functions
	fields     *memlab.Functions
	names      []string // of the fields
	sizes      []int
}

func load(t *testing.T, file *accessor.File, k kernel, lowering accessor.Lowering) *accessors {
	t.Helper()
	resolved, err := file.Resolve(k.layout, accessor.Options{Lowering: lowering})
	if err != nil {
		t.Fatal(err)
	}
	if missing := slices.Sorted(maps.Keys(resolved.Missing)); !slices.Equal(missing, k.lacks) {
		t.Errorf("%v are not there, rather than %v: %v", missing, k.lacks, resolved.Missing)
	}
	a := &accessors{
		descriptor: memlab.Load(t, instructions(t, resolved.Object, resolved.Descriptor)),
		names:      slices.Sorted(maps.Keys(resolved.Fields)),
	}
	var fields []asm.Instructions
	for _, name := range a.names {
		field := resolved.Fields[name]
		fields = append(fields, instructions(t, resolved.Object, field))
		a.sizes = append(a.sizes, int(field.Field.Size))
	}
	a.fields = memlab.Load(t, fields...)
	return a
}

// find returns what the descriptor function returns.
func (a *accessors) find(ctx uint64) uint64 { return a.descriptor.Call(ctx, 0)[0] }

// decode returns what the accessor of each field returns.
func (a *accessors) decode(descriptor, ctx uint64) map[string]uint64 {
	numbers := a.fields.Call(descriptor, ctx)
	fields := make(map[string]uint64)
	for i, name := range a.names {
		unused := 64 - 8*a.sizes[i]
		fields[name] = numbers[i] << unused >> unused
	}
	return fields
}

// instructions returns those of a function of an object.
func instructions(t *testing.T, object []byte, function rewrite.Accessor) asm.Instructions {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range symbols {
		if symbol.Name != function.Function {
			continue
		}
		code := make([]byte, symbol.Size)
		if _, err := file.Sections[symbol.Section].ReadAt(code, int64(symbol.Value)); err != nil {
			t.Fatal(err)
		}
		insns, err := asm.AppendInstructions(nil, bytes.NewReader(code), native(), "linux")
		if err != nil {
			t.Fatal(err)
		}
		return insns
	}
	t.Fatalf("there is no function %s", function.Function)
	return nil
}
