package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/bpf"
	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
)

// received is what a socket was handed: what is in front of a packet, and the packet.
type received struct {
	meta.Packet
	packet []byte
}

// await receives so many packets.
func await(t *testing.T, r *receiver, n int) []received {
	t.Helper()
	var all []received
	for deadline := time.Now().Add(10 * time.Second); len(all) < n; {
		err := r.receive(func(packet []byte) { all = append(all, received{r.packet, bytes.Clone(packet)}) })
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d packets of %d have arrived", len(all), n)
		}
	}
	if len(all) > n {
		t.Fatalf("%d packets have arrived, %d were sent", len(all), n)
	}
	return all
}

func startReceiver(t *testing.T, target *example.Target, wanted meta.Fields) *receiver {
	t.Helper()
	r, err := newReceiver(target, wanted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// On a veth, whose driver is read: of packets that are sent by sockets, with marks, VLAN tags
// and hashes that are known, an AF_XDP socket gets these with each packet.
func TestReceiveVeth(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.VethBuff)
	netlab.Need(t, netlab.TCX)
	nic, sender := vethLab(t)
	r := startReceiver(t, &example.Target{Interface: nic.Name}, meta.All)

	const packets, window = 3000, 64 // a veth has room for 256
	for first := 0; first < packets; first += window {
		n := min(window, packets-first)
		for i := first; i < first+n; i++ {
			sender.send(t, i)
		}
		for j, got := range await(t, r, n) {
			i := first + j
			want := meta.Packet{
				Fields: meta.All &^ meta.Ptype, Hash: hashOf(sender.markOf(i)), HashType: meta.HashL4, Mark: sender.markOf(i),
				CsumStatus: meta.CsumUnnecessary, // a sum that is left to the NIC is right
			}
			if tag := sender.markOf(i) & 0xffff; tag != 0 {
				want.VlanProto, want.VlanTCI = sender.tags[i%len(sender.tags)], uint16(sender.markOf(i)>>16)
			}
			if got.Packet != want {
				t.Fatalf("packet %d: got\n%+v instead of\n%+v", i, got.Packet, want)
			}
			if flow := flowOf(got.packet); flow != fmt.Sprintf("udp 192.0.2.1:4000 > 192.0.2.2:%d", 1+i) {
				t.Fatalf("packet %d is of flow %s", i, flow)
			}
		}
	}
}

// sender sends UDP packets into the wire of a veth.
type sender struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	tags []uint16 // EtherTypes, one after the other; 0: no tag
}

// vethLab makes a NIC, and has packets tagged and hashed by what they are marked with.
func vethLab(t *testing.T) (*netlab.NIC, *sender) {
	t.Helper()
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	wire, err := net.InterfaceByName("nic0-wire")
	if err != nil {
		t.Fatal(err)
	}
	setHash(t, wire.Index)
	tagger, err := netlab.AttachTagger(wire.Index)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tagger.Close() })
	address(t, wire.Name)

	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return nic, &sender{conn, raw, []uint16{0, 0x8100, 0x88a8, 0x8100}}
}

// markOf returns the mark of a packet, which says its tag as netlab.AttachTagger has it.
func (s *sender) markOf(i int) uint32 {
	var proto [2]byte
	binary.BigEndian.PutUint16(proto[:], s.tags[i%len(s.tags)])
	return uint32(i*7)<<16 | uint32(binary.NativeEndian.Uint16(proto[:]))
}

func (s *sender) send(t *testing.T, i int) {
	t.Helper()
	var err error
	if e := s.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(s.markOf(i)))
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if _, err := s.conn.WriteToUDP([]byte("payload"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1 + i}); err != nil {
		t.Fatal(err)
	}
}

// hashOf is the hash of a packet with a mark.
func hashOf(mark uint32) uint32 { return mark * 0x9e3779b1 }

