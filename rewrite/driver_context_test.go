package rewrite_test

import "testing"

// contextSource are accessors that find the descriptor once more, by ctx: with another
// thing in its place, they return what no packet has.
const contextSource = `
#include "../bpf/md_driver.h"

MD_DRIVER("veth");

struct sk_buff {
	__u32 mark, hash;
	__be16 vlan_proto;
	__u16 vlan_tci;
} __core;

struct veth_xdp_buff {
	struct sk_buff *skb;
} __core;

MD_DESCRIPTOR(struct sk_buff, struct xdp_buff *xdp)
{
	return ((struct veth_xdp_buff *)xdp)->skb;
}

#define BY_CTX(field, value)								\
	MD_FIELD(field, "sk_buff." #field, struct sk_buff *skb, struct xdp_buff *xdp)	\
	{										\
		return ((struct veth_xdp_buff *)xdp)->skb == skb ? (value) : 0xdead;	\
	}

BY_CTX(mark, skb->mark)
BY_CTX(hash, skb->hash)
BY_CTX(vlan_tci, skb->vlan_proto ? skb->vlan_tci : 0)
BY_CTX(vlan_proto, skb->vlan_proto)
`

// contextCases are programs with functions that don't simply have ctx.
var contextCases = []driverCase{
	{"left in a register", `
static NOINLINE int read(struct md_desc *md)
{
	packets += 0;
	check(MARK, md->mark);
	return 0;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	register void *left asm("r5");
	struct md_desc *md;

	expect(ctx);
	left = ctx;
	asm volatile("" : : "r"(left));
	md = md_desc(ctx);
	if (md)
		read(md);
	return XDP_PASS;
}
`},

	{"data or NULL", `
struct data {
	struct md_desc *md;
};

static NOINLINE int read(struct data *data)
{
	packets += 0;
	if (data)
		check(MARK, data->md->mark);
	return 0;
}
` + driverProgram + `
	struct data data = { .md = md };

	asm volatile("" : : "r"(&data) : "memory");
	read(&data);
	read(0);` + driverEnd},

	{"more callers than one", `
static NOINLINE __u32 inner(struct md_desc *md, long a, long b, long c)
{
	packets += 0;
	return md->mark + a - b * 2 - c + md->hash;
}

static NOINLINE __u32 outer(long add, struct md_desc *md)
{
	return inner(md, add * 3, add, add) - md->hash + inner(md, add * 4, add, add * 2) - md->hash - add;
}
` + driverProgram + `
	if (outer(1, md) != 2 * (__u32)want[MARK] - 1 || inner(md, 5, 2, 1) != (__u32)(want[MARK] + want[HASH]))
		wrong[MARK]++;
	check(MARK, md->mark);` + driverEnd},

	{"a callback in a callback", `
struct outer {
	struct md_desc *md;
	int turns;
};

struct inner {
	struct outer *outer;
	long pad;
	struct md_desc *md;
};

static long each_inner(__u32 i, void *p)
{
	struct md_desc **md = p;

	check(HASH, (*md)->hash);
	return 0;
}

static long each_outer(__u32 i, void *p)
{
	struct outer *outer = p;
	struct inner inner = { .outer = outer, .md = outer->md };

	outer->turns++;
	check(MARK, inner.md->mark);
	bpf_loop(2, each_inner, &inner.md, 0);
	return 0;
}
` + driverProgram + `
	struct outer outer = { .md = md };

	bpf_loop(2, each_outer, &outer, 0);
	if (outer.turns != 2)
		wrong[MARK]++;` + driverEnd},

	{"a callback that is called, too", `
struct data {
	long pad[2];
	struct md_desc *md;
	int turns;
};

static NOINLINE long each(__u32 i, void *p)
{
	struct md_desc **md = p;

	check(MARK, (*md)->mark);
	check(HASH, (*md)->hash);
	return 0;
}
` + driverProgram + `
	struct data data = { .md = md };

	each(3, &data.md);
	bpf_loop(2, each, &data.md, 0);` + driverEnd},
}

// Accessors that need ctx have it wherever a program reads a field.
func TestDriverContext(t *testing.T) {
	t.Parallel()
	v := newVethPair(t)
	accessors := resolvedAccessors(t, "context.o", costCompile(t, "clang-19", contextSource, "el", "v3"), "")
	for _, cases := range [][]driverCase{driverCases, contextCases} {
		for _, c := range cases {
			for _, compiler := range []string{"clang-14", "clang-22"} {
				t.Run(c.name+"/"+compiler, func(t *testing.T) { v.runCase(t, c, compiler, accessors) })
			}
		}
	}
}
