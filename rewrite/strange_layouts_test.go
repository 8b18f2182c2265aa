package rewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What a program does with md that needs no layout of its own: with random ones it does
// what clang makes of it for the program's own struct, without records.
func TestStrangeLayouts(t *testing.T) {
	netlab.NeedRoot(t)
	needTools(t, "clang-14", "clang-16", "clang-19", "clang-22")
	seed := *pairsSeed
	if seed == 0 {
		seed = rand.Uint64() >> 16
	}
	t.Logf("To repeat: -pairs.seed %d", seed)
	for name, f := range strangeAnywhere {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rewritten := 0
			for n, by := range strangeCompilers {
				t.Run(by.String(), func(t *testing.T) {
					r := &reshaper{pairGenerator{Rand: rand.New(rand.NewPCG(seed, uint64(n))), compiler: by}, make(map[string]*pairStruct)}
					rewritten += f.checkAnywhere(t, r)
				})
			}
			if rewritten == 0 {
				t.Error("is refused for all layouts")
			}
		})
	}
}

// strangeTries is how many layouts a program is tried with, and how many areas with each.
const strangeTries = 3

// checkAnywhere returns for how many layouts the program was rewritten.
func (f strangeProgram) checkAnywhere(t *testing.T, r *reshaper) (count int) {
	compile := func(source string) []byte { return costCompile(t, r.clang(), source, "el", r.compiler.cpu) }
	recorded, plain := compile(f.C()), compile(f.plainC())
	described, err := btf.LoadSpecFromReader(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	var desc *btf.Struct
	if err := described.TypeByName(reloc.Descriptor, &desc); err != nil {
		t.Fatal(err)
	}
	local, compared := pairTypeOf(desc).(*pairStruct), kernelLoad(t, plain)
	for range strangeTries {
		p := &accessPair{local: local, target: r.target(local)}
		raw, err := pairsBTF([]*accessPair{p})
		if err != nil {
			t.Fatal(err)
		}
		layout, err := reloc.NewLayout("nic", raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		rewritten, _, err := rewrite.Rewrite(recorded, layout, rewrite.Options{})
		if errors.Is(err, rewrite.ErrRefused) {
			t.Logf("refused: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		loaded := kernelLoad(t, rewritten)
		for range strangeTries {
			r.compare(t, p, compared, loaded)
		}
		count++
	}
	return count
}

// plainC is C without records.
func (f strangeProgram) plainC() string {
	plain := strings.NewReplacer("#define PAI __attribute__((preserve_access_index))", "#define PAI",
		"bpf_core_type_size(struct md_desc)", "sizeof(struct md_desc)").Replace(f.C())
	return plain + "\nstruct md_desc described;\n"
}

// pairTypeOf returns a type from BTF.
func pairTypeOf(typ btf.Type) pairType {
	switch typ := typ.(type) {
	case *btf.Typedef:
		scalar, isScalar := pairTypeOf(typ.Type).(*pairScalar)
		if isScalar && strings.HasPrefix(typ.Name, "__be") {
			scalar.kind = pairBig
		}
		if isScalar {
			return scalar
		}
		return pairTypeOf(typ.Type)
	case *btf.Int:
		if typ.Encoding == btf.Bool {
			return &pairScalar{kind: pairBool, size: 1}
		}
		return &pairScalar{size: int(typ.Size), signed: typ.Encoding == btf.Signed}
	case *btf.Array:
		return &pairArray{int(typ.Nelems), pairTypeOf(typ.Type)}
	case *btf.Struct:
		s := &pairStruct{tag: typ.Name, size: int(typ.Size)}
		for _, member := range typ.Members {
			inner := pairTypeOf(member.Type)
			if member.BitfieldSize > 0 {
				inner.(*pairScalar).bits = int(member.BitfieldSize)
			}
			s.members = append(s.members, pairMember{member.Name, inner, int(member.Offset)})
		}
		return s
	}
	panic(fmt.Sprint(typ))
}

// reshaper makes layouts that hold all that a program may store.
type reshaper struct {
	pairGenerator
	tags map[string]*pairStruct // what structs with names have become
}

func (r *reshaper) clang() string { return fmt.Sprintf("clang-%d", r.compiler.version) }

func (r *reshaper) target(local *pairStruct) *pairStruct {
	for {
		clear(r.tags)
		target := r.reshaped(local, true).(*pairStruct)
		target.tag = reloc.Descriptor
		layOut(target, r.gaps())
		if target.size <= netlab.MaxMetadata {
			return target
		}
	}
}

func (r *reshaper) reshaped(typ pairType, mayHaveBits bool) pairType {
	switch typ := typ.(type) {
	case *pairArray:
		return &pairArray{typ.length + r.IntN(2), r.reshaped(typ.element, false)}
	case *pairStruct:
		if known := r.tags[typ.tag]; known != nil {
			return known.clone()
		}
		s := &pairStruct{tag: typ.tag, packed: r.chance(0.2)}
		for _, i := range r.Perm(len(typ.members)) {
			member := typ.members[i]
			member.typ = r.reshaped(member.typ, true)
			s.members = append(s.members, member)
			if r.chance(0.15) {
				s.members = append(s.members, r.unused())
			}
		}
		if typ.tag != "" {
			r.tags[typ.tag] = s
		}
		return s
	}
	for {
		if target := r.targetType(typ, mayHaveBits).(*pairScalar); target.capacity() >= typ.(*pairScalar).capacity() {
			return target
		}
	}
}

// compare compares what a program does to what it does for its own struct, without
// records.
func (r *reshaper) compare(t *testing.T, p *accessPair, plain, loaded *ebpf.Collection) {
	t.Helper()
	area, own := make([]byte, roundUp(p.target.size, 4)), make([]byte, roundUp(p.local.size, 4))
	for i := range area {
		area[i] = byte(r.Uint32())
	}
	for _, path := range pairLeaves(p.target) {
		leaf, _ := p.target.find(path)
		leaf.write(area, r.Uint64()>>r.IntN(64))
	}
	for _, path := range pairLeaves(p.local) {
		local, target, _ := p.resolve(path)
		local.write(own, target.read(area))
	}
	in := r.Uint64() >> r.IntN(64)
	run := func(c *ebpf.Collection, area []byte) (out uint64, after []byte) {
		for name, value := range map[string]uint64{"in": in, "out": 0} {
			if err := setVariable(c, name, []uint64{value}); err != nil {
				t.Fatal(err)
			}
		}
		action, after := kernelRun(t, c.Programs["program"], area)
		if action != kernelXDPPass {
			t.Errorf("returned %d", action)
		}
		return kernelResults(t, c)["out"], after
	}
	wantOut, ownAfter := run(plain, own)
	out, after := run(loaded, area)
	want := bytes.Clone(area)
	for _, path := range pairLeaves(p.local) {
		local, target, _ := p.resolve(path)
		if isStored := local.read(own) != local.read(ownAfter); isStored || target.read(after) != target.read(area) {
			target.write(want, local.read(ownAfter)) // which may be what the program has of it already
		}
	}
	if out != wantOut || !slices.Equal(after, want) {
		var c cWriter
		t.Errorf("out is %#x instead of %#x, and the metadata\n%x instead of\n%x, in is %#x, it was\n%x\n%s",
			out, wantOut, after, want, in, area, c.layout(p.target, "", 0))
	}
}
