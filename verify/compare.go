package verify

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// outcome is what comparing a number of a packet with another comes to.
type outcome int

const (
	agree outcome = iota
	differ
	uncompared // the other says nothing of it, or is known to be something else
)

// verdict is an outcome, and why it is not agree.
type verdict struct {
	outcome outcome
	why     string
}

var agreed = verdict{}

func differs(format string, args ...any) verdict {
	return verdict{differ, fmt.Sprintf(format, args...)}
}
func leaves(why string) verdict { return verdict{uncompared, why} }

// Of enum md_csum_status, struct sk_buff, and enum xdp_rss_hash_type.
const (
	csumNone        = 0
	csumUnnecessary = 1
	csumComplete    = 2
	csumBad         = 4

	hashIPv4   = 1 << 0
	hashIPv6   = 1 << 1
	hashDynhdr = 1 << 2
	hashL4     = 1 << 3
	hashTCP    = 1 << 4
	hashUDP    = 1 << 5
	hashSCTP   = 1 << 6
	hashIPsec  = 1 << 7
	hashICMP   = 1 << 8
)

// comparison is how a field is compared with what else is known of the packet.
type comparison struct {
	field  string
	skb    func(o *observation) verdict // nil if an skb has no such field
	packet func(o *observation) verdict // nil if the packet says nothing of it
	kfunc  func(o *observation) (said uint64, errno int32, none bool)
}

// comparisons are those of all fields of struct md_desc, in the order that it has them.
var comparisons = []comparison{
	{
		field: "rx_timestamp",
		skb:   func(o *observation) verdict { return o.same("rx_timestamp") },
		kfunc: func(o *observation) (uint64, int32, bool) {
			return o.Said.RxTimestamp, o.Said.TimestampError, o.XDP.RxTimestamp == 0
		},
	},
	{
		field: "hash",
		skb:   compareHash,
		kfunc: func(o *observation) (uint64, int32, bool) {
			return uint64(o.Said.Hash), o.Said.HashError, o.XDP.Hash == 0
		},
	},
	{
		field:  "hash_type",
		skb:    compareHashType,
		packet: checkHashType,
		kfunc: func(o *observation) (uint64, int32, bool) {
			return uint64(o.Said.HashType), o.Said.HashError, o.XDP.HashType == 0
		},
	},
	{field: "csum", skb: compareSum},
	{field: "csum_status", skb: compareSumStatus},
	{
		field: "vlan_tci",
		skb:   func(o *observation) verdict { return o.compareTag("vlan_tci", o.TagTCI) },
		kfunc: func(o *observation) (uint64, int32, bool) {
			return uint64(o.Said.VlanTCI), o.Said.VlanError, o.XDP.VlanTCI == 0
		},
	},
	{
		field: "vlan_proto",
		skb:   func(o *observation) verdict { return o.compareTag("vlan_proto", o.TagProto) },
		kfunc: func(o *observation) (uint64, int32, bool) {
			return o.Said.VlanProto.number(), o.Said.VlanError, o.xdp["vlan_proto"] == 0
		},
	},
	{field: "mark", skb: func(o *observation) verdict { return o.same("mark") }},
	{field: "ptype", packet: checkPtype},
}

// same wants a number to be that of the skb.
func (o *observation) same(field string) verdict {
	if o.xdp[field] == o.skb[field] {
		return agreed
	}
	return differs("%#x, and the skb has %#x", o.xdp[field], o.skb[field])
}

// byStack is why a hash can't be compared. skb_get_hash() makes one for a packet that came
// without, or with one that the driver did not call one of ports, where it is asked for: by
// RPS, say, or by veth's kfunc.
const byStack = "the skb has a hash that the stack has computed"

// compareHash leaves out a hash of the stack's.
func compareHash(o *observation) verdict {
	v := o.same("hash")
	if v.outcome == differ && o.SwHash != 0 {
		return leaves(byStack)
	}
	return v
}

// compareHashType compares the one bit that an skb has of it.
func compareHashType(o *observation) verdict {
	l4, ofSkb := o.XDP.HashType&hashL4 != 0, o.Skb.HashType&hashL4 != 0
	switch {
	case l4 == ofSkb && (o.XDP.HashType != 0 || o.Skb.Hash == 0 || o.XDP.Hash == o.Skb.Hash):
		return agreed
	case o.SwHash != 0:
		return leaves(byStack)
	case o.Skb.Hash == 0:
		return differs("%#x, and the skb has no hash", o.XDP.HashType)
	case l4: // and the skb's is not
		return leaves("the driver tells the stack of a hash of ports as of one of addresses")
	}
	return differs("%#x, and the skb has a hash, of type %#x", o.XDP.HashType, o.Skb.HashType)
}

