package rewrite_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// kernelBits are structs whose bit-fields lie in all the ways that matter, and
// layouts that keep these otherwise.
var kernelBits = []bitStruct{
	{"bits0", "__u32 a : 3; __u32 f : 12; __u32 g : 5;", "", "f", "g", "__u16 f; __u32 : 4; __u32 g : 5;"},
	{"bits1", "__u16 first; __s8 f : 7; __u8 : 1; __u32 last; __s64 g : 40;", "", "f", "g", "__s32 g; __u8 : 3; __s16 f : 9;"},
	{"bits2", "__u8 first; __u32 g : 6; __u32 f : 2; __u32 h : 15;", "", "f", "g", "__be32 f; __u32 : 13; __u32 g : 11;"},
	{"bits3", "__u64 a : 9; __u64 f : 33; volatile __u64 g : 8;", "", "f", "g", "__u64 g; __u64 : 5; __u64 f : 47;"},
	{"bits4", "__u16 a : 4; volatile __u16 f : 11; _Bool g : 1;", "__attribute__((packed))", "f", "g", "__u8 g; __s32 f;"},
}

// All that C does with a bit-field of its own, compiled by each compiler for each
// instruction set, on the kernel.
func TestKernelBitFields(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	needTools(t, "gcc", "clang-14", "clang-16", "clang-19", "clang-22")
	seen := make(map[pairCompiler]bool)
	for _, compiler := range append(pairCompilers, pairCompiler{16, "v1"}, pairCompiler{14, "v2"}) {
		if seen[compiler] {
			continue
		}
		seen[compiler] = true
		t.Run(fmt.Sprint(compiler), func(t *testing.T) {
			t.Parallel()
			b := &bitBatch{pairCompiler: compiler, endian: "el", random: rand.New(rand.NewPCG(1, 2))}
			b.structs = b.compilable(t, kernelBits)
			if len(b.structs) < 4 {
				t.Errorf("only %d structs", len(b.structs))
			}
			b.checkOnKernel(t)
		})
	}
}

// checkOnKernel is check on the kernel.
func (b *bitBatch) checkOnKernel(t *testing.T) {
	t.Helper()
	fixed, _ := b.compile(t, bitSource(b.structs, false))
	layout, _ := b.compile(t, bitLayout(b.structs))
	locals, targets := kernelTypes(t, fixed), kernelTypes(t, layout)
	object, _ := b.rewrite(t, layout, nil)
	expected, rewritten := kernelLoad(t, fixed), kernelLoad(t, object)
	for _, s := range b.structs {
		for _, e := range bitExpressions {
			name := s.name + "_" + e.name
			run := bitRun{order: byteOrderOf("el"), declared: &s, expression: &e, local: bitType(t, locals, s.name), target: bitType(t, targets, s.name)}
			for range 4 {
				if err := run.check(kernelCall(t, expected, name), kernelCall(t, rewritten, name), b.random); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// kernelCall returns a call of a program, with a number, on an area.
func kernelCall(t *testing.T, loaded *ebpf.Collection, program string) bitCall {
	return func(area []byte, x uint64) (uint64, error) {
		if err := loaded.Variables["in_unsigned"].Set(x); err != nil {
			return 0, err
		}
		_, after := kernelRun(t, loaded.Programs[program], area)
		copy(area, after)
		var returned uint64
		err := loaded.Variables["out_unsigned"].Get(&returned)
		return returned, err
	}
}
