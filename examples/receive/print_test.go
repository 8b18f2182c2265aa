package main

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/meta"
)

func TestFlowOf(t *testing.T) {
	udp := example.UDPPacket(4000)
	ip6 := append(bytes.Clone(udp[:12]), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, unix.IPPROTO_TCP, 64)
	ip6 = append(append(append(ip6, make([]byte, 15)...), 1), append(make([]byte, 15), 2)...)
	ip6 = append(ip6, 0, 80, 0x10, 0, 0, 0, 0, 0)
	changed := func(at int, value byte) []byte {
		packet := bytes.Clone(udp)
		packet[at] = value
		return packet
	}
	tagged := func(packet []byte, tag ...byte) []byte {
		return append(append(bytes.Clone(packet[:12]), tag...), packet[12:]...)
	}
	options := append(changed(14, 0x46)[:34], append(make([]byte, 4), udp[34:]...)...)
	for name, test := range map[string]struct {
		packet []byte
		want   string
	}{
		"UDP":              {udp, "udp 192.0.2.1:4000 > 192.0.2.2:9"},
		"TCP by IPv6":      {ip6, "tcp [::1]:80 > [::2]:4096"},
		"behind a tag":     {tagged(udp, 0x81, 0, 0, 5), "udp 192.0.2.1:4000 > 192.0.2.2:9"},
		"behind two":       {tagged(tagged(udp, 0x81, 0, 0, 5), 0x88, 0xa8, 0, 6), "udp 192.0.2.1:4000 > 192.0.2.2:9"},
		"behind options":   {options, "udp 192.0.2.1:4000 > 192.0.2.2:9"},
		"no first part":    {changed(21, 1), "udp 192.0.2.1 > 192.0.2.2"},
		"without ports":    {changed(23, 1), "icmp 192.0.2.1 > 192.0.2.2"},
		"unknown protocol": {changed(23, 99), "protocol 99 192.0.2.1 > 192.0.2.2"},
		"cut":              {udp[:36], "udp 192.0.2.1 > 192.0.2.2"},
		"no IP":            {changed(13, 6), "EtherType 0x0806, 60 bytes"},
		"nothing":          {udp[:13], "13 bytes"},
	} {
		if got := flowOf(test.packet); got != test.want {
			t.Errorf("%s: %q instead of %q", name, got, test.want)
		}
	}
}

// What a NIC does not tell is another thing than what a packet does not have.
func TestPrint(t *testing.T) {
	const stamp = 12_000_000_345
	for name, test := range map[string]struct {
		packet meta.Packet
		want   string // behind the flow
	}{
		"nothing told": {meta.Packet{}, "- - - - - - -"},
		"nothing had":  {meta.Packet{Fields: meta.All}, "none none none none none none"},
		"all": {
			meta.Packet{Fields: meta.All, RxTimestamp: stamp, Hash: 0xabc, HashType: 1<<0 | 1<<3 | 1<<5, Mark: 17, VlanTCI: 3<<13 | 100, VlanProto: 0x88a8, CsumStatus: meta.CsumUnnecessary},
			"0x00000abc ip4+udp right 100 (S) p3 0x11 12.000000345 another clock",
		},
		"a sum":           {meta.Packet{Fields: meta.Csum, CsumStatus: meta.CsumComplete, Csum: 0x1ffff}, "- - sum 0001 - - - -"},
		"a wrong one":     {meta.Packet{Fields: meta.Csum, CsumStatus: meta.CsumBad}, "- - WRONG - - - -"},
		"a tag":           {meta.Packet{Fields: meta.Vlan, VlanTCI: 7, VlanProto: 0x8100}, "- - - 7 - - -"},
		"ports":           {meta.Packet{Fields: meta.Hash, HashType: 1 << 3}, "0x00000000 ports - - - - -"},
		"a computed hash": {meta.Packet{Fields: meta.Hash, Hash: 1, HashType: meta.HashSoftware | 1<<1}, "0x00000001 ip6 (sw) - - - - -"},
	} {
		var out bytes.Buffer
		p := printer{out: &out, clock: example.Clock{Name: "CLOCK_TAI"}}
		p.print(&test.packet, example.UDPPacket(1))
		line := strings.Split(out.String(), "\n")[1]
		if got, want := strings.Join(strings.Fields(line), " "), "udp 192.0.2.1:1 > 192.0.2.2:9 "+test.want; got != want {
			t.Errorf("%s: %q instead of %q", name, got, want)
		}
	}
}

// A ones' complement sum is folded until nothing is left over.
func TestFold(t *testing.T) {
	for sum, want := range map[uint32]uint32{0: 0, 0xffff: 0xffff, 0x10000: 1, 0x1ffff: 1, 0xffffffff: 0xffff, 0x12345678: 0x68ac} {
		if got := fold(sum); got != want {
			t.Errorf("%#x: %#x instead of %#x", sum, got, want)
		}
	}
}
