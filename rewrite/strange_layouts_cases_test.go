package rewrite_test

const strangeBits = `
	#define TELL(value) (out = out * 31 + (value))
	struct md_desc {
		__u32 type : 4, valid : 1, l4 : 3, length : 14, : 2, queue : 8;
		__s32 delta : 12, drift : 20;
		__u16 tci : 12, dei : 1, pcp : 3;
		__u8 flags;
		_Bool ok;
		__be32 src;
		__s64 offset;
		__s16 temperature;
		__be16 port;
	} PAI;
`

const strangeOddBits = `
	#define TELL(value) (out = out * 31 + (value))
	struct md_desc {
		__u64 first : 40, second : 24;
		__u16 a; __u8 b : 3, c : 5;
		__s64 wide : 39, rest : 25;
		__u32 n : 31, last : 1;
		__s8 s1 : 1, s7 : 7; __u8 end;
		__u32 x; __s32 y : 18;
	} PAI;
`

// strangeAnywhere are programs for any layout.
var strangeAnywhere = map[string]strangeProgram{
	"signs": {types: strangeOddBits, program: `
		TELL(md->wide < 0); TELL(md->y < md->s7); TELL(md->s1 ? 3 : 4); TELL(md->wide >> 38); TELL((__u64)md->wide >> 60);
		TELL((__u8)md->s7); TELL((__u16)md->y); TELL(-md->s1); TELL(~md->y); TELL(md->rest * md->s7); TELL((__s32)md->n);
		TELL(md->first == md->n); TELL(md->y < (int)in); TELL((__u32)md->y < (__u32)in); TELL(md->last ? md->n : md->y);`},
	"neighbours": {types: strangeOddBits, program: `
		__u32 b = md->b, c = md->c; __s64 w = md->wide, r = md->rest;
		md->b = c; md->c = b; md->wide = r; md->rest = w; md->first = md->second; md->second = w; md->last = b; md->n = c;
		md->s1 = c; md->s7 = b; md->b += md->c; md->c -= md->b; md->n += md->last; md->last ^= md->n;
		TELL(md->wide ^ md->rest);`},
	"flags": {types: strangeBits, program: `
		md->flags |= 5; md->flags &= ~8; md->valid |= in & 1; md->l4 ^= in; md->length++; md->queue--; md->dei = !md->dei; md->ok = md->flags & 2;
		if (md->delta < 2047) md->delta++;
		md->temperature = md->temperature > 50 ? 50 : md->temperature < -50 ? -50 : md->temperature;
		TELL(md->flags); TELL(md->length); TELL(md->queue);`},
	"swapped": {types: strangeBits, program: `
		__s32 d = md->delta; md->delta = md->drift; md->drift = d;
		__u32 t = md->type; md->type = md->l4; md->l4 = t;
		_Bool k = md->ok; md->ok = md->valid; md->valid = k;
		__u16 p = md->port; md->port = md->tci; md->tci = p;`},
	"kept in memory": {types: strangeBits, program: `
		volatile __s32 d = md->delta; volatile __u8 f = md->flags; volatile __s16 t = md->temperature; volatile __u64 l = md->length; volatile _Bool k = md->ok;
		md->drift = d; md->offset = t; md->queue = f; md->delta = (__s8)f; md->length = l + k; md->temperature = d; md->ok = t; md->flags = k;
		TELL(d + f + t + l);`},
	"narrowed": {types: strangeBits, program: `
		md->offset = (__s8)in; md->drift = (__s16)in; md->delta = (__u8)in; md->src = (__u16)in; md->temperature = (__s8)(in >> 9);
		md->length = (__u8)in; md->flags = in & 0xf; md->queue = in >> 60; md->port = (_Bool)in;`},
	"extended by hand": {types: strangeBits, program: `
		__s64 a = (__s64)(in << 40) >> 40; __u64 b = in << 33 >> 33; __s32 c = (__s32)in >> 7;
		md->offset = a; md->drift = c; md->delta = c >> 10; md->temperature = a >> 10; md->src = b; md->queue = b >> 24;
		if ((__s32)in < 0) md->offset = (__s32)in; else md->offset = (__u32)in;`},
	"through functions": {types: strangeBits, source: `
		__attribute__((noinline)) __s32 signed_of(__u32 x) { return (__s32)x >> 3; }
		__attribute__((noinline)) __u8 byte_of(__u64 x) { return x; }
		NOINLINE __s16 half_of(__s64 x) { OPAQUE(x); return x; }`, program: `
		md->offset = signed_of(in); md->drift = half_of(in); md->length = byte_of(in >> 8); md->delta = byte_of(in);
		md->flags = half_of(md->delta); md->src = byte_of(md->flags); md->temperature = signed_of(md->queue);
		TELL(half_of(md->temperature) + byte_of(md->offset));`},
	"in a callback": {types: strangeBits, source: `
		struct state { struct md_desc *md; __s64 sum; __u32 n; };
		static long each(__u32 i, struct state *s) { s->sum += s->md->delta * (i + 1) + s->md->queue; s->md->length += i; s->n++; return s->n > 4; }`, program: `
		struct state s = { .md = md };
		bpf_loop(in & 7, each, &s, 0);
		TELL(s.sum); TELL(s.n);`},
	"copies in the values of a map": {types: strangeBits, source: `
		struct entry { __u32 n; struct md_desc d; };
		struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, __u32); __type(value, struct entry); } entries SEC(".maps");
		struct state { struct md_desc *md; __s64 sum; };
		static long each(void *map, __u32 *key, struct entry *e, struct state *s) { e->d.delta = s->md->delta + *key; e->d.flags = s->md->flags; s->sum += e->d.delta * 3 + e->d.flags; return 0; }`, program: `
		struct state s = { .md = md };
		bpf_for_each_map_elem(&entries, each, &s, 0);
		TELL(s.sum);`},
	"time in two fields": {types: `
		#define TELL(value) (out = out * 31 + (value))
		struct md_desc { __u32 seconds; __u32 nanoseconds : 30, synchronized : 1, : 1; __s32 skew; __u64 raw; } PAI;`, program: `
		__u64 t = md->seconds * 1000000000ULL + md->nanoseconds;
		if (!md->synchronized) t += md->skew;
		TELL(t); TELL(md->raw - t); TELL((__s64)(md->raw - t) < 0);
		md->raw = t; md->skew = (__s64)(t - in) >> 8; md->synchronized = 1; md->nanoseconds += 5;`},
	"records in arrays": {types: `
		#define TELL(value) (out = out * 31 + (value))
		struct rule { __u32 id; __s16 prio; __u8 action; } PAI;
		struct md_desc { struct rule rules[3]; __u16 hits[4]; __s8 levels[6]; struct { __u64 sec : 34, nsec : 30; } stamp; } PAI;`, program: `
		md->rules[1].prio = md->rules[2].prio - 1; md->rules[0].id = md->rules[2].id; md->rules[2].action |= 8;
		md->hits[3] += md->hits[1]; md->levels[5] = -md->levels[0]; md->stamp.nsec = in; md->stamp.sec = md->stamp.nsec;
		TELL(md->rules[1].prio); TELL(md->levels[5] * md->hits[3]);`},
}
