package rewrite_test

import (
	"bytes"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A choice between two constants becomes one between the layout's numbers where
// nothing else needs what was chosen, and only there.
func TestChoices(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	needTools(t, "gcc", "clang-14", "clang-19", "clang-22")
	source := func(swapped, bits, attribute string) string {
		return `#include "cost.h"
#define OPAQUE(x) asm volatile("" : "+r"(x))
struct md_0 { ` + swapped + `; ` + bits + `; } ` + attribute + `;
PROGRAM(plain, struct md_0, md->swapped = in_unsigned > 5; md->bits = in_unsigned > 5;)
PROGRAM(used_after, struct md_0,
	__u64 b = in_unsigned > 5;
	OPAQUE(b);
	md->swapped = b;
	out_unsigned = b;)
PROGRAM(twice, struct md_0,
	_Bool b = in_unsigned > 5;
	md->swapped = b;
	md->bits = b;)
PROGRAM(numbers, struct md_0,
	__u8 n = in_unsigned > 5 ? 3 : 1;
	md->swapped = n;
	md->bits = n != 1;
	out_unsigned = n;)
PROGRAM(other_way, struct md_0,
	_Bool b = 0;
	if (in_unsigned > 5) {
		out_unsigned = 9;
		b = 1;
	}
	md->bits = b;)
`
	}
	const declared = "__attribute__((preserve_access_index))"
	for _, compiler := range []string{"clang-14", "clang-19", "clang-22"} {
		for _, cpu := range []string{"v1", "v3"} {
			object := costCompile(t, compiler, source("_Bool swapped", "_Bool bits", declared), "el", cpu)
			layout := costCompile(t, compiler, source("__be16 swapped", "__u32 before : 5, bits : 3", "layout"), "el", cpu)
			out, _, err := rewrite.Rewrite(object, parseLayout(t, "md_0-el", layout), rewrite.Options{Types: []string{"md_*"}})
			if err != nil {
				t.Fatal(err)
			}
			loaded := kernelLoad(t, out)
			for in := range uint64(11) {
				isTrue := byte(0)
				if in > 5 {
					isTrue = 1
				}
				for name, want := range map[string]struct {
					swapped, bits bool
					out           uint64
				}{
					"plain": {true, true, 0}, "used_after": {true, false, uint64(isTrue)}, "twice": {true, true, 0},
					"numbers": {true, true, 1 + 2*uint64(isTrue)}, "other_way": {false, true, 9 * uint64(isTrue)},
				} {
					area := bytes.Repeat([]byte{0xff}, kernelMaxMetadata)
					expected := bytes.Clone(area)
					if want.swapped {
						expected[0], expected[1] = 0, isTrue
						if name == "numbers" {
							expected[1] = 1
						}
					}
					if want.bits {
						expected[2] = expected[2]&0x1f | isTrue<<5
					}
					kernelClear(t, loaded)
					setInput(t, loaded, "in_unsigned", in)
					_, after := kernelRun(t, loaded.Programs[name], area)
					if got := kernelResults(t, loaded)["out_unsigned"]; got != want.out || !bytes.Equal(after, expected) {
						t.Errorf("%s -mcpu=%s, %s of %d: out %d instead of %d, metadata\n%x instead of\n%x", compiler, cpu, name, in, got, want.out, after, expected)
					}
				}
			}
		}
	}
}
