package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// flowOf says between whom a packet is, as far as its headers are simple.
func flowOf(packet []byte) string {
	if len(packet) < 14 {
		return fmt.Sprintf("%d bytes", len(packet))
	}
	proto, rest := binary.BigEndian.Uint16(packet[12:]), packet[14:]
	for (proto == 0x8100 || proto == 0x88a8) && len(rest) >= 4 {
		proto, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch {
	case proto == 0x0800 && len(rest) >= 20:
		length := int(rest[0]&0xf) * 4
		isFirst := binary.BigEndian.Uint16(rest[6:])&0x1fff == 0
		return between(rest[12:16], rest[16:20], rest[9], rest[min(length, len(rest)):], isFirst)
	case proto == 0x86dd && len(rest) >= 40:
		return between(rest[8:24], rest[24:40], rest[6], rest[40:], true)
	}
	return fmt.Sprintf("EtherType 0x%04x, %d bytes", proto, len(packet))
}

var transports = map[byte]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}

// between spells two addresses, with the ports if the protocol has some.
func between(from, to []byte, proto byte, transport []byte, isFirst bool) string {
	source, _ := netip.AddrFromSlice(from)
	destination, _ := netip.AddrFromSlice(to)
	name, known := transports[proto]
	if !known {
		name = fmt.Sprintf("protocol %d", proto)
	}
	if hasPorts := proto == 6 || proto == 17 || proto == 132; !hasPorts || !isFirst || len(transport) < 4 {
		return fmt.Sprintf("%s %s > %s", name, source, destination)
	}
	return fmt.Sprintf("%s %s > %s", name,
		netip.AddrPortFrom(source, binary.BigEndian.Uint16(transport)),
		netip.AddrPortFrom(destination, binary.BigEndian.Uint16(transport[2:])))
}
