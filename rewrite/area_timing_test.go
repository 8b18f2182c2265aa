package rewrite_test

import "strings"

// What people write who have no xdp-load, for a metadata area that is laid out like nic_a.c:
// all of it with the offsets of one NIC, or with a table of the offsets of the NIC at hand.

// typeOfField is how a field is declared in nic_a.c.
func typeOfField(name string) string {
	switch name {
	case "rx_timestamp":
		return "__u64"
	case "vlan_tci", "vlan_proto":
		return "__u16"
	}
	return "__u32"
}

// forFields repeats C for each field: $F is its name, $T its type.
func forFields(c string) string {
	var all strings.Builder
	for _, field := range timedFields {
		all.WriteString(strings.NewReplacer("$F", field.name, "$T", typeOfField(field.name)).Replace(c))
	}
	return all.String()
}

// fixedHeader has the descriptor as this NIC has it, for clang to compile in, behind the
// same guard.
var fixedHeader = strings.NewReplacer(
	`#include "../bpf/md_desc.h"`, `
#define md_desc nic_desc
#include "../bpf/examples/nic_a.c"
#undef md_desc
#include "../bpf/md_desc.h"
`,
	"md_desc *md = md_desc(ctx)", "nic_desc *md = __md_desc((void *)(long)ctx->data_meta, (void *)(long)ctx->data, sizeof(struct nic_desc))",
).Replace(timedHeader)

// tableHeader has the offsets that a NIC would register, and what reads with one. The mask
// is there for the verifier: the bound of a packet pointer's variable part.
var tableHeader = fixedHeader + `
struct offsets {
` + forFields("	__u32 $F;\n") + `
};

#define AT(offsets, field, type) ({					\
	void *at = meta + ((offsets)->field & 127);			\
	if (at + sizeof(type) > data)					\
		goto none;						\
	*(type *)at;							\
})
#define AREA void *meta = (void *)(long)ctx->data_meta, *data = (void *)(long)ctx->data;
`

const offsetsInMap = `
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct offsets);
} table SEC(".maps");

#define OFFSETS struct offsets *offsets; __u32 zero = 0;			\
	if (!(offsets = bpf_map_lookup_elem(&table, &zero)))		\
		goto none;
`

// preparedTable makes the area, and fills the table in.
var preparedTable = timedArea("sizeof(struct nic_desc)") + `
static __attribute__((noinline)) int fill(void)
{
	OFFSETS
` + forFields("	offsets->$F = __builtin_offsetof(struct nic_desc, $F);\n") + `
none:
	return 0;
}
#define PREPARE prepare(ctx); fill();
`

var offsetsInRodata = `
const volatile struct offsets in_rodata = {
` + forFields("	.$F = __builtin_offsetof(struct nic_desc, $F),\n") + `
};
#define OFFSETS const volatile struct offsets *offsets = &in_rodata;
` + timedArea("sizeof(struct nic_desc)") + "#define PREPARE prepare(ctx);\n"

// probe reads as BPF_CORE_READ does, called as an accessor of another object that is linked.
var (
	probe = "#define PROBED(field) ({ __typeof__(md->field) v; bpf_probe_read_kernel(&v, sizeof(v), &md->field); v; })\n"
	call  = forFields("static __attribute__((noinline)) $T get_$F(struct nic_desc *md) { return md->$F; }\n")
)

// handWritten are the sources that need no rewriting.
func handWritten() []timedSource {
	prepared := timedArea("sizeof(struct nic_desc)") + "#define PREPARE prepare(ctx);\n"
	each := func(find, field string) func(*timedRead) (before, each string, ok bool) {
		return func(r *timedRead) (string, string, bool) {
			var c strings.Builder
			for _, name := range r.fields {
				c.WriteString(strings.NewReplacer("$F", name, "$T", typeOfField(name)).Replace(field))
			}
			switch r.find {
			case findBefore:
				return find, c.String(), true
			case findEach:
				return "", find + " " + c.String(), true
			}
			return "if (0) goto none;", "", true
		}
	}
	sources := []timedSource{
		{name: "fixed", header: fixedHeader + prepared, code: each("FIND", "READ($F, md->$F) ")},
		{name: "table", header: tableHeader + offsetsInMap + preparedTable, code: each("AREA OFFSETS", "READ($F, AT(offsets, $F, $T)) ")},
		{name: "rodata", header: tableHeader + offsetsInRodata, code: each("AREA OFFSETS", "READ($F, AT(offsets, $F, $T)) ")},
		{name: "probed", header: fixedHeader + probe + prepared, code: each("FIND", "READ($F, PROBED($F)) ")},
		{name: "linked", header: fixedHeader + call + prepared, code: each("FIND", "READ($F, get_$F(md)) ")},
	}
	for i := range sources {
		sources[i].rewrite = unchanged
	}
	return sources
}
