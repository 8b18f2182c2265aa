package rewrite_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// vendorSource are accessors of veth that somebody else has written: one has a loop, and one
// reads the first bytes of the packet as if they were in front of it.
const vendorSource = `
#include "../bpf/md_driver.h"

MD_DRIVER("veth");

struct sk_buff {
	__u32 mark, hash;
} __core;

struct veth_xdp_buff {
	struct sk_buff *skb;
} __core;

MD_DESCRIPTOR(struct sk_buff, struct xdp_buff *xdp)
{
	return ((struct veth_xdp_buff *)xdp)->skb;
}

MD_FIELD(mark, "sk_buff.mark, bit by bit", struct sk_buff *skb)
{
	__u32 mark = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 32; i++)
		mark |= skb->mark & 1U << i;
	return mark;
}

MD_FIELD(hash, "sk_buff.hash", struct sk_buff *skb)
{
	return skb->hash;
}

MD_PACKET_FIELD(ptype, "the packet", struct sk_buff *skb, struct xdp_buff *xdp)
{
	return *(__u16 *)((char *)xdp->data + 12);
}
`

func vendorAccessors(t *testing.T) []*rewrite.Accessors {
	t.Helper()
	netlab.NeedRoot(t)
	object := costCompile(t, "clang-19", vendorSource, "el", "v3")
	return []*rewrite.Accessors{resolvedAccessors(t, "vendor.o", object, "")}
}

// An accessor with a loop becomes a function of the object, once, and the report says so.
func TestDriverLoop(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	object := costCompile(t, "clang-19", driverHeader+driverProgram+`
	check(MARK, md->mark);
	check(HASH, md->hash);
	check(MARK, md->mark);`+driverEnd, "el", "v3")
	out, report, err := rewrite.RewriteForDriver(object, vendorAccessors(t), rewrite.Options{})
	if err != nil {
		t.Fatal(explained(err))
	}
	var calls int
	for _, edit := range report.Edits {
		if strings.Contains(edit.Note, "calls md_field_mark") {
			calls++
		}
	}
	if calls != 2 {
		t.Errorf("%d accesses are said to call the function, want 2", calls)
	}
	t.Run("run", func(t *testing.T) { v.run(t, out, "program") })
}

// Code that jumps back without a loop, as compilers may arrange it, stands in line.
func TestDriverBackwards(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	source := vendorSource[:strings.Index(vendorSource, "MD_FIELD")] + `
MD_FIELD(hash, "sk_buff.hash", struct sk_buff *skb)
{
	return skb->hash;
}

static __attribute__((naked, noinline, used, btf_decl_tag("from: nowhere"))) __u32 md_field_mark(struct sk_buff *skb)
{
	asm volatile("r0 = 1; if r1 == 0 goto 1f; goto 2f; 1: exit; 2: r0 = 5; goto 1b;");
}
`
	accessors := resolvedAccessors(t, "backwards.o", costCompile(t, "clang-19", source, "el", "v3"), "")
	v.runCase(t, driverCase{"", driverProgram + `
	check(HASH, md->hash);
	if (md->mark != 5)
		wrong[MARK]++;` + driverEnd}, "clang-19", accessors)
}

const packetRead = "it is read from the bytes beside the packet, which "

