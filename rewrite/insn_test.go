package rewrite_test

import (
	"testing"

	"github.com/cilium/ebpf/asm"
)

// llvm-objdump-19 spells these so, but for the offset, which it has in hex.
func TestAtomicsAreSpelled(t *testing.T) {
	for _, test := range []struct {
		ins  asm.Instruction
		want string
	}{
		{asm.AddAtomic.Mem(asm.R1, asm.R5, asm.Word, 4), "lock *(u32 *)(r1 + 4) += r5"},
		{asm.OrAtomic.Mem(asm.R3, asm.R5, asm.DWord, -8), "lock *(u64 *)(r3 - 8) |= r5"},
		{asm.FetchXor.Mem(asm.R1, asm.R6, asm.Word, 0), "w6 = atomic_fetch_xor((u32 *)(r1 + 0), w6)"},
		{asm.FetchAdd.Mem(asm.R1, asm.R6, asm.DWord, 0), "r6 = atomic_fetch_add((u64 *)(r1 + 0), r6)"},
		{asm.Xchg.Mem(asm.R3, asm.R4, asm.DWord, 0), "r4 = xchg_64(r3 + 0, r4)"},
		{asm.Xchg.Mem(asm.R3, asm.R4, asm.Word, 0), "w4 = xchg32_32(r3 + 0, w4)"},
		{asm.CmpXchg.Mem(asm.R3, asm.R5, asm.DWord, 0), "r0 = cmpxchg_64(r3 + 0, r0, r5)"},
		{asm.CmpXchg.Mem(asm.R3, asm.R5, asm.Word, 0), "w0 = cmpxchg32_32(r3 + 0, w0, w5)"},
	} {
		if got := (instructions(test.ins)).String(); got != test.want {
			t.Errorf("%v is spelled %q, want %q", test.ins, got, test.want)
		}
	}
}
