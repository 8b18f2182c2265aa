// Command demo shows the main job on real packets: two emulated NICs with
// different metadata layouts, one unchanged program loaded on each, and what
// the program read against what the NIC wrote.
//
// It is run by make demo, as root, from the top of the repository. What it
// makes lives in a network namespace of its own, and vanishes with it.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/bpf"
	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/meta"
)

// packets is how many each NIC receives: as many as the program has records.
const packets = 100_000

func main() {
	err := run()
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("needs root, to make network namespaces and to load programs: %w", err)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	ns, err := netlab.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Do(func() error {
		err := errors.Join(
			demonstrate(ns, "nic-a", "nic_a"),
			demonstrate(ns, "nic-b", "nic_b"),
		)
		if err != nil {
			return err
		}
		if err := command("status"); err != nil {
			return err
		}
		return errors.Join(command("unload", "--iface", "nic-a"), command("unload", "--iface", "nic-b"))
	})
}

// demonstrate plugs a NIC in, loads the program for its layout, sends packets
// and compares.
func demonstrate(ns *netlab.Namespace, name, layout string) error {
	nic, err := ns.AddNIC(name)
	if err != nil {
		return err
	}
	if err := command("--iface", name, "--layout", bpf.ExampleFile(layout), bpf.ExampleFile("record")); err != nil {
		return err
	}

	sent := randomFacts()
	frames := make([]netlab.Frame, len(sent))
	for i := range sent {
		frames[i] = netlab.Frame{Metadata: example.NICs[layout](&sent[i]), Packet: numbered(i)}
	}
	if err := nic.Deliver(frames); err != nil {
		return err
	}
	records, err := readRecords(name)
	if err != nil {
		return err
	}
	return compare(name, sent, records, layout == "nic_a")
}

// command runs xdp-load, and shows how it was called and what it says.
func command(args ...string) error {
	fmt.Printf("\n$ xdp-load %s\n", strings.Join(args, " "))
	cmd := exec.Command("bin/xdp-load", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("xdp-load %s: %w", args[0], err)
	}
	return nil
}

// randomFacts are different in every run and for every packet. The type of hash
// has 8 bits, as that is all that one of the two NICs has room for.
func randomFacts() []example.Facts {
	all := make([]example.Facts, packets)
	for i := range all {
		all[i] = example.Facts{
			RxTimestamp: rand.Uint64(),
			Hash:        rand.Uint32(),
			HashType:    rand.Uint32N(1 << 8),
			Mark:        rand.Uint32(),
			VlanTCI:     uint16(rand.Uint32()),
			VlanProto:   0x8100,
			Csum:        rand.Uint32(),
			CsumStatus:  meta.CsumComplete,
		}
	}
	return all
}

// numbered returns a packet with a number after its Ethernet header, by which
// the program files what it read.
func numbered(i int) []byte {
	header := make([]byte, 14, 64)
	header[12], header[13] = 0x88, 0xb5 // an EtherType for experiments, IEEE 802
	return binary.BigEndian.AppendUint32(header, uint32(i))[:64]
}

// record is struct record of bpf/examples/record.c.
type record struct {
	Timestamp uint64
	Hash      uint32
	HashType  uint32
	Mark      uint32
	VLANTCI   uint16
	VLANProto [2]byte // network byte order
	Seen      uint32
	Found     uint32
}

// readRecords returns what the program attached to an interface read.
func readRecords(iface string) ([]record, error) {
	attached, _, err := loader.Status()
	if err != nil {
		return nil, err
	}
	for _, a := range attached {
		if a.Interface == iface {
			return recordsOf(a.ProgramID)
		}
	}
	return nil, fmt.Errorf("nothing attached to %s", iface)
}

func recordsOf(id ebpf.ProgramID) ([]record, error) {
	m, err := mapOf(id, "records")
	if err != nil {
		return nil, err
	}
	defer m.Close()

	records := make([]record, packets)
	for i := range records {
		if err := m.Lookup(uint32(i), &records[i]); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// mapOf opens one of a program's maps, by name: it has others, such as the one
// that keeps what it was rewritten for.
func mapOf(id ebpf.ProgramID, name string) (*ebpf.Map, error) {
	prog, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return nil, err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return nil, err
		}
		if info, err := m.Info(); err == nil && info.Name == name {
			return m, nil
		}
		m.Close()
	}
	return nil, fmt.Errorf("program %d has no map %s", id, name)
}

// comparison is one line of the table.
type comparison struct {
	field  string
	wrote  func(*example.Facts) uint64
	read   func(*record) uint64
	format string
}

var comparisons = []comparison{
	{"rx_timestamp", func(f *example.Facts) uint64 { return f.RxTimestamp }, func(r *record) uint64 { return r.Timestamp }, "%d"},
	{"hash", func(f *example.Facts) uint64 { return uint64(f.Hash) }, func(r *record) uint64 { return uint64(r.Hash) }, "%#x"},
	{"hash_type", func(f *example.Facts) uint64 { return uint64(f.HashType) }, func(r *record) uint64 { return uint64(r.HashType) }, "%#x"},
	{"vlan_tci", func(f *example.Facts) uint64 { return uint64(f.VlanTCI) }, func(r *record) uint64 { return uint64(r.VLANTCI) }, "%#x"},
	{"vlan_proto", func(f *example.Facts) uint64 { return uint64(f.VlanProto) }, func(r *record) uint64 { return uint64(binary.BigEndian.Uint16(r.VLANProto[:])) }, "%#x"},
	{"mark", func(f *example.Facts) uint64 { return uint64(f.Mark) }, func(r *record) uint64 { return uint64(r.Mark) }, "%#x"},
}

// compare prints the table and fails unless every packet was seen once, with
// its metadata, and read right.
func compare(iface string, sent []example.Facts, records []record, stamps bool) error {
	seen, found := 0, 0
	for i := range records {
		seen += int(records[i].Seen)
		found += int(records[i].Found)
	}
	fmt.Printf("\n%s: %d packets sent, %d seen by the program, %d with metadata\n", iface, len(sent), seen, found)
	complete := seen == len(sent) && found == len(sent)

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIELD\tNIC WROTE (PACKET 0)\tPROGRAM READ\tEQUAL IN ALL PACKETS")
	for _, c := range comparisons {
		if c.field == "rx_timestamp" && !stamps {
			fmt.Fprintf(w, "%s\tnothing: not in its layout\t"+c.format+"\t\n", c.field, c.read(&records[0]))
			continue
		}
		equal := 0
		for i := range sent {
			if c.wrote(&sent[i]) == c.read(&records[i]) {
				equal++
			}
		}
		complete = complete && equal == len(sent)
		fmt.Fprintf(w, "%s\t"+c.format+"\t"+c.format+"\t%d of %d\n", c.field, c.wrote(&sent[0]), c.read(&records[0]), equal, len(sent))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !complete {
		return fmt.Errorf("%s: packets were lost or misread", iface)
	}
	return nil
}
