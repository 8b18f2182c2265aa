package example_test

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/bpf"
	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
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
	drops       func(*example.Facts) bool // nil: none
	count       func(*testing.T, *example.Program) map[string]map[uint32]uint64
}{
	{
		name: "checksum", field: "csum_status", needs: netlab.LiveFrames,
		expect: func(f *example.Facts) (string, uint32) { return "found", f.CsumStatus },
		drops:  func(f *example.Facts) bool { return f.CsumStatus == meta.CsumBad },
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
		drops: func(f *example.Facts) bool { return f.VlanProto == 0 || f.VlanTCI%2 == 1 },
		count: rules,
	},
	{
		name: "spread", field: "hash", needs: netlab.LiveFrames,
		prepare: func(spec *ebpf.CollectionSpec) error {
			var table [256]uint32 // all to CPU 0, which there is
			spec.Maps["cpus"].Contents = []ebpf.MapKV{{Key: uint32(0), Value: [2]uint32{packets, 0}}}
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

// Each example counts what the NIC knows, and drops what it says, on NICs with different
// layouts; what one of them does not know, it does without.
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
				target := example.Target{Interface: nic.Name, Layout: "../../" + bpf.ExampleFile(name)}
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
				var passed *ebpf.Map
				if netlab.Has(netlab.TCX) {
					passed = countPassed(t, nic)
				}
				passes := uint64(0)
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
					if program.drops == nil || !program.drops(f) {
						passes++
					}
				}
				if len(frames[0].Metadata) > netlab.SmallMetadata {
					netlab.Need(t, netlab.LargeMetadata)
				}
				if err := nic.Deliver(frames); err != nil {
					t.Fatal(err)
				}
				if passed != nil {
					awaitPassed(t, passed, passes)
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
	target := example.Target{Interface: nic.Name, Layout: "../../" + bpf.ExampleFile("nic_c")}
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

// Packets of a flow go to the CPU that its hash says, and there to the stack.
func TestSpreadOverCPUs(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.TCX)
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	target := example.Target{Interface: nic.Name, Layout: "../../" + bpf.ExampleFile("nic_c")}
	attached, err := target.Attach("spread", func(spec *ebpf.CollectionSpec) error {
		var table [256]uint32
		for i := range table {
			table[i] = uint32(i / 64 % 2)
		}
		for cpu := range uint32(2) {
			spec.Maps["cpus"].Contents = append(spec.Maps["cpus"].Contents, ebpf.MapKV{Key: cpu, Value: [2]uint32{packets, 0}})
		}
		return spec.Variables["table"].Set(table)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	passed := countPassed(t, nic)
	random := rand.New(rand.NewPCG(1, 2))
	frames, want := make([]netlab.Frame, packets), make([]uint64, 2)
	for i := range frames {
		f := example.Facts{Hash: random.Uint32(), HashType: 1}
		frames[i] = netlab.Frame{Metadata: example.NICs["nic_c"](&f), Packet: make([]byte, 60)}
		want[f.Hash>>30%2]++
	}
	if err := nic.Deliver(frames); err != nil {
		t.Fatal(err)
	}
	if got := awaitPassed(t, passed, packets); !slices.Equal(got[:2], want) {
		t.Errorf("the CPUs have got %v instead of %v", got, want)
	}
}

// countPassed counts the packets that come to the stack, by CPU.
func countPassed(t *testing.T, nic *netlab.NIC) *ebpf.Map {
	t.Helper()
	passed, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { passed.Close() })
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:       ebpf.SchedCLS,
		AttachType: ebpf.AttachTCXIngress,
		License:    "MIT",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, passed.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "end"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: nic.Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
	return passed
}

// awaitPassed waits until so many have come, and returns how many on each CPU.
func awaitPassed(t *testing.T, passed *ebpf.Map, n uint64) []uint64 {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var each []uint64
		if err := passed.Lookup(uint32(0), &each); err != nil {
			t.Fatal(err)
		}
		all := uint64(0)
		for _, of := range each {
			all += of
		}
		if all == n {
			return each
		}
		if all > n || time.Now().After(deadline) {
			t.Fatalf("%d packets have come to the stack instead of %d: %v", all, n, each)
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
