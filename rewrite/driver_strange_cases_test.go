package rewrite_test

// strangeTCHeader is driverHeader for TC programs: the verifier knows what ctx has.
const strangeTCHeader = `
#include <linux/bpf.h>
#include "../bpf/md_desc.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
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

static __always_inline void expect(struct __sk_buff *ctx)
{
	packets++;
	want[MARK] = ctx->mark;
	want[HASH] = ctx->hash;
	want[TCI] = ctx->vlan_present ? ctx->vlan_tci : 0;
	want[PROTO] = ctx->vlan_present ? ctx->vlan_proto : 0;
}

char _license[] SEC("license") = "GPL";
`

const strangeHeader = `
#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <linux/tcp.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>

#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif
#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif
#define fail() (wrong[MARK]++)
`

const strangeStart = `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md;

	expect(ctx);
	md = md_desc(ctx);
	if (!md)
		return XDP_PASS;
`

const strangeEnd = `
	return XDP_PASS;
}
`

const strangeStartTC = `
SEC("tc") int program(struct __sk_buff *ctx)
{
	struct md_desc *md;

	expect(ctx);
	md = md_desc(ctx);
	if (!md)
		return TC_ACT_OK;
`

const strangeEndTC = `
	return TC_ACT_OK;
}
`

var strangeDrivers = []strangeDriver{
	{name: "load balancer", source: `
#define RING 257
struct real { __be32 ip; __u8 mac[6]; __u16 flags; };
struct flow { __be32 src, dst; __be16 sport, dport; __u8 proto; __u8 pad[3]; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, RING); __type(key, __u32); __type(value, __u32); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, struct real); } reals SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 1024); __type(key, struct flow); __type(value, __u32); } flows SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, __u64[2]); } stats SEC(".maps");

static __always_inline __u32 jhash(__u32 a, __u32 b, __u32 c)
{
	a -= c; a ^= (c << 4) | (c >> 28); c += b;
	b -= a; b ^= (a << 6) | (a >> 26); a += c;
	c -= b; c ^= (b << 8) | (b >> 24); b += a;
	return c;
}

static NOINLINE int parse(struct xdp_md *ctx, struct flow *flow, __u32 *len)
{
	void *data, *end;
	struct ethhdr *eth;
	struct iphdr *ip;
	struct udphdr *udp;

	barrier_var(ctx); /* or clang passes data and data_end, cut and extended */
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = data + sizeof(*eth);
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	flow->src = ip->saddr;
	flow->dst = ip->daddr;
	flow->proto = ip->protocol;
	flow->sport = udp->source;
	flow->dport = udp->dest;
	*len = end - data;
	return 0;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	struct flow flow = {};
	struct real *real;
	__u32 len = 0, key, *index, hash;
	__u64 *stat;

	expect(ctx);
	if (parse(ctx, &flow, &len) < 0)
		return XDP_PASS;
	hash = md && md->hash_type ? md->hash : jhash(flow.src, flow.dst, flow.sport | flow.dport << 16);
	if (md)
		check(HASH, md->hash);
	index = bpf_map_lookup_elem(&flows, &flow);
	if (!index) {
		key = hash % RING;
		index = bpf_map_lookup_elem(&ring, &key);
		if (!index)
			return XDP_DROP;
		bpf_map_update_elem(&flows, &flow, index, BPF_ANY);
	}
	key = *index & 15;
	real = bpf_map_lookup_elem(&reals, &key);
	if (!real)
		return XDP_DROP;
	stat = bpf_map_lookup_elem(&stats, &key);
	if (stat) {
		stat[0]++;
		stat[1] += len;
	}
	if (md && md->mark != want[MARK])
		fail();
	return real->flags ? XDP_TX : XDP_PASS;
}
`},
	{name: "firewall with gotos", source: `
struct rule { __u32 mark; __u16 tci; __u16 proto; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, struct rule); __type(value, __u64); } rules SEC(".maps");
` + strangeStart + `
	struct rule rule = {};
	__u64 *hits, one = 1;

	if (md->vlan_proto)
		goto tagged;
	if (md->mark & 1)
		goto bad;
	rule.mark = md->mark;
	goto look;
tagged:
	if (!(md->mark & 1))
		goto bad;
	rule.tci = md->vlan_tci;
	rule.proto = md->vlan_proto;
	rule.mark = md->mark;
look:
	hits = bpf_map_lookup_elem(&rules, &rule);
	if (hits)
		__sync_fetch_and_add(hits, md->mark);
	else
		bpf_map_update_elem(&rules, &rule, &one, 0);
	check(MARK, rule.mark);
	check(TCI, rule.tci);
	check(PROTO, rule.proto);
	goto out;
bad:
	fail();
out:` + strangeEnd},
	{name: "ring buffer", source: `
struct event { __u64 time; __u32 mark, hash; __u16 tci, proto; __u8 head[16]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } events SEC(".maps");
` + strangeStart + `
	struct event *event;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return XDP_PASS;
	event->time = bpf_ktime_get_ns();
	event->mark = md->mark;
	event->hash = md->hash;
	event->tci = md->vlan_tci;
	event->proto = md->vlan_proto;
	if (data + 16 <= end)
		__builtin_memcpy(event->head, data, 16);
	check(MARK, event->mark);
	check(HASH, event->hash);
	check(TCI, event->tci);
	check(PROTO, event->proto);
	if (md->mark & 1)
		bpf_ringbuf_submit(event, 0);
	else
		bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);` + strangeEnd},
	{name: "copy into the ring buffer", source: `
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); } events SEC(".maps");
` + strangeStart + `
	struct md_desc *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_PASS;
	md_desc_copy(event, md);
	check(MARK, event->mark);
	check(HASH, event->hash);
	check(TCI, event->vlan_tci);
	check(PROTO, event->vlan_proto);
	bpf_ringbuf_submit(event, 0);` + strangeEnd},
	{name: "output of a struct", source: `
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } events SEC(".maps");
struct event { __u16 tci, proto; __u32 mark, hash; } __attribute__((packed));
` + strangeStart + `
	struct event event = { .tci = md->vlan_tci, .proto = md->vlan_proto, .mark = md->mark, .hash = md->hash };

	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU | 14ULL << 32, &event, sizeof(event));
	check(MARK, event.mark);
	check(HASH, event.hash);
	check(TCI, event.tci);
	check(PROTO, md->vlan_proto);` + strangeEnd},
	{name: "stages", source: `
int stage_mark(struct xdp_md *ctx);
int stage_hash(struct xdp_md *ctx);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, int (struct xdp_md *));
} stages SEC(".maps") = { .values = { [0] = (void *)&stage_mark, [2] = (void *)&stage_hash } };

SEC("xdp") int stage_hash(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		check(HASH, md->hash);
	return XDP_PASS;
}

SEC("xdp") int stage_mark(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_PASS;
	check(MARK, md->mark);
	bpf_tail_call(ctx, &stages, 1);
	bpf_tail_call(ctx, &stages, 2);
	check(TCI, ~md->vlan_tci);
	return XDP_PASS;
}
` + strangeStart + `
	bpf_tail_call(ctx, &stages, (md->mark & 1) * 2);
	fail();` + strangeEnd},
	{name: "tail call in a subprogram", source: `
int stage(struct xdp_md *ctx);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, int (struct xdp_md *));
} stages SEC(".maps") = { .values = { [1] = (void *)&stage } };

SEC("xdp") int stage(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		check(HASH, md->hash);
	return XDP_PASS;
}

static NOINLINE int to(struct xdp_md *ctx, struct md_desc *md)
{
	__u64 mark = md->mark;

	bpf_tail_call(ctx, &stages, md->mark & 1);
	return mark == want[MARK];
}
` + strangeStart + `
	int ok = to(ctx, md);

	if (!ok)
		fail();
	md = md_desc(ctx);
	if (md)
		check(MARK, md->mark);` + strangeEnd},
	{name: "five arguments", source: `
static NOINLINE __u64 mix(__u64 a, __u32 b, struct md_desc *md, __u16 d, __u64 *out)
{
	__u64 sum = a * 3 + b + d;

	*out = md->mark;
	sum += md->hash;
	return sum ^ md->vlan_tci;
}
` + strangeStart + `
	__u64 mark = 0, hash;

	hash = mix(packets, 7, md, 9, &mark);
	check(MARK, mark);
	if (hash != ((packets * 3 + 16 + want[HASH]) ^ want[TCI]))
		fail();` + strangeEnd},
	{name: "five arguments, md last, and ctx", source: `
static NOINLINE __s64 sub(struct xdp_md *ctx, __s64 a, __s32 b, char c, struct md_desc *md)
{
	if (a < 0)
		return md->mark;
	if (b < 0)
		return (__s32)md->hash;
	return c + ctx->ingress_ifindex + md->vlan_tci;
}
` + strangeStart + `
	check(MARK, sub(ctx, -1, 0, 0, md));
	check(HASH, (__u32)sub(ctx, 1, -2, 0, md));
	check(TCI, sub(ctx, 1, 1, -3, md) + 3 - ctx->ingress_ifindex);` + strangeEnd},
	{name: "md in a struct", source: `
struct state { struct xdp_md *ctx; struct md_desc *md; __u64 verdict; __u32 n; };
static NOINLINE int step(struct state *s)
{
	s->n++;
	s->verdict += s->md->mark;
	check(MARK, s->md->mark);
	return s->md->hash & 1;
}
` + strangeStart + `
	struct state s = { .ctx = ctx, .md = md };

	step(&s);
	step(&s);
	if (s.n != 2 || s.verdict != 2 * want[MARK])
		fail();
	check(HASH, s.md->hash);` + strangeEnd},
	{name: "md found in a struct", source: `
struct state { struct xdp_md *ctx; struct md_desc *md; __u64 verdict; };
static NOINLINE int find(struct state *s)
{
	s->md = md_desc(s->ctx);
	return s->md ? 0 : -1;
}
static NOINLINE void use(struct state *s)
{
	if (s->md)
		check(HASH, s->md->hash);
}
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct state s = { .ctx = ctx };

	expect(ctx);
	if (find(&s) < 0)
		return XDP_PASS;
	use(&s);
	if (s.md)
		check(MARK, s.md->mark);
	return XDP_PASS;
}
`},
	{name: "callbacks in callbacks", source: `
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); } cells SEC(".maps");
struct outer { struct md_desc *md; __u64 sum; };
struct inner { struct outer *o; __u64 add; };

static long cell(void *map, __u32 *key, __u64 *value, void *p)
{
	struct outer *o = p;

	*value = o->md->hash;
	o->sum += o->md->mark;
	return 0;
}

static long turn(__u32 i, void *p)
{
	struct outer *o = p;

	bpf_for_each_map_elem(&cells, cell, o, 0);
	o->sum += o->md->mark;
	return 0;
}
` + strangeStart + `
	struct outer o = { .md = md };
	__u32 key = 2;
	__u64 *value;

	bpf_loop(2, turn, &o, 0);
	if (o.sum != 10 * want[MARK])
		fail();
	value = bpf_map_lookup_elem(&cells, &key);
	if (value)
		check(HASH, *value);` + strangeEnd},
	{name: "ctx through a callback", source: `
struct data { struct xdp_md *ctx; int n; };
static long turn(__u64 i, void *p)
{
	struct data *d = p;
	struct md_desc *md = md_desc(d->ctx);

	if (!md)
		return 1;
	check(MARK, md->mark);
	d->n++;
	return i == 4;
}
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct data d = { .ctx = ctx };

	expect(ctx);
	bpf_loop(10, turn, &d, 0);
	if (d.n != 5)
		fail();
	return XDP_PASS;
}
`},
	{name: "timer", source: `
struct elem { struct bpf_timer timer; struct md_desc kept; __u64 fired; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct elem); } timers SEC(".maps");
volatile __u64 fired;

static int expired(void *map, __u32 *key, struct elem *e)
{
	fired += e->kept.mark;
	e->fired++;
	return 0;
}
` + strangeStart + `
	__u32 zero = 0;
	struct elem *e = bpf_map_lookup_elem(&timers, &zero);

	if (!e)
		return XDP_PASS;
	bpf_timer_init(&e->timer, &timers, 1);
	bpf_timer_set_callback(&e->timer, expired);
	md_desc_copy(&e->kept, md);
	bpf_timer_start(&e->timer, 1000, 0);
	check(MARK, e->kept.mark);
	check(HASH, md->hash);` + strangeEnd},
	{name: "md kept for a timer", refused: `stored outside of the stack`, source: `
struct elem { struct bpf_timer timer; struct md_desc *md; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct elem); } timers SEC(".maps");

static int expired(void *map, __u32 *key, struct elem *e)
{
	if (e->md)
		check(MARK, e->md->mark);
	return 0;
}
` + strangeStart + `
	__u32 zero = 0;
	struct elem *e = bpf_map_lookup_elem(&timers, &zero);

	if (!e)
		return XDP_PASS;
	bpf_timer_init(&e->timer, &timers, 1);
	bpf_timer_set_callback(&e->timer, expired);
	e->md = md;
	bpf_timer_start(&e->timer, 1000, 0);` + strangeEnd},
	{name: "open-coded iterator", source: `
struct bpf_iter_num { __u64 opaque[1]; } __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
` + strangeStart + `
	struct bpf_iter_num it;
	__u64 sum = 0;
	int *i;

	bpf_iter_num_new(&it, 0, 20);
	while ((i = bpf_iter_num_next(&it))) {
		if (*i == 15)
			break;
		if (*i & 1)
			continue;
		sum += md->mark;
		check(HASH, md->hash);
	}
	bpf_iter_num_destroy(&it);
	if (sum != 8 * want[MARK])
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "bounded loop", source: strangeStart + `
	__u64 sum = 0;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < 50; i++) {
		if (i > (int)(md->mark & 15) + 3)
			break;
		sum += md->hash;
		barrier_var(sum);
	}
	if (sum != want[HASH] * ((want[MARK] & 15) + 4))
		fail();
	check(HASH, md->hash);` + strangeEnd},
	{name: "loop over the packet", source: strangeStart + `
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 sum = md->mark;
	__u8 *p = data;

	for (int i = 0; i < 40; i++) {
		if (p + i + 1 > (__u8 *)end)
			break;
		sum += p[i] ^ md->vlan_tci;
		sum -= p[i] ^ (__u16)want[TCI];
	}
	check(MARK, sum);` + strangeEnd},
	{name: "big frame", refused: `room on the stack`, source: strangeStart + `
	__u64 big[56];

	for (int i = 0; i < 56; i++)
		big[i] = md->mark + i;
	barrier_var(md);
	bpf_get_prandom_u32();
	for (int i = 0; i < 56; i++) {
		if (big[i] != want[MARK] + i)
			fail();
		if (big[i] - md->mark != i)
			fail();
	}
	check(HASH, md->hash);` + strangeEnd},
	{name: "full frame", refused: `room on the stack`, source: `
static NOINLINE int fill(__u64 *p, __u32 n)
{
	for (int i = 0; i < 61; i++)
		p[i] = n + i;
	return 0;
}
SEC("xdp") int program(struct xdp_md *ctx)
{
	__u64 big[62];
	struct md_desc *md;

	expect(ctx);
	md = md_desc(ctx);
	if (!md)
		return XDP_PASS;
	fill(big, md->mark);
	if (big[60] != want[MARK] + 60)
		fail();
	check(MARK, md->mark);
	check(HASH, md->hash);
	check(TCI, md->vlan_tci);
	return XDP_PASS;
}
`},
	{name: "buckets on the stack", source: strangeStart + `
	__u32 buckets[16] = { 0 };
	__u32 n = md->mark, sum = 0;

	buckets[md->hash & 15] = md->mark;
	buckets[md->hash >> 28] ^= md->mark;
	if (buckets[want[HASH] & 15] != (((want[HASH] ^ want[HASH] >> 28) & 15) ? want[MARK] : 0))
		fail();
#pragma clang loop unroll(disable)
	for (int i = 0; i < 16; i++) {
		barrier_var(n);
		buckets[i] = md->mark - n + i;
	}
#pragma clang loop unroll(disable)
	for (int i = 15; i >= 0; i--)
		sum += buckets[i];
	if (sum != 120)
		fail();
	check(HASH, md->hash);` + strangeEnd},
	{name: "buckets beside a spilled md", source: `
volatile __u64 in[10] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
` + strangeStart + `
	__u64 a = in[0], b = in[1], c = in[2], d = in[3], e = in[4], f = in[5], g = in[6], h = in[7], sum = 0;
	__u64 buckets[8] = { 0 };

	buckets[a * want[MARK] & 7] = h;
	bpf_get_prandom_u32();
	a += md->mark; b += md->hash; c ^= a; d ^= b; e += c * d; f -= e; g += f * a; h ^= g;
	buckets[md->hash & 7] ^= md->mark + h;
	bpf_get_prandom_u32();
	sum = a + b + c + d + e + f + g + h + buckets[md->mark & 7];
	buckets[sum & 7] = want[MARK];
	check(MARK, md->mark);
	check(MARK, buckets[sum & 7]);
	check(HASH, md->hash);
	if (a != 1 + want[MARK] || b != 2 + want[HASH] || c != (3 ^ a))
		fail();` + strangeEnd},
	{name: "buckets of a function", source: `
static NOINLINE int count(__u32 *buckets, __u32 at, struct md_desc *md)
{
	buckets[at & 7] += md->mark;
	return buckets[md->hash & 7];
}
` + strangeStart + `
	__u32 buckets[8] = { 0 };

	count(buckets, want[HASH], md);
	check(MARK, buckets[md->hash & 7]);
	check(HASH, md->hash);
	check(MARK, count(buckets, want[HASH] + 1, md));` + strangeEnd},
	{name: "TC buckets and a callback", tc: true, source: `
struct data { __u32 buckets[8]; struct md_desc *md; };
static long turn(__u32 i, void *p)
{
	struct data *d = p;

	d->buckets[i & 7] = d->md->mark + i;
	return 0;
}
` + strangeStartTC + `
	struct data d = { .md = md };

	bpf_loop(8, turn, &d, 0);
	for (int i = 0; i < 8; i++)
		check(MARK, d.buckets[i] - i);
	check(MARK, d.buckets[md->hash & 7] - (md->hash & 7));` + strangeEndTC},
	{name: "buckets of a function for XDP and TC", source: `
static NOINLINE int count(struct md_desc *md, __u32 at, __u64 a, __u64 b)
{
	__u64 buckets[8] = { 0 }, c = packets, d = c * a, e = d ^ b;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 8; i++) {
		barrier_var(at);
		a += c; b ^= d; c += e; d -= a; e *= b;
		buckets[i] = md->mark - at + i;
	}
	seen[HASH] += (a + b + c + d + e) * 0;
	return buckets[md->hash & 7] + at - (md->hash & 7) + (a + b + c + d + e == 1);
}
SEC("tc") int other(struct __sk_buff *skb)
{
	struct md_desc *md = md_desc(skb);

	return md && count(md, md->hash, 1, 2) == 1 ? TC_ACT_SHOT : TC_ACT_OK;
}
` + strangeStart + `
	check(MARK, count(md, packets, 1, 2));` + strangeEnd, both: true},
	{name: "two callbacks with a struct each", source: `