// setHash gives packets that leave by an interface the hash that goes with their mark.
func setHash(t *testing.T, ifindex int) {
	t.Helper()
	const skbMark, next = 8, -1 // offset in struct __sk_buff; TCX_NEXT
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:       ebpf.SchedCLS,
		AttachType: ebpf.AttachTCXEgress,
		License:    "MIT",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, skbMark, asm.Word),
			asm.LoadImm(asm.R3, int64(hashOf(1)), asm.DWord),
			asm.Mul.Reg32(asm.R2, asm.R3),
			asm.FnSetHash.Call(),
			asm.Mov.Imm(asm.R0, next),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: ifindex, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
}

// address has packets to 192.0.2.2 leave by an interface.
func address(t *testing.T, name string) {
	t.Helper()
	for _, command := range []string{
		"ip address add 192.0.2.1/24 dev " + name,
		"ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:01 dev " + name,
	} {
		runCommand(t, command)
	}
}

// On NICs that write into the metadata area, each in its own layout: a consumer that knows
// neither gets what they wrote.
func TestReceiveLayout(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	for _, layout := range []struct {
		name string
		has  meta.Fields
	}{
		{"nic_a", meta.All &^ meta.Ptype},
		{"nic_b", meta.All &^ meta.Ptype &^ meta.RxTimestamp},
		{"nic_c", meta.All},
	} {
		t.Run(layout.name, func(t *testing.T) {
			nic, err := netlab.Enter(t).AddNIC("nic0")
			if err != nil {
				t.Fatal(err)
			}
			r := startReceiver(t, &example.Target{Interface: nic.Name, Layout: object(layout.name)}, meta.All)

			const packets, window = 10_000, 1000 // of the socket's 2048 frames
			random := rand.New(rand.NewPCG(1, 2))
			for range packets / window {
				sent, frames := make([]meta.Packet, window), make([]netlab.Frame, window)
				for i := range sent {
					sent[i] = randomPacket(random, layout.has)
					frames[i] = netlab.Frame{Metadata: example.NICs[layout.name](factsOf(&sent[i])), Packet: make([]byte, 60)}
					binary.BigEndian.PutUint32(frames[i].Packet[14:], uint32(i))
				}
				if len(frames[0].Metadata) > netlab.SmallMetadata {
					netlab.Need(t, netlab.LargeMetadata)
				}
				if err := nic.Deliver(frames); err != nil {
					t.Fatal(err)
				}
				for i, got := range await(t, r, window) {
					if got.Packet != sent[i] || !bytes.Equal(got.packet, frames[i].Packet) {
						t.Fatalf("packet %d: got\n%+v %x instead of\n%+v %x", i, got.Packet, got.packet, sent[i], frames[i].Packet)
					}
				}
			}
		})
	}
}

// randomPacket has values that all of these NICs have room for.
func randomPacket(random *rand.Rand, has meta.Fields) meta.Packet {
	p := meta.Packet{
		Fields: has, Hash: random.Uint32(), HashType: random.Uint32N(1 << 8), Csum: random.Uint32N(1 << 16),
		CsumStatus: uint8(random.Uint32N(5)), Mark: random.Uint32(), VlanTCI: uint16(random.Uint32()), VlanProto: uint16(random.Uint32()),
	}
	if has&meta.RxTimestamp != 0 {
		p.RxTimestamp = random.Uint64()
	}
	if has&meta.Ptype != 0 {
		p.Ptype = uint16(random.Uint32N(1 << 9))
	}
	return p
}

// factsOf are what a NIC knows that says this of a packet.
func factsOf(p *meta.Packet) *example.Facts {
	return &example.Facts{
		RxTimestamp: p.RxTimestamp, Hash: p.Hash, HashType: p.HashType, Csum: p.Csum, CsumStatus: uint32(p.CsumStatus),
		Mark: p.Mark, Ptype: uint32(p.Ptype), VlanTCI: p.VlanTCI, VlanProto: p.VlanProto,
	}
}

// object returns the path of a compiled example.
func object(name string) string { return "../../" + bpf.ExampleFile(name) }

