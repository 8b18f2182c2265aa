package example_test

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

// packets is how many each NIC receives.
const packets = 5000

// known is what a NIC has a field for, by the field that a program asks for.
var known = map[string][]string{
	"rx_timestamp": {"nic_a", "nic_c"},
	"ptype":        {"nic_c"},
}

// programs are the examples, each with what it makes of a packet: the key of a map that it
// adds one to, given what the NIC knows, of which zero is what it does not know.
var programs = []struct {
	name, field string // that the program can do without
	needs       netlab.Feature
	prepare     func(*ebpf.CollectionSpec) error
	expect      func(*example.Facts) (key string, is uint32)
	count       func(*testing.T, *example.Program) map[string]map[uint32]uint64
}{
	{
		name: "checksum", field: "csum_status", needs: netlab.LiveFrames,
		expect: func(f *example.Facts) (string, uint32) { return "found", f.CsumStatus },
		count:  func(t *testing.T, p *example.Program) map[string]map[uint32]uint64 { return numbers(t, p, "found") },
	},
	{
		name: "ptype", field: "ptype", needs: netlab.LiveFrames,
		expect: func(f *example.Facts) (string, uint32) { return "headers", f.Ptype },
		count:  func(t *testing.T, p *example.Program) map[string]map[uint32]uint64 { return traffic(t, p, "headers") },
	},
	{
		name: "talkers", field: "mark", needs: netlab.LiveFrames,
		expect: func(f *example.Facts) (string, uint32) { return "marks", f.Mark },
		count:  func(t *testing.T, p *example.Program) map[string]map[uint32]uint64 { return traffic(t, p, "marks") },
	},
	{
		name: "vlan", field: "vlan_tci", needs: netlab.LiveFrames,
		prepare: func(spec *ebpf.CollectionSpec) error {
			for vlan := uint32(0); vlan < 4096; vlan += 2 {
				spec.Maps["vlans"].Contents = append(spec.Maps["vlans"].Contents, ebpf.MapKV{Key: vlan, Value: rule{Allowed: 1}})
			}
			return nil
		},
		expect: func(f *example.Facts) (string, uint32) {
			vlan := uint32(f.VlanTCI & 0xfff)
			switch {
			case f.VlanProto == 0:
				return "dropped", untagged
			case vlan%2 == 0:
				return "passed", vlan
			}
			return "dropped", vlan
		},
		count: rules,
	},
	{
		name: "spread", field: "hash", needs: netlab.LiveFrames,
		prepare: func(spec *ebpf.CollectionSpec) error {
			var table [256]uint32 // all to CPU 0, which there is
			spec.Maps["cpus"].Contents = []ebpf.MapKV{{Key: uint32(0), Value: [2]uint32{256, 0}}}
			return spec.Variables["table"].Set(table)
		},
		expect: func(f *example.Facts) (string, uint32) {
			if f.HashType == 0 {
				return "stayed", 0
			}
			return "given", 0
		},
		count: func(t *testing.T, p *example.Program) map[string]map[uint32]uint64 {
			counts := numbers(t, p, "given")
			counts["stayed"] = map[uint32]uint64{0: number(t, p, "stayed")}
			return counts
		},
	},
	{
		name: "latency", field: "rx_timestamp", needs: netlab.TAIClock,
		expect: func(f *example.Facts) (string, uint32) {
			if f.RxTimestamp == 0 {
				return "unstamped", 0
			}
			if f.RxTimestamp > 1<<62 {
				return "early", 0
			}
			return "histogram", uint32(bits.Len64(uint64(taiNow())-f.RxTimestamp)) - 1
		},
		count: func(t *testing.T, p *example.Program) map[string]map[uint32]uint64 {
			counts := numbers(t, p, "histogram")
			for _, variable := range []string{"unstamped", "early"} {
				counts[variable] = map[uint32]uint64{0: number(t, p, variable)}
			}
			return counts
		},
	},
}

// Each example counts what the NIC knows, on NICs with different layouts; what one of them
// does not know, it does without.
func TestPrograms(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	for _, program := range programs {
		for name, describe := range example.NICs {
			t.Run(program.name+"/"+name, func(t *testing.T) {
				netlab.Need(t, program.needs)
				nic, err := netlab.Enter(t).AddNIC("nic0")
				if err != nil {
					t.Fatal(err)
				}
				target := example.Target{Interface: nic.Name, Layout: "../../bpf/examples/" + name + endian()}
				attached, err := target.Attach(program.name, program.prepare)
				if err != nil {
					t.Fatal(err)
				}
				defer attached.Close()

				isKnown := known[program.field] == nil
				for _, knows := range known[program.field] {
					isKnown = isKnown || knows == name
				}
				if lacks := attached.Lacks(program.field); (lacks == "") != isKnown {
					t.Errorf("%s has %s: %t, and %q is lacking", name, program.field, isKnown, lacks)
				}
				frames, want := make([]netlab.Frame, packets), make(map[string]map[uint32]uint64)
				random := rand.New(rand.NewPCG(1, 2))
				for i := range frames {
					f := randomFacts(random)
					frames[i] = netlab.Frame{Metadata: describe(f), Packet: make([]byte, 60)}
					if !isKnown {
						*f = example.Facts{}
					}
					key, of := program.expect(f)
					if want[key] == nil {
						want[key] = make(map[uint32]uint64)
					}
					want[key][of]++
				}
				if len(frames[0].Metadata) > netlab.SmallMetadata {
					netlab.Need(t, netlab.LargeMetadata)
				}
				if err := nic.Deliver(frames); err != nil {
					t.Fatal(err)
				}
				got := program.count(t, attached)
				for key, counts := range got {
					maps.DeleteFunc(counts, func(_ uint32, n uint64) bool { return n == 0 })
					if !maps.Equal(counts, want[key]) {
						t.Errorf("%s: counted %v instead of %v", key, counts, want[key])
					}
				}
			})
		}
	}
}

