package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var skbModel = modelled{
	memory: 64 << 10,
	model:  func(s setting) model { return &skb{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 2},
		"hash_type":   {0, 8},
	},
}

func TestSkb(t *testing.T) { testModel(t, "skb") }

// skb is any struct sk_buff, as ctx of a TC program.
type skb struct{ setting }

// isThere is the descriptor of every packet.
const isThere = 1

func (s *skb) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	packet := s.layPacket(random)
	return packet, isThere, []uint64{s.view("sk_buff", packet).At("head")}
}

func (s *skb) find(uint64) uint64 { return isThere }

func (s *skb) decode(_, ctx uint64) map[string]uint64 { return s.decodePacket(ctx) }

// layPacket lays out a random struct sk_buff, and returns its address.
func (s *setting) layPacket(random *rand.Rand) uint64 {
	head, end := s.memory.Take(256), uint64(random.IntN(256))
	s.memory.Take(s.types.Size("skb_shared_info"))
	skb := s.place("sk_buff", 0)
	skb.Set("head", head)
	skb.Set("end", end)
	skb.Set("vlan_proto", rarely(random, skb.Get("vlan_proto")))
	return skb.Address
}

// decodePacket decodes a struct sk_buff by include/linux/skbuff.h.
func (s *setting) decodePacket(address uint64) map[string]uint64 {
	skb := s.view("sk_buff", address)
	shared := s.view("skb_shared_info", skb.Get("head")+skb.Get("end"))
	const (
		netdevStamps = 5 // bit SKBTX_HW_TSTAMP_NETDEV
		complete     = 2 // CHECKSUM_COMPLETE
	)
	fields := map[string]uint64{
		"hash":        skb.Get("hash"),
		"hash_type":   skb.Get("l4_hash") << 3,
		"csum_status": [...]uint64{0, 1, 2, 1}[skb.Get("ip_summed")],
		"mark":        skb.Get("mark"),
		"csum":        0, "rx_timestamp": 0, "vlan_tci": 0, "vlan_proto": 0,
	}
	if skb.Get("ip_summed") == complete {
		fields["csum"] = skb.Get("csum")
	}
	if shared.Get("tx_flags")>>netdevStamps&1 == 0 {
		fields["rx_timestamp"] = shared.Get("hwtstamps.hwtstamp")
	}
	tagged := !skb.Has("vlan_present") || skb.Get("vlan_present") != 0
	if tagged && skb.Get("vlan_proto") != 0 {
		fields["vlan_proto"], fields["vlan_tci"] = skb.Get("vlan_proto"), skb.Get("vlan_tci")
	}
	return fields
}
