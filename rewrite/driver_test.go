package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// driverHeader is what the programs have in common. They find the fields themselves,
// too, through pointers to the kernel's types that the verifier knows.
const driverHeader = driverChecks + `
extern void *bpf_rdonly_cast(const void *obj, __u32 id) __ksym;

static __always_inline void expect(struct xdp_md *ctx)
{
	struct veth_xdp_buff *buff = bpf_rdonly_cast(ctx, bpf_core_type_id_kernel(struct veth_xdp_buff));
	struct sk_buff *skb = bpf_rdonly_cast(buff->skb, bpf_core_type_id_kernel(struct sk_buff));

	packets++;
	want[MARK] = skb->mark;
	want[HASH] = skb->hash;
	want[TCI] = skb->vlan_proto ? skb->vlan_tci : 0;
	want[PROTO] = skb->vlan_proto;
}
`

// driverChecks is how they compare.
const driverChecks = `
#include <linux/bpf.h>
#include "../bpf/md_desc.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define __ref __attribute__((preserve_access_index))
struct sk_buff { __u32 mark, hash; __be16 vlan_proto; __u16 vlan_tci; } __ref;
struct veth_xdp_buff { struct sk_buff *skb; } __ref;

#define NOINLINE __attribute__((noinline))

enum { MARK, HASH, TCI, PROTO, FIELDS };

volatile __u64 want[FIELDS];
volatile __u64 packets, seen[FIELDS], wrong[FIELDS], got[FIELDS];

static __always_inline void check(int field, __u64 value)
{
	seen[field]++;
	if (value != want[field]) {
		wrong[field]++;
		got[field] = value;
	}
}

char _license[] SEC("license") = "GPL";
`

// driverAccessors are those of the running kernel for veth, lowered as told.
func driverAccessors(t testing.TB, name string, lowering accessor.Lowering) *rewrite.Accessors {
	t.Helper()
	return resolvedAccessors(t, name, driverObject(t, name), lowering)
}