// A packet whose NIC has written nothing in front of it comes with nothing, and is not
// taken for one of which all is zero.
func TestReceiveUnknown(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	r := startReceiver(t, &example.Target{Interface: nic.Name, Layout: object("nic_b")}, meta.All)
	for _, metadata := range [][]byte{nil, make([]byte, 28)} {
		if err := nic.Deliver([]netlab.Frame{{Metadata: metadata, Packet: make([]byte, 60)}}); err != nil {
			t.Fatal(err)
		}
		if got := await(t, r, 1)[0].Packet; got != (meta.Packet{}) {
			t.Errorf("with %d bytes of metadata: %+v", len(metadata), got)
		}
	}
}

// What a consumer does not ask for is not read.
func TestReceiveWanted(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	for _, wanted := range []meta.Fields{meta.RxTimestamp, meta.Hash, meta.Csum, meta.Vlan, meta.Mark, meta.Ptype, meta.Hash | meta.Vlan, 0} {
		nic, err := netlab.Enter(t).AddNIC("nic0")
		if err != nil {
			t.Fatal(err)
		}
		r := startReceiver(t, &example.Target{Interface: nic.Name, Layout: object("nic_c")}, wanted)
		sent := meta.Packet{RxTimestamp: 1, Hash: 2, HashType: 3, Csum: 4, CsumStatus: 2, VlanTCI: 5, VlanProto: 6, Mark: 7, Ptype: 8}
		if err := nic.Deliver([]netlab.Frame{{Metadata: example.NICs["nic_c"](factsOf(&sent)), Packet: make([]byte, 60)}}); err != nil {
			t.Fatal(err)
		}
		want := meta.Packet{Fields: wanted}
		if wanted&meta.RxTimestamp != 0 {
			want.RxTimestamp = sent.RxTimestamp
		}
		if wanted&meta.Hash != 0 {
			want.Hash, want.HashType = sent.Hash, sent.HashType
		}
		if wanted&meta.Csum != 0 {
			want.Csum, want.CsumStatus = sent.Csum, sent.CsumStatus
		}
		if wanted&meta.Vlan != 0 {
			want.VlanTCI, want.VlanProto = sent.VlanTCI, sent.VlanProto
		}
		if wanted&meta.Mark != 0 {
			want.Mark = sent.Mark
		}
		if wanted&meta.Ptype != 0 {
			want.Ptype = sent.Ptype
		}
		if got := await(t, r, 1)[0].Packet; got != want {
			t.Errorf("asked for %06b: %+v instead of %+v", wanted, got, want)
		}
		r.close()
	}
}

