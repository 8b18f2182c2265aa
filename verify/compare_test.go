package verify

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/loader"
)

// Headers that packets of these tests are made of.
var (
	ethernet = "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
	tag      = "\x81\x00\x20\x07"
	ipv4     = "\x08\x00\x45\x00\x00\x2e\x00\x00\x00\x00\x40"
	ipv6     = "\x86\xdd\x60\x00\x00\x00\x00\x10"
	rest4    = "\x00\x00\xc0\x00\x02\x01\xc0\x00\x02\x02"
	rest6    = "\x40" + zeros[:32]
	zeros    = string(make([]byte, 64))
)

func TestParsePacket(t *testing.T) {
	for name, test := range map[string]struct {
		head string
		want packet
	}{
		"TCP":             {ethernet + ipv4 + "\x06" + rest4 + zeros, packet{ptype: ptypeIPv4 | ptypeTCP}},
		"tagged UDP":      {ethernet + tag + tag + ipv4 + "\x11" + rest4 + zeros, packet{ptype: ptypeIPv4 | ptypeUDP}},
		"fragment":        {ethernet + ipv4[:8] + "\x20\x00\x40\x11" + rest4, packet{ptype: ptypeIPv4 | ptypeFragment | ptypeUDP}},
		"VXLAN":           {ethernet + ipv4 + "\x11" + rest4 + "\x10\x00\x12\xb5" + zeros, packet{ptype: ptypeIPv4 | ptypeUDP, mayTunnel: true}},
		"GRE":             {ethernet + ipv4 + "\x2f" + rest4, packet{ptype: ptypeIPv4 | ptypeOther, mayTunnel: true}},
		"later fragment":  {ethernet + ipv4[:8] + "\x00\xb9\x40\x11" + rest4, packet{ptype: ptypeIPv4 | ptypeFragment | ptypeUDP}},
		"not fragmented":  {ethernet + ipv4[:8] + "\x40\x00\x40\x11" + rest4, packet{ptype: ptypeIPv4 | ptypeUDP}},
		"UDP in AH":       {ethernet + ipv6 + "\x33" + rest6 + "\x3c\x01" + zeros[:10] + "\x11\x00" + zeros, packet{ptype: ptypeIPv6 | ptypeUDP | ptypeOther}},
		"with options":    {ethernet + "\x08\x00\x46" + ipv4[3:] + "\x11" + rest4 + "\x94\x04\x00\x00" + "\x10\x00\x12\xb5" + zeros, packet{ptype: ptypeIPv4 | ptypeUDP, mayTunnel: true}},
		"ICMPv6":          {ethernet + ipv6 + "\x3a" + rest6 + zeros, packet{ptype: ptypeIPv6 | ptypeICMP}},
		"SCTP in options": {ethernet + ipv6 + "\x00" + rest6 + "\x84\x00" + zeros, packet{ptype: ptypeIPv6 | ptypeSCTP}},
		"routing header":  {ethernet + ipv6 + "\x2b" + rest6 + "\x11\x00" + zeros, packet{ptype: ptypeIPv6 | ptypeUDP}},
		"IPv4 in IPv4":    {ethernet + ipv4 + "\x04" + rest4, packet{ptype: ptypeIPv4 | ptypeOther, mayTunnel: true}},
		"IPv6 in IPv6":    {ethernet + ipv6 + "\x29" + rest6, packet{ptype: ptypeIPv6 | ptypeOther, mayTunnel: true}},
		"IPv6 fragment":   {ethernet + ipv6 + "\x2c" + rest6 + "\x06\x00" + zeros, packet{ptype: ptypeIPv6 | ptypeFragment | ptypeTCP}},
		"AH":              {ethernet + ipv6 + "\x33" + rest6 + "\x06\x04" + zeros, packet{ptype: ptypeIPv6 | ptypeTCP | ptypeOther}},
		"AH in IPv4":      {ethernet + ipv4 + "\x33" + rest4 + "\x06\x04" + zeros, packet{ptype: ptypeIPv4 | ptypeTCP | ptypeOther}},
		"ESP":             {ethernet + ipv4 + "\x32" + rest4, packet{ptype: ptypeIPv4 | ptypeOther}},
		"no next header":  {ethernet + ipv6 + "\x3b" + rest6, packet{ptype: ptypeIPv6}},
		"ARP":             {ethernet + "\x08\x06" + zeros, packet{}},
		"MPLS":            {ethernet + "\x88\x47" + zeros, packet{mayTunnel: true}},
		"cut":             {ethernet + ipv6 + "\x00" + rest6 + "\x06", packet{ptype: ptypeIPv6, cut: true}},
		"short":           {ethernet, packet{cut: true}},
		"nothing":         {"", packet{cut: true}},
	} {
		got := parsePacket([]byte(test.head))
		if got.ptype != test.want.ptype || got.mayTunnel != test.want.mayTunnel || got.cut != test.want.cut {
			t.Errorf("%s: %+v instead of %+v", name, *got, test.want)
		}
	}
}