// What lies beside the packet is gone once it has moved, whichever way.
func TestDriverPacketField(t *testing.T) {
	t.Parallel()
	const header = `
static NOINLINE int move(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -4);
}

static NOINLINE __u32 read(struct md_desc *md)
{
	packets += 0;
	return md->ptype;
}

__attribute__((noinline)) int fill(__u32 *front)
{
	if (front)
		*front = packets;
	return 0;
}
`
	for _, test := range []struct{ name, code, reason string }{
		{"untouched", `check(MARK, md->ptype);`, ""},
		{"read before", `check(MARK, md->ptype); if (move(ctx)) return XDP_ABORTED;`, ""},
		{"moved", `if (bpf_xdp_adjust_head(ctx, -4)) return XDP_ABORTED; md = md_desc(ctx); if (md) check(MARK, md->ptype);`,
			packetRead + "bpf_xdp_adjust_head ("},
		{"moved in a function", `if (move(ctx)) return XDP_ABORTED; md = md_desc(ctx); if (md) check(MARK, md->ptype);`, packetRead},
		{"read in a function", `check(MARK, read(md)); if (move(ctx)) return XDP_ABORTED; md = md_desc(ctx); if (md) check(MARK, read(md));`, packetRead},
		{"made room", `if (bpf_xdp_adjust_meta(ctx, -8)) return XDP_ABORTED; md = md_desc(ctx); if (md) check(MARK, md->ptype);`,
			packetRead + "bpf_xdp_adjust_meta ("},
		{"written in front", `
	__u32 *front = (void *)(long)ctx->data_meta;

	if ((void *)(front + 1) <= (void *)(long)ctx->data) *front = 1;
	check(MARK, md->ptype);`, packetRead},
		{"filled in front", `
	__u32 *front = (void *)(long)ctx->data_meta;

	if ((void *)(front + 1) <= (void *)(long)ctx->data) bpf_xdp_load_bytes(ctx, 0, front, 4);
	check(MARK, md->ptype);`, packetRead + "bpf_xdp_load_bytes ("},
		{"given to a global function", `
	__u32 *front = (void *)(long)ctx->data_meta;

	if ((void *)(front + 1) <= (void *)(long)ctx->data) fill(front);
	check(MARK, md->ptype);`, packetRead + "the global function fill ("},
		{"a packet that is written", `
	__u8 *octet = (void *)(long)ctx->data;

	if ((void *)(octet + 1) <= (void *)(long)ctx->data_end) { *octet = 1; bpf_xdp_load_bytes(ctx, 1, octet, 1); }
	check(MARK, md->ptype);`, ""},
		{"in another turn", `
	for (int i = 0; i < 2; i++) {
		md = md_desc(ctx);
		if (!md)
			break;
		check(MARK, md->ptype);
		if (bpf_xdp_adjust_head(ctx, -4))
			break;
	}`, packetRead},
	} {
		t.Run(test.name, func(t *testing.T) {
			object := costCompile(t, "clang-19", driverHeader+header+driverProgram+test.code+driverEnd, "el", "v3")
			_, report, err := rewrite.RewriteForDriver(object, vendorAccessors(t), rewrite.Options{})
			var refused *rewrite.RefusedError
			switch {
			case test.reason == "" && err != nil:
				t.Error(explained(err))
			case test.reason == "":
				if note := report.Edits[len(report.Edits)-1].Note + report.Edits[1].Note; !strings.Contains(note, "as long as nobody has moved the packet") {
					t.Errorf("the report says %q", note)
				}
			case !errors.As(err, &refused) || !strings.Contains(err.Error(), test.reason):
				t.Errorf("%v, want %s", err, test.reason)
			}
		})
	}
}

// Accessors may use the stack, each as little of it as it likes.
func TestDriverStack(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	source := vendorSource[:strings.Index(vendorSource, "MD_FIELD")] + `
MD_FIELD(mark, "sk_buff.mark", struct sk_buff *skb)
{
	volatile __u32 mark = skb->mark;

	return mark;
}

MD_FIELD(hash, "sk_buff.hash", struct sk_buff *skb)
{
	volatile __u8 zero = 0;

	return skb->hash + zero;
}
`
	accessors := resolvedAccessors(t, "stack.o", costCompile(t, "clang-19", source, "el", "v3"), "")
	v.runCase(t, driverCase{"", driverProgram + `
	__u64 own[2] = { packets, want[MARK] };

	asm volatile("" : : "r"(own) : "memory");
	check(MARK, md->mark);
	check(HASH, md->hash);
	if (own[0] != packets || own[1] != want[MARK])
		wrong[MARK]++;` + driverEnd}, "clang-19", accessors)
}

// Programs of both kinds read their own descriptors, in functions that they share, too.
func TestDriverShared(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	for _, specifier := range []string{"static", "__hidden"} {
		t.Run(specifier, func(t *testing.T) { v.runShared(t, strings.ReplaceAll(sharedSource, "SPECIFIER", specifier)) })
	}
}

const sharedSource = driverHeader + `
volatile __u64 in_tc, wrong_in_tc;

SPECIFIER NOINLINE __u32 inner(struct md_desc *md, __u32 add)
{
	packets += 0;
	return md->mark + add;
}

SPECIFIER NOINLINE __u32 inner__2(struct md_desc *md, __u32 add) /* as a copy would be called */
{
	packets += 0;
	return md->mark - add;
}

SPECIFIER NOINLINE __u32 outer(struct md_desc *md)
{
	return inner(md, 5) + inner__2(md, 5);
}
` + driverProgram + `
	check(MARK, outer(md) / 2 + (outer(md) & 1) * 0);
	check(HASH, md->hash);` + driverEnd + `
SEC("tc") int in_stack(struct __sk_buff *skb)
{
	struct md_desc *md = md_desc(skb);

	in_tc++;
	if (!md || outer(md) != 2 * skb->mark || md->hash != skb->hash || md->vlan_tci != skb->vlan_tci)
		wrong_in_tc++;
	return 0;
}
`