struct first { struct xdp_md *ctx; __u64 sum; };
struct second { struct md_desc *md; __u64 sum; };
static long find(__u32 i, void *p)
{
	struct first *f = p;
	struct md_desc *md = md_desc(f->ctx);

	if (!md)
		return 1;
	f->sum += md->mark;
	return 0;
}
static long use(__u32 i, void *p)
{
	struct second *s = p;

	s->sum += s->md->hash;
	return 0;
}
` + strangeStart + `
	{
		struct first f = { .ctx = ctx };

		bpf_loop(3, find, &f, 0);
		check(MARK, f.sum / 3);
	}
	{
		struct second s = { .md = md };

		bpf_loop(5, use, &s, 0);
		check(HASH, s.sum / 5);
	}` + strangeEnd},
	{name: "what comes back from a callback", by: "clang-14", source: `
volatile __u64 in = 5;
struct data { __u64 a, b; struct xdp_md *ctx; };
static long turn(__u32 i, void *p)
{
	struct data *d = p;
	__u64 a = d->a, b = d->b;
	struct md_desc *md = md_desc(d->ctx);

	if (!md)
		return 1;
	d->a = a * (__u8)md->vlan_tci + i;
	d->b = b;
	return 0;
}
` + strangeStart + `
	__u64 v = in;
	{
		__u64 b[16] = { 0 };

		b[md->vlan_tci & 15] = 0xca5;
		b[md->hash & 15] ^= 0x1da06 ^ v;
		v += b[12] + b[md->csum_status & 15];
	}
	barrier_var(v);
	v -= in + 0x4c8 + (md->hash ^ v);
	if (md->vlan_tci & 64 || v) {
		struct data d = { .ctx = ctx, .a = v, .b = v };

		bpf_loop(4, turn, &d, 0);
		v += d.a ^ d.b;
	}
	if (v == 12345)
		packets += 0;
	check(MARK, md->mark);` + strangeEnd},
	{name: "switch", source: strangeStart + `
	__u64 value;

	switch (md->mark & 7) {
	case 0: value = md->hash; break;
	case 1: value = md->hash + 1; break;
	case 2: value = md->mark + 2; break;
	case 3: value = md->vlan_tci + 3; break;
	case 4: value = md->mark * 4; break;
	case 5: value = (__u64)md->hash << 5; break;
	case 6: value = md->vlan_proto + 6; break;
	default: value = ~md->hash; break;
	}
	switch (want[MARK] & 7) {
	case 0: value ^= want[HASH]; break;
	case 1: value ^= (__u32)want[HASH] + 1u; break;
	case 2: value ^= (__u32)want[MARK] + 2; break;
	case 3: value ^= want[TCI] + 3; break;
	case 4: value ^= (__u32)want[MARK] * 4; break;
	case 5: value ^= want[HASH] << 5; break;
	case 6: value ^= want[PROTO] + 6; break;
	default: value ^= ~(__u32)want[HASH]; break;
	}
	if (value)
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "barriers", source: strangeStart + `
	__u32 mark, hash;

	barrier_var(md);
	mark = md->mark;
	barrier();
	hash = md->hash;
	barrier_var(mark);
	barrier_var(hash);
	asm volatile("" : : "r"(mark), "r"(hash) : "memory");
	check(MARK, mark);
	check(HASH, hash);` + strangeEnd},
	{name: "asm that counts", source: strangeStart + `
	__u64 mark = md->mark, sum;

	asm volatile("%0 = %1; %0 += %2" : "=&r"(sum) : "r"(mark), "r"((__u64)md->hash));
	if (sum != want[MARK] + want[HASH])
		fail();
	asm volatile("if %0 > 7 goto +1; %0 += 100" : "+r"(mark));
	check(MARK, mark);` + strangeEnd},
	{name: "asm through md", refused: `.`, source: strangeStart + `
	__u64 mark;

	asm volatile("%0 = *(u32 *)(%1 + 24)" : "=r"(mark) : "r"(md));
	check(MARK, mark);` + strangeEnd},
	{name: "narrow and wide", source: strangeStart + `
	__u64 both = (__u64)md->hash << 32 | md->mark;
	__u8 low = md->mark, high = md->mark >> 24, tci = md->vlan_tci >> 13;
	__u16 upper = md->hash >> 16;
	__s8 s = md->hash;
	__s32 signed_hash = md->hash;

	if (both != (want[HASH] << 32 | want[MARK]) || low != (__u8)want[MARK] || high != 0x5c)
		fail();
	if (tci != want[TCI] >> 13 || upper != want[HASH] >> 16 || s != (__s8)want[HASH])
		fail();
	if ((__s64)signed_hash != (__s32)want[HASH])
		fail();
	check(MARK, (__u32)both);
	check(HASH, both >> 32);` + strangeEnd},
	{name: "comparisons", source: strangeStart + `
	if ((md->mark > md->hash) != (want[MARK] > want[HASH]))
		fail();
	if (((__s32)md->mark >= (__s32)md->hash) != ((__s32)want[MARK] >= (__s32)want[HASH]))
		fail();
	if ((md->mark == 0x5ca10003) != (want[MARK] == 0x5ca10003))
		fail();
	if ((md->vlan_tci < 100) != (want[TCI] < 100) || !md->vlan_proto != !want[PROTO])
		fail();
	if ((__s32)md->hash < 0 && !(want[HASH] & 0x80000000))
		fail();
	check(MARK, md->mark >= 0x5ca10000 && md->mark < 0x5ca10100 ? want[MARK] : 0);` + strangeEnd},
	{name: "bit tricks", source: strangeStart + `
	__u32 x = md->mark, r;

	r = x << 7 | x >> 25;
	r = r >> 7 | r << 25;
	check(MARK, r);
	check(HASH, __builtin_bswap32(__builtin_bswap32(md->hash)));
	check(TCI, bpf_ntohs(bpf_htons(md->vlan_tci)));
	check(HASH, (md->hash ^ md->mark) ^ x);
	check(MARK, (md->mark & 0xff) | (md->mark & 0xff00) | (md->mark & 0xffff0000));
	check(MARK, ((md->mark >> 16) << 16) + (md->mark & 0xffff));
	if (bpf_ntohs(md->vlan_proto) != (want[PROTO] ? 0x8100 : 0))
		fail();
	if (md->mark % 10 != want[MARK] % 10 || md->hash / 7 != want[HASH] / 7)
		fail();` + strangeEnd},
	{name: "choice of addresses", source: strangeStart + `
	const __u32 *p = &md->mark;
	int which = MARK;

	if (ctx->rx_queue_index != packets % 3) {
		p = &md->hash;
		which = HASH;
	}
	check(which, *p);
	check(which, *(which == MARK ? &md->mark : &md->hash));` + strangeEnd},
	{name: "address to a function", refused: `use the field's value instead of its address`, source: `
static NOINLINE __u32 read(const __u32 *p)
{
	barrier_var(p);
	return *p;
}
` + strangeStart + `
	check(MARK, read(&md->mark));
	check(HASH, read(&md->hash));` + strangeEnd},
	{name: "address from a function", refused: `use the field's value instead of its address`, source: `
static NOINLINE __u32 *pick(struct md_desc *md, int n)
{
	if (n & 1)
		return &md->mark;
	return &md->hash;
}
` + strangeStart + `
	check(packets & 1 ? MARK : HASH, *pick(md, packets));` + strangeEnd},
	{name: "array of addresses", unless: `use the field's value instead of its address`, source: strangeStart + `
	__u32 *fields[2] = { &md->mark, &md->hash };

	for (int i = 0; i < 2; i++)
		check(i, *fields[i]);` + strangeEnd},
	{name: "flavours", source: `
struct md_desc___u64 { __u64 mark; __u64 hash; __u64 vlan_tci; __u64 vlan_proto; } __attribute__((preserve_access_index));
struct md_desc___s8 { __s8 mark; __s16 hash; __u8 vlan_tci; } __attribute__((preserve_access_index));
struct md_desc___signed { __s64 mark; __s32 hash; __s32 vlan_tci; __s32 vlan_proto; } __attribute__((preserve_access_index));
` + strangeStart + `
	struct md_desc___u64 *wide = (void *)md;
	struct md_desc___s8 *narrow = (void *)md;
	struct md_desc___signed *s = (void *)md;

	check(MARK, wide->mark);
	check(HASH, wide->hash);
	check(TCI, wide->vlan_tci);
	if (narrow->mark != (__s8)want[MARK] || narrow->hash != (__s16)want[HASH] || narrow->vlan_tci != (__u8)want[TCI])
		fail();
	if (s->mark != want[MARK] || s->vlan_tci != want[TCI])
		fail();
	check(HASH, (__u32)s->hash);` + strangeEnd},
	{name: "flavour with its own field", source: `
struct md_desc___mine { __u32 flow_label; __u32 mark; } __attribute__((preserve_access_index));
` + strangeStart + `
	struct md_desc___mine *mine = (void *)md;

	if (bpf_core_field_exists(mine->flow_label))
		check(MARK, mine->flow_label + 1);
	check(MARK, mine->mark);` + strangeEnd},
	{name: "flavour with bit-fields", source: `
struct md_desc___bits { __u32 mark : 20, rest : 12; __u16 vlan_tci : 12; } __attribute__((preserve_access_index));
` + strangeStart + `
	struct md_desc___bits *bits = (void *)md;

	if (bits->mark != (want[MARK] & 0xfffff))
		fail();
	if (bits->vlan_tci != (want[TCI] & 0xfff))
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "copy, move, again", source: strangeStart + `
	struct md_desc kept;

	md_desc_copy(&kept, md);
	if (bpf_xdp_adjust_head(ctx, -20))
		return XDP_PASS;
	md = md_desc(ctx);
	if (!md)
		return XDP_PASS;
	check(MARK, kept.mark);
	check(HASH, md->hash);
	if (kept.hash != md->hash || kept.vlan_tci != md->vlan_tci)
		fail();
	if (bpf_xdp_adjust_head(ctx, 20))
		return XDP_ABORTED;
	check(HASH, kept.hash);` + strangeEnd},
	{name: "read after the move", refused: `.`, source: strangeStart + `
	if (bpf_xdp_adjust_head(ctx, -20))
		return XDP_PASS;
	check(MARK, md->mark);` + strangeEnd},
	{name: "frags", source: `
SEC("xdp.frags") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	expect(ctx);
	if (!md)
		return XDP_PASS;
	check(MARK, md->mark);
	check(HASH, md->hash);
	return bpf_xdp_get_buff_len(ctx) > 9000 ? XDP_DROP : XDP_PASS;
}
`},
	{name: "global functions", source: `