// headersUnknown is why what is said of a packet's headers can't be checked.
const headersUnknown = "the packet has headers in it that are not known"

// checkHashType wants that the packet has what is said to be in its hash.
func checkHashType(o *observation) verdict {
	for _, claim := range []struct {
		bit  uint32
		name string
		in   uint64
	}{
		{hashIPv4, "IPv4", ptypeIPv4}, {hashIPv6, "IPv6", ptypeIPv6}, {hashTCP, "TCP", ptypeTCP}, {hashUDP, "UDP", ptypeUDP},
		{hashSCTP, "SCTP", ptypeSCTP}, {hashIPsec, "IPsec", ptypeOther | ptypeUDP}, {hashICMP, "ICMP", ptypeICMP},
	} {
		if o.XDP.HashType&claim.bit == 0 || o.packet.ptype&claim.in != 0 {
			continue
		}
		if o.packet.mayTunnel || o.packet.cut {
			return leaves(headersUnknown)
		}
		return differs("%#x, which has %s, and the packet is %s", o.XDP.HashType, claim.name, o.packet)
	}
	return agreed
}

// compareSum compares a sum with that of the skb, or of the packet itself, if all of it is
// at hand.
func compareSum(o *observation) verdict {
	switch {
	case o.XDP.CsumStatus != csumComplete && o.XDP.Csum == 0:
		return agreed
	case o.XDP.CsumStatus != csumComplete:
		return differs("%#x, and csum_status does not say that there is one", o.XDP.Csum)
	case o.Skb.CsumStatus == csumComplete && fold(o.XDP.Csum) == fold(o.Skb.Csum):
		return agreed
	case o.TagProto != wire16{}, o.Skb.VlanProto != wire16{}:
		return leaves("the stack has taken a tag off, and out of the sum")
	case o.Skb.CsumStatus == csumComplete:
		return differs("%#x, and the skb has %#x", o.XDP.Csum, o.Skb.Csum)
	case o.Length > o.Held:
		return leaves("the driver has given the stack no sum, and the packet is too long to compute it")
	}
	if own := sum(o.Head[min(ethernetHeader, o.Length):o.Length]); own != fold(o.XDP.Csum) {
		return differs("%#x, and the packet's is %#x", o.XDP.Csum, own)
	}
	return agreed
}

// compareSumStatus takes what the NIC found wrong for what it did not look at, as the stack
// does.
func compareSumStatus(o *observation) verdict {
	status := o.XDP.CsumStatus
	if status == csumBad {
		status = csumNone
	}
	switch {
	case status == o.Skb.CsumStatus:
		return agreed
	case status == csumComplete:
		return leaves("the driver gives the stack no sum while an XDP program is attached")
	}
	return differs("%#x, and the skb has %#x", o.XDP.CsumStatus, o.Skb.CsumStatus)
}

// compareTag takes a tag of the packet itself, which the stack has taken off, for none.
func (o *observation) compareTag(field string, inPacket wire16) verdict {
	if o.XDP.VlanProto == (wire16{}) && o.xdp[field] == 0 && o.skb[field] == inPacket.number() {
		return agreed
	}
	return o.same(field)
}

// checkPtype wants that the packet has the headers that are said to be in it.
func checkPtype(o *observation) verdict {
	said := o.xdp["ptype"]
	switch {
	case said&^o.packet.ptype == 0:
		return agreed
	case o.packet.mayTunnel, o.packet.cut:
		return leaves(headersUnknown)
	}
	return differs("%#x, and the packet is %s", said, o.packet)
}

// compareKfunc compares with what the driver says when it is asked: ENODATA is that the
// packet has none.
func (c *comparison) compareKfunc(o *observation) verdict {
	if c.kfunc == nil {
		return leaves("")
	}
	said, errno, none := c.kfunc(o)
	switch {
	case errno == -int32(unix.ENODATA) && none:
		return agreed
	case errno == -int32(unix.ENODATA):
		return differs("%#x, and its kfunc says that there is none", o.xdp[c.field])
	case errno != 0:
		return leaves("")
	case said != o.xdp[c.field]:
		return differs("%#x, and its kfunc says %#x", o.xdp[c.field], said)
	}
	return agreed
}
