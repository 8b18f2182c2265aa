package rewrite_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// kernelFrames is how many packets go through each NIC.
const kernelFrames = 25_000

const kernelExamples = "../bpf/examples/"

// kernelRecord is struct record of bpf/examples/record.c.
type kernelRecord struct {
	RxTimestamp uint64
	Hash        uint32
	HashType    uint32
	Mark        uint32
	VlanTCI     uint16
	VlanProto   [2]byte
	Seen, Found uint32
}

// One unchanged object on NICs with different layouts: no packet is lost, and
// each is read as its NIC wrote it.
func TestKernelWire(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	random := kernelRandom(t)
	for _, layout := range []string{"nic_a", "nic_b"} {
		t.Run(layout, func(t *testing.T) {
			nic, err := netlab.Enter(t).AddNIC("nic0")
			if err != nil {
				t.Fatal(err)
			}
			object := readFile(t, kernelExamples+"record"+kernelEndian+".o")
			target := readFile(t, kernelExamples+layout+kernelEndian+".o")
			rewritten, _, err := rewrite.Rewrite(object, parseLayout(t, layout+kernelEndian, target), rewrite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			loaded := kernelLoad(t, rewritten)
			kernelAttach(t, loaded.Programs["record"], nic)

			descriptors := kernelFlavours(t, kernelTypes(t, target), "md_desc")
			frames := kernelMakeFrames(t, random, descriptors[0])
			if len(frames[0].Metadata) > netlab.SmallMetadata {
				netlab.Need(t, netlab.LargeMetadata)
			}
			if err := nic.Deliver(frames); err != nil {
				t.Fatal(err)
			}
			kernelCheckRecords(t, loaded.Maps["records"], frames, descriptors)
		})
	}
}

func kernelAttach(t *testing.T, program *ebpf.Program, nic *netlab.NIC) {
	t.Helper()
	attached, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: nic.Index, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
}

// kernelMakeFrames returns frames of random metadata, each with its number
// behind the Ethernet header.
func kernelMakeFrames(t *testing.T, random *rand.ChaCha8, descriptor btf.Type) []netlab.Frame {
	t.Helper()
	size, err := btf.Sizeof(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	frames := make([]netlab.Frame, kernelFrames)
	for i := range frames {
		frames[i] = netlab.Frame{Metadata: make([]byte, size), Packet: make([]byte, 60)}
		random.Read(frames[i].Metadata)
		binary.BigEndian.PutUint32(frames[i].Packet[14:], uint32(i))
	}
	return frames
}

func kernelCheckRecords(t *testing.T, records *ebpf.Map, frames []netlab.Frame, descriptors []btf.Type) {
	t.Helper()
	for i, frame := range frames {
		var got kernelRecord
		if err := records.Lookup(uint32(i), &got); err != nil {
			t.Fatal(err)
		}
		if expected := kernelExpectRecord(descriptors, frame.Metadata); got != expected {
			t.Fatalf("Packet %d with metadata %x: read\n%+v instead of\n%+v", i, frame.Metadata, got, expected)
		}
	}
}

// kernelExpectRecord decodes a frame's metadata. What the NIC lacks is zero.
func kernelExpectRecord(descriptors []btf.Type, metadata []byte) kernelRecord {
	read := func(path string) uint64 {
		field, ok := kernelFind(descriptors, path)
		if !ok {
			return 0
		}
		return field.read(metadata)
	}
	expected := kernelRecord{
		RxTimestamp: read("rx_timestamp"),
		Hash:        uint32(read("hash")),
		HashType:    uint32(read("hash_type")),
		Mark:        uint32(read("mark")),
		VlanTCI:     uint16(read("vlan_tci")),
		Seen:        1,
		Found:       1,
	}
	binary.BigEndian.PutUint16(expected.VlanProto[:], uint16(read("vlan_proto")))
	return expected
}

// A TC program reads the metadata of a packet that an XDP program has passed on.
// bpf_prog_test_run gives TC programs an empty area, so the packets come from a
// NIC.
func TestKernelTC(t *testing.T) {
	netlab.Need(t, netlab.TCX)
	random := kernelRandom(t)
	for _, layout := range kernelAccepting(t, "tc") {
		t.Run(layout, func(t *testing.T) {
			nic, err := netlab.Enter(t).AddNIC("nic0")
			if err != nil {
				t.Fatal(err)
			}
			kernelAttach(t, kernelPass(t), nic)
			p := newKernelPair(t, kernelRewrite(t, "tc"+kernelEndian, layout))
			loaded := kernelLoad(t, p.object)
			kernelAttachTC(t, loaded.Programs["skb_fields"], nic)

			for _, area := range kernelAreas(t, random, p.size, 0) {
				p.checkSKB(t, loaded, nic, area, true)
			}
			p.checkSKB(t, loaded, nic, make([]byte, p.size-4), false)
			p.checkEmptySKB(t, loaded)
		})
	}
}

// checkSKB sends a packet and compares what the program reads of it.
func (p *kernelPair) checkSKB(t *testing.T, loaded *ebpf.Collection, nic *netlab.NIC, area []byte, found bool) {
	t.Helper()
	kernelClear(t, loaded)
	if err := nic.Deliver([]netlab.Frame{{Metadata: area, Packet: kernelPacket}}); err != nil {
		t.Fatal(err)
	}
	p.checkTCResults(t, loaded, area, found)
}

// checkEmptySKB runs the program on a packet without metadata.
func (p *kernelPair) checkEmptySKB(t *testing.T, loaded *ebpf.Collection) {
	t.Helper()
	kernelClear(t, loaded)
	action, err := loaded.Programs["skb_fields"].Run(&ebpf.RunOptions{Data: kernelPacket})
	if err != nil {
		t.Fatal(err)
	}
	if action != kernelTCOK {
		t.Errorf("Returned %d", action)
	}
	p.checkTCResults(t, loaded, nil, false)
}

func (p *kernelPair) checkTCResults(t *testing.T, loaded *ebpf.Collection, area []byte, found bool) {
	t.Helper()
	results := kernelResults(t, loaded)
	if len(results) == 0 {
		t.Fatal("No results")
	}
	for name, got := range results {
		check := kernelIs(0)
		switch {
		case found && name == "found":
			check = kernelIs(1)
		case found:
			check = p.check(t, name, results)
		}
		if err := check(area, got); err != nil {
			t.Errorf("%s: %v, metadata %x", name, err, area)
		}
	}
}

// kernelPass loads an XDP program that does nothing.
func kernelPass(t *testing.T) *ebpf.Program {
	t.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, kernelXDPPass), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pass.Close() })
	return pass
}

func kernelAttachTC(t *testing.T, program *ebpf.Program, nic *netlab.NIC) {
	t.Helper()
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: nic.Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
}