NOINLINE int account(__u32 mark, __u32 hash)
{
	check(MARK, mark);
	check(HASH, hash);
	return mark & 1;
}
NOINLINE int handle(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return -1;
	return account(md->mark, md->hash);
}
` + strangeStart + `
	int odd = handle(ctx);

	if (odd < 0 || odd != (md->mark & 1))
		fail();
	account(md->mark, md->hash);` + strangeEnd},
	{name: "global function with md", refused: `.`, source: `
NOINLINE int account(struct md_desc *md)
{
	if (!md)
		return 0;
	check(MARK, md->mark);
	return md->mark & 1;
}
` + strangeStart + `
	account(md);` + strangeEnd},
	{name: "global function with a copy", source: `
NOINLINE int account(struct md_desc *md)
{
	if (!md)
		return 0;
	check(MARK, md->mark);
	return md->mark & 1;
}
` + strangeStart + `
	struct md_desc kept;

	md_desc_copy(&kept, md);
	account(&kept);` + strangeEnd},
	{name: "freplace", source: `
NOINLINE int hook(struct xdp_md *ctx)
{
	volatile int ret = XDP_PASS;

	barrier_var(ctx);
	return ret;
}
SEC("freplace/hook") int replacement(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		check(HASH, md->hash);
	return XDP_PASS;
}
` + strangeStart + `
	check(MARK, md->mark);
	return hook(ctx);
}
`},
	{name: "freplace with ctx behind", source: `
