package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
)

// ownNICs is set in the machines of make test-kernels. On another machine a NIC is in use.
var ownNICs = flag.Bool("nics", false, "test NICs, which have to be there, and nothing else may use them")

// nicTests are what NICs of these machines tell, by their numbers there.
var nicTests = []struct {
	driver   string
	number   byte
	settings string
	place    meta.Place
	tells    meta.Fields
	native   *netlab.Feature
}{
	{driver: "igb", number: 0, settings: "rxvlan on rx on", place: meta.InArea, tells: meta.Vlan | meta.Csum},
	{driver: "virtio_net", number: 1, settings: "gro off", place: meta.InArea, tells: 0},
	{driver: "vmxnet3", number: 2, settings: "rxvlan on rx on", place: meta.InPacket, tells: meta.Vlan, native: &netlab.Vmxnet3XDP},
}

// Of a NIC a socket gets the tags that it has taken off and the sums that it has checked,
// with zero copy where the driver has it, and where the driver has no metadata area, too.
func TestReceiveNICs(t *testing.T) {
	if !*ownNICs {
		t.Skip("needs NICs of its own: make test-kernels has some")
	}
	netlab.Need(t, netlab.Casts)
	for _, test := range nicTests {
		t.Run(test.driver, func(t *testing.T) {
			if test.native != nil {
				netlab.Need(t, *test.native)
			}
			nic, wire := port(t, test.number, 1), port(t, test.number, 2)
			runCommand(t, "ethtool --features "+nic.Name+" "+test.settings)
			runCommand(t, "ip link set "+nic.Name+" up promisc on")
			runCommand(t, "ip link set "+wire.Name+" up")
			r := startReceiver(t, &example.Target{Interface: nic.Name}, meta.All)
			awaitCarrier(t, nic, wire)

			const packets = 300
			for i := range packets {
				sent := newTagged(i)
				sendRaw(t, wire, sent.bytes)
				got := r.awaitFlow(t, sent)
				switch {
				case test.tells&meta.Vlan != 0 && (got.VlanProto != sent.proto || got.VlanTCI != sent.tci):
					t.Fatalf("packet %d: tag %#x %#x instead of %#x %#x", i, got.VlanProto, got.VlanTCI, sent.proto, sent.tci)
				case test.tells&meta.Csum != 0 && (got.CsumStatus == meta.CsumBad) != sent.wrong:
					t.Fatalf("packet %d: checksum %d, and wrong is %t", i, got.CsumStatus, sent.wrong)
				case got.Fields&test.tells != test.tells:
					t.Fatalf("packet %d: told %06b", i, got.Fields)
				}
			}
			if r.place != test.place {
				t.Errorf("place is %d instead of %d", r.place, test.place)
			}
		})
	}
}

// port returns the end of a machine's NIC.
func port(t *testing.T, number, end byte) net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, iface := range all {
		if bytes.Equal(iface.HardwareAddr, []byte{0x52, 0x54, 0, 0, number, end}) {
			return iface
		}
	}
	t.Fatalf("there is no NIC %d", number)
	return net.Interface{}
}

func awaitCarrier(t *testing.T, ends ...net.Interface) {
	t.Helper()
	for _, end := range ends {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			carrier, err := os.ReadFile("/sys/class/net/" + end.Name + "/carrier")
			if err == nil && strings.TrimSpace(string(carrier)) == "1" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no carrier: %v", end.Name, err)
			}
		}
	}
}

// tagged is a packet of UDP with a tag, or without one, and with a checksum that is right or
// not.
type tagged struct {
	proto, tci, port uint16
	wrong            bool
	bytes            []byte
}

func newTagged(i int) *tagged {
	p := &tagged{port: uint16(1000 + i), wrong: i%5 == 4}
	packet := example.UDPPacket(p.port)
	copy(packet, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2})
	ip := packet[14:]
	binary.BigEndian.PutUint16(ip[24:], uint16(len(ip)-20)) // length of UDP
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:20]))
	pseudo := append(bytes.Clone(ip[12:20]), 0, unix.IPPROTO_UDP, ip[24], ip[25])
	check := ^sum(append(pseudo, ip[20:]...))
	if p.wrong {
		check ^= 0x0101
	}
	binary.BigEndian.PutUint16(ip[26:], check)
	p.bytes = packet
	if i%3 > 0 {
		p.proto, p.tci = 0x8100, uint16(i%8)<<13|uint16(100+i)
		tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, p.proto), p.tci)
		p.bytes = append(append(bytes.Clone(packet[:12]), tag...), packet[12:]...)
	}
	return p
}

// sum is the ones' complement sum of RFC 1071.
func sum(b []byte) uint16 {
	var total uint32
	for i := 0; i+1 < len(b); i += 2 {
		total += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return uint16(fold(total))
}

func sendRaw(t *testing.T, from net.Interface, packet []byte) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Sendto(socket, packet, 0, &unix.SockaddrLinklayer{Ifindex: from.Index}); err != nil {
		t.Fatal(err)
	}
}

// awaitFlow receives a packet. Others are the stack's, and nobody's concern.
func (r *receiver) awaitFlow(t *testing.T, sent *tagged) (got meta.Packet) {
	t.Helper()
	flow := fmt.Sprintf("udp 192.0.2.1:%d > 192.0.2.2:9", sent.port)
	for deadline := time.Now().Add(5 * time.Second); ; {
		found := false
		err := r.receive(func(packet []byte) {
			if flowOf(packet) == flow {
				got, found = r.packet, true
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if found {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not arrived", flow)
		}
	}
}