// On an interface whose driver nobody has written accessors for, what can be computed is
// there: a tap's, which stands for a NIC of a virtual machine. Before Linux 6.15 it has no
// metadata area: what is known of the packet is put into it.
func TestReceiveSoftware(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Enter(t)
	tap := openTap(t, "tap0")
	target := &example.Target{Interface: "tap0", Software: []string{"hash", "rx_timestamp"}}
	r := startReceiver(t, target, meta.All)
	clock, err := example.ClockOf(target)
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()

	const udpOverIPv4 = meta.HashIPv4 | meta.HashL4 | meta.HashUDP
	hashes := make(map[uint32]bool)
	for i := range 100 {
		before := clock.Now()
		if _, err := tap.Write(example.UDPPacket(uint16(i))); err != nil {
			t.Fatal(err)
		}
		got := await(t, r, 1)[0]
		after := clock.Now()
		if got.Fields != meta.RxTimestamp|meta.Hash || got.RxTimestamp < before || got.RxTimestamp > after {
			t.Fatalf("between %d and %d: %+v", before, after, got.Packet)
		}
		if got.HashType != meta.HashSoftware|udpOverIPv4 {
			t.Fatalf("hash of type %#x", got.HashType)
		}
		if !bytes.Equal(got.packet, example.UDPPacket(uint16(i))) {
			t.Fatalf("the packet is %x", got.packet)
		}
		hashes[got.Hash] = true
	}
	if len(hashes) < 99 {
		t.Errorf("100 flows have %d hashes", len(hashes))
	}
	var place meta.Place
	if err := r.program.Variables["place"].Get(&place); err != nil {
		t.Fatal(err)
	}
	if place != meta.InPacket {
		return
	}
	// What was said to be in the area is never put anywhere else.
	if err := r.program.Variables["place"].Set(meta.InArea); err != nil {
		t.Fatal(err)
	}
	if _, err := tap.Write(example.UDPPacket(1)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.summarise(&out, new(printer)); err != nil {
		t.Fatal(err)
	}
	if want := "\n0 packets, 0 lost, 1 passed on, since there is no room in front of them\n"; out.String() != want {
		t.Errorf("says %q instead of %q", out.String(), want)
	}
}

// Where the struct is, is the same for all packets: those that it can't be in front of pass,
// and are counted.
func TestReceivePlace(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	for _, place := range []meta.Place{meta.Nowhere, meta.InArea, meta.InPacket} {
		nic, err := netlab.Enter(t).AddNIC("nic0")
		if err != nil {
			t.Fatal(err)
		}
		r := startReceiver(t, &example.Target{Interface: nic.Name, Layout: object("nic_c")}, meta.All)
		if err := r.program.Variables["place"].Set(place); err != nil {
			t.Fatal(err)
		}
		packet := example.UDPPacket(1)
		for _, facts := range []example.Facts{{Mark: 7}, {Mark: 8}} {
			if err := nic.Deliver([]netlab.Frame{{Metadata: example.NICs["nic_c"](&facts), Packet: packet}}); err != nil {
				t.Fatal(err)
			}
			got := await(t, r, 1)[0]
			if got.Mark != facts.Mark || got.Fields != meta.All || !bytes.Equal(got.packet, packet) {
				t.Errorf("place %d: got %+v %x", place, got.Packet, got.packet)
			}
		}
		var is meta.Place
		if err := r.program.Variables["place"].Get(&is); err != nil {
			t.Fatal(err)
		}
		if want := max(place, meta.InArea); is != want {
			t.Errorf("place is %d instead of %d", is, want)
		}
		r.close()
	}
}

// openTap makes a tap, and returns the file by which packets come in there.
func openTap(t *testing.T, name string) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	tap := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { tap.Close() })
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Fatal(err)
	}
	runCommand(t, "ip link set "+name+" up")
	return tap
}

// There is a socket for each queue. Of more packets than a socket has frames, the summary
// tells those that were lost.
func TestReceiveQueues(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Enter(t)
	runCommand(t, "ip link add nic0 numrxqueues 3 numtxqueues 3 type veth peer name nic0-wire numrxqueues 3 numtxqueues 3")
	r := startReceiver(t, &example.Target{Interface: "nic0", Layout: object("nic_c")}, meta.All)
	if len(r.sockets) != 3 {
		t.Errorf("%d sockets for 3 queues", len(r.sockets))
	}
}

func TestReceiveLost(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	r := startReceiver(t, &example.Target{Interface: nic.Name, Layout: object("nic_c")}, meta.All)
	const packets, kept = 5000, 2048
	frames := make([]netlab.Frame, packets)
	for i := range frames {
		frames[i] = netlab.Frame{Metadata: example.NICs["nic_c"](&example.Facts{Mark: uint32(i)}), Packet: make([]byte, 60)}
	}
	if err := nic.Deliver(frames); err != nil {
		t.Fatal(err)
	}
	for i, got := range await(t, r, kept) {
		if got.Mark != uint32(i) {
			t.Fatalf("packet %d has mark %d", i, got.Mark)
		}
	}
	var out bytes.Buffer
	if err := r.summarise(&out, &printer{packets: kept}); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("\n%d packets, %d lost\n", kept, packets-kept); out.String() != want {
		t.Errorf("says %q instead of %q", out.String(), want)
	}
	// Afterwards there is room again.
	if err := nic.Deliver(frames[:100]); err != nil {
		t.Fatal(err)
	}
	await(t, r, 100)
}

