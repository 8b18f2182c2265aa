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
)

// A struct or an array that a program copies has in each member what the layout
// has there, and zeros between. What a program copies to the layout is in each
// member there.
func TestKernelCopies(t *testing.T) {
	kernelEach(t, "copies", 20, func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		copied := p.copies(t)
		for _, member := range copied {
			for _, leaf := range member.leaves {
				leaf.target.write(area, leaf.target.read(area)) // a bool is 0 or 1
			}
		}
		checkCopyLoads(t, loaded, copied, area)
		stored := make([]byte, 64)
		random.Read(stored)
		checkCopyStores(t, loaded, "store_", copied, area, stored)
		checkCopyStores(t, loaded, "set_", copied, area, bytes.Repeat([]byte{1}, 64))
		checkCopyStores(t, loaded, "clear_", copied, area, make([]byte, 64))
	})
}

// kernelCopy is a struct or array that a program copies, and what it consists of.
type kernelCopy struct {
	name   string
	size   int
	leaves []kernelLeaf
}

type kernelLeaf struct {
	path   string
	local  kernelField // from the start of the copy
	target kernelField // of the layout
}

// copies returns what the program copies.
func (p *kernelPair) copies(t *testing.T) []kernelCopy {
	t.Helper()
	var copied []kernelCopy
	leaves := 0
	for _, member := range kernelMembers(p.locals[slices.IndexFunc(p.locals, func(typ btf.Type) bool { return strings.HasPrefix(typ.TypeName(), "md_desc___") })]) {
		size, err := btf.Sizeof(member.Type)
		if err != nil {
			t.Fatal(err)
		}
		found := kernelCopy{name: member.Name, size: size}
		for _, path := range kernelLeafPaths(member.Name, member.Type) {
			local, _ := kernelFind(p.locals, path)
			target, ok := kernelFind(p.targets, path)
			if !ok {
				t.Fatalf("No field %s", path)
			}
			local.bit -= uint32(member.Offset)
			found.leaves = append(found.leaves, kernelLeaf{path, local, target})
			leaves++
		}
		copied = append(copied, found)
	}
	if leaves < 50 {
		t.Errorf("Only %d leaves", leaves)
	}
	return copied
}

// kernelLeafPaths returns the paths to all numbers in a type, as kernelFind takes
// them.
func kernelLeafPaths(path string, typ btf.Type) (paths []string) {
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Array:
		for i := range typ.Nelems {
			paths = append(paths, kernelLeafPaths(fmt.Sprintf("%s__%d", path, i), typ.Type)...)
		}
	case *btf.Struct, *btf.Union:
		for _, member := range kernelMembers(typ) {
			inner := path
			if member.Name != "" {
				inner += "__" + member.Name
			}
			paths = append(paths, kernelLeafPaths(inner, member.Type)...)
		}
	default:
		paths = []string{path}
	}
	return paths
}

func checkCopyLoads(t *testing.T, loaded *ebpf.Collection, copied []kernelCopy, area []byte) {
	t.Helper()
	kernelClear(t, loaded)
	if after := runShapes(t, loaded, "load_", area); !bytes.Equal(after, area) {
		t.Errorf("Changed the metadata: %x, before: %x", after, area)
	}
	checkSum(t, loaded, "got_box")
	for _, c := range copied {
		got, expected := make([]byte, c.size), make([]byte, c.size)
		if err := loaded.Variables["got_"+c.name].Get(got); err != nil {
			t.Fatal(err)
		}
		for _, leaf := range c.leaves {
			leaf.local.write(expected, leaf.target.read(area))
		}
		if !bytes.Equal(got, expected) {
			t.Errorf("%s: %x instead of %x, metadata %x: %s", c.name, got, expected, area, c.differing(got, expected))
		}
	}
}

// checkCopyStores checks the programs whose name starts with a word: they copy
// what all structs and arrays are made of.
func checkCopyStores(t *testing.T, loaded *ebpf.Collection, word string, copied []kernelCopy, area, stored []byte) {
	t.Helper()
	kernelClear(t, loaded)
	expected := bytes.Clone(area)
	for _, c := range copied {
		value := bytes.Clone(stored[:c.size])
		for _, leaf := range c.leaves {
			if leaf.local.boolean {
				leaf.local.write(value, leaf.local.read(value)&1)
			}
		}
		if err := loaded.Variables["in_"+c.name].Set(value); err != nil {
			t.Fatal(err)
		}
		for _, leaf := range c.leaves {
			leaf.target.write(expected, leaf.local.read(value))
		}
	}
	after := runShapes(t, loaded, word, area)
	if word == "store_" {
		checkSum(t, loaded, "in_box")
	}
	if bytes.Equal(after, expected) {
		return
	}
	t.Errorf("%s: metadata\n%x instead of\n%x, before:\n%x", word, after, expected, area)
	for _, c := range copied {
		for _, leaf := range c.leaves {
			if got, want := leaf.target.read(after), leaf.target.read(expected); got != want {
				t.Errorf("%s: %#x instead of %#x", leaf.path, got, want)
			}
		}
	}
}

// checkSum checks what programs have added to a struct box while they copied it.
func checkSum(t *testing.T, loaded *ebpf.Collection, name string) {
	t.Helper()
	var box, sum uint64
	if err := errors.Join(loaded.Variables[name].Get(&box), loaded.Variables["got_sum"].Get(&sum)); err != nil {
		t.Fatal(err)
	}
	if sum != box+44 {
		t.Errorf("The registers add up to %#x instead of %#x", sum, box+44)
	}
}

// differing names the members that are not as expected.
func (c *kernelCopy) differing(got, expected []byte) string {
	var names []string
	for _, leaf := range c.leaves {
		if g, e := leaf.local.read(got), leaf.local.read(expected); g != e {
			names = append(names, fmt.Sprintf("%s = %#x instead of %#x", leaf.path, g, e))
		}
	}
	return strings.Join(names, ", ")
}
