package rewrite_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// pathLoads are the results of the programs in paths.c, given what they choose by
// and what the fields hold.
var pathLoads = map[string]func(pick uint64, field func(string) uint64) uint64{
	"two": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&1, "swapped", "small"))
	},
	"three": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&3, "small", "swapped", "nine", "nine"))
	},
	"pair_first": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&1, "large", "small"))
	},
	"pair_second": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&1, "nine", "plain"))
	},
	"sum": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&1, "swapped", "small")) + field("large")
	},
	"later": func(pick uint64, field func(string) uint64) uint64 {
		switch pick & 6 {
		case 6:
			return 1 + field(chosen(pick&1, "nine", "small"))
		case 2:
			return 1
		}
		return 0
	},
	"spilled": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&1, "large", "swapped"))
	},
	"looped": func(pick uint64, field func(string) uint64) uint64 {
		return 3 * field(chosen(pick&1, "swapped", "small"))
	},
	"in_turn": func(pick uint64, field func(string) uint64) uint64 {
		var sum uint64
		for i := range pick & 3 {
			sum += field(chosen(i&1, "small", "swapped"))
		}
		return sum
	},
	"or_global": func(pick uint64, field func(string) uint64) uint64 {
		if pick&1 == 1 {
			return field("large")
		}
		return 0x12345678
	},
	"tested": func(pick uint64, field func(string) uint64) uint64 {
		if pick&4 != 0 && field(chosen(pick&1, "nine", "small")) > 7 {
			return 1
		}
		return 0
	},
	"often": func(pick uint64, field func(string) uint64) uint64 {
		return 20 * field(chosen(pick&1, "swapped", "small"))
	},
	"twice": func(pick uint64, field func(string) uint64) uint64 {
		return field(chosen(pick&1, "large", "small"))<<32 + field(chosen(pick>>1&1, "swapped", "nine"))
	},
}

func chosen(pick uint64, names ...string) string { return names[pick] }

// pathStores are the fields that the programs in paths.c store to, empty for
// none.
var pathStores = map[string]func(pick uint64) string{
	"store_two": func(pick uint64) string { return chosen(pick&1, "swapped", "small") },
	"store_three": func(pick uint64) string {
		return chosen(pick&3, "plain", "nine", "large", "large")
	},
	"store_constant":  func(pick uint64) string { return chosen(pick&1, "nine", "swapped") },
	"store_or_global": func(pick uint64) string { return chosen(pick&1, "", "nine") },
}

// A load or store that clang shares between fields means the field of the path
// that was taken.
func TestKernelPaths(t *testing.T) {
	kernelEach(t, "paths", 1, func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		for pick := range uint64(8) {
			p.checkPathLoads(t, loaded, area, pick)
			p.checkPathStores(t, loaded, area, pick, random)
		}
	})
}

func (p *kernelPair) checkPathLoads(t *testing.T, loaded *ebpf.Collection, area []byte, pick uint64) {
	t.Helper()
	kernelClear(t, loaded)
	setInput(t, loaded, "in_pick", pick)
	if after := runShapes(t, loaded, "load_", area); !bytes.Equal(after, area) {
		t.Errorf("Changed the metadata: %x, before: %x", after, area)
	}
	field := func(name string) uint64 {
		target, _ := kernelFind(p.targets, name)
		local, _ := kernelFind(p.locals, name)
		return local.convert(target.read(area))
	}
	results := kernelResults(t, loaded)
	size := results["got_type_size"] - field(chosen(pick&1, "swapped", "small"))
	if want := kernelNetDevice(t, "type_size_net_device"); size != want {
		t.Errorf("a record that is not ours: %d instead of %d", size, want)
	}
	for name, expected := range pathLoads {
		got, ok := results["got_"+name]
		if want := expected(pick, field); !ok || got != want {
			t.Errorf("%s, choice %d: %#x instead of %#x, metadata %x", name, pick, got, want, area)
		}
	}
}

func (p *kernelPair) checkPathStores(t *testing.T, loaded *ebpf.Collection, area []byte, pick uint64, random *rand.ChaCha8) {
	t.Helper()
	for program, stores := range pathStores {
		kernelClear(t, loaded)
		value := random.Uint64() >> (random.Uint64() % 65)
		setInput(t, loaded, "in_pick", pick)
		setInput(t, loaded, "in_value", value)
		if strings.HasSuffix(program, "_constant") {
			value = 0x1234
		}
		expected := bytes.Clone(area)
		if path := stores(pick); path != "" {
			target, _ := kernelFind(p.targets, path)
			local, _ := kernelFind(p.locals, path)
			target.write(expected, local.convert(value))
		}
		if _, after := kernelRun(t, loaded.Programs[program], area); !bytes.Equal(after, expected) {
			t.Errorf("%s, choice %d, %#x: metadata\n%x instead of\n%x, before:\n%x", program, pick, value, after, expected, area)
		}
	}
}

func setInput(t *testing.T, loaded *ebpf.Collection, name string, value uint64) {
	t.Helper()
	if err := loaded.Variables[name].Set(value); err != nil {
		t.Fatal(err)
	}
}