// What can't be done is said, and nothing stays.
func TestRunRefuses(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "no interface given: --iface INTERFACE"},
		{[]string{"--iface", "nic1"}, "nic1: no such network interface"},
		{[]string{"--iface", "lo"}, "lo: "},
		{[]string{"--iface", "nic0", "--layout", "nothing.o"}, "layout nothing.o: "},
		{[]string{"--iface", "nic0", "--software", "mark"}, `"mark" can't be computed`},
	} {
		var out bytes.Buffer
		err := run(t.Context(), test.args, &out)
		if err == nil || !strings.Contains(err.Error(), test.want) || out.Len() > 0 {
			t.Errorf("%v: %v, and %q", test.args, err, out.String())
		}
	}
	// Two at a time are not possible.
	startReceiver(t, &example.Target{Interface: "nic0", Layout: object("nic_c")}, meta.All)
	if err := run(t.Context(), []string{"--iface", "nic0", "--layout", object("nic_c")}, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "AF_XDP socket for queue 0: another socket has it: ") {
		t.Errorf("of a second one: %v", err)
	}
}

// Whoever runs it sees a line for each packet. When it ends, nothing is left.
func TestRun(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.VethBuff)
	netlab.Need(t, netlab.TCX)
	nic, sender := vethLab(t)
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { // a socket is in the namespace that it was made in
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(10 * time.Millisecond) // it may not be there yet
			sender.send(t, i%4)
		}
	}()
	err := run(ctx, []string{"--iface", nic.Name, "--packets", "4"}, &out)
	cancel()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(` +\n| {2,}`).ReplaceAllStringFunc(out.String(), func(s string) string {
		if strings.Contains(s, "\n") {
			return "\n"
		}
		return "  "
	})
	const want = `nic0: 1 queues, fields from accessors for veth, latency by CLOCK_TAI

FLOW  HASH  OF  CHECKSUM  VLAN  MARK  NIC TIME  LATENCY
`
	if !strings.HasPrefix(lines, want) || !strings.HasSuffix(lines, "\n4 packets, 0 lost\n") {
		t.Errorf("printed\n%s", lines)
	}
	for _, line := range []string{
		"udp 192.0.2.1:4000 > 192.0.2.2:1  0x00000000  ports  right  none  none  none  none",
		fmt.Sprintf("udp 192.0.2.1:4000 > 192.0.2.2:3  0x%08x  ports  right  14 (S)  %#x  none  none", hashOf(sender.markOf(2)), sender.markOf(2)),
	} {
		if !strings.Contains(lines, line) {
			t.Errorf("there is no line\n%s in\n%s", line, lines)
		}
	}
	if attached, err := link.AttachXDP(link.XDPOptions{Program: pass(t), Interface: nic.Index, Flags: link.XDPDriverMode}); err != nil {
		t.Errorf("something is left on the interface: %v", err)
	} else {
		attached.Close()
	}
}

func pass(t *testing.T) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}

func runCommand(t *testing.T, command string) {
	t.Helper()
	if output, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, output)
	}
}

// A queue without a socket keeps its packets, as an interface does without the program.
func TestQueueWithoutSocket(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	nic, err := netlab.Enter(t).AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	r := startReceiver(t, &example.Target{Interface: nic.Name, Layout: object("nic_c")}, meta.All)
	if err := r.program.Maps["sockets"].Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	metadata, packet := example.NICs["nic_c"](new(example.Facts)), example.UDPPacket(1)
	if err := nic.Deliver([]netlab.Frame{{Metadata: metadata, Packet: packet}}); err != nil {
		t.Fatal(err)
	}
	outcome, err := netlab.Run(r.program.Programs["receive"], metadata, packet)
	if err != nil {
		t.Fatal(err)
	}
	const xdpPass = 2
	if outcome.Action != xdpPass || !bytes.Equal(outcome.Metadata, metadata) {
		t.Errorf("action %d, metadata %x", outcome.Action, outcome.Metadata)
	}
}
