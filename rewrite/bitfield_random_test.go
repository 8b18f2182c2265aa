package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/rewrite"
)

var (
	bitsSeed  = flag.Uint64("bits.seed", 1, "seed of the first random structs with bit-fields")
	bitsCount = flag.Int("bits.count", 3, "how many random structs with bit-fields to check with each compiler and byte order")
)

// Random structs with bit-fields, in all that C does with them. What tells where
// clang placed a bit-field is clang itself: compiled without a record, the same
// function does the same for the program's own struct. For another layout it does
// so after what the layout has was converted to the program's struct.
func TestBitFields(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-14", "clang-16", "clang-19", "clang-22")
	var refused, functions atomic.Int64
	t.Run("compilers", func(t *testing.T) {
		seed := *bitsSeed
		for _, compiler := range []pairCompiler{{14, "v1"}, {14, "v3"}, {16, "v2"}, {19, "v1"}, {19, "v4"}, {22, "v2"}, {22, "v3"}, {22, "v4"}} {
			for _, endian := range []string{"el", "eb"} {
				seed += 1000
				random := rand.New(rand.NewPCG(seed, 0))
				t.Run(fmt.Sprintf("%v %s", compiler, endian), func(t *testing.T) {
					t.Parallel()
					for _, s := range manyBits(random, *bitsCount) {
						b := &bitBatch{pairCompiler: compiler, endian: endian, random: random, structs: []bitStruct{s}}
						b.checkLayouts(t)
						refused.Add(int64(b.refused))
						functions.Add(int64(b.functions))
					}
				})
			}
		}
	})
	t.Logf("%d of %d functions refused for the program's own struct", refused.Load(), functions.Load())
	if refused.Load()*20 > functions.Load() {
		t.Errorf("more than one in 20")
	}
}

// bitsMayRefuse are the reasons for which a function may be refused: for the
// program's own struct the first only, which has to be rare.
var bitsMayRefuse = []*regexp.Regexp{
	regexp.MustCompile(`^where the bit-field .* is in what the instruction ".*" moves is not plain from its struct$`),
	regexp.MustCompile(`^the instruction ".*" stores a part of .*, and the layout's .* holds whether it is 0 as a whole$`),
	regexp.MustCompile(`^the instruction ".*" loads a part of .*, of which the layout's .* has the sign only, and the function may store it before$`),
}

// bitBatch is structs that are compiled together.
type bitBatch struct {
	pairCompiler
	endian  string
	random  *rand.Rand
	structs []bitStruct

	refused, functions int // for the program's own struct
}

// bitNumbers are the types that bit-fields are declared with, by their size.
var bitNumbers = map[string]int{
	"__u8": 8, "__u16": 16, "__u32": 32, "__u64": 64, "__s8": 8, "__s16": 16, "__s32": 32, "__s64": 64, "_Bool": 1,
}

// manyBits returns random structs with bit-fields.
func manyBits(random *rand.Rand, count int) []bitStruct {
	structs := make([]bitStruct, count)
	for i := range structs {
		structs[i] = randomBits(random, i)
	}
	return structs
}

// randomBits returns a random struct with bit-fields.
func randomBits(random *rand.Rand, number int) bitStruct {
	types := []string{"__u8", "__u16", "__u32", "__u32", "__u64", "__s8", "__s16", "__s32", "__s64", "_Bool"}
	pick := func(of []string) string { return of[random.IntN(len(of))] }
	s := bitStruct{name: fmt.Sprintf("bits%d", number)}
	var names, members, layout []string
	for i := range 3 + random.IntN(6) {
		typ := pick(types)
		name, width := fmt.Sprintf("b%d", i), 1+random.IntN(bitNumbers[typ])
		declared := fmt.Sprintf("%s %s : %d;", typ, name, width)
		switch random.IntN(12) {
		case 0:
			members = append(members, fmt.Sprintf("%s p%d;", pick(types), i))
			continue
		case 1:
			members = append(members, fmt.Sprintf("%s : %d;", typ, random.IntN(width+1)))
			continue
		case 2:
			declared = "volatile " + declared
		case 3:
			declared = fmt.Sprintf("struct { %s : %d; %s };", typ, 1+random.IntN(width), declared)
		case 4:
			declared = fmt.Sprintf("union { %s __u8 p%d; };", declared, i)
		}
		names, members = append(names, name), append(members, declared)
		layout = append(layout, randomTarget(random, pick(types), name))
	}
	if len(names) < 2 {
		return randomBits(random, number)
	}
	random.Shuffle(len(layout), func(i, j int) { layout[i], layout[j] = layout[j], layout[i] })
	s.members, s.layout = strings.Join(members, " "), strings.Join(layout, " ")
	s.attribute = pick([]string{"", "", "", "", "__attribute__((packed))", "__attribute__((aligned(8)))", "__attribute__((packed, aligned(4)))"})
	s.f = names[random.IntN(len(names))]
	for s.g = s.f; s.g == s.f; {
		s.g = names[random.IntN(len(names))]
	}
	return s
}

