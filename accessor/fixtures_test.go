package accessor_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
)

// variants are compilers and instruction sets; v4 came with clang 18.
var variants = []string{
	"14-v1", "14-v2", "14-v3", "16-v1", "16-v2", "16-v3",
	"19-v1", "19-v2", "19-v3", "19-v4", "22-v1", "22-v2", "22-v3", "22-v4",
}

// compiled are the objects that tests have in common.
var compiled = make(map[[3]string][]byte)

// compile compiles C for a variant, and a target: bpfel or bpfeb.
func compile(tb testing.TB, variant, target, source string) []byte {
	tb.Helper()
	key := [3]string{variant, target, source}
	if compiled[key] == nil {
		compiled[key] = compileAnew(tb, variant, target, source)
	}
	return compiled[key]
}

func compileAnew(tb testing.TB, variant, target, source string) []byte {
	tb.Helper()
	version, cpu, _ := strings.Cut(variant, "-")
	netlab.NeedTools(tb, "clang-"+version, "gcc")
	triplet, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		tb.Fatal(err)
	}
	object := filepath.Join(tb.TempDir(), "compiled.o")
	cmd := exec.Command("clang-"+version, "-O2", "-g", "-target", target, "-mcpu="+cpu, "-fno-delete-null-pointer-checks",
		"-Wall", "-Werror", "-Itestdata", "-I../bpf", "-isystem", "/usr/include/"+strings.TrimSpace(string(triplet)), "-x", "c", "-c", "-", "-o", object)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return read(tb, object)
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// include returns C that is a file of testdata.
func include(name string) string { return fmt.Sprintf("#include %q\n", name) }

func readFile(tb testing.TB, raw []byte) *accessor.File {
	tb.Helper()
	file, err := accessor.Read("nic.o", raw)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

const vmlinux = "/sys/kernel/btf/vmlinux"

// withTypes returns the BTF of the running kernel with the types of kernel.c behind it.
func withTypes(tb testing.TB) []byte {
	tb.Helper()
	netlab.NeedRoot(tb)
	return withMore(tb, read(tb, vmlinux), include("kernel.c"), "nic_rx", "nic_ring", "nic_clock", "nic_buff")
}

// withMore returns BTF with some structs of C behind it, and what they refer to.
func withMore(tb testing.TB, raw []byte, source string, names ...string) []byte {
	tb.Helper()
	obj, err := elfobj.Parse(compile(tb, "19-v3", "bpfel", source))
	if err != nil {
		tb.Fatal(err)
	}
	edit, err := btfraw.NewEdit(raw)
	if err != nil {
		tb.Fatal(err)
	}
	more := obj.Section(".BTF").Data
	from, err := btfraw.NewEdit(more)
	if err != nil {
		tb.Fatal(err)
	}
	imported, err := edit.Import(from)
	if err != nil {
		tb.Fatal(err)
	}
	types, err := btf.LoadSpecFromReader(bytes.NewReader(more))
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range names {
		var s *btf.Struct
		if err := types.TypeByName(name, &s); err != nil {
			tb.Fatal(err)
		}
		id, err := types.TypeID(s)
		if err == nil {
			_, err = imported.Type(id)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return edit.Bytes()
}

func newKernel(tb testing.TB, raw []byte) *reloc.Layout {
	tb.Helper()
	kernel, err := reloc.NewLayout("vmlinux", raw, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return kernel
}

// layOut returns the memory of a descriptor as the driver of kernel.c has it, which is at
// an address, and what the fields of nic.c are in it.
func layOut(order binary.ByteOrder, at uint64) (memory []byte, fields map[string]uint64) {
	memory = make([]byte, 64<<10)
	const rx, ring, next, clock = 0, 50000, 51000, 52000
	order.PutUint64(memory[rx:], at+ring)
	memory[rx+8] = 0xfb // delta: -5
	for i, tci := range []uint16{0x1111, 0x2222, 0x3333, 0x4444} {
		order.PutUint16(memory[rx+10+2*i:], tci)
	}
	order.PutUint32(memory[rx+20:], 0x89abcdef)
	binary.BigEndian.PutUint16(memory[rx+24:], 0x8100)
	order.PutUint16(memory[rx+26:], 0x21) // flags
	memory[rx+28] = 0b101_10110           // low, kind
	if order == binary.BigEndian {
		memory[rx+28] = 0b10110_101
	}
	order.PutUint16(memory[rx+30+40000:], 0xbeef)
	order.PutUint16(memory[rx+30+40002:], 0xcafe)
	order.PutUint32(memory[ring-4:], 0x01000001)
	order.PutUint32(memory[ring:], 1000) // mask
	order.PutUint64(memory[ring+8:], at+next)
	order.PutUint64(memory[next+120:], at+clock)
	order.PutUint64(memory[clock+8:], 1<<40)

	proto := uint64(0x8100)
	if order == binary.LittleEndian {
		proto = 0x0081
	}
	return memory, map[string]uint64{
		"hash":         0x89abcdef,
		"hash_type":    0b10110,
		"rx_timestamp": 1<<40 - 5,
		"csum_status":  7,
		"vlan_tci":     0x2222,
		"vlan_proto":   proto,
		"mark":         1000 + 1, // ifindex of lo
		"ptype":        0xbfefcaff,
	}
}