NOINLINE int hook(int a, struct xdp_md *ctx, int b)
{
	volatile int ret = XDP_PASS;

	barrier_var(ctx);
	barrier_var(a);
	barrier_var(b);
	return ret;
}
SEC("freplace/hook") int replacement(int a, struct xdp_md *ctx, int b)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		check(HASH, md->hash);
	if (a != 5 || b != 6)
		fail();
	return XDP_PASS;
}
` + strangeStart + `
	check(MARK, md->mark);
	return hook(5, ctx, 6);
}
`},
	{name: "global function with ctx behind", source: `
NOINLINE int handle(int a, struct xdp_md *ctx, struct ethhdr *eth)
{
	struct md_desc *md = md_desc(ctx);

	barrier_var(eth);
	if (!md)
		return -1;
	check(MARK, md->mark);
	return a + md->hash;
}
` + strangeStart + `
	struct ethhdr eth = {};

	if (handle(4, ctx, &eth) != (int)md->hash + 4)
		fail();
	if (handle(5, ctx, 0) != (int)md->hash + 5)
		fail();` + strangeEnd},
	{name: "global function without ctx", kernel: `Caller passes invalid args`, source: `
static NOINLINE int hidden(struct xdp_md **p) { struct md_desc *md = md_desc(*p); return md ? md->mark : 0; }
NOINLINE int handle(void *ctx, int a)
{
	struct md_desc *md = md_desc((struct xdp_md *)ctx);

	return md ? md->mark + a : 0;
}
` + strangeStart + `
	check(MARK, handle(ctx, 0));` + strangeEnd},
	{name: "atomics", source: `
__u64 total, last, bits;
__u32 total32;
` + strangeStart + `
	__u64 before = total;

	__sync_fetch_and_add(&total, md->mark);
	check(MARK, total - before);
	__sync_fetch_and_add(&total32, md->hash);
	last = 0;
	__sync_fetch_and_add(&last, (__u64)md->hash);
	check(HASH, last);` + strangeEnd},
	{name: "atomic exchange", source: `
__u64 total, last, bits;
` + strangeStart + `
	__u64 old;

	old = __sync_lock_test_and_set(&last, md->mark);
	if (packets > 1 && old != want[MARK] - 1 && old != want[MARK] && packets < 2)
		fail();
	check(MARK, last);
	if (__sync_val_compare_and_swap(&last, md->mark, md->hash) != md->mark)
		fail();
	check(HASH, last);
	__sync_fetch_and_or(&bits, md->mark);
	if ((bits & want[MARK]) != want[MARK])
		fail();` + strangeEnd},
	{name: "keys and values", source: `
