package loader_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

func example(name string) string { return "../bpf/examples/" + name + endian }

// producerPackets is how many packets are sent to each producer.
const producerPackets = 3000

// A producer and a consumer, compiled apart and loaded for one layout: behind
// the veth that the first redirects to, the second reads what the kernel's
// metadata kfuncs told the first, of every packet.
func TestProducer(t *testing.T) {
	for _, layout := range []struct {
		name string
		file string
		hash uint32 // as much of it as there is room for
	}{
		{"exact", layoutFile("exact"), 0xffffffff},
		{"reordered", layoutFile("reordered"), 0xffffffff},
		{"narrow", layoutFile("narrow"), 0xffff},
		{"wide", layoutFile("wide"), 0xffffffff},
		{"nested", layoutFile("nested"), 0xffffffff},
		{"flavour", layoutFile("flavour"), 0xffffffff},
		{"packed", layoutFile("packed"), 0xffffffff},
		{"swapped", layoutFile("swapped"), 0xffffffff},
		{"bitfield", layoutFile("bitfield"), 0xffffffff},
		{"nic_a", example("nic_a"), 0xffffffff},
		{"nic_b", example("nic_b"), 0xffffffff},
	} {
		t.Run(layout.name, func(t *testing.T) {
			line := newProducerLine(t, layout.file)
			packets := producerMakePackets()
			said := line.askKernel(packets)
			records := line.produce(line.producer(), packets)

			for i, packet := range packets {
				line.checkSaid(i, packet, said[i])
				expected := producerRecord{
					RxTimestamp: said[i].Timestamp,
					Hash:        said[i].Hash & layout.hash,
					HashType:    said[i].HashType,
					VlanTCI:     packet.tci,
					VlanProto:   packet.proto,
					Seen:        1,
					Found:       1,
				}
				if records[i] != expected {
					t.Fatalf("Packet %d: read\n%+v instead of\n%+v", i, records[i], expected)
				}
			}
			line.log(packets, said, records)
		})
	}
}

// A veth has no clock to stamp packets with. One that has lets the consumer see
// times that rise, and come from while the packets were sent.
func TestProducerWithClock(t *testing.T) {
	for name, mask := range map[string]uint64{"exact": 1<<64 - 1, "packed": 1<<64 - 1, "narrow": 1<<32 - 1} {
		t.Run(name, func(t *testing.T) {
			line := newProducerLine(t, layoutFile(name))
			producer := line.producer()
			producerGiveClock(t, producer.Programs["produce"])

			before := producerClock(t)
			records := line.produce(producer, producerMakePackets())
			after := producerClock(t)

			last := before
			for i, record := range records {
				// How long after the last packet, in a clock that may have wrapped.
				last += (record.RxTimestamp - last) & mask
				if record.RxTimestamp != last&mask || last > after {
					t.Fatalf("Packet %d is stamped %d, %d ns after the last packet was sent", i, record.RxTimestamp, last-after)
				}
			}
		})
	}
}

// Of frames without an skb behind them, such as another program's, a veth knows
// nothing. The consumer finds a descriptor all the same, of zeros.
func TestProducerKnowsNothing(t *testing.T) {
	line := newProducerLine(t, layoutFile("exact"))
	frames := make([]netlab.Frame, 100)
	for i, packet := range producerMakePackets()[:len(frames)] {
		frames[i].Packet = packet.frame
	}

	records := line.run(line.producer(), len(frames), func(arrived func(int) bool) {
		if err := line.nic.Deliver(frames); err != nil {
			t.Fatal(err)
		}
		for i := range frames {
			line.await(i, arrived)
		}
	})
	for i, record := range records {
		if expected := (producerRecord{Seen: 1, Found: 1}); record != expected {
			t.Fatalf("Packet %d: read\n%+v instead of\n%+v", i, record, expected)
		}
	}
}

// The kernel takes the kfuncs only from a program that is bound to a device, and
// says so. A program that is loaded on an interface is bound to that.
func TestProducerUnbound(t *testing.T) {
	netlab.Need(t, netlab.MetadataFunctions)
	lab := newLab(t)
	opts := loader.Options{Layout: layout(t, "exact")}
	_, err := loader.LoadRewritten(example("produce"), opts)
	var refusal *loader.RefusalError
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Error(), "metadata kfuncs require device-bound program") {
		t.Errorf("Got %v", err)
	}
	opts.Interface = lab.nic.Name
	loaded, err := loader.LoadRewritten(example("produce"), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	defer lab.unload(lab.nic.Name)
	if !loaded.Bound {
		t.Error("it is not said to be bound")
	}
}