func driverObject(t testing.TB, name string) []byte {
	t.Helper()
	netlab.NeedRoot(t)
	raw, err := drivers.Object(name, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func resolvedAccessors(t testing.TB, name string, raw []byte, lowering accessor.Lowering) *rewrite.Accessors {
	t.Helper()
	accessors, err := readAccessors(t, name, raw).Resolve(runningKernel(t), accessor.Options{Lowering: lowering})
	if err != nil {
		t.Fatal(err)
	}
	return accessors
}

// portableAccessors returns accessors that loaders resolve.
func portableAccessors(t testing.TB, name string, raw []byte) *rewrite.Accessors {
	t.Helper()
	netlab.Need(t, netlab.Casts)
	accessors, err := readAccessors(t, name, raw).Portable()
	if err != nil {
		t.Fatal(err)
	}
	return accessors
}

func readAccessors(t testing.TB, name string, raw []byte) *accessor.File {
	t.Helper()
	file, err := accessor.Read(name, raw)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func runningKernel(t testing.TB) *reloc.Layout {
	t.Helper()
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := reloc.NewLayout("vmlinux", raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

// vethPair is a veth in a namespace of its own, and what sends to it: from the same
// namespace, as the kernel clears the mark of what leaves it.
type vethPair struct {
	ns    *netlab.Namespace
	index int
}

func newVethPair(t testing.TB) *vethPair {
	t.Helper()
	ns := netlab.Enter(t)
	for _, command := range []string{
		"link add v0 type veth peer name v1",
		"link set v0 up",
		"link set v1 up",
		"address add 198.51.100.1/24 dev v1",
		"neighbour add 198.51.100.2 lladdr 02:00:00:00:00:01 dev v1",
	} {
		if err := ns.Run("ip", strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	v0, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	v1, err := net.InterfaceByName("v1")
	if err != nil {
		t.Fatal(err)
	}
	tagOdd(t, v1.Index)
	return &vethPair{ns, v0.Index}
}

// tagOdd has an interface send packets with an odd mark with a VLAN tag beside the packet,
// as a VLAN device would.
func tagOdd(t testing.TB, index int) {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, 8, asm.Word), // struct __sk_buff: mark
			asm.And.Imm(asm.R2, 1),
			asm.JEq.Imm(asm.R2, 0, "pass"),
			asm.Mov.Imm(asm.R2, 0x0081), // ETH_P_8021Q in network byte order
			asm.Mov.Imm(asm.R3, 5<<13|7),
			asm.FnSkbVlanPush.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("pass"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: index, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
}

// send sends UDP packets, each with a mark and a hash of its own, every other one with a
// VLAN tag.
func (v *vethPair) send(t *testing.T, count int) {
	t.Helper()
	for i := range count {
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 0x5ca10000+i) })
			return err
		}}
		conn, err := dialer.Dial("udp", "198.51.100.2:9")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("packet")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// numbers returns the elements of a variable of a program.
func numbers(t *testing.T, loaded *ebpf.Collection, variable string, count int) []uint64 {
	t.Helper()
	values := make([]uint64, count)
	into := any(values)
	if count == 1 {
		into = &values[0]
	}
	if err := loaded.Variables[variable].Get(into); err != nil {
		t.Fatal(err)
	}
	return values
}

// load loads an object.
func (v *vethPair) load(t *testing.T, object []byte) *ebpf.Collection {
	t.Helper()
	spec, err := collection.Read(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	v.bind(spec)
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			t.Fatalf("%+v", refused)
		}
		t.Fatal(err)
	}
	t.Cleanup(loaded.Close)
	return loaded
}

// sendAll sends packets until a variable has counted them.
func (v *vethPair) sendAll(t *testing.T, loaded *ebpf.Collection, counter string) {
	t.Helper()
	const count = 20
	v.send(t, count)
	for deadline := time.Now().Add(10 * time.Second); numbers(t, loaded, counter, 1)[0] < count; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d packets seen", numbers(t, loaded, counter, 1)[0], count)
		}
	}
}

// run attaches a program, sends packets, and compares what the program made of them.
func (v *vethPair) run(t *testing.T, object []byte, program string) {
	t.Helper()
	if err := v.ns.Enter(); err != nil {
		t.Fatal(err)
	}
	loaded := v.load(t, object)
	attached, err := link.AttachXDP(link.XDPOptions{Program: loaded.Programs[program], Interface: v.index, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	v.sendAll(t, loaded, "packets")
	compareFields(t, loaded)
}

// compareFields compares what a program read with what it expected.
func compareFields(t *testing.T, loaded *ebpf.Collection) {
	t.Helper()
	names := []string{"mark", "hash", "vlan_tci", "vlan_proto"}
	seen, wrong, got, want := numbers(t, loaded, "seen", len(names)), numbers(t, loaded, "wrong", len(names)), numbers(t, loaded, "got", len(names)), numbers(t, loaded, "want", len(names))
	read := false
	for i, name := range names {
		read = read || seen[i] > 0
		if wrong[i] > 0 {
			t.Errorf("%s: %d of %d values are wrong, such as %#x (the last packet's is %#x)", name, wrong[i], seen[i], got[i], want[i])
		}
	}
	if !read {
		t.Error("nothing was read")
	}
}

// Each compiler makes something else of a program.
func TestDriverCases(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	accessors := driverAccessors(t, "veth", "")
	for _, c := range driverCases {
		for _, compiler := range []string{"clang-14", "clang-16", "clang-19", "clang-22"} {
			t.Run(c.name+"/"+compiler, func(t *testing.T) { v.runCase(t, c, compiler, accessors) })
		}
	}
}

// Each lowering needs other registers, and other room on the stack.
func TestDriverLowerings(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		accessors := driverAccessors(t, "veth", lowering)
		for _, c := range driverCases {
			t.Run(string(lowering)+"/"+c.name, func(t *testing.T) { v.runCase(t, c, "clang-19", accessors) })
		}
	}
}

// Nor does it matter whether accessors are in line.
func TestDriverCalls(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	accessors := []*rewrite.Accessors{driverAccessors(t, "veth", ""), driverAccessors(t, "skb", "")}
	for _, c := range driverCases {
		t.Run(c.name, func(t *testing.T) {
			out, report, err := rewrite.RewriteCalling(costCompile(t, "clang-19", driverHeader+c.source, "el", "v3"), accessors, rewrite.Options{})
			if err != nil {
				t.Fatal(explained(err))
			}
			v.check(t, out, report)
		})
	}
}

func (v *vethPair) runCase(t *testing.T, c driverCase, compiler string, accessors *rewrite.Accessors) {
	t.Helper()
	object := costCompile(t, compiler, driverHeader+c.source, "el", "v3")
	out, report, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{accessors}, rewrite.Options{})
	if err != nil {
		t.Fatal(explained(err))
	}
	v.check(t, out, report)
}

// check runs a rewritten program outside of the goroutine that is in its namespace.
func (v *vethPair) check(t *testing.T, object []byte, report *rewrite.Report) {
	t.Helper()
	v.run(t, object, "program")
	if t.Failed() {
		for _, edit := range report.Edits {
			t.Logf("%s %s: %s => %s", edit.Access.Source, edit.Access.Path, edit.Before, edit.After)
		}
	}
}

// explained returns an error with all that is refused.
func explained(err error) string {
	var refused *rewrite.RefusedError
	if errors.As(err, &refused) {
		return fmt.Sprintf("%v\n%s", err, refused.Details())
	}
	return err.Error()
}