struct key { __u32 mark, hash; __u16 tci, proto; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 128); __type(key, struct key); __type(value, struct key); } table SEC(".maps");
` + strangeStart + `
	struct key key = { md->mark, md->hash, md->vlan_tci, md->vlan_proto }, *found;

	bpf_map_update_elem(&table, &key, &key, BPF_ANY);
	found = bpf_map_lookup_elem(&table, &key);
	if (!found)
		return XDP_PASS;
	check(MARK, found->mark);
	check(HASH, found->hash);
	check(TCI, found->tci);
	check(PROTO, found->proto);
	if (found->mark != md->mark)
		fail();
	found->hash = md->hash + 1;
	bpf_map_delete_elem(&table, &key);` + strangeEnd},
	{name: "field as key in place", refused: `.`, source: `
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 128); __type(key, __u32); __type(value, __u32); } table SEC(".maps");
` + strangeStart + `
	__u32 *v = bpf_map_lookup_elem(&table, &md->mark);

	if (v)
		check(MARK, *v);` + strangeEnd},
	{name: "md as a value", refused: `.`, source: `
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 128); __type(key, __u32); __type(value, struct md_desc); } table SEC(".maps");
` + strangeStart + `
	__u32 key = md->mark;

	bpf_map_update_elem(&table, &key, md, 0);
	check(MARK, key);` + strangeEnd},
	{name: "assignment", refused: `.`, source: strangeStart + `
	struct md_desc kept = *md;

	barrier();
	check(MARK, kept.mark);` + strangeEnd},
	{name: "memcpy of a field", source: strangeStart + `
	__u32 mark;
	__u8 bytes[4];

	__builtin_memcpy(&mark, &md->mark, sizeof(mark));
	__builtin_memcpy(bytes, &md->hash, 4);
	check(MARK, mark);
	if (bytes[0] != (__u8)want[HASH] || bytes[3] != (__u8)(want[HASH] >> 24))
		fail();` + strangeEnd},
	{name: "BPF_CORE_READ", refused: `use the field's value`, source: strangeStart + `
	check(MARK, BPF_CORE_READ(md, mark));
	check(HASH, BPF_CORE_READ(md, hash));` + strangeEnd},
	{name: "bpf_core_read", refused: `use the field's value`, source: strangeStart + `
	__u32 hash = 0;

	bpf_core_read(&hash, sizeof(hash), &md->hash);
	check(HASH, hash);` + strangeEnd},
	{name: "bit-field macro", refused: `has no byte_sz`, source: strangeStart + `
	check(MARK, BPF_CORE_READ_BITFIELD(md, mark));
	check(TCI, BPF_CORE_READ_BITFIELD(md, vlan_tci));` + strangeEnd},
	{name: "guards", source: strangeStart + `
	__u64 stamp = 0;

	if (bpf_core_field_exists(md->rx_timestamp))
		stamp = md->rx_timestamp;
	if (!stamp)
		stamp = bpf_ktime_get_ns();
	if (bpf_core_field_exists(md->ptype) && md->ptype & MD_PTYPE_TCP)
		return XDP_DROP;
	check(HASH, bpf_core_field_exists(md->hash) ? md->hash : 0);
	if (!stamp)
		fail();` + strangeEnd},
	{name: "size of a field", refused: `has no byte_sz`, source: strangeStart + `
	check(MARK, bpf_core_field_size(md->mark) == 4 ? md->mark : 0);` + strangeEnd},
	{name: "type guards", source: strangeStart + `
	if (!bpf_core_type_exists(struct md_desc))
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "not there", refused: `ptype`, source: strangeStart + `
	check(MARK, md->ptype);` + strangeEnd},
	{name: "unused", source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	(void)md;
	expect(ctx);
	check(MARK, want[MARK]);
	return XDP_PASS;
}
`},
	{name: "only tested", source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	expect(ctx);
	if (!md_desc(ctx))
		fail();
	check(MARK, want[MARK]);
	return md_desc(ctx) ? XDP_PASS : XDP_ABORTED;
}
`},
	{name: "tested late", source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u16 proto;
	__u32 hash = 0;

	expect(ctx);
	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	proto = eth->h_proto;
	if (proto == bpf_htons(ETH_P_IPV6))
		goto out;
	if (proto == bpf_htons(ETH_P_ARP)) {
		hash = 1;
		goto out;
	}
	bpf_get_smp_processor_id();
	if (md)
		hash = md->hash;
	else
		fail();
	check(HASH, hash);
out:
	if (md)
		check(MARK, md->mark);
	return XDP_PASS;
}
`},
	{name: "not tested", refused: `.`, source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	expect(ctx);
	check(MARK, md->mark);
	return XDP_PASS;
}
`},
	{name: "two descriptors", source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *a = md_desc(ctx), *b;

	expect(ctx);
	b = md_desc(ctx);
	if (!a || !b)
		return XDP_PASS;
	check(MARK, a->mark);
	check(HASH, b->hash);
	if (a->mark != b->mark || a->hash != b->hash)
		fail();
	return XDP_PASS;
}
`},
	{name: "one of two descriptors", source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md;

	expect(ctx);
	if (packets & 1)
		md = md_desc(ctx);
	else {
		bpf_get_prandom_u32();
		md = md_desc(ctx);
	}
	if (md)
		check(MARK, md->mark);
	return XDP_PASS;
}
`},
	{name: "compared descriptors", refused: `compare it with NULL only`, source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *a = md_desc(ctx), *b = md_desc(ctx);

	expect(ctx);
	barrier_var(a);
	if (a != b)
		fail();
	if (a)
		check(MARK, a->mark);
	return XDP_PASS;
}
`},
	{name: "volatile md", source: strangeStart + `
	struct md_desc *volatile kept = md;
	struct md_desc *again;

	bpf_get_prandom_u32();
	again = kept;
	if (again)
		check(MARK, again->mark);` + strangeEnd},
	{name: "volatile fields", source: strangeStart + `
	volatile struct md_desc *v = md;
	__u32 a = v->mark, b = v->mark;

	if (a != b)
		fail();
	check(MARK, a);
	check(HASH, *(volatile __u32 *)&md->hash);` + strangeEnd},
	{name: "one expression", source: `
static __always_inline __u32 hash_of(struct xdp_md *ctx, __u32 otherwise)
{
	struct md_desc *md = md_desc(ctx);

	return md && md->hash ? md->hash : otherwise;
}
SEC("xdp") int program(struct xdp_md *ctx)
{
	expect(ctx);
	check(HASH, hash_of(ctx, want[HASH]));
	return hash_of(ctx, 5) % 3 == 7 ? XDP_DROP : XDP_PASS;
}
`},
	{name: "redirect to a CPU", source: `
struct { __uint(type, BPF_MAP_TYPE_CPUMAP); __uint(max_entries, 4); __type(key, __u32); __type(value, struct bpf_cpumap_val); } cpus SEC(".maps");
` + strangeStart + `
	check(HASH, md->hash);
	return bpf_redirect_map(&cpus, md->hash % 4, XDP_PASS);
}
`},
	{name: "AF_XDP", source: `
struct { __uint(type, BPF_MAP_TYPE_XSKMAP); __uint(max_entries, 4); __type(key, __u32); __type(value, __u32); } xsks SEC(".maps");
` + strangeStart + `
	check(MARK, md->mark);
	if (md->mark & 1 && md->vlan_proto)
		return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
	check(HASH, md->hash);
	return XDP_PASS;
}
`},
	{name: "metadata for TC", source: `
struct meta { __u32 mark, hash; };
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	struct meta *meta;
	__u32 mark, hash;

	expect(ctx);
	if (!md)
		return XDP_PASS;
	mark = md->mark;
	hash = md->hash;
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return XDP_PASS;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)ctx->data)
		return XDP_PASS;
	meta->mark = mark;
	meta->hash = hash;
	check(MARK, meta->mark);
	check(HASH, meta->hash);
	return XDP_PASS;
}
`},
	{name: "metadata first", source: `
struct meta { __u32 mark, hash; };
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md;
	struct meta *meta;

	expect(ctx);
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return XDP_PASS;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)ctx->data)
		return XDP_PASS;
	md = md_desc(ctx);
	if (!md)
		return XDP_PASS;
	meta->mark = md->mark;
	meta->hash = md->hash;
	check(MARK, meta->mark);
	check(HASH, meta->hash);
	check(TCI, md->vlan_tci);
	return XDP_PASS;
}
`},
	{name: "printk", source: strangeStart + `
	__u64 args[] = { md->hash, md->mark };
	char out[64];

	if (md->mark == 1)
		bpf_printk("hash %x mark %x tci %d proto %x", md->hash, md->mark, md->vlan_tci, md->vlan_proto);
	if (md->mark == 2)
		bpf_printk("hash %x", md->hash);
	check(HASH, args[0]);
	check(MARK, args[1]);` + strangeEnd},
	{name: "print md", refused: `passed to bpf_trace_printk`, source: strangeStart + `
	if (want[MARK] == 1)
		bpf_printk("md %p", md);
	check(MARK, md->mark);` + strangeEnd},
	{name: "spin lock", kernel: `not allowed while holding a lock`, source: `