// randomFacts have room in each of the layouts, and times from before this test, or far
// after it.
func randomFacts(random *rand.Rand) *example.Facts {
	f := &example.Facts{
		Hash: random.Uint32(), HashType: random.Uint32N(3), CsumStatus: []uint32{0, 1, 1, 2, 4}[random.IntN(5)],
		Mark: random.Uint32N(20), Ptype: random.Uint32N(1 << 9), VlanTCI: uint16(random.Uint32()), VlanProto: []uint16{0, 0x8100, 0x88a8}[random.IntN(3)],
	}
	switch random.IntN(4) {
	case 0:
		f.RxTimestamp = 1 << 63
	case 1:
	default: // in the middle of a bucket of hours or more
		f.RxTimestamp = taiNow() - 3<<(41+random.IntN(15))
	}
	return f
}

// The firewall sees the tags that the NIC has left in the packet, too.
func TestVLANInPacket(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	target := example.Target{Interface: nic.Name, Layout: "../../bpf/examples/nic_c" + endian()}
	attached, err := target.Attach("vlan", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	packet := make([]byte, 60)
	for _, proto := range []uint16{0x8100, 0x88a8, 0x0800} {
		binary.BigEndian.PutUint16(packet[12:], proto)
		binary.BigEndian.PutUint16(packet[14:], 7<<13|291)
		for _, f := range []example.Facts{{}, {VlanProto: 0x88a8, VlanTCI: 17}} {
			if err := nic.Deliver([]netlab.Frame{{Metadata: example.NICs["nic_c"](&f), Packet: packet}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	dropped := rules(t, attached)["dropped"]
	maps.DeleteFunc(dropped, func(_ uint32, n uint64) bool { return n == 0 })
	if want := map[uint32]uint64{291: 2, 17: 3, untagged: 1}; !maps.Equal(dropped, want) {
		t.Errorf("dropped %v instead of %v", dropped, want)
	}
}

// Each is loaded for a driver, as well as for a layout.
func TestProgramsForDriver(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.VethBuff)
	netlab.Need(t, netlab.TAIClock)
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		target := example.Target{Interface: nic.Name}
		attached, err := target.Attach(program.name, program.prepare)
		if err != nil {
			t.Errorf("%s: %v", program.name, err)
			continue
		}
		if err := attached.Close(); err != nil {
			t.Error(err)
		}
	}
}

const untagged = 4096

// rule is struct rule of bpf/examples/vlan.c.
type rule struct {
	Allowed, Reserved uint32
	Passed, Dropped   uint64
}

func rules(t *testing.T, p *example.Program) map[string]map[uint32]uint64 {
	counts := map[string]map[uint32]uint64{"passed": {}, "dropped": {}}
	eachElement(t, p.Maps["vlans"], func(vlan uint32, r rule) {
		counts["passed"][vlan], counts["dropped"][vlan] = r.Passed, r.Dropped
	})
	return counts
}

func numbers(t *testing.T, p *example.Program, name string) map[string]map[uint32]uint64 {
	counts := make(map[uint32]uint64)
	eachElement(t, p.Maps[name], func(key uint32, n uint64) { counts[key] = n })
	return map[string]map[uint32]uint64{name: counts}
}

// traffic returns how many packets there are of each key, of which each has to have 60 bytes.
func traffic(t *testing.T, p *example.Program, name string) map[string]map[uint32]uint64 {
	counts := make(map[uint32]uint64)
	eachElement(t, p.Maps[name], func(key uint32, n struct{ Packets, Bytes uint64 }) {
		if n.Bytes != 60*n.Packets {
			t.Errorf("%#x: %d packets of 60 bytes have %d", key, n.Packets, n.Bytes)
		}
		counts[key] = n.Packets
	})
	return map[string]map[uint32]uint64{name: counts}
}

func eachElement[T any](t *testing.T, m *ebpf.Map, fn func(key uint32, value T)) {
	t.Helper()
	var key uint32
	var value T
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		fn(key, value)
	}
	if err := entries.Err(); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, p *example.Program, variable string) (n uint64) {
	t.Helper()
	if err := p.Variables[variable].Get(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// taiNow is CLOCK_TAI, to some seconds.
func taiNow() uint64 { return uint64(time.Now().UnixNano()) }

func endian() string {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return "-eb.o"
	}
	return "-el.o"
}
