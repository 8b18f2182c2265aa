package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// kfuncAccessors are those that ask kfuncs, of a driver that has no others, in a byte order.
func kfuncAccessors(t *testing.T, order binary.ByteOrder) *rewrite.Accessors {
	t.Helper()
	raw, err := drivers.Object(drivers.Kfuncs, order)
	if err != nil {
		t.Fatal(err)
	}
	accessors, err := readAccessors(t, "kfuncs", raw).Portable(nic.Kfuncs()...)
	if err != nil {
		t.Fatal(err)
	}
	accessors.Name = "toy"
	return accessors
}

const kfuncHeader = `
#include <linux/bpf.h>
#include "../bpf/md_desc.h"
volatile __u64 got, asked;
char _license[] SEC("license") = "GPL";
`

// bind has programs that ask kfuncs loaded for the interface.
func (v *vethPair) bind(spec *ebpf.CollectionSpec) {
	for _, program := range spec.Programs {
		if slices.ContainsFunc(program.Instructions, func(ins asm.Instruction) bool { return ins.IsKfuncCall() && insn.KfuncAsksDevice(ins.Reference()) }) {
			program.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
			program.Ifindex = uint32(v.index)
		}
	}
}

// vethWithKfuncs are accessors for veth that ask kfuncs for all that these tell. A veth's
// do not look beside the packet.
func vethWithKfuncs(t *testing.T) *rewrite.Accessors {
	t.Helper()
	kfuncs := kfuncAccessors(t, binary.LittleEndian)
	veth := *driverAccessors(t, "veth", "")
	veth.Fields = maps.Clone(veth.Fields)
	maps.DeleteFunc(veth.Fields, func(field string, _ rewrite.Accessor) bool { return kfuncs.Fields[field].Kfunc != "" })
	for field, accessor := range kfuncs.Fields {
		accessor.Packet = false
		kfuncs.Fields[field] = accessor
	}
	all, err := accessor.Complete(&veth, kfuncs)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What kfuncs are asked for is what is read, wherever a program reads it.
func TestDriverKfuncs(t *testing.T) {
	netlab.Need(t, netlab.MetadataFunctions)
	t.Parallel()
	v := newVethPair(t)
	accessors := vethWithKfuncs(t)
	for _, c := range driverCases {
		t.Run(c.name, func(t *testing.T) { v.runCase(t, c, "clang-19", accessors) })
		t.Run(c.name+"/called", func(t *testing.T) {
			out, report, err := rewrite.RewriteCalling(costCompile(t, "clang-19", driverHeader+c.source, "el", "v3"), []*rewrite.Accessors{accessors, driverAccessors(t, "skb", "")}, rewrite.Options{})
			if err != nil {
				t.Fatal(explained(err))
			}
			v.check(t, out, report)
		})
	}
}

// Programs that can't be bound to the device, and functions that they come to, don't have
// what only kfuncs tell; others of the same object do.
func TestKfuncsUnbound(t *testing.T) {
	const guarded = kfuncHeader + `
static __attribute__((noinline)) void shared(struct md_desc *md, struct xdp_md *ctx)
{
	if (bpf_core_field_exists(md->vlan_tci))
		got += md->vlan_tci;
}
SEC("xdp") int first(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md) {
		got += md->hash;
		shared(md, ctx);
	}
	return 2;
}
SEC("xdp") int called(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md) {
		if (bpf_core_field_exists(md->hash))
			got += md->hash;
		else
			asked++;
		shared(md, ctx);
	}
	return 2;
}
`
	for _, endian := range []string{"el", "eb"} {
		accessors := []*rewrite.Accessors{kfuncAccessors(t, map[string]binary.ByteOrder{"el": binary.LittleEndian, "eb": binary.BigEndian}[endian])}
		opts := rewrite.Options{Unbound: map[string]string{"called": "program called is elsewhere"}}
		object := costCompile(t, "clang-19", guarded, endian, "v3")
		out, report, err := rewrite.RewriteForDriver(object, accessors, opts)
		if err != nil {
			t.Fatal(explained(err))
		}
		kfuncs := kfuncsOf(t, out)
		if !slices.Equal(kfuncs["first"], []string{"bpf_xdp_metadata_rx_hash"}) || len(kfuncs["called"]) != 0 {
			t.Errorf("they ask %v", kfuncs)
		}
		asked := 0
		for _, edit := range report.Edits {
			if edit.Kfunc != "" {
				asked++
			}
			if edit.Access.Program == "called" && edit.Access.FieldName() == "hash" && edit.Access.Kind.String() == "field_exists" &&
				edit.Resolution.Missing != "driver toy tells the hash of a packet only by bpf_xdp_metadata_rx_hash, which is asked in programs that are bound to the device, and program called is elsewhere" {
				t.Errorf("not there: %s", edit.Resolution.Missing)
			}
		}
		if asked != 1 || !report.AsksKfuncs() {
			t.Errorf("%d accesses ask kfuncs", asked)
		}
		if again, _, err := rewrite.RewriteForDriver(out, accessors, opts); err != nil || !bytes.Equal(again, out) {
			t.Errorf("once more: %v", err)
		}
		if out, _, err = rewrite.RewriteForDriver(object, accessors, rewrite.Options{}); err != nil {
			t.Fatal(explained(err))
		}
		if kfuncs := kfuncsOf(t, out); len(kfuncs["first"]) != 2 || len(kfuncs["called"]) != 2 {
			t.Errorf("where all may be bound they ask %v", kfuncs)
		}
		unguarded := costCompile(t, "clang-19", strings.Replace(guarded, "if (bpf_core_field_exists(md->hash))", "if (1)", 1), endian, "v3")
		_, _, err = rewrite.RewriteForDriver(unguarded, accessors, opts)
		if err == nil || !strings.Contains(err.Error(), "program called is elsewhere, and the program can reach it: guard it with bpf_core_field_exists(md->hash)") {
			t.Errorf("without a guard: %v", err)
		}
	}
}

// kfuncsOf returns which metadata kfuncs the programs of an object call, and wants it to
// declare no others.
func kfuncsOf(t *testing.T, object []byte) map[string][]string {
	t.Helper()
	spec, err := collection.Read(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	called := make(map[string][]string)
	for name, program := range spec.Programs {
		for _, ins := range program.Instructions {
			if ins.IsKfuncCall() && !slices.Contains(called[name], ins.Reference()) {
				called[name] = append(called[name], ins.Reference())
			}
		}
	}
	for _, kfunc := range nic.Kfuncs() {
		isCalled := false
		for _, kfuncs := range called {
			isCalled = isCalled || slices.Contains(kfuncs, kfunc)
		}
		if _, err := spec.Types.AnyTypeByName(kfunc); (err == nil) != isCalled {
			t.Errorf("%s: called %v, and declared: %v", kfunc, isCalled, err)
		}
	}
	return called
}

// Where the packet was moved, or something was written in front of it, no kfunc is asked:
// some drivers look beside the packet.
func TestKfuncsBesidePacket(t *testing.T) {
	for name, test := range map[string]struct{ source, want string }{
		"moved": {`
	if (bpf_xdp_adjust_head(ctx, -4))
		return 2;
	md = md_desc(ctx);
	if (md)
		got = md->hash;
`, "md->hash: it is read from the bytes beside the packet, which bpf_xdp_adjust_head"},
		"before": {`
	if (md)
		got = md->hash;
	bpf_xdp_adjust_head(ctx, -4);
`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source := kfuncHeader + `
SEC("xdp") int moves(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
` + test.source + `
	return 2;
}
`
			_, report, err := rewrite.RewriteForDriver(costCompile(t, "clang-19", source, "el", "v3"), []*rewrite.Accessors{kfuncAccessors(t, binary.LittleEndian)}, rewrite.Options{})
			switch {
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v instead of %q", err, test.want)
			case test.want == "" && err != nil:
				t.Error(explained(err))
			case test.want == "":
				for _, edit := range report.Edits {
					if edit.Note != "" { // nothing comes before a program that is bound
						t.Errorf("%s: %s", edit.Access.Path, edit.Note)
					}
				}
			}
		})
	}
}
