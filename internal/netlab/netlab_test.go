package netlab_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

const (
	frames       = 100_000
	metadataSize = 28
	packetSize   = 61 // odd, so that every size of step is taken
)

// Every frame arrives once, with its own metadata and packet.
func TestDeliver(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	ns := netlab.Enter(t)
	nic, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	log := recordMetadata(t, nic)

	sent := makeFrames(frames)
	if err := nic.Deliver(sent); err != nil {
		t.Fatal(err)
	}

	for i, frame := range sent {
		var got record
		if err := log.Lookup(uint32(i), &got); err != nil {
			t.Fatal(err)
		}
		if got.Times != 1 {
			t.Fatalf("frame %d arrived %d times", i, got.Times)
		}
		if !bytes.Equal(got.Metadata[:], frame.Metadata) {
			t.Fatalf("frame %d: got metadata %x, sent %x", i, got.Metadata, frame.Metadata)
		}
	}
}

func TestDeliverWithoutProgram(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	ns := netlab.Enter(t)
	nic, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	err = nic.Deliver(makeFrames(1))
	if err == nil || !strings.Contains(err.Error(), "native XDP program") {
		t.Fatalf("Frame without a receiver: %v", err)
	}
}

func TestFrameLengths(t *testing.T) {
	ns := netlab.Enter(t)
	nic, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, 64)

	for name, frames := range map[string][]netlab.Frame{
		"odd metadata":   {{Metadata: make([]byte, 6), Packet: packet}},
		"large metadata": {{Metadata: make([]byte, netlab.MaxMetadata+4), Packet: packet}},
		"short packet":   {{Packet: packet[:13]}},
		"large packet":   {{Packet: make([]byte, 1501)}},
		"mixed lengths":  {{Packet: packet}, {Packet: packet[:60]}},
	} {
		if err := nic.Deliver(frames); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Code and commands of a goroutine that has entered see the namespace, and
// nothing else does.
func TestEnter(t *testing.T) {
	netlab.NeedRoot(t)
	outside := interfaces(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if _, err := ns.AddNIC("lab0"); err != nil {
		t.Fatal(err)
	}

	err = ns.Do(func() error {
		if got := interfaces(t); got != "lab0 lab0-wire lo" {
			t.Errorf("Interfaces inside: %s", got)
		}
		output, err := exec.Command("ip", "-brief", "link").CombinedOutput()
		if !strings.Contains(string(output), "lab0-wire") {
			t.Errorf("A command inside sees: %s", output)
		}
		if err := os.Mkdir("/sys/fs/bpf/inside", 0o700); err != nil {
			t.Error(err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	if got := interfaces(t); got != outside {
		t.Errorf("Interfaces outside: %s, before: %s", got, outside)
	}
	if _, err := os.Stat("/sys/fs/bpf/inside"); err == nil {
		t.Error("A directory made inside is visible outside")
	}
}

func interfaces(t *testing.T) string {
	t.Helper()

	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, iface := range all {
		names = append([]string{iface.Name}, names...)
	}
	return strings.Join(names, " ")
}

// makeFrames returns frames of random bytes, each with its number at the start
// of the packet.
func makeFrames(n int) []netlab.Frame {
	random := rand.NewChaCha8([32]byte{1})
	frames := make([]netlab.Frame, n)
	for i := range frames {
		frames[i].Metadata = make([]byte, metadataSize)
		frames[i].Packet = make([]byte, packetSize)
		random.Read(frames[i].Metadata)
		random.Read(frames[i].Packet)
		binary.NativeEndian.PutUint32(frames[i].Packet, uint32(i))
	}
	return frames
}

type record struct {
	Times    uint32
	Metadata [metadataSize]byte
}

// recordMetadata attaches a program that writes the metadata of each packet to
// the element of the returned array whose number the packet starts with.
func recordMetadata(t *testing.T, nic *netlab.NIC) *ebpf.Map {
	t.Helper()

	log, err := ebpf.NewMap(&ebpf.MapSpec{
		Type:       ebpf.Array,
		KeySize:    4,
		ValueSize:  4 + metadataSize,
		MaxEntries: frames,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })

	insns := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 8, asm.Word), // data_meta
		asm.LoadMem(asm.R7, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R8, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Add.Imm(asm.R1, metadataSize),
		asm.JGT.Reg(asm.R1, asm.R7, "drop"),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Add.Imm(asm.R1, packetSize),
		asm.JGT.Reg(asm.R1, asm.R8, "drop"),
		asm.LoadMem(asm.R1, asm.R7, 0, asm.Word),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, log.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.Word),
	}
	for offset := int16(0); offset < metadataSize; offset += 4 {
		insns = append(insns,
			asm.LoadMem(asm.R1, asm.R6, offset, asm.Word),
			asm.StoreMem(asm.R0, 4+offset, asm.R1, asm.Word),
		)
	}
	insns = append(insns,
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"), // XDP_DROP
		asm.Return(),
	)

	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: insns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })

	attached, err := link.AttachXDP(link.XDPOptions{
		Program:   prog,
		Interface: nic.Index,
		Flags:     link.XDPDriverMode,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
	return log
}