struct elem { struct bpf_spin_lock lock; __u64 count, mark; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct elem); } elems SEC(".maps");
` + strangeStart + `
	__u32 zero = 0;
	struct elem *e = bpf_map_lookup_elem(&elems, &zero);

	if (!e)
		return XDP_PASS;
	bpf_spin_lock(&e->lock);
	e->count++;
	e->mark = md->mark;
	bpf_spin_unlock(&e->lock);
	check(MARK, e->mark);` + strangeEnd},
	{name: "before the spin lock", source: `
struct elem { struct bpf_spin_lock lock; __u64 count, mark; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct elem); } elems SEC(".maps");
` + strangeStart + `
	__u32 zero = 0, mark = md->mark;
	struct elem *e = bpf_map_lookup_elem(&elems, &zero);

	if (!e)
		return XDP_PASS;
	bpf_spin_lock(&e->lock);
	e->count++;
	e->mark = mark;
	bpf_spin_unlock(&e->lock);
	check(MARK, e->mark);
	check(HASH, md->hash);` + strangeEnd},
	{name: "RCU and preemption", source: `
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;
` + strangeStart + `
	bpf_rcu_read_lock();
	check(MARK, md->mark);
	bpf_preempt_disable();
	check(HASH, md->hash);
	bpf_preempt_enable();
	bpf_rcu_read_unlock();` + strangeEnd},
	{name: "table in rodata", source: `
