package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// ownLayouts are the layouts for follow.c and own.c: where the header's hash and
// mark are elsewhere, of other widths and in another byte order.
var ownLayouts = []string{"own", "exact", "reordered", "narrow", "wide", "packed", "swapped"}

// followed are the variables that the programs of follow.c set, given hash and mark.
var followed = map[string]func(hash, mark uint64) uint64{
	"in_struct":      func(hash, mark uint64) uint64 { return hash + mark },
	"in_callback":    func(hash, mark uint64) uint64 { return hash + 3*mark },
	"in_elements":    func(hash, mark uint64) uint64 { return 3 * hash },
	"returned":       func(hash, mark uint64) uint64 { return hash + mark },
	"passed_on":      func(hash, mark uint64) uint64 { return hash + mark },
	"last_argument":  func(hash, mark uint64) uint64 { return hash + mark },
	"both_arguments": func(hash, mark uint64) uint64 { return hash + mark },
	"spilled":        func(hash, mark uint64) uint64 { return hash + mark },
	"two_variables":  func(hash, mark uint64) uint64 { return hash + mark },
	"looped":         func(hash, mark uint64) uint64 { return 3 * hash },
	"by_hand":        func(hash, mark uint64) uint64 { return hash + mark },
	"own_header":     func(hash, mark uint64) uint64 { return hash + mark },
	"beside_packet":  func(hash, mark uint64) uint64 { return hash + mark },
	"balanced":       func(hash, mark uint64) uint64 { return hash + mark },
	"found_anew":     func(hash, mark uint64) uint64 { return hash + mark },
}

// An access is to the descriptor's field wherever its pointer comes from.
func TestKernelFollow(t *testing.T) {
	eachOwn(t, "follow", func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		kernelClear(t, loaded)
		setInput(t, loaded, "in_pick", random.Uint64())
		for name, expected := range followed {
			after := []byte(nil)
			if _, after = kernelRun(t, loaded.Programs[name], area); name == "own_header" {
				after = p.withoutHeader(t, after, area)
			}
			if !bytes.Equal(after, area) {
				t.Errorf("%s changed the metadata: %x, before: %x", name, after, area)
			}
			want := expected(p.value(t, "hash", area), p.value(t, "mark", area))
			if got := kernelResults(t, loaded)["got_"+name]; got != want {
				t.Errorf("%s: %#x instead of %#x, metadata %x", name, got, want, area)
			}
		}
	})
}

// The same in a TC program, with packets from a NIC as in TestKernelTC.
func TestKernelFollowTC(t *testing.T) {
	netlab.Need(t, netlab.TCX)
	random := kernelRandom(t)
	for _, layout := range ownLayouts {
		t.Run(layout, func(t *testing.T) {
			nic, err := netlab.Enter(t).AddNIC("nic0")
			if err != nil {
				t.Fatal(err)
			}
			kernelAttach(t, kernelPass(t), nic)
			p := newKernelPair(t, kernelRewrite(t, "follow_tc"+kernelEndian, layout))
			loaded := kernelLoad(t, p.object)
			kernelAttachTC(t, loaded.Programs["in_tc"], nic)
			for _, area := range kernelAreas(t, random, p.size, 0) {
				kernelClear(t, loaded)
				if err := nic.Deliver([]netlab.Frame{{Metadata: area, Packet: kernelPacket}}); err != nil {
					t.Fatal(err)
				}
				want := p.value(t, "hash", area) + 2*p.value(t, "mark", area)
				if got := kernelResults(t, loaded)["got_in_tc"]; got != want {
					t.Errorf("%#x instead of %#x, metadata %x", got, want, area)
				}
			}
		})
	}
}

// entered are the variables that the programs of entries.c set, given in_pick and
// a metadata area.
var entered = map[string]func(pick, hash, mark uint64) uint64{
	"hidden": func(pick, hash, mark uint64) uint64 {
		return []uint64{mark, hash}[pick&1]
	},
	"hidden_store":  func(_, _, _ uint64) uint64 { return 1 },
	"fragmented":    func(_, hash, mark uint64) uint64 { return hash + mark },
	"ignored":       func(_, hash, _ uint64) uint64 { return hash >> 7 },
	"ignored_store": func(pick, _, _ uint64) uint64 { return uint64(uint32(pick>>8)) >> 7 },
	"asked":         func(_, hash, mark uint64) uint64 { return hash>>1 + mark },
	"counted":       func(_, _, mark uint64) uint64 { return 2 * mark },
}

// enteredStores are the fields that programs of entries.c store in_pick to.
var enteredStores = map[string]func(pick uint64) string{
	"hidden_store":  func(pick uint64) string { return []string{"mark", "hash"}[pick&1] },
	"ignored_store": func(uint64) string { return "mark" },
}

// A program is one whatever a linker makes of its name, and a function has the
// arguments that its prototype says.
func TestKernelEntries(t *testing.T) {
	eachOwn(t, "entries", func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		for name, expected := range entered {
			kernelClear(t, loaded)
			pick := random.Uint64()
			setInput(t, loaded, "in_pick", pick)
			after := bytes.Clone(area)
			if stores := enteredStores[name]; stores != nil {
				target, _ := kernelFind(p.targets, stores(pick))
				local, _ := kernelFind(p.locals, stores(pick))
				target.write(after, local.convert(pick>>8))
			}
			if _, got := kernelRun(t, loaded.Programs[name], area); !bytes.Equal(got, after) {
				t.Errorf("%s: metadata %x instead of %x, before: %x", name, got, after, area)
			}
			want := expected(pick, p.value(t, "hash", area), p.value(t, "mark", area))
			if got := kernelResults(t, loaded)["got_"+name]; got != want {
				t.Errorf("%s: %#x instead of %#x, in_pick %#x, metadata %x", name, got, want, pick, area)
			}
		}
	})
}

// withoutHeader takes off what own_header puts in front of the descriptor.
func (p *kernelPair) withoutHeader(t *testing.T, after, area []byte) []byte {
	t.Helper()
	header := binary.LittleEndian.AppendUint32(nil, 0x600d)
	header = binary.LittleEndian.AppendUint32(header, uint32(p.value(t, "hash", area)))
	rest, ok := bytes.CutPrefix(after, header)
	if !ok {
		t.Errorf("%x is in front instead of %x", after[:min(len(header), len(after))], header)
	}
	return rest
}

// eachOwn rewrites each object of a source for each of ownLayouts and has its
// programs checked in several areas of random metadata.
func eachOwn(t *testing.T, source string, check func(*testing.T, *kernelPair, *ebpf.Collection, []byte, *rand.ChaCha8)) {
	t.Parallel()
	netlab.NeedRoot(t)
	random := kernelRandom(t)
	for _, name := range kernelPrograms(t) {
		if kernelSource(name) != source {
			continue
		}
		for _, layout := range ownLayouts {
			t.Run(name+"/"+layout, func(t *testing.T) {
				p := newKernelPair(t, kernelRewrite(t, name, layout))
				loaded := kernelLoad(t, p.object)
				for _, area := range kernelAreas(t, random, p.size, 8) { // own_header takes 8
					check(t, p, loaded, area, random)
				}
			})
		}
	}
}