// randomTarget returns how a layout has a field.
func randomTarget(random *rand.Rand, typ, name string) string {
	switch random.IntN(5) {
	case 0:
		return fmt.Sprintf("%s %s;", typ, name)
	case 1:
		return fmt.Sprintf("%s %s;", []string{"__be16", "__be32", "__be64"}[random.IntN(3)], name)
	}
	return fmt.Sprintf("%s : %d; %s %s : %d;", typ, random.IntN(bitNumbers[typ]), typ, name, 1+random.IntN(bitNumbers[typ]))
}

// bitLayout returns the layouts of structs.
func bitLayout(structs []bitStruct) string {
	var b strings.Builder
	fmt.Fprintln(&b, "#include <linux/types.h>")
	for _, s := range structs {
		fmt.Fprintf(&b, "struct %s { %s } %s_layout;\n", s.name, s.layout, s.name)
	}
	return b.String()
}

// compile compiles a source; ok is false if the compiler can't record an access.
func (b *bitBatch) compile(t *testing.T, source string) (object []byte, ok bool) {
	t.Helper()
	object, err := costTryCompile(t, fmt.Sprintf("clang-%d", b.version), source, b.endian, b.cpu)
	if err != nil && !errors.Is(err, errUnrecorded) {
		t.Fatal(err)
	}
	return object, err == nil
}

// compilable returns the structs of which the compiler can record the accesses.
func (b *bitBatch) compilable(t *testing.T, structs []bitStruct) []bitStruct {
	t.Helper()
	if _, ok := b.compile(t, bitSource(structs, true)); ok {
		return structs
	}
	if len(structs) == 1 {
		return nil
	}
	half := len(structs) / 2
	return slices.Concat(b.compilable(t, structs[:half]), b.compilable(t, structs[half:]))
}

// checkLayouts checks the structs of which the compiler can record the accesses, for
// themselves and for their layouts.
func (b *bitBatch) checkLayouts(t *testing.T) {
	t.Helper()
	b.structs = b.compilable(t, b.structs)
	if len(b.structs) == 0 {
		return
	}
	b.refused = b.check(t, bitSource(b.structs, false), bitsMayRefuse[:1])
	b.functions = len(b.structs) * len(bitExpressions)
	layout := bitLayout(b.structs)
	if b.endian == "eb" { // where the decoder knows no foreign order
		layout = strings.ReplaceAll(layout, "__be", "__u")
	}
	b.check(t, layout, bitsMayRefuse)
}

// check rewrites the structs' functions for a layout and runs them. It returns how
// many are refused.
func (b *bitBatch) check(t *testing.T, layoutSource string, mayRefuse []*regexp.Regexp) (refused int) {
	t.Helper()
	fixed, _ := b.compile(t, bitSource(b.structs, false))
	layout, _ := b.compile(t, layoutSource)
	rewritten, refused := b.rewrite(t, layout, mayRefuse)
	if rewritten == nil {
		return refused
	}
	locals, targets := kernelTypes(t, fixed), kernelTypes(t, layout)
	expected, functions := bitFunctions(t, fixed), bitFunctions(t, rewritten)
	for _, s := range b.structs {
		from, to := bitType(t, locals, s.name), bitType(t, targets, s.name)
		for _, e := range bitExpressions {
			name := "do_" + s.name + "_" + e.name
			if len(functions[name]) == 0 || len(expected[name]) == 0 {
				continue // refused, or its result is a constant
			}
			run := bitRun{order: byteOrderOf(b.endian), declared: &s, expression: &e, local: from, target: to}
			for range 4 {
				if err := run.check(run.interpreted(expected[name]), run.interpreted(functions[name]), b.random); err != nil {
					t.Errorf("%s: %v\nstruct { %s } %s, f is %s, g is %s\nlayout { %s }", name, err, s.members, s.attribute, s.f, s.g, s.layout)
					break
				}
			}
		}
	}
	return refused
}

