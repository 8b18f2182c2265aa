package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A NIC may break C's rules and write another number than 0 or 1 into a bool.
// What the program makes of it is its own affair, but it must not change what is
// beside the field that it stores.
func TestBoolStaysInItsField(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	program := costCompile(t, "clang-19", `#include "cost.h"
struct md_0 { __u8 flag : 1; bool other; } __attribute__((preserve_access_index));
SEC("xdp") int copy(struct md_0 *md) { md->other = md->flag; return 0; }
`, "el", "v3")
	layout := costCompile(t, "clang-19", `#include "cost.h"
struct md_0 { bool flag; __u8 before : 3, other : 1, after : 4; } layout;
`, "el", "v3")
	out, _, err := rewrite.Rewrite(program, parseLayout(t, "bool", layout), rewrite.Options{Types: []string{"md_*"}})
	if err != nil {
		t.Fatal(err)
	}
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(costFunctions(t, out)["copy"]), binary.LittleEndian, "linux")
	if err != nil {
		t.Fatal(err)
	}
	for flag := range 256 {
		for _, beside := range []byte{0, 0xf7} {
			m := interpret.New(binary.LittleEndian, []byte{byte(flag), beside})
			m.Regs[asm.R1] = interpret.AreaStart
			if err := m.Run(insns[:len(insns)-1]); err != nil {
				t.Fatalf("%v: %v", instructions(insns...), err)
			}
			if got := m.Area()[1]; got&^8 != beside || flag < 2 && got != beside|byte(flag)<<3 {
				t.Errorf("%d makes %#x of %#x: %v", flag, got, beside, instructions(insns...))
			}
		}
	}
}