// Whatever the head is, it is parsed.
func FuzzParsePacket(f *testing.F) {
	f.Add([]byte(ethernet + tag + ipv6 + "\x00" + rest6 + "\x06"))
	f.Add([]byte(ethernet + ipv4 + "\x11" + rest4 + "\x10\x00\x12\xb5"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if p := parsePacket(head); p.String() == "" {
			t.Errorf("%+v", p)
		}
	})
}

func TestCompare(t *testing.T) {
	head := ethernet + ipv4 + "\x11" + rest4 + "\x10\x00\x00\x09" + zeros
	own := uint32(sum([]byte(head[14:])))
	for name, test := range map[string]struct {
		field   string
		seen    rawObservation
		outcome outcome
	}{
		"hash":                        {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Skb: mdDesc{Hash: 5}}, agree},
		"another hash":                {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Skb: mdDesc{Hash: 6}}, differ},
		"a hash of none":              {"hash", rawObservation{Skb: mdDesc{Hash: 6}}, differ},
		"a hash of the stack":         {"hash", rawObservation{Skb: mdDesc{Hash: 6}, SwHash: 1}, uncompared},
		"its type":                    {"hash_type", rawObservation{XDP: mdDesc{HashType: hashL4}, Skb: mdDesc{Hash: 5, HashType: hashL4}}, agree},
		"a type of none":              {"hash_type", rawObservation{XDP: mdDesc{HashType: hashL4}}, differ},
		"a type without ports":        {"hash_type", rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{Hash: 5, HashType: hashL4}}, differ},
		"all hashes are of addresses": {"hash_type", rawObservation{XDP: mdDesc{HashType: hashL4}, Skb: mdDesc{Hash: 5}}, uncompared},

		"no sum":                {"csum", rawObservation{}, agree},
		"a sum of none":         {"csum", rawObservation{XDP: mdDesc{Csum: 5}}, differ},
		"the sum":               {"csum", rawObservation{XDP: mdDesc{Csum: 0x10004, CsumStatus: 2}, Skb: mdDesc{Csum: 5, CsumStatus: 2}}, agree},
		"another sum":           {"csum", rawObservation{XDP: mdDesc{Csum: 4, CsumStatus: 2}, Skb: mdDesc{Csum: 5, CsumStatus: 2}}, differ},
		"the packet's sum":      {"csum", rawObservation{XDP: mdDesc{Csum: own, CsumStatus: 2}, Length: uint32(len(head))}, agree},
		"not the packet's":      {"csum", rawObservation{XDP: mdDesc{Csum: own + 1, CsumStatus: 2}, Length: uint32(len(head))}, differ},
		"a long packet's":       {"csum", rawObservation{XDP: mdDesc{Csum: own, CsumStatus: 2}, Length: 1500}, uncompared},
		"a short packet's":      {"csum", rawObservation{XDP: mdDesc{Csum: 5, CsumStatus: 2}, Length: 5}, differ},
		"a sum without the tag": {"csum", rawObservation{XDP: mdDesc{Csum: own + 1, CsumStatus: 2}, Skb: mdDesc{Csum: own, CsumStatus: 2, VlanProto: wire16{0x81}}}, uncompared},
		"a sum with a tag":      {"csum", rawObservation{XDP: mdDesc{Csum: own, CsumStatus: 2}, TagProto: wire16{0x81}, Length: uint32(len(head))}, uncompared},
		"right":                 {"csum_status", rawObservation{XDP: mdDesc{CsumStatus: 1}, Skb: mdDesc{CsumStatus: 1}}, agree},
		"wrong":                 {"csum_status", rawObservation{XDP: mdDesc{CsumStatus: 4}}, agree},
		"wrong, and believed":   {"csum_status", rawObservation{XDP: mdDesc{CsumStatus: 4}, Skb: mdDesc{CsumStatus: 1}}, differ},
		"right by XDP alone":    {"csum_status", rawObservation{XDP: mdDesc{CsumStatus: 1}}, differ},
		"a sum that is kept":    {"csum_status", rawObservation{XDP: mdDesc{CsumStatus: 2}, Skb: mdDesc{CsumStatus: 1}}, uncompared},
		"no sum but the driver": {"csum_status", rawObservation{Skb: mdDesc{CsumStatus: 2}}, differ},

		"a tag":                {"vlan_tci", rawObservation{XDP: mdDesc{VlanTCI: 7, VlanProto: wire16{0x81}}, Skb: mdDesc{VlanTCI: 7, VlanProto: wire16{0x81}}}, agree},
		"a tag in the packet":  {"vlan_tci", rawObservation{TagProto: wire16{0x81}, TagTCI: wire16{0, 7}, Skb: mdDesc{VlanTCI: 7, VlanProto: wire16{0x81}}}, agree},
		"another in it":        {"vlan_tci", rawObservation{TagProto: wire16{0x81}, TagTCI: wire16{0, 8}, Skb: mdDesc{VlanTCI: 7, VlanProto: wire16{0x81}}}, differ},
		"a tag that is lost":   {"vlan_proto", rawObservation{Skb: mdDesc{VlanProto: wire16{0x81}}}, differ},
		"its protocol swapped": {"vlan_proto", rawObservation{XDP: mdDesc{VlanProto: wire16{0, 0x81}}, Skb: mdDesc{VlanProto: wire16{0x81}}}, differ},
		"a mark":               {"mark", rawObservation{XDP: mdDesc{Mark: 1}, Skb: mdDesc{Mark: 2}}, differ},
		"a stamp":              {"rx_timestamp", rawObservation{XDP: mdDesc{RxTimestamp: 1}}, differ},
	} {
		o := observed(t, test.seen, head)
		c := comparisonOf(t, test.field)
		if got := c.skb(o); got.outcome != test.outcome {
			t.Errorf("%s: %+v instead of %d", name, got, test.outcome)
		}
	}
}

