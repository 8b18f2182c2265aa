package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// labs are the steps of the examples.
var labs = map[string][]step{
	"receive":  {{send: sendUDP}, {args: ofC, send: deliver(8, anything)}},
	"checksum": {{args: ofC, send: deliver(1000, checksums)}},
	"vlan":     {{args: append([]string{"--allow", "100,200"}, ofC...), send: deliver(1000, vlans)}},
	"ptype":    {{args: ofC, send: deliver(1000, headers)}},
	"latency":  {{args: ofC, send: stamped}},
	"talkers":  {{args: append([]string{"--top", "5"}, ofC...), send: deliver(1000, marks)}},
	"spread":   {{args: append([]string{"--cpus", "0,1"}, ofC...), send: deliver(1000, flows)}},
}

// ofC says what the emulated NIC writes in front of packets.
var ofC = []string{"--layout", "bpf/examples/nic_c-" + endian() + ".o"}

func endian() string {
	if isBigEndian() {
		return "eb"
	}
	return "el"
}

func isBigEndian() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

// facts are what the emulated NIC knows of a packet.
type facts struct {
	timestamp                   uint64
	hash, hashType              uint32
	mark, ptype, csumStatus     uint32
	vlanTCI, vlanProto, srcPort uint16
}

// describe writes struct md_desc of bpf/examples/nic_c.c.
func (f *facts) describe() []byte {
	b := binary.NativeEndian.AppendUint64(nil, f.timestamp)
	b = binary.NativeEndian.AppendUint32(b, f.hash)
	b = binary.NativeEndian.AppendUint32(b, f.mark)
	b = binary.NativeEndian.AppendUint16(b, f.vlanTCI)
	b = binary.BigEndian.AppendUint16(b, f.vlanProto)
	bits := f.hashType | f.ptype<<9 | f.csumStatus<<18
	if isBigEndian() { // the first one is the highest
		bits = f.hashType<<23 | f.ptype<<14 | f.csumStatus<<11
	}
	b = binary.NativeEndian.AppendUint32(b, bits)
	return append(b, make([]byte, 8)...) // csum, reserved
}

// Bits of the fields, as bpf/md_desc.h and enum xdp_rss_hash_type have them.
const (
	hashUDP4  = 0x29
	ptypeIPv4 = 1 << 0
	ptypeIPv6 = 1 << 1
	ptypeTCP  = 1 << 3
	ptypeUDP  = 1 << 4
	ptypeICMP = 1 << 6
	csumRight = 1
	csumBad   = 4
)

// deliver returns what has the emulated NIC receive packets. know says what it knows of each.
func deliver(packets int, know func(*rand.Rand, int) facts) func(*netlab.NIC) error {
	return func(nic *netlab.NIC) error {
		random := rand.New(rand.NewPCG(1, 2))
		frames := make([]netlab.Frame, packets)
		for i := range frames {
			f := know(random, i)
			frames[i] = netlab.Frame{Metadata: f.describe(), Packet: udpPacket(f.srcPort)}
		}
		return nic.Deliver(frames)
	}
}

func udpPacket(port uint16) []byte {
	packet := make([]byte, 60)
	packet[12] = 0x08
	ip := packet[14:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 46, 64, unix.IPPROTO_UDP
	copy(ip[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(ip[20:], port)
	binary.BigEndian.PutUint16(ip[22:], 9)
	return packet
}

func anything(random *rand.Rand, i int) facts {
	f := facts{timestamp: now(), hash: random.Uint32(), hashType: hashUDP4, mark: uint32(i % 3), csumStatus: csumRight, srcPort: uint16(40000 + i)}
	if i == 5 {
		f.csumStatus = csumBad
	}
	if i%2 == 1 {
		f.vlanTCI, f.vlanProto = uint16(100*i), 0x8100
	}
	return f
}

func checksums(random *rand.Rand, i int) facts {
	switch n := random.IntN(100); {
	case n < 4:
		return facts{csumStatus: csumBad}
	case n < 10:
		return facts{}
	}
	return facts{csumStatus: csumRight}
}

func vlans(random *rand.Rand, i int) facts {
	switch random.IntN(10) {
	case 0:
		return facts{}
	case 1, 2:
		return facts{vlanProto: 0x8100, vlanTCI: 300}
	case 3, 4, 5:
		return facts{vlanProto: 0x8100, vlanTCI: 5<<13 | 200}
	}
	return facts{vlanProto: 0x8100, vlanTCI: 100}
}

func headers(random *rand.Rand, i int) facts {
	switch random.IntN(10) {
	case 0:
		return facts{} // ARP, say
	case 1:
		return facts{ptype: ptypeIPv4 | ptypeICMP}
	case 2, 3:
		return facts{ptype: ptypeIPv6 | ptypeTCP}
	case 4, 5:
		return facts{ptype: ptypeIPv4 | ptypeUDP}
	}
	return facts{ptype: ptypeIPv4 | ptypeTCP}
}

func marks(random *rand.Rand, i int) facts {
	return facts{mark: uint32(min(random.ExpFloat64()*3, 12))}
}

func flows(random *rand.Rand, i int) facts {
	if random.IntN(50) == 0 {
		return facts{} // no IP, no hash
	}
	return facts{hash: random.Uint32(), hashType: hashUDP4}
}

// stamped has packets come in, of which each has the time at which it was handed to the
// emulator.
func stamped(nic *netlab.NIC) error {
	for range 20 {
		if err := deliver(100, func(*rand.Rand, int) facts { return facts{timestamp: now()} })(nic); err != nil {
			return err
		}
	}
	return nil
}

// now returns the time of CLOCK_TAI, in ns.
func now() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &now); err != nil {
		return 0
	}
	return uint64(now.Nano())
}

// sendUDP sends packets as any program on the other side of the wire would.
func sendUDP(nic *netlab.NIC) error {
	wire := nic.Name + "-wire"
	for _, command := range [][]string{
		{"ip", "address", "add", "192.0.2.1/24", "dev", wire},
		{"ip", "neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", wire},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", command, err, output)
		}
	}
	for port := range 4 {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000 + port}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 9})
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("payload")); err != nil {
			return err
		}
	}
	return nil
}