// docs/producers.md shows the code that the tests above run.
func TestProducerDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/producers.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("producer_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(doc), "```go\n")
	code, _, _ := strings.Cut(after, "```")
	if !found || !strings.Contains(string(source), "\n"+code) {
		t.Errorf("docs/producers.md shows what this file does not run:\n%s", code)
	}
}

// attachProducer attaches produce.o to eth0, and leads its packets to next.
func attachProducer(spec *ebpf.CollectionSpec, eth0, next *net.Interface) (link.Link, error) {
	loader.BindToDevice(spec, eth0.Index)

	producer, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	defer producer.Close() // the link keeps what it needs

	if err := producer.Maps["next"].Put(uint32(0), uint32(next.Index)); err != nil {
		return nil, err
	}
	return link.AttachXDP(link.XDPOptions{
		Program:   producer.Programs["produce"],
		Interface: eth0.Index,
		Flags:     link.XDPDriverMode,
	})
}

// producerLine is a lab with a second NIC: what comes in on the first is
// redirected to the wire of the second.
type producerLine struct {
	*lab
	layout *reloc.Layout
	second *netlab.NIC
}

func newProducerLine(t *testing.T, file string) *producerLine {
	t.Helper()

	netlab.Need(t, netlab.MetadataFunctions)
	line := &producerLine{lab: newLab(t)}
	var err error
	if line.layout, err = nic.OpenLayout(file, ""); err != nil {
		t.Fatal(err)
	}
	if line.second, err = line.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	return line
}

// producer returns the producer, rewritten for the layout.
func (line *producerLine) producer() *ebpf.CollectionSpec {
	line.Helper()

	object, err := os.Open(example("produce"))
	if err != nil {
		line.Fatal(err)
	}
	defer object.Close()
	spec, _, err := loader.RewrittenSpec(object, loader.Options{Layout: line.layout})
	if err != nil {
		line.Fatal(err)
	}
	return spec
}

// produce sends packets to a producer, and returns what the consumer behind it
// read.
func (line *producerLine) produce(producer *ebpf.CollectionSpec, packets []producerPacket) []producerRecord {
	line.Helper()

	return line.run(producer, len(packets), func(arrived func(int) bool) { line.send(packets, arrived) })
}

// run attaches a producer, and a consumer of the same layout behind it, while n
// packets are sent, and returns what the consumer read.
func (line *producerLine) run(producer *ebpf.CollectionSpec, n int, send func(arrived func(i int) bool)) []producerRecord {
	line.Helper()

	consumer, err := loader.LoadRewritten(example("record"), loader.Options{Layout: line.layout, Interface: line.second.Name})
	if err != nil {
		line.Fatal(err)
	}
	defer consumer.Close()
	next := line.interfaceOf(line.second.Name + "-wire")
	attached, err := attachProducer(producer, line.interfaceOf(line.nic.Name), next)
	if err != nil {
		line.Fatal(err)
	}

	records := consumer.Maps["records"]
	send(func(i int) bool { return producerLookup[producerRecord](line.T, records, i).Seen > 0 })
	attached.Close()
	if err := loader.Unload(line.second.Name); err != nil {
		line.Fatal(err)
	}
	return producerLookupAll[producerRecord](line.T, records, n)
}

// askKernel sends packets to a program that only calls the kfuncs, and returns
// what they said.
func (line *producerLine) askKernel(packets []producerPacket) []producerSaid {
	line.Helper()

	spec, err := ebpf.LoadCollectionSpec(ownProgram("kfuncs"))
	if err != nil {
		line.Fatal(err)
	}
	spec.Programs["kfuncs"].Ifindex = uint32(line.nic.Index)
	spec.Programs["kfuncs"].Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
	control, err := ebpf.NewCollection(spec)
	if err != nil {
		line.Fatal(err)
	}
	defer control.Close()
	attached, err := link.AttachXDP(link.XDPOptions{
		Program:   control.Programs["kfuncs"],
		Interface: line.nic.Index,
		Flags:     link.XDPDriverMode,
	})
	if err != nil {
		line.Fatal(err)
	}

	line.send(packets, func(i int) bool {
		return producerLookup[producerSaid](line.T, control.Maps["said"], i) != producerSaid{}
	})
	attached.Close()
	return producerLookupAll[producerSaid](line.T, control.Maps["said"], len(packets))
}

