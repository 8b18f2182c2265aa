package loader_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
)

// nicPacket is a packet that a NIC is sent.
type nicPacket struct {
	ip       int    // version, 0 for none
	l4       string // "" for none
	fragment bool
	tag      []byte // of a VLAN, without its EtherType, nil for none
	wrongIP  bool   // the sum of the header
	wrongL4  bool
	frame    []byte
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

// protocols are the numbers of IANA.
var protocols = map[string]byte{"icmp": 1, "icmpv6": 58, "sctp": 132, "tcp": 6, "udp": 17}

func (p *nicPacket) ipv4(random *rand.Rand, payload []byte) []byte {
	header := make([]byte, 20)
	header[0], header[8], header[9] = 0x45, 64, protocols[p.l4]
	if p.fragment {
		header[6] = 0x20 // more follow
	}
	copy(header[12:], []byte{192, 0, 2, byte(random.Uint32()), 192, 0, 2, byte(random.Uint32())})
	segment := p.segment(random, payload, header[12:20], protocols[p.l4])
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
	segment := p.segment(random, payload, header[8:40], protocol)
	binary.BigEndian.PutUint16(header[4:], uint16(len(segment)))
	return append(header, segment...)
}

// segment returns the packet behind its IP header, with its sum.
func (p *nicPacket) segment(random *rand.Rand, payload, addresses []byte, protocol byte) []byte {
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
	segment := append(header, payload...)
	if at == 0 {
		return segment
	}
	pseudo := binary.BigEndian.AppendUint32(append([]byte{}, addresses...), uint32(len(segment)))
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
