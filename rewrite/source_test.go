package rewrite_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What is around a computed load, and what is asked of a computed field, is right; or it
// is refused. Each program is a function of the area.
func TestComputedCases(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	for name, test := range map[string]struct {
		program, layout string
		constants       map[string]int32
		area            string
		want            uint64
		refused         string
	}{
		"beyond the field": {
			program: `struct md_0 { __u32 hash __attribute__((aligned(8))), mark; } RECORDED;
				F { return *(__u64 *)&md->hash; }`,
			layout:  `struct md_0 { __u32 hash, mark; } layout;`,
			refused: "accesses 8 bytes, the field __u32 at 0 has 4",
		},
		"what the source has": {
			program: `struct md_0 { __u32 hash, x; } RECORDED;
				F { __u64 x; asm volatile("%0 = 100" : "=r"(x)); __u64 h = md->hash; OPAQUE(h); if (bpf_core_field_exists(md->x)) return x + h + md->x; return h; }`,
			layout:    `struct md_0 { __u32 hash; } layout;`,
			constants: map[string]int32{"md_0->x": 7},
			area:      "\x05\x00\x00\x00", want: 112,
		},
		"what the source has, as a bit-field": {
			program: `struct md_0 { __u32 x : 3; } RECORDED;
				F { return BPF_CORE_READ_BITFIELD(md, x); }`,
			layout:    `struct md_0 { __u32 x : 3; } layout;`,
			constants: map[string]int32{"md_0->x": 7},
			refused:   "md_0->x is computed, and has no ",
		},
		"a store": {
			program: `struct md_0 { __u32 x; } RECORDED;
				F { md->x = 1; return 0; }`,
			layout:    `struct md_0 { __u32 x; } layout;`,
			constants: map[string]int32{"md_0->x": 7},
			refused:   "md_0->x is computed, and can't be stored to",
		},
		"an address": {
			program: `struct md_0 { __u32 x; } RECORDED;
				static __noinline __u64 take(__u32 *p) { return *p; } F { return take(&md->x); }`,
			layout:    `struct md_0 { __u32 before, x; } layout;`,
			constants: map[string]int32{"md_0->x": 7},
			refused:   "md_0->x is computed, and has no address",
		},
		"a constant for another edit": {
			program: `struct md_0 { __u32 hash; __u32 mark; } RECORDED;
				F { __u64 five; bpf_ktime_get_ns(); asm volatile("%0 = 5" : "=r"(five)); __u64 h = md->hash; OPAQUE(h); md->mark = five; return h; }`,
			layout: `struct md_0 { __u32 hash, mark : 12; } layout;`,
		},
		"swapped, as a truth value": {
			program: `struct md_0 { bool flag; } RECORDED;
				F { return md->flag; }`,
			layout: `struct md_0 { __be16 flag; } layout;`,
			area:   "\x00\x00", want: 0,
		},
		"a bit-field of a copy": {
			program: `struct md_0 { __u64 f : 14; } RECORDED;
				F { struct md_0 own, *p = &own; __u64 all = ~0ull; OPAQUE(p); *(__u64 *)&own = all; p->f = md->f; OPAQUE(p); return *(__u64 *)&own; }`,
			layout:    `struct md_0 { __u32 f; } layout;`,
			constants: map[string]int32{"md_0->f": 5},
			area:      "\x00\x00\x00\x00", want: ^uint64(1<<14-1) | 5,
		},
		"a register of one path": {
			program: `struct md_0 { __u32 hash; } RECORDED;
				F { __u64 h = 1, x; asm volatile("%0 = r1" : "=r"(x)); asm volatile("if %0 == 0 goto +1; r5 = 3" : : "r"(x) : "r5"); h = md->hash;
				asm volatile("if %1 == 0 goto +1; %0 += r5" : "+r"(h) : "r"(x)); return h; }`,
			layout:  `struct md_0 { __u32 hash; } layout;`,
			refused: "code has to stand in its place, which needs r5, and that has a value on some paths only",
		},
	} {
		t.Run(name, func(t *testing.T) {
			program := costCompile(t, "clang-19", `#include "cost.h"
				#include <bpf/bpf_core_read.h>
				#define RECORDED __attribute__((preserve_access_index))
				#define OPAQUE(x) asm volatile("" : "+r"(x) : : "memory")
				#define F SEC("xdp") __u64 f(struct md_0 *md)
				`+test.program, "el", "v3")
			layout := parseLayout(t, "layout-el", costCompile(t, "clang-19", "#include \"cost.h\"\n"+test.layout, "el", "v3"))
			options := rewrite.ComputedExcept(rewrite.Options{Types: []string{"md_*"}}, test.constants)
			out, _, err := rewrite.Rewrite(program, layout, options)
			var refused *rewrite.RefusedError
			if test.refused != "" {
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("%v instead of: %s", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkWritten(t, out)
			if test.area == "" {
				return
			}
			m := interpret.New(binary.LittleEndian, []byte(test.area))
			if got, err := m.Call(costFunctions(t, out)["f"], 0); err != nil || got != test.want {
				t.Errorf("%d instead of %d, %v", got, test.want, err)
			}
		})
	}
}

// checkWritten checks that each instruction reads registers that hold a value on every
// path, as the verifier does.
func checkWritten(t *testing.T, object []byte) {
	t.Helper()
	model := modelOf(t, object)
	section := model.Section("xdp")
	for _, start := range section.Starts() {
		fn := model.Function(bpf.Place{Section: "xdp", Slot: start})
		always := fn.Flow.Liveness(1)
		for slot := fn.Start; slot < fn.End; slot++ {
			if read := section.Read(slot); read.IsSecondHalf() {
				continue
			}
			ins, err := insn.Decode(section.Data[slot*insn.SlotSize:], binary.LittleEndian)
			if err != nil {
				t.Fatal(err)
			}
			if unwritten := ins.Uses & insn.Accessible &^ always.Always(slot); unwritten != 0 {
				t.Errorf("instruction %d reads %v, which may have no value", slot, unwritten.List())
			}
		}
	}
}