func TestComparePacket(t *testing.T) {
	udp := ethernet + ipv4 + "\x11" + rest4 + "\x10\x00\x00\x09" + zeros
	vxlan := ethernet + ipv4 + "\x11" + rest4 + "\x10\x00\x12\xb5" + zeros
	for name, test := range map[string]struct {
		field   string
		xdp     mdDesc
		head    string
		outcome outcome
	}{
		"UDP":                {"ptype", mdDesc{Ptype: ptypeIPv4 | ptypeUDP}, udp, agree},
		"half of it":         {"ptype", mdDesc{Ptype: ptypeIPv4}, udp, agree},
		"nothing":            {"ptype", mdDesc{}, udp, agree},
		"TCP":                {"ptype", mdDesc{Ptype: ptypeIPv4 | ptypeTCP}, udp, differ},
		"a tunnel":           {"ptype", mdDesc{Ptype: ptypeIPv6 | ptypeTCP | ptypeTunnelled}, vxlan, uncompared},
		"no tunnel":          {"ptype", mdDesc{Ptype: ptypeIPv4 | ptypeUDP | ptypeTunnelled}, udp, differ},
		"a hash":             {"hash_type", mdDesc{HashType: hashIPv4 | hashL4 | hashUDP}, udp, agree},
		"a hash of TCP":      {"hash_type", mdDesc{HashType: hashIPv4 | hashL4 | hashTCP}, udp, differ},
		"a hash of inside":   {"hash_type", mdDesc{HashType: hashIPv6 | hashL4 | hashTCP}, vxlan, uncompared},
		"a hash of a tag":    {"hash_type", mdDesc{HashType: hashIPv4}, ethernet + tag + ipv4 + "\x06" + rest4, agree},
		"IPsec in UDP":       {"hash_type", mdDesc{HashType: hashIPv4 | hashIPsec}, udp, agree},
		"IPsec":              {"hash_type", mdDesc{HashType: hashIPv4 | hashIPsec}, ethernet + ipv4 + "\x32" + rest4, agree},
		"no IPsec":           {"hash_type", mdDesc{HashType: hashIPv4 | hashIPsec}, ethernet + ipv4 + "\x06" + rest4, differ},
		"SCTP":               {"hash_type", mdDesc{HashType: hashIPv6 | hashL4 | hashSCTP}, ethernet + ipv6 + "\x84" + rest6, agree},
		"ICMP for SCTP":      {"hash_type", mdDesc{HashType: hashIPv6 | hashL4 | hashSCTP}, ethernet + ipv6 + "\x3a" + rest6, differ},
		"a head that is cut": {"hash_type", mdDesc{HashType: hashIPv6 | hashTCP}, ethernet + ipv6 + "\x00" + rest6 + "\x06", uncompared},
		"IPv4 and not IPv6":  {"hash_type", mdDesc{HashType: hashIPv6}, udp, differ},
	} {
		o := observed(t, rawObservation{XDP: test.xdp}, test.head)
		if got := comparisonOf(t, test.field).packet(o); got.outcome != test.outcome {
			t.Errorf("%s: %+v instead of %d", name, got, test.outcome)
		}
	}
}