// loopingSkb are accessors of the skb, each with a loop.
const loopingSkb = `
#include "../bpf/md_driver.h"

MD_DRIVER("skb");

struct sk_buff {
	__u32 mark, hash;
	__u16 vlan_tci;
} __core;

MD_DESCRIPTOR(void, struct sk_buff *skb)
{
	return (void *)1;
}

#define BITWISE(number) ({ \
	__u32 all = 0; \
	_Pragma("clang loop unroll(disable)") \
	for (int i = 0; i < 32; i++) \
		all |= (number) & 1U << i; \
	all; })

MD_FIELD(mark, "sk_buff.mark, bit by bit", void *desc, struct sk_buff *skb)
{
	return BITWISE(skb->mark);
}

MD_FIELD(hash, "sk_buff.hash, bit by bit", void *desc, struct sk_buff *skb)
{
	return BITWISE(skb->hash);
}

MD_FIELD(vlan_tci, "sk_buff.vlan_tci, bit by bit", void *desc, struct sk_buff *skb)
{
	return BITWISE(skb->vlan_tci);
}
`

// runShared runs both programs of an object.
func (v *vethPair) runShared(t *testing.T, source string) {
	t.Helper()
	object := costCompile(t, "clang-19", source, "el", "v3")
	resolved := []*rewrite.Accessors{driverAccessors(t, "veth", ""), driverAccessors(t, "skb", "")}
	portable := []*rewrite.Accessors{portableAccessors(t, "veth", driverObject(t, "veth")), portableAccessors(t, "skb", driverObject(t, "skb"))}
	loops := costCompile(t, "clang-19", loopingSkb, "el", "v3")
	for _, c := range []struct {
		name      string
		accessors []*rewrite.Accessors
		by        func([]byte, []*rewrite.Accessors, rewrite.Options) ([]byte, *rewrite.Report, error)
	}{
		{"in line", resolved, rewrite.RewriteForDriver},
		{"called", resolved, rewrite.RewriteCalling},
		{"in line, with records", portable, rewrite.RewriteForDriver},
		{"called, with records", portable, rewrite.RewriteCalling},
		{"TC called, with records", []*rewrite.Accessors{portable[0], portableAccessors(t, "skb", loops)}, rewrite.RewriteForDriver},
	} {
		out, _, err := c.by(object, c.accessors, rewrite.Options{})
		if err != nil {
			t.Fatal(explained(err))
		}
		t.Run(c.name+"/XDP", func(t *testing.T) { v.run(t, bytes.Clone(out), "program") })
		t.Run(c.name+"/TC", func(t *testing.T) { v.runInStack(t, out) })
	}
}

// A function that can't be copied is refused.
func TestDriverSharedElsewhere(t *testing.T) {
	t.Parallel()
	object := costCompile(t, "clang-19", driverHeader+`
SEC("xdp") static NOINLINE __u32 mark(struct md_desc *md)
{
	packets += 0;
	return md->mark;
}
`+driverProgram+`
	check(MARK, mark(md));`+driverEnd+`
SEC("tc") int in_stack(struct __sk_buff *skb)
{
	struct md_desc *md = md_desc(skb);

	return md ? mark(md) : 0;
}
`, "el", "v3")
	accessors := []*rewrite.Accessors{driverAccessors(t, "veth", ""), driverAccessors(t, "skb", "")}
	_, _, err := rewrite.RewriteForDriver(object, accessors, rewrite.Options{})
	if err == nil || !strings.Contains(err.Error(), "XDP programs and TC programs come here") {
		t.Error(err)
	}
}

// runInStack attaches the TC program, and compares what it made of packets.
func (v *vethPair) runInStack(t *testing.T, object []byte) {
	t.Helper()
	if err := v.ns.Enter(); err != nil {
		t.Fatal(err)
	}
	loaded := v.load(t, object)
	attached, err := link.AttachTCX(link.TCXOptions{Program: loaded.Programs["in_stack"], Interface: v.index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	v.sendAll(t, loaded, "in_tc")
	if wrong := numbers(t, loaded, "wrong_in_tc", 1)[0]; wrong > 0 {
		t.Errorf("%d of %d packets were read wrong", wrong, numbers(t, loaded, "in_tc", 1)[0])
	}
}
