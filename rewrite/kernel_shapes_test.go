package rewrite_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// Every shape of access that shapes.c has, made by each compiler, means what C
// says.
func TestKernelShapes(t *testing.T) {
	kernelEach(t, "shapes", 1, func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		p.settle(t, loaded, area)
		p.checkShapeLoads(t, loaded, area, random)
		p.checkShapeStores(t, loaded, area, random)
	})
}

// settle gives every bool of the layout 0 or 1: C leaves open what others are.
func (p *kernelPair) settle(t *testing.T, loaded *ebpf.Collection, area []byte) {
	t.Helper()
	for name := range loaded.Variables {
		if path, ok := strings.CutPrefix(name, "got_"); ok {
			if field, ok := kernelFind(p.targets, path); ok && field.boolean {
				area[field.bit/8] &= 1
			}
		}
	}
}

// runShapes runs the programs whose name starts with a word, one after the
// other, on a metadata area.
func runShapes(t *testing.T, loaded *ebpf.Collection, word string, area []byte) []byte {
	t.Helper()
	for name, program := range loaded.Programs {
		if strings.HasPrefix(name, word) {
			_, area = kernelRun(t, program, area)
		}
	}
	return area
}

func (p *kernelPair) checkShapeLoads(t *testing.T, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
	t.Helper()
	kernelClear(t, loaded)
	in := p.setShapeInputs(t, loaded, random)
	if after := runShapes(t, loaded, "load_", area); !bytes.Equal(after, area) {
		t.Errorf("Changed the metadata: %x, before: %x", after, area)
	}

	results := kernelResults(t, loaded)
	checked := 0
	for name, got := range results {
		kind, path, _ := strings.Cut(name, "_")
		if kind != "got" && kind != "macro" || path == "sum" {
			continue
		}
		switch path {
		case "absent_or_present":
			path = "present"
		case "pick":
			path = picked(in)
		}
		target, ok := kernelFind(p.targets, path)
		local, _ := kernelFind(p.locals, path)
		if !ok {
			t.Fatalf("No field %s", path)
		}
		expected := target.read(area)
		if kind != "macro" { // which reads the layout's number, whatever the program's type
			expected = local.convert(expected)
		}
		if path == "copied" {
			expected = copiedFirst(expected)
		}
		if err := kernelDiffer(got, expected); err != nil {
			t.Errorf("%s: %v, metadata %x", name, err, area)
		}
		checked++
	}
	if checked < 60 {
		t.Errorf("Only %d results", checked)
	}
}

// picked returns the field that the programs choose at run time.
func picked(in map[string]uint64) string {
	if in["pick"]&1 == 1 {
		return "pick_a"
	}
	return "pick_b"
}

func (p *kernelPair) checkShapeStores(t *testing.T, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
	t.Helper()
	kernelClear(t, loaded)
	in := p.setShapeInputs(t, loaded, random)
	check := func(programs string, stored map[string]uint64) {
		t.Helper()
		expected := bytes.Clone(area)
		for path, value := range stored {
			p.storeShape(t, expected, loaded, path, value)
		}
		if after := runShapes(t, loaded, programs, area); !bytes.Equal(after, expected) {
			t.Errorf("%s: metadata\n%x instead of\n%x, before:\n%x: %s", programs, after, expected, area, p.differing(after, expected, stored))
		}
	}

	paths, values := make(map[string]uint64), make(map[string]uint64)
	either := map[string]uint64{picked(in): in["pick_value"]}
	constants := make(map[string]uint64)
	for path, value := range in {
		switch {
		case strings.HasPrefix(path, "pick"):
		case strings.Contains(path, "__"), slices.Contains([]string{"color", "level", "depth"}, path):
			paths[path] = value
		default:
			values[path] = value
			if _, isMacro := loaded.Variables["macro_"+path]; !isMacro && path != "copied" {
				constants[path] = ^uint64(1) // -2
			}
		}
	}
	check("store_paths", paths)
	check("store_either", either)
	check("store_constants", constants)
	check("store_crowded", map[string]uint64{"u32_b9": in["u32_b9"]})
	if got, expected := kernelResults(t, loaded)["got_sum"], in["u32_b9"]+44; got != expected {
		t.Errorf("The registers add up to %#x instead of %#x", got, expected)
	}
	for _, program := range []string{"store_plain", "store_bits", "store_macro", "store_copied"} {
		stored := make(map[string]uint64)
		for path, value := range values {
			if p.storedBy(loaded, path) == program {
				stored[path] = value
			}
		}
		check(program, stored)
	}
}

// storedBy returns the program that stores a field from its variable.
func (p *kernelPair) storedBy(loaded *ebpf.Collection, path string) string {
	local, _ := kernelFind(p.locals, path)
	_, isMacro := loaded.Variables["macro_"+path]
	switch {
	case path == "copied":
		return "store_copied"
	case isMacro:
		return "store_macro"
	case local.isBitField:
		return "store_bits"
	}
	return "store_plain"
}

// storeShape does what a program is to do to a field.
func (p *kernelPair) storeShape(t *testing.T, area []byte, loaded *ebpf.Collection, path string, value uint64) {
	t.Helper()
	local, _ := kernelFind(p.locals, path)
	target, ok := kernelFind(p.targets, path)
	if !ok {
		t.Fatalf("No field %s", path)
	}
	switch p.storedBy(loaded, path) {
	case "store_macro": // which does without the local type
	case "store_copied":
		value = firstCopied(value)
	default:
		value = local.convert(value)
	}
	target.write(area, value)
}

// copiedFirst returns the number that has another one, of 32 bits, in its first bytes, and
// otherwise 0: that is what memcpy leaves.
func copiedFirst(number uint64) uint64 {
	if bigEndian {
		return number << 32
	}
	return number
}

// firstCopied returns what memcpy takes of a number for one of 32 bits.
func firstCopied(number uint64) uint64 {
	if bigEndian {
		return number >> 32
	}
	return number & math.MaxUint32
}

// differing names the fields that are not as expected.
func (p *kernelPair) differing(got, expected []byte, stored map[string]uint64) string {
	var names []string
	for path, value := range stored {
		field, _ := kernelFind(p.targets, path)
		if g, e := field.read(got), field.read(expected); g != e {
			names = append(names, fmt.Sprintf("%s = %#x: %#x instead of %#x", path, value, g, e))
		}
	}
	return strings.Join(names, ", ")
}

// setShapeInputs sets the variables that programs take values from to random
// ones, small ones among them, and returns these by path.
func (p *kernelPair) setShapeInputs(t *testing.T, loaded *ebpf.Collection, random *rand.ChaCha8) map[string]uint64 {
	t.Helper()
	in := make(map[string]uint64)
	for name, variable := range loaded.Variables {
		path, ok := strings.CutPrefix(name, "in_")
		if !ok {
			continue
		}
		in[path] = random.Uint64() >> (random.Uint64() % 65)
		if err := variable.Set(in[path]); err != nil {
			t.Fatal(err)
		}
	}
	return in
}