func TestCompareKfunc(t *testing.T) {
	const none = -int32(unix.ENODATA)
	for name, test := range map[string]struct {
		field   string
		seen    rawObservation
		outcome outcome
	}{
		"the same":         {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Said: said{Hash: 5}}, agree},
		"another":          {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Said: said{Hash: 6}}, differ},
		"none":             {"hash", rawObservation{Said: said{HashError: none}}, agree},
		"none, but a hash": {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Said: said{HashError: none}}, differ},
		"not asked":        {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Said: said{HashError: 1}}, uncompared},
		"not there":        {"hash", rawObservation{XDP: mdDesc{Hash: 5}, Said: said{HashError: -int32(unix.EOPNOTSUPP)}}, uncompared},
		"a protocol":       {"vlan_proto", rawObservation{XDP: mdDesc{VlanProto: wire16{0x81}}, Said: said{VlanProto: wire16{0x81}}}, agree},
		"without a kfunc":  {"mark", rawObservation{XDP: mdDesc{Mark: 5}}, uncompared},
	} {
		o := observed(t, test.seen, ethernet)
		if got := comparisonOf(t, test.field).compareKfunc(o); got.outcome != test.outcome {
			t.Errorf("%s: %+v instead of %d", name, got, test.outcome)
		}
	}
}

