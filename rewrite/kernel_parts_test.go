package rewrite_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// The parts that a program reads one by one are together the number in the
// layout, as the program's type keeps it. Those that it writes one by one, in
// any order, are the number that the layout then has.
func TestKernelParts(t *testing.T) {
	kernelEach(t, "parts", 10, func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		p.settle(t, loaded, area)
		p.checkPartLoads(t, loaded, area)
		p.checkPartStores(t, loaded, area, random)
	})
}

func (p *kernelPair) checkPartLoads(t *testing.T, loaded *ebpf.Collection, area []byte) {
	t.Helper()
	kernelClear(t, loaded)
	if after := runShapes(t, loaded, "load_", area); !bytes.Equal(after, area) {
		t.Errorf("Changed the metadata: %x, before: %x", after, area)
	}
	results := kernelResults(t, loaded)
	checked := 0
	for name, got := range results {
		kind, path, _ := strings.Cut(name, "_")
		local, ok := kernelFind(p.locals, path)
		if kind == "in" || !ok {
			continue
		}
		target, _ := kernelFind(p.targets, path)
		expected := p.represented(local, target, area)
		switch kind {
		case "low":
			expected &= 0xff
		case "middle":
			expected = expected >> 24 & 0xff
		case "high":
			expected = expected >> 16 & 0xff
		case "signed": // the second byte
			expected = uint64(int64(int8(expected >> 8)))
		case "got":
			if strings.HasPrefix(path, "split_") { // the field as a whole, with its sign
				expected = local.convert(target.read(area))
			}
		}
		if err := kernelDiffer(got, expected); err != nil {
			t.Errorf("%s: %v, metadata %x", name, err, area)
		}
		checked++
	}
	if checked < 70 {
		t.Errorf("Only %d results", checked)
	}
}

// represented returns the bytes that a program is to find in its field.
func (p *kernelPair) represented(local, target kernelField, area []byte) uint64 {
	field := make([]byte, 8)
	kernelField{bits: local.bits, network: local.network, little: local.little, signed: local.signed, boolean: local.boolean}.write(field, target.read(area))
	return kernelField{bits: 64}.read(field)
}

func (p *kernelPair) checkPartStores(t *testing.T, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
	t.Helper()
	for name, program := range loaded.Programs {
		kind, ok := strings.CutPrefix(name, "store_")
		if !ok {
			continue
		}
		kernelClear(t, loaded)
		in := p.setShapeInputs(t, loaded, random)
		expected := bytes.Clone(area)
		for path, value := range in {
			if p.storesPart(loaded, kind, path) {
				p.storeParts(kind, path, expected, value)
			}
		}
		if _, after := kernelRun(t, program, area); !bytes.Equal(after, expected) {
			t.Errorf("%s: metadata\n%x instead of\n%x, before:\n%x: %s", name, after, expected, area, p.differing(after, expected, in))
		}
	}
}

// storesPart reports whether a program stores to a field.
func (p *kernelPair) storesPart(loaded *ebpf.Collection, kind, path string) bool {
	target, _ := kernelFind(p.targets, path)
	_, inPairs := loaded.Variables["pairs_"+path]
	switch {
	case strings.HasPrefix(path, "split_"):
		return kind == "split"
	case target.boolean:
		return false
	}
	return kind != "split" && (kind != "pairs" || inPairs)
}

// storeParts does what a program is to do to a field: to all its bytes, or to the
// second one.
func (p *kernelPair) storeParts(kind, path string, area []byte, value uint64) {
	local, _ := kernelFind(p.locals, path)
	target, _ := kernelFind(p.targets, path)
	if kind == "split" {
		target.write(area, local.convert(value))
		return
	}
	number := kernelField{bits: local.bits, network: local.network, little: local.little, signed: local.signed}
	field := make([]byte, 8)
	kernelField{bits: 64}.write(field, value)
	if kind == "second" {
		number.write(field, target.read(area))
		field[1] = 0x83
	}
	target.write(area, number.read(field))
}
