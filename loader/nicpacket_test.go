package loader_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
)

// nicPacket is a packet that a NIC is sent.
type nicPacket struct {
	ip       int    // version, 0 for none
	l4       string // "" for none
	fragment bool
	tag      []byte // of a VLAN, without its EtherType, nil for none
	wrongIP  bool   // the sum of the header
	wrongL4  bool

	addresses, ports []byte // from and to
	frame            []byte
}

// newNICPacket returns the packet of a number: the same each time.
func newNICPacket(number uint32, destination net.HardwareAddr) *nicPacket {
	random := rand.New(rand.NewPCG(uint64(number), 1))
	p := &nicPacket{
		ip: []int{4, 4, 4, 6, 6, 6, 0}[random.IntN(7)],
		l4: []string{"tcp", "tcp", "udp", "udp", "sctp", "icmp"}[random.IntN(6)],
	}
	p.wrongIP = p.ip == 4 && random.IntN(8) == 0
	p.wrongL4 = random.IntN(4) == 0
	p.fragment = p.ip == 4 && random.IntN(8) == 0
	if random.IntN(3) == 0 {
		p.tag = binary.BigEndian.AppendUint16(nil, uint16(1+random.IntN(0xffe))|uint16(random.IntN(8))<<13)
	}
	if p.ip == 0 {
		p.l4 = ""
	}
	p.frame = append(p.frame, destination...)
	p.frame = append(p.frame, 0x02, 0x4e)
	p.frame = binary.BigEndian.AppendUint32(p.frame, number)
	if p.tag != nil {
		p.frame = append(append(p.frame, 0x81, 0x00), p.tag...)
	}
	payload := make([]byte, 8+random.IntN(1200))
	for i := range payload {
		payload[i] = byte(random.Uint32())
	}
	switch p.ip {
	case 0:
		p.frame = append(append(p.frame, 0x88, 0xb5), payload...) // ETH_P_802_EX1: for experiments
		p.frame = append(p.frame, make([]byte, 46)...)
	case 4:
		p.frame = append(append(p.frame, 0x08, 0x00), p.ipv4(random, payload)...)
	case 6:
		p.frame = append(append(p.frame, 0x86, 0xdd), p.ipv6(random, payload)...)
	}
	return p
}

// hasPorts reports whether a NIC finds ports in the packet.
func (p *nicPacket) hasPorts() bool { return !p.fragment && (p.l4 == "tcp" || p.l4 == "udp") }

// types are the headers that NICs know, as bits of enum md_ptype.
func (p *nicPacket) types() uint64 {
	types := map[int]uint64{4: 1, 6: 2}[p.ip]
	if p.hasPorts() {
		types |= map[string]uint64{"tcp": 8, "udp": 16}[p.l4]
	}
	return types
}

// hashed is what goes into a hash, as bits of enum xdp_rss_hash_type.
func (p *nicPacket) hashed() uint64 {
	types := map[int]uint64{4: 1, 6: 2}[p.ip]
	if p.hasPorts() {
		types |= map[string]uint64{"tcp": 0x18, "udp": 0x28}[p.l4]
	}
	return types
}

// rightSum is MD_CSUM_UNNECESSARY if the packet has sums that are right.
func (p *nicPacket) rightSum() uint64 {
	if p.hasPorts() && !p.wrongIP && !p.wrongL4 {
		return 1
	}
	return 0
}

// protocols are the numbers of IANA.
var protocols = map[string]byte{"icmp": 1, "icmpv6": 58, "sctp": 132, "tcp": 6, "udp": 17}

func (p *nicPacket) ipv4(random *rand.Rand, payload []byte) []byte {
	header := make([]byte, 20)
	header[0], header[8], header[9] = 0x45, 64, protocols[p.l4]
	if p.fragment {
		header[6] = 0x20 // more follow
	}
	copy(header[12:], []byte{192, 0, 2, byte(random.Uint32()), 192, 0, 2, byte(random.Uint32())})
	p.addresses = header[12:]
	segment := p.segment(random, payload, protocols[p.l4])
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(segment)))
	sum := internetSum(header)
	if p.wrongIP {
		sum ^= 0x0100
	}
	binary.BigEndian.PutUint16(header[10:], sum)
	return append(header, segment...)
}

func (p *nicPacket) ipv6(random *rand.Rand, payload []byte) []byte {
	header := make([]byte, 40)
	protocol := protocols[p.l4]
	if p.l4 == "icmp" {
		protocol = protocols["icmpv6"]
	}
	header[0], header[6], header[7] = 0x60, protocol, 64
	for _, at := range []int{8, 24} {
		copy(header[at:], []byte{0x20, 0x01, 0x0d, 0xb8}) // 2001:db8::/32, for documentation
		header[at+15] = byte(random.Uint32())
	}
	p.addresses = header[8:]
	segment := p.segment(random, payload, protocol)
	binary.BigEndian.PutUint16(header[4:], uint16(len(segment)))
	return append(header, segment...)
}

// segment returns the packet behind its IP header, with its sum.
func (p *nicPacket) segment(random *rand.Rand, payload []byte, protocol byte) []byte {
	var header []byte
	at := 0 // of the sum
	switch p.l4 {
	case "tcp":
		header, at = make([]byte, 20), 16
		header[12], header[13] = 5<<4, 0x10 // length, ACK
	case "udp":
		header, at = make([]byte, 8), 6
		binary.BigEndian.PutUint16(header[4:], uint16(8+len(payload)))
	case "sctp":
		header = make([]byte, 12) // its sum is another one
	case "icmp":
		header, at = make([]byte, 8), 2
		header[0] = 128 // an echo request, in IPv6
	}
	if p.l4 != "icmp" {
		binary.BigEndian.PutUint16(header, uint16(1024+random.IntN(60000)))
		binary.BigEndian.PutUint16(header[2:], uint16(1024+random.IntN(60000)))
	}
	p.ports = header[:4]
	segment := append(header, payload...)
	if at == 0 {
		return segment
	}
	pseudo := binary.BigEndian.AppendUint32(append([]byte{}, p.addresses...), uint32(len(segment)))
	sum := internetSum(append(append(pseudo, 0, 0, 0, protocol), segment...))
	if p.wrongL4 {
		sum ^= 0x0100
	}
	if sum == 0 {
		sum = 0xffff // 0 is none, in UDP
	}
	binary.BigEndian.PutUint16(segment[at:], sum)
	return segment
}

// internetSum is that of RFC 1071.
func internetSum(octets []byte) uint16 {
	sum := uint32(0)
	for i, octet := range octets {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// toeplitzKey is the one that Microsoft's examples are for.
var toeplitzKey = []byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// toeplitz is the hash of RSS: for each bit that is set, the 32 bits of the key from its
// place on.
func toeplitz(octets []byte) (hash uint32) {
	key := append(slices.Clone(toeplitzKey), 0, 0, 0, 0)
	for i, octet := range octets {
		window := binary.BigEndian.Uint64(key[i:])
		for bit := range 8 {
			if octet&(0x80>>bit) != 0 {
				hash ^= uint32(window << bit >> 32)
			}
		}
	}
	return hash
}
