package rewrite_test

// driverCase is a program that reads the fields of a descriptor that the driver keeps.
type driverCase struct {
	name   string
	source string
}

const driverProgram = `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md;

	expect(ctx);
	md = md_desc(ctx);
	if (!md)
		return XDP_PASS;
`

const driverEnd = `
	return XDP_PASS;
}
`

// driverCases are what people write.
var driverCases = []driverCase{
	{"plain", driverProgram + `
	check(MARK, md->mark);
	check(HASH, md->hash);
	check(TCI, md->vlan_tci);
	check(PROTO, md->vlan_proto);` + driverEnd},

	{"several at a time", driverProgram + `
	__u32 mark = md->mark, hash = md->hash;
	__u16 tci = md->vlan_tci, proto = md->vlan_proto;

	check(MARK, mark);
	check(HASH, hash);
	check(TCI, tci);
	check(PROTO, proto);
	if (mark + hash + tci + proto == 12345)
		packets++;` + driverEnd},

	{"in a condition", driverProgram + `
	if (md->mark == want[MARK] && md->hash == want[HASH] && md->vlan_proto == want[PROTO])
		check(MARK, md->mark);
	else
		wrong[MARK]++;` + driverEnd},

	{"a part of it", driverProgram + `
	if (((__u8 *)&md->mark)[2] != (__u8)(want[MARK] >> 16) || ((__u16 *)&md->mark)[0] != (__u16)want[MARK])
		wrong[MARK]++;
	check(MARK, md->mark);` + driverEnd},

	{"one of two", driverProgram + `
	__u32 *field = ctx->rx_queue_index == packets % 2 ? &md->hash : &md->mark;

	if (ctx->rx_queue_index == packets % 2)
		check(HASH, *field);
	else
		check(MARK, *field);` + driverEnd},

	{"behind a choice", driverProgram + `
	__u32 value = packets % 2 ? md->hash : md->mark;

	check(packets % 2 ? HASH : MARK, value);` + driverEnd},

	{"in a loop", driverProgram + `
	__u32 sum = 0;

	for (int i = 0; i < 3; i++) {
		check(MARK, md->mark);
		sum += md->hash;
	}
	check(HASH, md->hash);
	if (sum != (__u32)(3 * want[HASH]))
		wrong[HASH]++;` + driverEnd},

	{"a function", `
static NOINLINE int read(struct md_desc *md)
{
	check(MARK, md->mark);
	check(HASH, md->hash);
	return 0;
}
` + driverProgram + `
	read(md);
	read(md);` + driverEnd},

	{"a function that tests it", `
static NOINLINE __u32 mark_of(struct md_desc *md, int unused, int add)
{
	return md ? md->mark + add : 1;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	expect(ctx);
	check(MARK, mark_of(md_desc(ctx), 1, 7) - 7);
	return XDP_PASS;
}
`},

	{"a function that finds it", `
static NOINLINE __u32 mark_of(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->mark : 1;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	expect(ctx);
	check(MARK, mark_of(ctx));
	return XDP_PASS;
}
`},

	{"a function that returns it", `
static NOINLINE struct md_desc *find(struct xdp_md *ctx)
{
	packets += 0;
	return md_desc(ctx);
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md;

	expect(ctx);
	md = find(ctx);
	if (md) {
		check(MARK, md->mark);
		check(HASH, md->hash);
	}
	return XDP_PASS;
}
`},

	{"a chain of functions", `
static NOINLINE __u32 inner(struct md_desc *md, __u32 add)
{
	packets += 0;
	return md->mark + md->hash + add;
}

static NOINLINE __u32 outer(__u32 add, struct md_desc *md)
{
	return inner(md, add) - inner(md, add + 3) + 3 + inner(md, 0);
}
` + driverProgram + `
	if (outer(5, md) != (__u32)(want[MARK] + want[HASH]))
		wrong[MARK]++;
	check(MARK, md->mark);` + driverEnd},

	{"a callback", `
struct data {
	int turns;
	struct md_desc *md;
};

static long each(__u32 i, void *p)
{
	struct data *data = p;

	data->turns++;
	check(MARK, data->md->mark);
	check(HASH, data->md->hash);
	return 0;
}
` + driverProgram + `
	struct data data = { .md = md };

	bpf_loop(3, each, &data, 0);
	if (data.turns != 3)
		wrong[MARK]++;` + driverEnd},

	{"a copy", driverProgram + `
	struct md_desc kept;

	md_desc_copy(&kept, md);
	if (bpf_xdp_adjust_head(ctx, 2))
		return XDP_ABORTED;
	check(MARK, kept.mark);
	check(HASH, kept.hash);
	check(TCI, kept.vlan_tci);
	check(PROTO, kept.vlan_proto);` + driverEnd},

	{"after the packet has moved", driverProgram + `
	check(MARK, md->mark);
	if (bpf_xdp_adjust_head(ctx, 2))
		return XDP_ABORTED;
	md = md_desc(ctx);
	if (md)
		check(HASH, md->hash);` + driverEnd},

	{"whether it is there", driverProgram + `
	if (bpf_core_field_exists(md->ptype))
		check(MARK, md->ptype);
	if (bpf_core_field_exists(md->mark))
		check(MARK, md->mark);` + driverEnd},

	{"many values at a time", `
struct words { __u64 w[8]; };
` + driverProgram + `
	struct words words;
	__u64 a = packets, b = want[MARK], c = want[HASH], d = want[TCI], sum;

	for (int i = 0; i < 8; i++)
		words.w[i] = a * i + b;
	sum = md->mark + a + b * 3 + c * 5 + d * 7;
	sum -= md->hash;
	sum -= md->vlan_tci;
	if (sum != want[MARK] + a + b * 3 + c * 5 + d * 7 - want[HASH] - want[TCI])
		wrong[MARK]++;
	for (int i = 0; i < 8; i++)
		if (words.w[i] != a * i + b)
			wrong[MARK]++;
	check(MARK, md->mark);` + driverEnd},

	{"tail calls", `
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, int (struct xdp_md *));
} next SEC(".maps");
` + driverProgram + `
	check(MARK, md->mark);
	bpf_tail_call(ctx, &next, 0);
	check(HASH, md->hash);` + driverEnd},

	{"other types", `
struct md_desc___wide {
	__u64 mark;
	__u8 vlan_tci;
	__s16 hash;
	__u32 vlan_proto;
} __attribute__((preserve_access_index));
` + driverProgram + `
	struct md_desc___wide *other = (void *)md;

	check(MARK, other->mark);
	if (other->vlan_tci != (__u8)want[TCI] || other->hash != (__s16)want[HASH])
		wrong[HASH]++;` + driverEnd},

	{"results that nobody reads", `
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static NOINLINE int inner(struct md_desc *md)
{
	__u64 *kept = bpf_ringbuf_reserve(&ring, sizeof(*kept), 0);

	if (!kept)
		return -1;
	*kept = packets;
	bpf_ringbuf_discard(kept, 0); /* leaves nothing in r0 */
	check(MARK, md->mark);
	return 0;
}

static NOINLINE void outer(struct md_desc *md)
{
	inner(md);
	check(HASH, md->hash);
}
` + driverProgram + `
	outer(md);` + driverEnd},
}