// observed returns what user space makes of an observation of a packet.
func observed(t *testing.T, seen rawObservation, head string) *observation {
	t.Helper()
	seen.Held = uint32(copy(seen.Head[:], head))
	raw, err := binary.Append(nil, binary.NativeEndian, &seen)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseObservation(raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func comparisonOf(t *testing.T, field string) *comparison {
	t.Helper()
	for i := range comparisons {
		if comparisons[i].field == field {
			return &comparisons[i]
		}
	}
	t.Fatalf("no field %s", field)
	return nil
}

// What a driver keeps from the stack is no difference, of that driver, on the kernels that
// have the limit, and where it applies.
func TestLimits(t *testing.T) {
	const hashKfunc = "bpf_xdp_metadata_rx_hash"
	var (
		tcp      = ipv4 + "\x06" + rest4 + zeros
		icmp     = ipv4 + "\x01" + rest4 + zeros
		gre      = ipv4 + "\x2f" + rest4 + zeros
		udp      = ipv4 + "\x11" + rest4 + zeros
		right    = ipv4 + "\x06\xf6\xc6" + rest4[2:] + zeros // its header's sum, which is wrong in the others
		tunnel   = ipv4 + "\x11\xf6\xbb" + rest4[2:] + "\x10\x00\x12\xb5" + zeros
		fragment = ipv4[:8] + "\x20\x00\x40\x11" + rest4
		vxlan    = ipv4 + "\x11" + rest4 + "\x10\x00\x12\xb5" + zeros
	)
	rightSum := uint32(^sum([]byte("\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x06\x00\x1a"))) // of all but the pseudo-header, in a right packet
	for name, test := range map[string]struct {
		driver, field string
		kfuncs        []string
		limits        []limit
		seen          rawObservation
		head          string // of the packet, behind its addresses
		outcome       outcome
	}{
		"no hash":                   {"virtio_net", "hash", nil, limits, rawObservation{}, "", uncompared},
		"no type":                   {"virtio_net", "hash_type", []string{hashKfunc}, limits, rawObservation{}, "", uncompared},
		"another hash":              {"virtio_net", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 6}}, "", differ},
		"a hash of ports":           {"virtio_net", "hash", nil, limits, rawObservation{Skb: mdDesc{HashType: hashL4}}, "", differ},
		"another driver":            {"igb", "hash", nil, limits, rawObservation{}, "", differ},
		"another field":             {"virtio_net", "ptype", nil, limits, rawObservation{}, "", differ},
		"a sum forgotten":           {"virtio_net", "csum_status", nil, limits, rawObservation{}, "", uncompared},
		"a sum found":               {"virtio_net", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: 1}}, "", differ},
		"a sum on a newer kernel":   {"virtio_net", "csum_status", []string{hashKfunc}, limits, rawObservation{}, "", differ},
		"a kfunc that makes a hash": {"veth", "hash", nil, kfuncLimits, rawObservation{SwHash: 1}, "", uncompared},
		"a kfunc that does not":     {"veth", "hash", nil, kfuncLimits, rawObservation{}, "", differ},
		"a hash beside its":         {"veth", "hash", nil, kfuncLimits, rawObservation{SwHash: 1, XDP: mdDesc{Hash: 5}}, "", differ},

		"no IP":                   {"bnxt_en", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, "\x88\xcc" + zeros, uncompared},
		"no IP, another hash":     {"bnxt_en", "hash", nil, limits, rawObservation{XDP: mdDesc{Hash: 6}, Skb: mdDesc{Hash: 5}}, "\x88\xcc" + zeros, differ},
		"no IP, but a type":       {"bnxt_en", "hash", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{Hash: 5}}, "\x88\xcc" + zeros, differ},
		"IPv6":                    {"bnxt_en", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, ipv6 + "\x06" + rest6, differ},
		"IP":                      {"mlx4_en", "hash_type", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, tcp, differ},
		"no ports":                {"ena", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, icmp, uncompared},
		"a fragment":              {"ena", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, fragment, uncompared},
		"no ports, another hash":  {"ena", "hash", nil, limits, rawObservation{XDP: mdDesc{Hash: 6}, Skb: mdDesc{Hash: 5}}, icmp, differ},
		"ports":                   {"ena", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, tcp, differ},
		"ports of UDP":            {"ena", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, udp, differ},
		"nothing that is hashed":  {"rvu-nicvf", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, icmp, uncompared},
		"something that is":       {"rvu-nicvf", "hash", nil, limits, rawObservation{XDP: mdDesc{Hash: 6}, Skb: mdDesc{Hash: 5}}, icmp, differ},
		"a flow":                  {"rvu-nicvf", "hash", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, tcp, differ},
		"another hash of a VF":    {"rvu-nicvf", "hash", nil, limits, rawObservation{XDP: mdDesc{Hash: 6}, Skb: mdDesc{Hash: 5}}, tcp, differ},
		"ports of a VF":           {"rvu-nicvf", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, tcp, uncompared},
		"a type of a VF is lost":  {"rvu-nicvf", "hash_type", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, tcp, differ},
		"called one of ports":     {"mlx4_en", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, udp, uncompared},
		"always one of ports":     {"mlx4_en", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, tcp, differ},
		"one of UDP is lost":      {"mlx4_en", "hash_type", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, udp, differ},
		"not asked for":           {"bnxt_en", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, tcp, uncompared},
		"ports in a tunnel":       {"bnxt_en", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, gre, uncompared},
		"one of TCP is lost":      {"bnxt_en", "hash_type", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, tcp, differ},
		"nothing that has ports":  {"bnxt_en", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, icmp, differ},
		"not called one of ports": {"mlx4_en", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}}, tcp, differ},
		"one of ICMP":             {"gve", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, icmp, uncompared},
		"one of ICMP is lost":     {"gve", "hash_type", nil, limits, rawObservation{Skb: mdDesc{Hash: 5}}, icmp, differ},
		"one of TCP":              {"gve", "hash_type", nil, limits, rawObservation{XDP: mdDesc{HashType: hashIPv4}, Skb: mdDesc{HashType: hashL4}}, tcp, differ},
		"believed":                {"hv_netvsc", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumUnnecessary}}, tcp, uncompared},
		"of a right header":       {"hv_netvsc", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumUnnecessary}}, right, differ},
		"not believed":            {"hv_netvsc", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumComplete}}, tcp, differ},
		"of one in a tunnel":      {"bnxt_en", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumUnnecessary}}, tunnel, uncompared},
		"not looked at, but":      {"hv_netvsc", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumUnnecessary}}, tcp, differ},
		"left to the stack":       {"ionic", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumComplete}}, tcp, uncompared},
		"not left to the stack":   {"ionic", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumUnnecessary}}, tcp, differ},
		"of a right packet":       {"ionic", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumComplete, Csum: rightSum}}, right, differ},
		"nothing of a sum":        {"ionic", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumComplete}}, tcp, differ},
		"a sum of its own":        {"mlx4_en", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumComplete}}, icmp, uncompared},
		"a sum besides":           {"mlx4_en", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumUnnecessary}, Skb: mdDesc{CsumStatus: csumComplete}}, icmp, differ},
		"no sum of its own":       {"mlx4_en", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumUnnecessary}}, icmp, differ},
		"taken for right":         {"st_gmac", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumUnnecessary}}, icmp, uncompared},
		"not taken for right":     {"st_gmac", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumUnnecessary}}, tcp, differ},
		"wrong, taken for right":  {"st_gmac", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumUnnecessary}}, tcp, differ},
		"a sum beside it":         {"st_gmac", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumComplete}}, tcp, differ},
		"in a tunnel":             {"qede", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumUnnecessary}}, vxlan, uncompared},
		"in no tunnel":            {"qede", "csum_status", nil, limits, rawObservation{Skb: mdDesc{CsumStatus: csumUnnecessary}}, tcp, differ},
		"wrong in a tunnel":       {"qede", "csum_status", nil, limits, rawObservation{XDP: mdDesc{CsumStatus: csumBad}, Skb: mdDesc{CsumStatus: csumUnnecessary}}, vxlan, differ},
		"a time somewhere else":   {"igc", "rx_timestamp", nil, limits, rawObservation{XDP: mdDesc{RxTimestamp: 5}}, tcp, uncompared},
		"another time":            {"tsnep", "rx_timestamp", nil, limits, rawObservation{XDP: mdDesc{RxTimestamp: 5}, Skb: mdDesc{RxTimestamp: 6}}, tcp, differ},
		"a mark that stays":       {"i40e", "mark", nil, limits, rawObservation{XDP: mdDesc{Mark: 5}}, tcp, uncompared},
		"another mark":            {"i40e", "mark", nil, limits, rawObservation{XDP: mdDesc{Mark: 5}, Skb: mdDesc{Mark: 6}}, tcp, differ},
	} {
		of := limitsOf(&loader.Driver{Name: test.driver, Kfuncs: test.kfuncs}, test.limits)
		o := observed(t, test.seen, ethernet+test.head)
		if got := excused(differs("it differs"), o, of[test.field]); got.outcome != test.outcome {
			t.Errorf("%s: %+v instead of %d", name, got, test.outcome)
		}
		if got := excused(agreed, o, of[test.field]); got != agreed {
			t.Errorf("%s: %+v of what agrees", name, got)
		}
	}
}

