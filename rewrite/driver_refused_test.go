package rewrite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Each program is refused for a reason, at the line that says so if one does: constants may
// have any line.
var driverRefused = []struct {
	name, source, reason string
}{
	{"a store", driverProgram + `
	md->mark = 1; /* refused */` + driverEnd,
		"md->mark is computed, and can't be stored to: store to memory of the program's own"},

	{"an atomic operation", driverProgram + `
	__sync_fetch_and_add(&md->mark, 1); /* refused */` + driverEnd,
		"md->mark is computed, and can't be stored to"},

	{"an address that is kept", `
__u32 *volatile kept;
` + driverProgram + `
	kept = &md->mark; /* refused */` + driverEnd,
		"its address is stored, and what the driver keeps has none for it: use the field's value instead of its address"},

	{"BPF_CORE_READ", driverProgram + `
	check(MARK, BPF_CORE_READ(md, mark)); /* refused */` + driverEnd,
		"its address is passed to a function, and what the driver keeps has none for it"},

	{"no room on the stack", driverProgram + `
	__u64 own[63] = { packets };

	asm volatile("" : : "r"(own) : "memory");
	check(MARK, md->mark + own[packets & 1]);` + driverEnd,
		"md_desc(ctx): it takes more instructions in this layout"},

	{"the size of the descriptor", driverProgram + `
	check(MARK, bpf_core_type_size(struct md_desc));` + driverEnd,
		"what a driver keeps of a packet has no type_size: get the descriptor by md_desc(ctx), and read its fields"},

	{"the size of a field", driverProgram + `
	check(MARK, bpf_core_field_size(md->mark));` + driverEnd,
		"what a driver keeps of a packet has no byte_sz"},

	{"the next descriptor", driverProgram + `
	check(MARK, md[1].mark); /* refused */` + driverEnd,
		"md[1].mark is not a whole field of the descriptor"},

	{"something beyond it in plain C", driverProgram + `
	struct md_desc *other = (void *)md + 64;

	asm volatile("" : "+r"(other));
	check(MARK, other->mark); /* refused */` + driverEnd,
		"its pointer is the driver's descriptor plus something, and what lies there is not laid out as struct md_desc: start from md_desc(ctx)"},

	{"what is in front of the packet", driverProgram + `
	struct md_desc *own = (void *)(long)ctx->data_meta;

	if ((void *)own + 64 <= (void *)(long)ctx->data)
		check(MARK, own->mark); /* refused */` + driverEnd,
		"its pointer points into the metadata area, and the program is loaded for the descriptor that veth keeps: get the descriptor by md_desc(ctx) alone"},

	{"a field that the driver does not have", driverProgram + `
	check(MARK, md->ptype); /* refused */` + driverEnd,
		"driver veth has no ptype of a packet (no member of struct sk_buff), it has "},

	{"a field that is of another kind", `
struct tag { __u16 vid; };
struct md_desc___tagged { struct tag vlan_tci; } __attribute__((preserve_access_index));
` + driverProgram + `
	check(TCI, ((struct md_desc___tagged *)md)->vlan_tci.vid); /* refused */` + driverEnd,
		"vlan_tci of struct md_desc is __u16, which is no struct tag"},

	{"a program of another kind", `
SEC("tracepoint/syscalls/sys_enter_openat") int traced(void *ctx)
{
	struct md_desc *md = md_desc((struct xdp_md *)ctx); /* refused */

	return md && md->mark;
}
` + driverProgram + `
	check(MARK, md->mark);` + driverEnd,
		`what computes it needs ctx, and a program comes here that has neither struct xdp_md nor struct __sk_buff`},

	{"a function for a program of another kind", `
static __attribute__((noinline)) int marked(void *ctx)
{
	struct md_desc *md = md_desc((struct xdp_md *)ctx); /* refused */

	return md && md->mark;
}
SEC("tracepoint/syscalls/sys_enter_openat") int traced(void *ctx)
{
	return marked(ctx);
}
` + driverProgram + `
	check(MARK, md->mark);
	if (marked(ctx))
		packets += 0;` + driverEnd,
		`what computes it needs ctx, and a program comes here that has neither struct xdp_md nor struct __sk_buff`},

	{"a global function", `
__attribute__((noinline)) int is_there(struct md_desc *md)
{
	return !!md;
}
` + driverProgram + `
	check(MARK, is_there(md)); /* refused */` + driverEnd,
		"the descriptor's address is passed to the global function is_there, which can't read it"},
}

func TestDriverRefused(t *testing.T) {
	t.Parallel()
	accessors := []*rewrite.Accessors{driverAccessors(t, "veth", "")}
	for _, test := range driverRefused {
		for _, compiler := range []string{"clang-14", "clang-19", "clang-22"} {
			t.Run(test.name+"/"+compiler, func(t *testing.T) {
				_, _, err := rewrite.RewriteForDriver(costCompile(t, compiler, driverHeader+test.source, "el", "v3"), accessors, rewrite.Options{})
				var refused *rewrite.RefusedError
				if !errors.As(err, &refused) {
					t.Fatalf("not refused: %v", err)
				}
				for _, refusal := range refused.Refusals {
					isThere := strings.Contains(refusal.Access.Source.Text, "/* refused */") || !strings.Contains(test.source, "/* refused */")
					if isThere && strings.Contains(refusal.String(), test.reason) {
						return
					}
				}
				t.Errorf("not refused for %q, but:\n%s", test.reason, explained(err))
			})
		}
	}
}

// An object from before the header knew drivers is not taken for one without descriptors.
func TestDriverOldHeader(t *testing.T) {
	t.Parallel()
	old := strings.Replace(driverHeader, `#include "../bpf/md_desc.h"`, `
struct md_desc { __u32 mark; } __attribute__((preserve_access_index));
#define md_desc(ctx) ((struct md_desc *)(long)(ctx)->data_meta)
`, 1)
	object := costCompile(t, "clang-19", old+driverProgram+"check(MARK, md->mark);"+driverEnd, "el", "v3")
	_, _, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{driverAccessors(t, "veth", "")}, rewrite.Options{})
	if err == nil || !strings.Contains(err.Error(), "compile again, with the md_desc.h of this version") {
		t.Error(err)
	}
}