// rewrite returns the object of all functions that can be rewritten, nil if there is
// none, and how many can't.
func (b *bitBatch) rewrite(t *testing.T, layout []byte, mayRefuse []*regexp.Regexp) (object []byte, refusals int) {
	t.Helper()
	object, _ = b.compile(t, bitSource(b.structs, true))
	without := make(map[string]bool)
	for {
		out, _, err := rewrite.Rewrite(object, parseLayout(t, "bits", layout), rewrite.Options{Types: []string{"bits*"}})
		if err == nil {
			return out, len(without)
		}
		var refused *rewrite.RefusedError
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		before := len(without)
		for _, refusal := range refused.Refusals {
			without[strings.TrimPrefix(refusal.Access.Program, "do_")] = true
			if !slices.ContainsFunc(mayRefuse, func(r *regexp.Regexp) bool { return r.MatchString(refusal.Reason) }) {
				t.Errorf("%s in %s", refusal.String(), refusal.Access.Program)
			}
		}
		switch len(without) {
		case before:
			t.Fatal(err)
		case len(b.structs) * len(bitExpressions):
			return nil, len(without)
		}
		object, err = withoutFunctions(object, func(name string) bool { return without[strings.TrimPrefix(name, "do_")] })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bitRun runs a function on a layout, and what it was made from on the program's
// own struct.
type bitRun struct {
	order         binary.ByteOrder
	declared      *bitStruct
	expression    *bitExpression
	local, target btf.Type
}

// names returns the fields that the function accesses.
func (r *bitRun) names() map[string]string {
	return map[string]string{"f": r.declared.f, "g": r.declared.g}
}

// bitCall calls a function with a number, on an area, and returns what it returns.
type bitCall func(area []byte, x uint64) (uint64, error)

// interpreted calls code.
func (r *bitRun) interpreted(code []byte) bitCall {
	return func(area []byte, x uint64) (uint64, error) {
		m := interpret.New(r.order, area)
		return m.Call(code, x)
	}
}

func (r *bitRun) check(fixed, rewritten bitCall, random *rand.Rand) error {
	const size = 96
	area, own := make([]byte, size), make([]byte, size)
	for i := range area {
		area[i], own[i] = byte(random.Uint32()), byte(random.Uint32())
	}
	x := random.Uint64() >> random.IntN(64)
	for _, name := range r.names() {
		local, _ := kernelFindIn(r.local, name)
		target, _ := kernelFindIn(r.target, name)
		if r.expression.readsBack && !target.holds(local) {
			return nil // the compiler may take what it stored, or what is there then
		}
		if target.boolean && !target.isBitField {
			area[target.bit/8] &= 1
		}
		local.in(r.order).write(own, target.in(r.order).read(area))
	}
	want := bytes.Clone(area)
	before := bytes.Clone(own)
	var kept []kernelField // whose number stays the same to the compiler, which need not store it

	returned, err := fixed(own, x)
	if err != nil {
		return err
	}
	for name, field := range r.names() {
		if strings.Contains(r.expression.stores, name) {
			local, _ := kernelFindIn(r.local, field)
			target, _ := kernelFindIn(r.target, field)
			target.in(r.order).write(want, local.in(r.order).read(own))
			if local.in(r.order).read(own) == local.in(r.order).read(before) {
				kept = append(kept, target)
			}
		}
	}

	untouched := bytes.Clone(area)
	got, err := rewritten(area, x)
	for _, field := range kept {
		if field.in(r.order).read(area) == field.in(r.order).read(untouched) {
			field.in(r.order).write(want, field.in(r.order).read(area))
		}
	}
	switch {
	case err != nil:
		return err
	case got != returned && !strings.HasSuffix(r.expression.body, "return 0;"):
		return fmt.Errorf("returns %#x instead of %#x, x is %#x, own %x", got, returned, x, before)
	case !bytes.Equal(area, want):
		return fmt.Errorf("leaves\n%x instead of\n%x, x is %#x", area, want, x)
	}
	return nil
}

// holds reports whether a field can have all numbers of another one.
func (f kernelField) holds(other kernelField) bool {
	return other.boolean || !f.boolean && f.bits >= other.bits
}