// A right checksum is known from the sum of the whole packet, and a wrong one is none.
func TestHasNoRightSum(t *testing.T) {
	payload := "\x10\x00\x12\x34\x00\x1a\x00\x00" + "eighteen bytes, or" // of TCP, or of UDP whose sum is at 6
	vxlan := payload[:2] + "\x12\xb5" + payload[4:]
	addresses := "\xc0\x00\x02\x01\xc0\x00\x02\x02"
	pseudo := addresses + "\x00\x11\x00\x1a"
	for name, test := range map[string]struct {
		headers, payload, pseudo string
		proved                   bool // by a right checksum
	}{
		"IPv4":           {ethernet + ipv4 + "\x11\xf6\xbb" + addresses, payload, pseudo, true},
		"a tag":          {ethernet + tag + ipv4 + "\x11\xf6\xbb" + addresses, payload, pseudo, true},
		"IPv6":           {ethernet + ipv6[:6] + "\x00\x1a" + "\x11\x40" + payload + payload[:6], payload, payload + payload[:6] + "\x00\x11\x00\x1a", true},
		"a wrong header": {ethernet + ipv4 + "\x11\xf6\xbc" + addresses, payload, pseudo, false},
		"a tunnel":       {ethernet + ipv4 + "\x11\xf6\xbb" + addresses, vxlan, pseudo, false},
		"ICMP":           {ethernet + ipv4 + "\x01\xf6\xcb" + addresses, payload, "", false},
	} {
		for _, isRight := range []bool{true, false} {
			behind := []byte(test.payload)
			binary.NativeEndian.PutUint16(behind[6:], ^sum([]byte(test.pseudo+test.payload)))
			if !isRight {
				behind[10] ^= 1
			}
			head := test.headers + string(behind)
			seen := rawObservation{Skb: mdDesc{CsumStatus: csumComplete, Csum: uint32(sum([]byte(head[ethernetHeader:])))}}
			if got := hasNoRightSum(observed(t, seen, head)); got == (isRight && test.proved) {
				t.Errorf("%s, right %t: %t", name, isRight, got)
			}
		}
	}
}