static const volatile __u32 table[16] = { 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3 };
const volatile struct { __u8 by_hash, by_mark; } cfg = { .by_mark = 1 };
` + strangeStart + `
	__u32 n = cfg.by_hash ? md->hash : cfg.by_mark ? md->mark : 0;

	if (table[n & 15] != table[want[MARK] & 15])
		fail();
	check(MARK, n);
	if (table[md->hash & 15] != table[want[HASH] & 15])
		fail();` + strangeEnd},
	{name: "FIB lookup", source: strangeStart + `
	struct bpf_fib_lookup params = { .family = 2, .ifindex = ctx->ingress_ifindex };

	params.l4_protocol = IPPROTO_UDP;
	params.tot_len = md->vlan_tci;
	params.flowinfo = md->mark;
	params.ipv4_dst = md->hash;
	bpf_fib_lookup(ctx, &params, sizeof(params), BPF_FIB_LOOKUP_DIRECT);
	check(MARK, md->mark);
	check(HASH, md->hash);` + strangeEnd},
	{name: "checksum", source: strangeStart + `
	__u32 buf[4] = { 1, 2, 3, 4 };
	__s64 a, b;

	if (md->csum_status == MD_CSUM_BAD)
		return XDP_DROP;
	a = bpf_csum_diff(0, 0, buf, sizeof(buf), md->csum);
	b = bpf_csum_diff(0, 0, buf, sizeof(buf), md->csum_status == MD_CSUM_COMPLETE ? md->csum : 0);
	if (a != b)
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "count-min sketch", source: `
#define ROWS 4
#define COLUMNS 512
struct sketch { __u32 count[ROWS][COLUMNS]; };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct sketch); } sketches SEC(".maps");
static NOINLINE __u32 mix(__u32 h, __u32 seed)
{
	h ^= seed;
	h *= 0x9e3779b1;
	return h ^ h >> 15;
}
` + strangeStart + `
	__u32 zero = 0, min = -1;
	struct sketch *s = bpf_map_lookup_elem(&sketches, &zero);

	if (!s)
		return XDP_PASS;
	for (int row = 0; row < ROWS; row++) {
		__u32 column = mix(md->hash, row * 77 + 1) % COLUMNS;
		__u32 count = ++s->count[row][column];

		if (mix(want[HASH], row * 77 + 1) % COLUMNS != column)
			fail();
		if (count < min)
			min = count;
	}
	if (!min)
		fail();
	check(HASH, md->hash);` + strangeEnd},
	{name: "token bucket", source: `
struct bucket { __u64 last, tokens; };
struct { __uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH); __uint(max_entries, 128); __type(key, __u32); __type(value, struct bucket); } buckets SEC(".maps");
` + strangeStart + `
	__u32 key = md->mark;
	__u64 now = bpf_ktime_get_ns(), delta;
	struct bucket *b = bpf_map_lookup_elem(&buckets, &key), fresh = { now, 1000 };

	if (!b) {
		bpf_map_update_elem(&buckets, &key, &fresh, BPF_NOEXIST);
		b = bpf_map_lookup_elem(&buckets, &key);
		if (!b)
			return XDP_PASS;
	}
	delta = now - b->last;
	b->tokens += delta / 1000 * (md->vlan_tci >> 13 ?: 1);
	if (b->tokens > 10000)
		b->tokens = 10000;
	b->last = now;
	check(MARK, md->mark);
	check(MARK, key);
	if (b->tokens < (md->vlan_proto ? 2 : 1))
		return XDP_DROP;
	b->tokens--;` + strangeEnd},
	{name: "pressure", source: `
struct in { __u64 a[12]; };
volatile struct in in = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 } };
` + strangeStart + `
	__u64 a = in.a[0], b = in.a[1], c = in.a[2], d = in.a[3], e = in.a[4], f = in.a[5], g = in.a[6], h = in.a[7], i = in.a[8], j = in.a[9];
	__u64 m = md->mark, n = md->hash, x;

	x = (a + m) * (b ^ n) + (c | m) - (d & n) + e * f + g * md->vlan_tci + (h << 3) + i * md->vlan_proto + j;
	x += a * b * c * d * e * f * g * h * i * j * (m ^ n);
	x -= (1 + want[MARK]) * (2 ^ want[HASH]) + (3 | want[MARK]) - (4 & want[HASH]) + 5 * 6 + 7 * want[TCI] + (8 << 3) + 9 * want[PROTO] + 10;
	x -= 3628800ULL * (want[MARK] ^ want[HASH]);
	if (x)
		fail();
	check(MARK, md->mark);
	check(HASH, md->hash);` + strangeEnd},
	{name: "pressure in a loop", source: `
volatile __u64 in[10] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
` + strangeStart + `
	__u64 a = in[0], b = in[1], c = in[2], d = in[3], e = in[4], f = in[5], g = in[6], h = in[7];
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++) {
		__u8 *p = data + i;

		if ((void *)(p + 1) > end)
			break;
		a += md->mark;
		b ^= md->hash;
		c += md->vlan_tci;
		d += a;
		e ^= b;
		f += c + *p;
		g += d - *p;
		h ^= e;
		sum += f;
		barrier_var(sum);
	}
	if (a != 1 + 10 * want[MARK] || b != 2 || c != 3 + 10 * want[TCI])
		fail();
	if (d + e + f + g + h + sum == 12345)
		packets++;
	check(HASH, md->hash);` + strangeEnd},
	{name: "chain of subprograms", source: `
static NOINLINE __u64 four(struct md_desc *md, __u64 x) { packets += 0; return x + md->vlan_tci; }
static NOINLINE __u64 three(struct md_desc *md, __u64 x) { packets += 0; return four(md, x ^ 3) + md->mark; }
static NOINLINE __u64 two(struct md_desc *md, __u64 x) { packets += 0; return three(md, x + md->hash); }
static NOINLINE __u64 one(struct xdp_md *ctx, __u64 x) { struct md_desc *md = md_desc(ctx); packets += 0; return md ? two(md, x) + md->vlan_proto : 0; }
` + strangeStart + `
	if (one(ctx, 5) != ((5 + want[HASH]) ^ 3) + want[TCI] + want[MARK] + want[PROTO])
		fail();
	check(MARK, md->mark);
	check(MARK, three(md, 0) - md->vlan_tci - 3);` + strangeEnd},
	{name: "two programs, one function", source: `
static NOINLINE __u64 of(struct md_desc *md) { packets += 0; return md->mark; }
SEC("xdp") int other(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md && of(md) == 7 ? XDP_DROP : XDP_PASS;
}
SEC("xdp.frags") int frags(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md && of(md) + md->hash == 7 ? XDP_DROP : XDP_PASS;
}
` + strangeStart + `
	check(MARK, of(md));` + strangeEnd},
	{name: "function for md and a copy", source: `
static NOINLINE __u64 of(struct md_desc *md) { packets += 0; return md->mark; }
` + strangeStart + `
	struct md_desc kept;

	md_desc_copy(&kept, md);
	check(MARK, of(md));
	check(MARK, of(&kept));` + strangeEnd, refused: `.`},
	{name: "inline function for md and a copy", source: `
static __always_inline __u64 of(struct md_desc *md) { return md->mark; }
` + strangeStart + `
	struct md_desc kept;

	md_desc_copy(&kept, md);
	check(MARK, of(md));
	check(MARK, of(&kept));` + strangeEnd},
	{name: "md or a copy", source: strangeStart + `
	struct md_desc kept = { .mark = 77 };
	struct md_desc *p = packets & 1 ? md : &kept;

	barrier_var(p);
	check(MARK, packets & 1 || p->mark != 77 ? p->mark : want[MARK]);` + strangeEnd},
	{name: "write", refused: `.`, source: strangeStart + `
	md->mark = 7;
	check(MARK, md->mark);` + strangeEnd},
	{name: "arithmetic", refused: `.`, source: strangeStart + `
	struct md_desc *next = md + 1;

	barrier_var(next);
	check(MARK, next->mark);` + strangeEnd},
	{name: "address in a global", refused: `.`, source: `
struct md_desc *global;
` + strangeStart + `
	global = md;
	check(MARK, md->mark);` + strangeEnd},
	{name: "several sections", source: `
#define STAGE(name, field, member) \
SEC("xdp/" #name) int name(struct xdp_md *ctx) { struct md_desc *md = md_desc(ctx); if (md) check(field, md->member); return XDP_PASS; }
STAGE(s1, MARK, mark)
STAGE(s2, HASH, hash)
STAGE(s3, TCI, vlan_tci)
STAGE(s4, PROTO, vlan_proto)
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, int (struct xdp_md *));
} stages SEC(".maps") = { .values = { (void *)&s1, (void *)&s2, (void *)&s3, (void *)&s4 } };
` + strangeStart + `
	bpf_tail_call(ctx, &stages, md->mark & 3);
	fail();` + strangeEnd},
	{name: "union and bool", source: `
union u { __u32 w; __u8 b[4]; };
` + strangeStart + `
	union u u = { .w = md->mark };
	_Bool odd = md->mark & 1, tagged = md->vlan_proto;

	if (u.b[3] != 0x5c || odd != tagged)
		fail();
	check(MARK, u.w);` + strangeEnd},
	{name: "software fallback", source: `
static NOINLINE __u32 software(struct xdp_md *ctx)
{
	void *data, *end;
	__u32 h = 5381;

	barrier_var(ctx);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;

	for (int i = 0; i < 20; i++) {
		if (data + i + 1 > end)
			break;
		h = h * 33 + *(__u8 *)(data + i);
	}
	return h;
}
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 hash;

	expect(ctx);
	if (md && (hash = md->hash))
		;
	else
		hash = software(ctx);
	check(HASH, hash ? want[HASH] : 0);
	if (md)
		check(MARK, md->mark);
	return XDP_PASS;
}
`},
	{name: "md in an array", source: strangeStart + `
	struct md_desc *mds[3] = { md, 0, md };

#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++)
		if (mds[i])
			check(MARK, mds[i]->mark);` + strangeEnd},
	{name: "while md", source: `
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md;
	int n = 0;

	expect(ctx);
	while ((md = md_desc(ctx))) {
		check(MARK, md->mark);
		if (++n == 4)
			break;
	}
	if (n != 4)
		fail();
	return XDP_PASS;
}
`},
	{name: "void pointers", source: `
static __always_inline __u32 of(void *p) { return ((struct md_desc *)p)->mark; }
` + strangeStart + `
	void *p = md;
	unsigned long n = (unsigned long)md;

	check(MARK, of(p));
	check(HASH, ((struct md_desc *)n)->hash);` + strangeEnd},
	{name: "dynptr", source: `
extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;
` + strangeStart + `
	struct bpf_dynptr ptr;
	struct ethhdr buffer, *eth;

	if (bpf_dynptr_from_xdp(ctx, 0, &ptr))
		return XDP_PASS;
	eth = bpf_dynptr_slice(&ptr, 0, &buffer, sizeof(buffer));
	if (!eth)
		return XDP_PASS;
	check(MARK, md->mark);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		check(HASH, md->hash);` + strangeEnd},
	{name: "may_goto", source: strangeStart + `
#if __clang_major__ < 19
#error NEEDS_MAY_GOTO
#endif
	__u32 i = 0;
	__u64 sum = 0;

	for (;;) {
		asm volatile goto("1: .byte 0xe5; .byte 0; .long ((%l[out] - 1b - 8) / 8) & 0xffff; .short 0" : : : : out);
		if (i++ >= 10)
			break;
		sum += md->mark;
	}
out:
	if (sum != 10 * want[MARK])
		fail();
	check(HASH, md->hash);` + strangeEnd},
	{name: "exceptions", source: `
extern void bpf_throw(__u64 cookie) __ksym;
` + strangeStart + `
	if (md->mark == 0)
		bpf_throw(0);
	check(MARK, md->mark);
	check(HASH, md->hash);` + strangeEnd},
	{name: "aliased names", source: `
typedef struct md_desc meta_t;
static __always_inline int get(const meta_t *const restrict m, __u32 *mark, __u32 *hash) { *mark = m->mark; *hash = m->hash; return 0; }
` + strangeStart + `
	__u32 mark, hash;

	get(md, &mark, &hash);
	check(MARK, mark);
	check(HASH, hash);` + strangeEnd},
	{name: "enum and min", source: `
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
` + strangeStart + `
	check(MARK, max(md->mark, 1u));
	check(HASH, min(md->hash, 0xffffffffu));
	if (min(md->mark, md->hash) != min(want[MARK], want[HASH]))
		fail();
	if (max(md->mark, md->hash) != max(want[MARK], want[HASH]))
		fail();
	if (__builtin_popcount(md->mark) != __builtin_popcount(want[MARK]))
		fail();` + strangeEnd},
	{name: "enumerators", source: strangeStart + `
	if (!bpf_core_type_exists(enum md_csum_status) || !bpf_core_enum_value_exists(enum md_csum_status, MD_CSUM_BAD))
		fail();
	if (bpf_core_enum_value(enum md_csum_status, MD_CSUM_BAD) != 4 || bpf_core_enum_value(enum md_ptype, MD_PTYPE_OTHER_L4) != 256)
		fail();
	if (md->csum_status != bpf_core_enum_value(enum md_csum_status, MD_CSUM_BAD))
		check(MARK, md->mark);` + strangeEnd},
	{name: "enumerators of a flavour", source: `
enum md_csum_status___newer { MD_CSUM_UNNECESSARY___newer = 17, MD_CSUM_GUESSED = 9 };
struct md_desc___typed { enum md_csum_status csum_status; enum md_ptype ptype; __u32 mark; } __attribute__((preserve_access_index));
` + strangeStart + `
	struct md_desc___typed *typed = (void *)md;

	if (bpf_core_enum_value(enum md_csum_status___newer, MD_CSUM_UNNECESSARY___newer) != MD_CSUM_UNNECESSARY)
		fail();
	if (bpf_core_enum_value_exists(enum md_csum_status___newer, MD_CSUM_GUESSED))
		fail();
	if (typed->csum_status == bpf_core_enum_value(enum md_csum_status, MD_CSUM_BAD))
		fail();
	if (bpf_core_field_exists(typed->ptype) && typed->ptype != MD_PTYPE_TCP)
		fail();
	check(MARK, typed->mark);` + strangeEnd},
	{name: "enumerator that no header has", refused: `MD_CSUM_GUESSED`, source: `
enum md_csum_status___newer { MD_CSUM_GUESSED = 9 };
` + strangeStart + `
	if (md->csum_status == bpf_core_enum_value(enum md_csum_status___newer, MD_CSUM_GUESSED))
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "byte orders", source: `
struct md_desc___be { __be32 hash; __be16 vlan_tci; __be64 mark; } __attribute__((preserve_access_index));
struct md_desc___le { __le32 hash; __le16 vlan_proto; __le64 mark; } __attribute__((preserve_access_index));
struct md_desc___host { __u16 vlan_proto; } __attribute__((preserve_access_index));
` + strangeStart + `
	struct md_desc___be *be = (void *)md;
	struct md_desc___le *le = (void *)md;
	struct md_desc___host *host = (void *)md;

	if (be->hash != bpf_htonl((__u32)want[HASH]) || be->vlan_tci != bpf_htons((__u16)want[TCI]))
		fail();
	if (le->vlan_proto != bpf_ntohs(want[PROTO]) || host->vlan_proto != bpf_ntohs(want[PROTO]))
		fail();
	check(HASH, le->hash);
	check(MARK, le->mark);
	check(MARK, bpf_be64_to_cpu(be->mark));` + strangeEnd},
	{name: "bytes of fields as indices", source: `
struct counts { __u8 of[256]; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct counts); } map SEC(".maps");
struct md_desc___narrow { __u8 vlan_tci; } __attribute__((preserve_access_index));
` + strangeStart + `
	__u32 zero = 0;
	struct counts *counts = bpf_map_lookup_elem(&map, &zero);

	if (!counts)
		return XDP_PASS;
	counts->of[((struct md_desc___narrow *)md)->vlan_tci]++;
	counts->of[((__u8 *)&md->mark)[3]] = md->mark;
	counts->of[((__u8 *)&md->rx_timestamp)[7]]++;
	check(MARK, (want[MARK] & ~0xffULL) | counts->of[0x5c]);` + strangeEnd},
	{name: "an address that moves within a field", source: strangeStart + `
	__u8 *p = packets & 1 ? (__u8 *)&md->mark : (__u8 *)&md->hash;
	__u64 field = packets & 1 ? want[MARK] : want[HASH];

	barrier_var(p);
	p += 1;
	barrier_var(p);
	if (p[0] != (__u8)(field >> 8) || p[2] != (__u8)(field >> 24) || p[-1] != (__u8)field)
		fail();
	check(MARK, md->mark);` + strangeEnd},
	{name: "TC callbacks of two functions", tc: true, source: `
