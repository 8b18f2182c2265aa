package rewrite_test

import "testing"

// markerFinds is md_desc() in other words, given how it asks where descriptors come from.
const markerFinds = `
	static __always_inline struct md_desc *found(struct xdp_md *ctx, int driver)
	{
		if (driver)
			return ((struct xdp_load_source *)(void *)ctx)->desc;
		return __md_desc((void *)(long)ctx->data_meta, (void *)(long)ctx->data, bpf_core_type_size(struct md_desc));
	}
	#define ASK bpf_core_type_exists(struct xdp_load_source)
`

// However the question where descriptors come from is put, and whatever clang makes of it.
func TestStrangeMarker(t *testing.T) {
	f := strangeProgram{
		layout: `struct md_desc { __u32 a, hash, mark; }`,
		area:   "aaaaaaaa" + "05000000" + "07000000",
		out:    5,
	}
	for name, c := range map[string]struct {
		source, program string
		out             uint64
	}{
		"in a loop": {program: `
			for (int i = 0; i < 100; i++) {
				struct md_desc *md = md_desc(ctx);
				if (!md) break;
				out += md->hash;
				OPAQUE(i);
			}`, out: 500},
		"twice": {program: `
			struct md_desc *md = md_desc(ctx);
			if (!md) return XDP_ABORTED;
			out = md->hash;
			if (bpf_xdp_adjust_head(ctx, 0)) return XDP_ABORTED;
			md = md_desc(ctx);
			if (md) out += (__u64)md->mark << 16;
			if (bpf_xdp_adjust_head(ctx, 0)) return XDP_ABORTED;
			md = md_desc(ctx);
			if (md) out += (__u64)md->mark << 32;`, out: 0x7_0007_0005},
		"on one of two paths": {program: `
			struct md_desc *md = (void *)0;
			if (in == 0) { md = md_desc(ctx); OPAQUE(md); }
			if (md) out = md->hash;`, out: 5},
		"in a function": {
			source:  `NOINLINE struct md_desc *get(struct xdp_md *ctx) { return md_desc(ctx); }`,
			program: `struct md_desc *md = get(ctx); if (md) out = md->hash;`, out: 5},
		"in a global function": {
			source:  `__attribute__((noinline)) int hash_of(struct xdp_md *ctx) { struct md_desc *md = md_desc(ctx); return md ? md->hash : -1; }`,
			program: `out = hash_of(ctx);`, out: 5},
		"in a callback": {
			source: `
				struct over { struct xdp_md *ctx; __u64 sum; };
				static int add(__u32 i, struct over *over) { struct md_desc *md = md_desc(over->ctx); if (md) over->sum += md->hash; return 0; }`,
			program: `struct over over = { ctx, 0 }; bpf_loop(3, add, &over, 0); out = over.sum;`, out: 15},
		"in switch": {program: `
			struct md_desc *md;
			switch (in) {
			case 0: md = md_desc(ctx); if (md) out = md->hash; break;
			case 1: md = md_desc(ctx); if (md) out = md->mark; break;
			case 2: md = md_desc(ctx); if (md) out = md->hash + md->mark; break;
			}`, out: 5},
		"asked ahead": {source: markerFinds, program: `
			int driver = ASK;
			bpf_xdp_adjust_head(ctx, 0);
			bpf_xdp_adjust_head(ctx, 0);
			struct md_desc *md = found(ctx, driver);
			if (md) out = md->hash;`, out: 5},
		"asked once for two": {source: markerFinds, program: `
			int driver = ASK;
			struct md_desc *md = found(ctx, driver);
			if (!md) return XDP_ABORTED;
			out = md->hash;
			bpf_xdp_adjust_head(ctx, 0);
			md = found(ctx, driver);
			if (md) out += (__u64)md->mark << 32;
			bpf_xdp_adjust_head(ctx, 0);`, out: 0x7_0000_0005},
		"the other way round": {source: markerFinds, program: `
			int area = !ASK;
			struct md_desc *md = found(ctx, !area);
			if (md) out = md->hash;`, out: 5},
		"on the stack": {source: markerFinds, program: `
			volatile int driver = ASK;
			struct md_desc *md = found(ctx, driver);
			if (md) out = md->hash;`, out: 5},
		"passed to a function": {
			source:  markerFinds + `NOINLINE struct md_desc *get(struct xdp_md *ctx, int driver) { OPAQUE(driver); return found(ctx, driver); }`,
			program: `struct md_desc *md = get(ctx, ASK); if (md) out = md->hash;`, out: 5},
		"computed with": {source: markerFinds, program: `
			struct md_desc *md = found(ctx, (ASK & in) + 2 * ASK);
			if (md) out = md->hash;`, out: 5},
		"beside the packet": {program: `
			for (int i = 0; i < 2; i++) {
				struct md_desc *md = md_desc(ctx);
				char *data = (void *)(long)ctx->data;
				if (data + 1 > (char *)(long)ctx->data_end) return XDP_ABORTED;
				out += data[0] & 0;
				if (md) out += md->hash;
			}`, out: 10},
		"kept, too": {source: markerFinds, program: `
			int driver = ASK;
			struct md_desc *md = found(ctx, driver);
			if (md) out = md->hash + 16 * driver;`, out: 5},
	} {
		t.Run(name, func(t *testing.T) {
			f := f
			f.source, f.out = c.source, c.out
			f.whole = `SEC("xdp") int program(struct xdp_md *ctx) {` + c.program + ` return XDP_PASS; }`
			f.check(t)
		})
	}
}

// Where nothing tells what becomes of the answer, the descriptor may be the driver's.
func TestStrangeMarkerOutOfSight(t *testing.T) {
	f := strangeProgram{layout: `struct md_desc { __u32 a, hash; }`, area: "aaaaaaaa" + "05000000", refused: true}
	for name, c := range map[string]struct{ source, ask string }{
		"in memory":     {"volatile int driver;", "driver = ASK;"},
		"of a function": {"NOINLINE int asked(void) { return ASK; }", "int driver = asked();"},
	} {
		t.Run(name, func(t *testing.T) {
			f := f
			f.source = markerFinds + c.source
			f.whole = `SEC("xdp") int program(struct xdp_md *ctx) {` + c.ask + `
				struct md_desc *md = found(ctx, driver);
				if (md) out = md->hash;
				return XDP_PASS; }`
			f.check(t)
		})
	}
}

// As without optimisation.
func TestStrangeMarkerUnoptimised(t *testing.T) {
	strangeProgram{
		whole: `SEC("xdp") __attribute__((noinline, optnone)) int program(struct xdp_md *ctx) {
			struct md_desc *md = md_desc(ctx);
			if (md) out = md->hash;
			return XDP_PASS; }`,
		layout: `struct md_desc { __u32 a, hash; }`,
		area:   "aaaaaaaa" + "05000000",
		out:    5,
		refuse: true,
	}.check(t)
}
