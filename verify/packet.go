package verify

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Bits of enum md_ptype in bpf/md_desc.h.
const (
	ptypeIPv4      = 1 << 0
	ptypeIPv6      = 1 << 1
	ptypeFragment  = 1 << 2
	ptypeTCP       = 1 << 3
	ptypeUDP       = 1 << 4
	ptypeSCTP      = 1 << 5
	ptypeICMP      = 1 << 6
	ptypeTunnelled = 1 << 7
	ptypeOther     = 1 << 8
)

var ptypeNames = []struct {
	bit  uint64
	name string
}{
	{ptypeIPv4, "IPv4"}, {ptypeIPv6, "IPv6"}, {ptypeFragment, "fragment"}, {ptypeTCP, "TCP"}, {ptypeUDP, "UDP"},
	{ptypeSCTP, "SCTP"}, {ptypeICMP, "ICMP"}, {ptypeTunnelled, "tunnelled"}, {ptypeOther, "other transport"},
}

// packet is what the head of a packet says.
type packet struct {
	ptype uint64 // all the headers that are there, as bits of enum md_ptype
	proto uint16 // EtherType behind the tags

	// mayTunnel says that there may be other headers inside, which a NIC may take the
	// packet for.
	mayTunnel bool

	wrongHeader bool // whether the sum of the IPv4 header is wrong

	// headers is the sum of what is between Ethernet and TCP or UDP, and pseudo that of the
	// pseudo-header. It is 0 unless the IP header is next to TCP or UDP.
	headers, pseudo uint16

	cut bool // whether the head ends before the headers do
}

func (p *packet) String() string {
	var names []string
	for _, n := range ptypeNames {
		if p.ptype&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		names = []string{fmt.Sprintf("EtherType 0x%04x", p.proto)}
	}
	return strings.Join(names, ", ")
}

// How many bytes the headers in front of that of the network have. Each ends in an EtherType.
const (
	ethernetHeader = 14
	tagHeader      = 4 // what a tag adds
)

// EtherTypes, and numbers of protocols that are no transport.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherCtag = 0x8100
	etherStag = 0x88a8

	protoHopByHop = 0
	protoIPIP     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoNone     = 59
	protoOptions  = 60
)

// transports are the headers behind that of IP, by their number.
var transports = map[byte]uint64{1: ptypeICMP, protoTCP: ptypeTCP, protoUDP: ptypeUDP, 58: ptypeICMP, 132: ptypeSCTP, protoNone: 0}

func parsePacket(head []byte) *packet {
	p := new(packet)
	network := head
	for header := ethernetHeader; ; header = tagHeader {
		if len(network) < header {
			p.cut = true
			return p
		}
		p.proto = binary.BigEndian.Uint16(network[header-2:])
		network = network[header:]
		if p.proto != etherCtag && p.proto != etherStag {
			break
		}
	}
	switch p.proto {
	case etherIPv4:
		p.parseIPv4(network)
	case etherIPv6:
		p.parseIPv6(network)
	default:
		p.mayTunnel = p.proto == 0x8847 || p.proto == 0x8848 || p.proto == 0x8863 || p.proto == 0x8864 // MPLS, PPPoE
	}
	tags := head[ethernetHeader : len(head)-len(network)]
	p.headers = fold(uint32(p.headers) + uint32(sum(tags)))
	return p
}

func (p *packet) parseIPv4(header []byte) {
	p.ptype |= ptypeIPv4
	if len(header) < 20 {
		p.cut = true
		return
	}
	if binary.BigEndian.Uint16(header[6:])&0x3fff != 0 { // more fragments, or an offset
		p.ptype |= ptypeFragment
	}
	length := 4 * int(header[0]&0xf)
	p.wrongHeader = length >= 20 && length <= len(header) && sum(header[:length]) != 0xffff
	next, rest := header[9], header[min(length, len(header)):]
	if next == protoAH {
		p.parseExtensions(next, rest)
		return
	}
	if length >= 20 && length <= len(header) && p.ptype&ptypeFragment == 0 {
		p.addSums(header[:length], header[12:20], next, binary.BigEndian.Uint16(header[2:])-uint16(length))
	}
	p.addTransport(next, rest)
}

// addSums adds those of the headers that the sum of TCP or UDP is about.
func (p *packet) addSums(header, addresses []byte, next byte, length uint16) {
	if next != protoTCP && next != protoUDP {
		return
	}
	p.headers = sum(header)
	p.pseudo = sum(binary.BigEndian.AppendUint16(append(slices.Clone(addresses), 0, next), length))
}

func (p *packet) parseIPv6(header []byte) {
	p.ptype |= ptypeIPv6
	if len(header) < 40 {
		p.cut = true
		return
	}
	p.addSums(header[:40], header[8:40], header[6], binary.BigEndian.Uint16(header[4:]))
	p.parseExtensions(header[6], header[40:])
}

// parseExtensions parses what is between the header of the network and that of the transport:
// headers that start with the number of the next.
func (p *packet) parseExtensions(next byte, rest []byte) {
	for {
		length := 0
		switch next {
		case protoHopByHop, protoRouting, protoOptions:
			if len(rest) >= 2 {
				length = 8 * (int(rest[1]) + 1)
			}
		case protoFragment:
			p.ptype |= ptypeFragment
			length = 8
		case protoAH:
			p.ptype |= ptypeOther
			if len(rest) >= 2 {
				length = 4 * (int(rest[1]) + 2)
			}
		default:
			p.addTransport(next, rest)
			return
		}
		if length == 0 || len(rest) < length {
			p.cut = true
			return
		}
		next, rest = rest[0], rest[length:]
	}
}

// tunnels are the UDP ports that NICs take for those of VXLAN, Geneve, GTP and MPLS.
var tunnels = []uint16{2152, 4789, 6081, 6635, 8472}

func (p *packet) addTransport(number byte, header []byte) {
	switch number {
	case protoIPIP, protoIPv6, protoGRE:
		p.mayTunnel = true
	case protoUDP:
		p.mayTunnel = len(header) >= 4 && slices.Contains(tunnels, binary.BigEndian.Uint16(header[2:]))
	}
	bit, known := transports[number]
	if !known {
		bit = ptypeOther
	}
	p.ptype |= bit
}

// sum returns the ones' complement sum, folded, of some bytes, as the kernel has it: of
// 16-bit numbers in the byte order of the host.
func sum(octets []byte) uint16 {
	var total uint32
	for ; len(octets) >= 2; octets = octets[2:] {
		total += uint32(binary.NativeEndian.Uint16(octets))
	}
	if len(octets) == 1 {
		total += uint32(binary.NativeEndian.Uint16([]byte{octets[0], 0}))
	}
	return fold(total)
}

// fold folds a ones' complement sum. It has two zeros, of which it returns 0xffff.
func fold(total uint32) uint16 {
	total = total>>16 + total&0xffff
	total = total>>16 + total&0xffff
	if total == 0 {
		return 0xffff
	}
	return uint16(total)
}