struct data { struct md_desc *md; __u64 sum, hash; };
static NOINLINE __u64 leaf(struct md_desc *md, int n) { packets += 0; return md->hash + n; }
static long turn(__u64 i, void *p)
{
	struct data *d = p;

	d->sum += d->md->mark;
	d->hash = leaf(d->md, i) - i;
	return 0;
}
static long turn2(__u64 i, void *p) { struct data *d = p; d->sum += d->md->mark; d->hash = leaf(d->md, i) - i; return 0; }
static NOINLINE __u64 loops(struct md_desc *md, int n)
{
	struct data d = { .md = md };

	bpf_loop(n, n & 1 ? turn : turn2, &d, 0);
	return d.sum;
}
` + strangeStartTC + `
	__u64 more[4] = { packets };
	struct data d = { .md = md }, e = { .md = md, .hash = 1 };

	asm volatile("" :: "r"(&more) : "memory");
	bpf_loop(3, turn, &d, 0);
	bpf_loop(2, turn, &e, 0);
	check(MARK, e.sum / 2);
	check(HASH, e.hash);
	check(MARK, d.sum / 3);
	check(HASH, d.hash);
	check(MARK, loops(md, 3) / 3);
	check(MARK, loops(md, 2) / 2);` + strangeEndTC},
	{name: "TC ctx to callbacks of two functions", tc: true, source: `
struct data { struct __sk_buff *skb; __u64 sum, hash; };
static long turn(__u64 i, void *p)
{
	struct data *d = p;
	struct md_desc *md = md_desc(d->skb);

	if (!md)
		return 1;
	d->sum += md->mark;
	d->hash = md->hash;
	return 0;
}
static NOINLINE __u64 loops(struct __sk_buff *skb, int n)
{
	struct data d = { .skb = skb };

	bpf_loop(n, turn, &d, 0);
	return d.sum;
}
` + strangeStartTC + `
	struct data d = { .skb = ctx };
	__u64 more[3] = { packets };

	asm volatile("" :: "r"(&more) : "memory");
	bpf_loop(3, turn, &d, 0);
	check(MARK, d.sum / 3);
	check(HASH, d.hash);
	check(MARK, loops(ctx, 3) / 3);
	check(MARK, md->mark);` + strangeEndTC},
	{name: "callback of two functions", source: `
struct data { struct xdp_md *ctx; __u64 sum, hash; };
static long turn(__u64 i, void *p)
{
	struct data *d = p;
	struct md_desc *md = md_desc(d->ctx);

	if (!md)
		return 1;
	d->sum += md->mark;
	d->hash = md->hash;
	return 0;
}
static NOINLINE __u64 other(struct xdp_md *ctx, int n)
{
	struct data d = { .ctx = ctx };

	bpf_loop(n, turn, &d, 0);
	return d.sum;
}
SEC("xdp") int program(struct xdp_md *ctx)
{
	struct data d = { .ctx = ctx };

	expect(ctx);
	bpf_loop(3, turn, &d, 0);
	check(MARK, d.sum / 3);
	check(HASH, d.hash);
	check(MARK, other(ctx, 2) / 2);
	return XDP_PASS;
}
`},
	{name: "TC classifier", tc: true, source: strangeStartTC + `
	check(MARK, md->mark);
	check(HASH, md->hash);
	check(TCI, md->vlan_tci);
	check(PROTO, md->vlan_proto);
	ctx->tc_classid = md->hash & 0xffff;
	ctx->priority = md->vlan_tci >> 13;` + strangeEndTC},
	{name: "TC sets the mark", tc: true, source: strangeStartTC + `
	__u32 mark = md->mark;

	ctx->mark = mark + 5;
	barrier();
	if (md->mark != mark + 5)
		fail();
	check(MARK, mark);
	ctx->mark = mark;` + strangeEndTC},
	{name: "TC pops the tag", tc: true, source: strangeStartTC + `
	__u16 tci = md->vlan_tci;

	check(TCI, tci);
	if (bpf_skb_vlan_pop(ctx))
		return TC_ACT_OK;
	md = md_desc(ctx);
	if (!md)
		return TC_ACT_OK;
	if (md->vlan_proto)
		fail();
	check(MARK, md->mark);` + strangeEndTC},
	{name: "TC pulls data", tc: true, refused: `.`, source: strangeStartTC + `
	if (bpf_skb_pull_data(ctx, 40))
		return TC_ACT_OK;
	check(MARK, md->mark);` + strangeEndTC},
	{name: "TC by functions", tc: true, source: `
static NOINLINE __u64 of(struct md_desc *md, struct __sk_buff *skb) { return md->mark + skb->len; }
static NOINLINE __u64 found(struct __sk_buff *skb) { struct md_desc *md = md_desc(skb); return md ? md->hash : 0; }
` + strangeStartTC + `
	check(MARK, of(md, ctx) - ctx->len);
	check(HASH, found(ctx));` + strangeEndTC},
	{name: "TC function without the skb", tc: true, source: `
static NOINLINE __u64 of(struct md_desc *md, __u64 x) { packets += 0; return md->mark + x; }
` + strangeStartTC + `
	check(MARK, of(md, 5) - 5);` + strangeEndTC},
	{name: "TC global function without ctx", tc: true, refused: `what computes it needs ctx, and a global function gets no more than it is declared with`, source: `
static NOINLINE struct md_desc *find(struct __sk_buff *skb) { return md_desc(skb); }
NOINLINE int handle(void *ctx, int a)
{
	struct md_desc *md = find(ctx);

	return md ? md->mark + a : 0;
}
` + strangeStartTC + `
	check(MARK, handle(ctx, 0));` + strangeEndTC},
	{name: "TC in a callback", tc: true, source: `
struct data { struct md_desc *md; struct __sk_buff *skb; __u64 sum; };
static long turn(__u64 i, void *p)
{
	struct data *d = p;

	d->sum += d->md->mark;
	check(HASH, d->md->hash);
	return 0;
}
` + strangeStartTC + `
	struct data d = { .md = md, .skb = ctx };

	bpf_loop(3, turn, &d, 0);
	check(MARK, d.sum / 3);` + strangeEndTC},
	{name: "TC tail calls and a copy", tc: true, source: `
int stage(struct __sk_buff *skb);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, int (struct __sk_buff *));
} stages SEC(".maps") = { .values = { [1] = (void *)&stage } };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct md_desc); } kept SEC(".maps");
SEC("tc") int stage(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct md_desc *k = bpf_map_lookup_elem(&kept, &zero), *md = md_desc(skb);

	if (k && md) {
		check(MARK, k->mark);
		check(HASH, md->hash);
		if (k->hash != md->hash)
			fail();
	}
	return TC_ACT_OK;
}
` + strangeStartTC + `
	__u32 zero = 0;
	struct md_desc *k = bpf_map_lookup_elem(&kept, &zero);

	if (!k)
		return TC_ACT_OK;
	md_desc_copy(k, md);
	bpf_tail_call(ctx, &stages, 1);
	fail();` + strangeEndTC},
	{name: "TC loads bytes", tc: true, source: strangeStartTC + `
	__u8 bytes[32];
	struct iphdr ip;

	if (bpf_skb_load_bytes(ctx, 0, bytes, sizeof(bytes)) || bpf_skb_load_bytes_relative(ctx, 0, &ip, sizeof(ip), BPF_HDR_START_NET))
		return TC_ACT_OK;
	check(MARK, md->mark);
	if (ip.protocol == IPPROTO_UDP)
		check(HASH, md->hash);
	ctx->cb[0] = md->hash;
	if (ctx->cb[0] != want[HASH])
		fail();` + strangeEndTC},
}
