package rewrite_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
)

// nestedLoads are the results of the programs in nests.c, given what the layout's
// fields hold.
var nestedLoads = map[string]func(field func(string) uint64) uint64{
	"prios":    func(field func(string) uint64) uint64 { return foldElements(4, "tags__%d__prio", field) },
	"lengths":  func(field func(string) uint64) uint64 { return foldElements(3, "chunks__%d__length", field) },
	"prio":     func(field func(string) uint64) uint64 { return field("inner__prio") },
	"vid":      func(field func(string) uint64) uint64 { return field("inner__vid") },
	"mark":     func(field func(string) uint64) uint64 { return field("inner__marks__2") },
	"hash":     func(field func(string) uint64) uint64 { return field("hash") },
	"tag_size": func(func(string) uint64) uint64 { return 8 },
	"blue": func(field func(string) uint64) uint64 {
		if field("color") == 9 { // in the layout
			return 1
		}
		return 0
	},
}

func foldElements(count int, path string, field func(string) uint64) (sum uint64) {
	for i := range count {
		sum = sum*31 + field(fmt.Sprintf(path, i))
	}
	return sum
}

// What is recorded of a struct within the descriptor is the layout's too, whatever
// that calls the struct.
func TestKernelNests(t *testing.T) {
	kernelEach(t, "nests", 1, func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		p.checkNestedLoads(t, loaded, area)
		p.checkNestedStore(t, loaded, area, random)
	})
}

func (p *kernelPair) checkNestedLoads(t *testing.T, loaded *ebpf.Collection, area []byte) {
	t.Helper()
	color, _ := kernelFind(p.targets, "color")
	color.write(area, 8+uint64(area[0])%2)
	kernelClear(t, loaded)
	if after := runShapes(t, loaded, "load_", area); !bytes.Equal(after, area) {
		t.Errorf("Changed the metadata: %x, before: %x", after, area)
	}
	field := func(name string) uint64 {
		target, ok := kernelFind(p.targets, name)
		if !ok {
			t.Fatalf("the layout has no %s", name)
		}
		return target.read(area)
	}
	results := kernelResults(t, loaded)
	if got, want := results["got_device_size"], kernelNetDevice(t, "type_size_net_device"); got != want {
		t.Errorf("a record that is not ours: %d instead of %d", got, want)
	}
	for name, expected := range nestedLoads {
		if got, ok := results["got_"+name]; !ok || got != expected(field) {
			t.Errorf("%s: %#x instead of %#x, metadata %x", name, got, expected(field), area)
		}
	}
}

func (p *kernelPair) checkNestedStore(t *testing.T, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
	t.Helper()
	value := uint16(random.Uint64())
	if err := loaded.Variables["in_vid"].Set(value); err != nil {
		t.Fatal(err)
	}
	expected := bytes.Clone(area)
	vid, _ := kernelFind(p.targets, "inner__vid")
	vid.write(expected, uint64(value))
	if _, after := kernelRun(t, loaded.Programs["store_vid"], area); !bytes.Equal(after, expected) {
		t.Errorf("store of %#x: metadata\n%x instead of\n%x, before:\n%x", value, after, expected, area)
	}
}
