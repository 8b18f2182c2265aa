package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/meta"
)

// printer prints a line for each packet.
type printer struct {
	out   io.Writer
	clock example.Clock

	packets        uint64
	latency, timed uint64 // sum in ns, and of how many packets
}

const columns = "%-42s  %-10s  %-12s  %-8s  %-9s  %-10s  %-20s  %s\n"

func (p *printer) print(m *meta.Packet, packet []byte) {
	if p.packets == 0 {
		fmt.Fprintf(p.out, columns, "FLOW", "HASH", "OF", "CHECKSUM", "VLAN", "MARK", "NIC TIME", "LATENCY")
	}
	p.packets++
	stamp, latency := p.time(m)
	fmt.Fprintf(p.out, columns, flowOf(packet), hash(m), hashed(m), checksum(m), vlan(m), mark(m), stamp, latency)
}

// maxLatency is what is believed: more than that is another clock.
const maxLatency = 10 * time.Second

// time returns when the NIC says that the packet came, and how long ago that is.
func (p *printer) time(m *meta.Packet) (stamp, latency string) {
	switch {
	case m.Fields&meta.RxTimestamp == 0:
		return absent, absent
	case m.RxTimestamp == 0:
		return none, none
	}
	stamp = fmt.Sprintf("%d.%09d", m.RxTimestamp/1e9, m.RxTimestamp%1e9)
	ago := time.Duration(p.clock.Now() - m.RxTimestamp)
	if ago < 0 || ago > maxLatency {
		return stamp, "another clock"
	}
	p.latency += uint64(ago)
	p.timed++
	return stamp, ago.String()
}

// What is printed for a field that the NIC does not tell, and for one without a value.
const (
	absent = "-"
	none   = "none"
)

func hash(m *meta.Packet) string {
	switch {
	case m.Fields&meta.Hash == 0:
		return absent
	case m.HashType == 0:
		return none
	}
	return fmt.Sprintf("0x%08x", m.Hash)
}

// hashed says what is in the hash.
func hashed(m *meta.Packet) string {
	if m.Fields&meta.Hash == 0 {
		return absent
	}
	var of []string
	for _, part := range []struct {
		bits uint32
		name string
	}{
		{meta.HashIPv4, "ip4"}, {meta.HashIPv6, "ip6"},
		{meta.HashTCP, "tcp"}, {meta.HashUDP, "udp"}, {meta.HashSCTP, "sctp"}, {meta.HashIPsec, "ipsec"}, {meta.HashICMP, "icmp"},
	} {
		if m.HashType&part.bits != 0 {
			of = append(of, part.name)
		}
	}
	const protocols = meta.HashTCP | meta.HashUDP | meta.HashSCTP | meta.HashIPsec | meta.HashICMP
	if m.HashType&meta.HashL4 != 0 && m.HashType&protocols == 0 {
		of = append(of, "ports")
	}
	if m.HashType&meta.HashSoftware != 0 {
		return strings.Join(of, "+") + " (sw)"
	}
	return strings.Join(of, "+")
}

func checksum(m *meta.Packet) string {
	if m.Fields&meta.Csum == 0 {
		return absent
	}
	switch m.CsumStatus {
	case meta.CsumNone:
		return none
	case meta.CsumUnnecessary:
		return "right"
	case meta.CsumComplete:
		return fmt.Sprintf("sum %04x", fold(m.Csum))
	case meta.CsumBad:
		return "WRONG"
	}
	return fmt.Sprint(m.CsumStatus)
}

// fold makes 16 bits of a ones' complement sum.
func fold(sum uint32) uint32 {
	sum = sum>>16 + sum&0xffff
	return sum>>16 + sum&0xffff
}

func vlan(m *meta.Packet) string {
	switch {
	case m.Fields&meta.Vlan == 0:
		return absent
	case m.VlanProto == 0:
		return none
	}
	s := fmt.Sprint(m.VlanTCI & 0xfff)
	if m.VlanProto == 0x88a8 {
		s += " (S)"
	}
	if priority := m.VlanTCI >> 13; priority > 0 {
		s += fmt.Sprintf(" p%d", priority)
	}
	return s
}

func mark(m *meta.Packet) string {
	switch {
	case m.Fields&meta.Mark == 0:
		return absent
	case m.Mark == 0:
		return none
	}
	return fmt.Sprintf("%#x", m.Mark)
}