// producerLookup returns an element of an array, which a program may be in the
// middle of writing.
func producerLookup[T any](t *testing.T, array *ebpf.Map, i int) (element T) {
	t.Helper()

	if err := array.Lookup(uint32(i), &element); err != nil {
		t.Fatal(err)
	}
	return element
}

func producerLookupAll[T any](t *testing.T, array *ebpf.Map, n int) []T {
	t.Helper()

	elements := make([]T, n)
	for i := range elements {
		elements[i] = producerLookup[T](t, array, i)
	}
	return elements
}

// checkSaid compares what the kfuncs said with what is known of a packet anyway.
func (line *producerLine) checkSaid(i int, packet producerPacket, said producerSaid) {
	line.Helper()

	const l4 = 1 << 3 // XDP_RSS_L4: a veth says no more than that
	noTag := int32(0)
	if packet.proto == [2]byte{} {
		noTag = -int32(unix.ENODATA)
	}
	switch {
	case said.HashError != 0 || said.Hash == 0 || said.HashType != l4:
		line.Fatalf("Packet %d: %+v has no hash", i, said)
	case said.VlanError != noTag || said.VlanTCI != packet.tci || said.VlanProto != packet.proto:
		line.Fatalf("Packet %d: %+v has not the tag that was sent, %x %#x", i, said, packet.proto, packet.tci)
	case said.TimestampError != 0:
		line.Fatalf("Packet %d: %+v has no timestamp", i, said)
	}
}

func (line *producerLine) interfaceOf(name string) *net.Interface {
	line.Helper()

	found, err := net.InterfaceByName(name)
	if err != nil {
		line.Fatal(err)
	}
	return found
}

// log shows a packet with each tag: what was sent, said, and read.
func (line *producerLine) log(packets []producerPacket, said []producerSaid, records []producerRecord) {
	var table strings.Builder
	fmt.Fprintf(&table, "%d packets, none lost\n", len(records))
	fmt.Fprintln(&table, "sent       | the kfuncs said            | the consumer read")
	fmt.Fprintln(&table, "tag        | tag        hash      type  | tag        hash      type")
	for i := range producerTags {
		fmt.Fprintf(&table, "%x %04x  | %x %04x  %08x  %4x  | %x %04x  %08x  %4x\n",
			packets[i].proto, packets[i].tci,
			said[i].VlanProto, said[i].VlanTCI, said[i].Hash, said[i].HashType,
			records[i].VlanProto, records[i].VlanTCI, records[i].Hash, records[i].HashType)
	}
	line.Logf("%s", table.String())
}

// producerRecord is struct record of bpf/examples/record.c.
type producerRecord struct {
	RxTimestamp uint64
	Hash        uint32
	HashType    uint32
	Mark        uint32
	VlanTCI     uint16
	VlanProto   [2]byte
	Seen, Found uint32
}

// producerSaid is struct said of testdata/kfuncs.c.
type producerSaid struct {
	Timestamp                            uint64
	Hash, HashType                       uint32
	VlanTCI                              uint16
	VlanProto                            [2]byte
	TimestampError, HashError, VlanError int32
}

// producerPacket is a packet, and the VLAN tag that is beside it, not in it.
type producerPacket struct {
	proto [2]byte // EtherType of the tag as on the wire, zero without one
	tci   uint16
	frame []byte
}

// producerTags are the tags that packets have, in turns.
var producerTags = []producerPacket{
	{},
	{proto: [2]byte{0x81, 0x00}, tci: 0x0001},
	{proto: [2]byte{0x81, 0x00}, tci: 0xa123}, // priority 5, VLAN 291
	{proto: [2]byte{0x88, 0xa8}, tci: 0xffff},
	{proto: [2]byte{0x81, 0x00}, tci: 0x0000}, // a tag all the same
}

