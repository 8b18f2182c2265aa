package drivers_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/drivertypes"
	"github.com/xdp-load/xdp-load/internal/memlab"
	"github.com/xdp-load/xdp-load/internal/netlab"
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

var own = flag.Bool("own", false, "take the types of the running kernel's series only, and the best way to read its memory")

// kernelsOf returns the kernels that there are a driver's types of, of this machine's byte
// order: those under testdata, and the running one if the driver is built into it.
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
	var kernels []kernel
	for _, file := range typesOf(t, driver) {
		if *own && seriesOf(file.Kernel) != runningSeries(t) {
			continue
		}
		raw, err := os.ReadFile(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		k := newKernel(t, file.Kernel, raw, behindRunning(t, raw))
		k.lacks = models[driver].lacks[seriesOf(file.Kernel)]
		kernels = append(kernels, k)
	}
	if running := runningKernel(t); running.types.Has(driver+"_priv") || driver == "skb" {
		kernels = append(kernels, running)
	}
	return kernels
}

// typesOf returns what there is under testdata of a driver that its accessors read
// something of.
func typesOf(t *testing.T, driver string) []drivertypes.File {
	t.Helper()
	files, err := drivertypes.Files("testdata", driver, native())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file drivertypes.File) bool { return file.Without })
}

// needKernels returns the kernels that there are a driver's types of. It skips a test of a
// driver that is newer than the running kernel, if it is to be of that.
func needKernels(t *testing.T, driver string) []kernel {
	t.Helper()
	kernels, files := kernelsOf(t, driver), typesOf(t, driver)
	switch {
	case len(kernels) > 0:
	case len(files) == 0:
		t.Fatalf("there are no types of %s", driver)
	case drivertypes.Compare(runningSeries(t), seriesOf(files[0].Kernel)) >= 0:
		t.Fatalf("there are no types of %s of Linux %s", driver, runningSeries(t))
	default:
		t.Skipf("needs Linux %s: a driver that accessors read", seriesOf(files[0].Kernel))
	}
	return kernels
}

// seriesOf returns a kernel's series, whatever the machine: "6.12".
func seriesOf(kernel string) string {
	series, _, _ := strings.Cut(drivertypes.Series(kernel), " ")
	return series
}

// runningSeries returns "6.12".
func runningSeries(t *testing.T) string {
	t.Helper()
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d.%d", version>>16, version>>8&0xff)
}

func newKernel(t *testing.T, name string, raw, resolved []byte) kernel {
	t.Helper()
	k, err := parseKernel(name, raw, resolved)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return k
}

func parseKernel(name string, raw, resolved []byte) (kernel, error) {
	types, err := memlab.ReadTypes(raw)
	if err != nil {
		return kernel{}, err
	}
	layout, err := reloc.NewLayout(name, resolved, nil)
	return kernel{name: name, types: types, layout: layout, raw: resolved}, err
}

func runningKernel(t *testing.T) kernel {
	t.Helper()
	running, err := readRunning()
	if err != nil {
		t.Fatal(err)
	}
	return running
}

// readRunning reads the running kernel's types, which are large.
var readRunning = sync.OnceValues(func() (kernel, error) {
	raw, err := os.ReadFile(vmlinux)
	if err != nil {
		return kernel{}, err
	}
	return parseKernel("running", raw, raw)
})

// behindRunning returns types behind those of the running kernel that loads are lowered
// to, which have the IDs that they have there. In front of them are types of no use.
func behindRunning(t *testing.T, raw []byte) []byte {
	t.Helper()
	front, err := inFront()
	if err != nil {
		t.Fatal(err)
	}
	out, err := behind(front, raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// behind returns BTF with all types of another one behind its own.
func behind(front, raw []byte) ([]byte, error) {
	edit, err := btfraw.NewEdit(front)
	if err != nil {
		return nil, err
	}
	from, err := btfraw.NewEdit(raw)
	if err != nil {
		return nil, err
	}
	imported, err := edit.Import(from)
	if err != nil {
		return nil, err
	}
	types, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	for typ, err := range types.All() {
		if err != nil {
			return nil, err
		}
		id, err := types.TypeID(typ)
		if err != nil {
			return nil, err
		}
		if _, err := imported.Type(id); err != nil {
			return nil, err
		}
	}
	return edit.Bytes(), nil
}

// inFront returns the types of the running kernel that loads are lowered to, at their IDs, of
// which there are tens of thousands.
var inFront = sync.OnceValues(func() ([]byte, error) {
	running, err := btf.LoadSpec(vmlinux)
	if err != nil {
		return nil, err
	}
	kept := make(map[btf.TypeID]btf.Type)
	for _, name := range []string{"bpf_rdonly_cast", "bpf_dynptr_clone", "bpf_raw_tracepoint_args", "bpf_features"} {
		typ, err := running.AnyTypeByName(name)
		if err != nil {
			continue // this kernel lacks it, and what is lowered to it
		}
		id, err := running.TypeID(typ)
		if err != nil {
			return nil, err
		}
		kept[id] = typ
	}
	return padded(kept)
})

// padded returns BTF with some types at their IDs.
func padded(types map[btf.TypeID]btf.Type) ([]byte, error) {
	var b btf.Builder
	last := slices.Max(append(slices.Collect(maps.Keys(types)), 0))
	for id := btf.TypeID(1); id <= last; {
		typ := types[id]
		if typ == nil {
			typ = &btf.Int{Name: "filler", Size: 4}
		} else {
			typ = withoutReferences(typ)
		}
		got, err := b.Add(typ)
		if err != nil {
			return nil, err
		}
		if types[id] != nil && got != id {
			return nil, fmt.Errorf("%s has ID %d instead of %d", typ.TypeName(), got, id)
		}
		id = got + 1
	}
	return b.Marshal(nil, nil)
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

// lowerings are those that the running kernel takes, the best one first; of the kernels that
// only their own types are taken of only that, which is what programs are loaded with there.
func lowerings(t *testing.T) []accessor.Lowering {
	t.Helper()
	netlab.NeedRoot(t)
	taken, err := takenLowerings()
	if err != nil {
		t.Fatal(err)
	}
	if *own {
		return taken[:1]
	}
	return taken
}

var takenLowerings = sync.OnceValues(func() (taken []accessor.Lowering, err error) {
	object, err := drivers.Object("skb", native())
	if err != nil {
		return nil, err
	}
	file, err := accessor.Read("skb", object)
	if err != nil {
		return nil, err
	}
	running, err := readRunning()
	if err != nil {
		return nil, err
	}
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		if _, err := file.Resolve(running.layout, accessor.Options{Lowering: lowering}); err == nil {
			taken = append(taken, lowering)
		}
	}
	if len(taken) == 0 {
		return nil, errors.New("there is no way to read the kernel's memory")
	}
	return taken, nil
})

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
