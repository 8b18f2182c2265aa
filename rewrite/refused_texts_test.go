package rewrite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Refusals with the whole of their reasons, as docs/errors.md has them.
func TestRefusedTexts(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	const tag = "struct tag { __u16 vid, prio; }"
	const local = tag + " PAI; struct md_desc { __u32 other; __u32 f; __u64 g; struct tag tag; __u16 list[4]; } PAI;"
	const layout = tag + "; struct md_desc { __u64 g; __u32 spare; __u32 f; __u32 other; struct tag tag; __u32 list[4]; } layout;"
	for name, c := range map[string]struct{ source, want string }{
		"memory": {
			`struct md_desc **at = (void *)in_unsigned; struct md_desc *other; bpf_probe_read_kernel(&other, 8, at); out_unsigned = other->f;`,
			"md->f: its pointer points at what came out of memory, or of a function that is not followed, and nothing tells whether the descriptor is there or a copy of the program's own",
		},
		"size": {
			`struct md_desc *next = md + 1; OPAQUE(next); out_unsigned = next->f;`,
			"md->f: its pointer is 32 bytes into the metadata area, the size of struct md_desc in the program, and the layout's has 40",
		},
		"index": {
			`struct md_desc *next = md + (in_unsigned & 3); out_unsigned = next->f;`,
			"md->f: its pointer is the address of the metadata area plus something that is not constant and not recorded",
		},
		"neighbour": {
			`__u32 *at = &md->other; OPAQUE(at); out_unsigned = at[1];`,
			"md->other: the instruction \"r1 = *(u32 *)(r1 + 4)\" accesses bytes 4 to 7 of the field",
		},
		"to a helper": {
			`__u64 all[2]; bpf_probe_read_kernel(all, 16, &md->f); out_unsigned = all[1];`,
			"16 bytes are passed to bpf_probe_read_kernel from the address of the field md->f, which has 4, and what is beside it is something else in the layout",
		},
		"container of": {
			`__u32 *at = &md->f; OPAQUE(at); out_unsigned = ((struct md_desc *)((void *)at - 4))->g;`,
			"its pointer comes from the address of md->f, and what lies around that is something else in the layout",
		},
		"index into a number": {
			`out_unsigned = ((__u8 *)&md->g)[in_unsigned & 7];`,
			" at an index that is not constant, and what is beside it is something else in the layout",
		},
		"index into an array": {
			`out_unsigned = md->list[in_unsigned & 3];`,
			" at an index that is not constant, and the layout has ",
		},
		"beyond the field": {
			`if (takes(&md->other)) return XDP_DROP;`,
			" accesses more than the field md->other through its address, and what is beside it is something else in the layout",
		},
		"not understood": {
			`__u64 n = 0; asm volatile(".8byte 0xff" : "+r"(n)); out_unsigned = md->f + n;`,
			"nothing tells what its pointer points at, as the function is not understood: ",
		},
		"plain C": {
			`struct tag *tag = (void *)md + __builtin_offsetof(struct md_desc, tag); OPAQUE(tag); out_unsigned = tag->vid + md->tag.prio;`,
			"its pointer leads into the descriptor in plain C, and struct tag may be at another place in the layout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := costCompile(t, "clang-19", `
				#include "cost.h"
				#define OPAQUE(value) asm volatile("" : "+r"(value) : : "memory")
				#define PAI __attribute__((preserve_access_index))
				`+local+`
				static __attribute__((noinline)) int takes(__u32 *at) { return *(__u64 *)at > 5; }
				PROGRAM(refused, struct md_desc, `+c.source+`)`, "el", "v3")
			nic := parseLayout(t, "nic", costCompile(t, "clang-19", "#include <linux/types.h>\n"+layout, "el", "v3"))
			_, _, err := rewrite.Rewrite(object, nic, rewrite.Options{})
			var refused *rewrite.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want %v", err, rewrite.ErrRefused)
			}
			if message := err.Error() + "\n" + refused.Details(); !strings.Contains(message, c.want) {
				t.Errorf("got  %s\nwant %s", message, c.want)
			}
		})
	}
}