// producerMakePackets returns packets of many flows. Each is a UDP packet that
// says its number where record.c looks for it: behind the Ethernet header, in
// the sequence number of an HSR tag, which the kernel's flow dissector looks
// through for the ports.
func producerMakePackets() []producerPacket {
	packets := make([]producerPacket, producerPackets)
	for i := range packets {
		frame := make([]byte, 64)
		copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x89, 0x2f}) // to, from, ETH_P_HSR
		binary.BigEndian.PutUint16(frame[16:], uint16(i))
		binary.BigEndian.PutUint16(frame[18:], unix.ETH_P_IP)
		ip := frame[20:]
		ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		copy(ip[12:], []byte{192, 0, 2, 1, 198, 51, 100, 1})
		udp := ip[20:]
		binary.BigEndian.PutUint16(udp, uint16(i)|1<<15)
		binary.BigEndian.PutUint16(udp[2:], 9)
		binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))

		packets[i] = producerTags[i%len(producerTags)]
		packets[i].frame = frame
	}
	return packets
}

// send sends packets into the first NIC as any program on the other side would,
// so that the kernel knows something of them: those of netlab's emulator have no
// skb behind them, and a veth no answers then. It returns once all have arrived.
func (line *producerLine) send(packets []producerPacket, arrived func(i int) bool) {
	line.Helper()

	wire := line.interfaceOf(line.nic.Name + "-wire").Index
	tagger := producerTagger(line.T, wire)
	defer tagger.Close()
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		line.Fatal(err)
	}
	defer unix.Close(socket)

	// A veth has a ring of 256 packets, and drops what comes when it is full.
	const window = 64
	for i, packet := range packets {
		mark := int(packet.tci)<<16 | int(binary.NativeEndian.Uint16(packet.proto[:]))
		if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
			line.Fatal(err)
		}
		if err := unix.Sendto(socket, packet.frame, 0, &unix.SockaddrLinklayer{Ifindex: wire}); err != nil {
			line.Fatal(err)
		}
		if (i+1)%window == 0 || i == len(packets)-1 {
			for j := i - i%window; j <= i; j++ {
				line.await(j, arrived)
			}
		}
	}
}

func (line *producerLine) await(i int, arrived func(int) bool) {
	line.Helper()

	for deadline := time.Now().Add(3 * time.Second); !arrived(i); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			line.Fatalf("Packet %d is lost", i)
		}
	}
}

// producerTagger has packets tagged that leave by an interface: see netlab.AttachTagger.
func producerTagger(t *testing.T, ifindex int) link.Link {
	t.Helper()

	attached, err := netlab.AttachTagger(ifindex)
	if err != nil {
		t.Fatal(err)
	}
	return attached
}

// producerGiveClock makes a program take the time where it asks the driver for
// it: the call becomes one of
//
//	static int clock(const struct xdp_md *ctx, __u64 *timestamp)
//	{
//		*timestamp = bpf_ktime_get_ns();
//		return 0;
//	}
func producerGiveClock(t *testing.T, program *ebpf.ProgramSpec) {
	t.Helper()

	for i, insn := range program.Instructions {
		if insn.Reference() != "bpf_xdp_metadata_rx_timestamp" {
			continue
		}
		integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
		pointer := &btf.Pointer{Target: &btf.Void{}}
		clock := btf.WithFuncMetadata(asm.Mov.Reg(asm.R6, asm.R2).WithSymbol("clock"), &btf.Func{
			Name: "clock",
			Type: &btf.FuncProto{Return: integer, Params: []btf.FuncParam{{Name: "ctx", Type: pointer}, {Name: "timestamp", Type: pointer}}},
		})
		program.Instructions[i] = asm.Call.Label("clock").WithSource(insn.Source())
		program.Instructions = append(program.Instructions,
			clock.WithSource(program.Instructions[0].Source()), // a function has to have one
			asm.FnKtimeGetNs.Call(),
			asm.StoreMem(asm.R6, 0, asm.R0, asm.DWord),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		)
		return
	}
	t.Fatal("The program does not ask for the time")
}

// producerClock returns the time as bpf_ktime_get_ns does.
func producerClock(t *testing.T) uint64 {
	t.Helper()

	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return uint64(now.Nano())
}