// The sum is that of RFC 1071, with a byte that is left over in front of a zero.
func TestSum(t *testing.T) {
	inOrder := func(octets ...byte) uint16 { return binary.NativeEndian.Uint16(octets) }
	for text, want := range map[string]uint16{
		"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7": inOrder(0xdd, 0xf2),
		"\x12\x34\x56":                     inOrder(0x68, 0x34),
		"\xff\xff\x00\x00":                 0xffff,
		"":                                 0xffff,
	} {
		if got := sum([]byte(text)); got != want {
			t.Errorf("%x: %#x instead of %#x", text, got, want)
		}
	}
}

// What the kfunc says is no proof of an accessor that asks it.
func TestAskedByKfunc(t *testing.T) {
	for _, byKfunc := range []bool{false, true} {
		f := &Field{Name: "hash", comparison: comparisonOf(t, "hash"), byKfunc: byKfunc, seen: make(map[uint64]bool)}
		f.add(observed(t, rawObservation{XDP: mdDesc{Hash: 5}, Skb: mdDesc{Hash: 5}, Said: said{Hash: 5}}, ethernet), nil, nil)
		if f.Agree != 1 || (f.Kfunc == nil) != byKfunc {
			t.Errorf("by kfunc %v: %+v", byKfunc, f)
		}
	}
}
