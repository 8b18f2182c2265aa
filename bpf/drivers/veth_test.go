package drivers_test

import (
	"math/rand/v2"
	"testing"
)

func TestVeth(t *testing.T) {
	testModel(t, "veth", 256<<10, func(s setting) model { return &veth{s} })
}

// veth is drivers/net/veth.c.
type veth struct{ setting }

func (v *veth) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 4
	queue := uint64(random.IntN(queues))
	dev := v.placeDevice(v.types.Size("veth_priv"))
	rings := v.memory.Take(queues * v.types.Size("veth_rq"))
	ring := v.view("veth_rq", rings+queue*uint64(v.types.Size("veth_rq")))
	rxq := v.view("xdp_rxq_info", ring.At("xdp_rxq"))
	priv := v.view("veth_priv", v.privateOf(dev.Address))
	skb := v.layPacket(random)
	buff := v.place("veth_xdp_buff", 0)
	xdp := v.view("xdp_buff", buff.Address)

	priv.Set("rq", rings)
	ring.Set("dev", dev.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	buff.Set("skb", skb)
	pointers = []uint64{priv.At("rq"), ring.At("dev"), rxq.At("dev"), xdp.At("rxq"), buff.At("skb"),
		v.view("sk_buff", skb).At("head")}

	// In generic mode, a cpumap or TEST_RUN: the device's, but not in the array.
	if chance(random, 4) {
		foreign := v.view("veth_rq", v.memory.Take(v.types.Size("veth_rq")))
		rxq := v.view("xdp_rxq_info", foreign.At("xdp_rxq"))
		foreign.Set("dev", dev.Address)
		rxq.Set("dev", dev.Address)
		rxq.Set("queue_index", queue)
		xdp.Set("rxq", rxq.Address)
		return xdp.Address, 0, pointers
	}
	return xdp.Address, skb, pointers
}

func (v *veth) layPacket(random *rand.Rand) (skb uint64) {
	head, end := v.memory.Take(256), uint64(random.IntN(256))
	v.memory.Take(v.types.Size("skb_shared_info"))
	s := v.place("sk_buff", 0)
	s.Set("head", head)
	s.Set("end", end)
	s.Set("vlan_proto", rarely(random, s.Get("vlan_proto")))
	return s.Address
}

func (v *veth) find(ctx uint64) uint64 {
	rxqAddress := v.view("xdp_buff", ctx).Get("rxq")
	rxq := v.view("xdp_rxq_info", rxqAddress)
	ring := v.view("veth_rq", rxqAddress-uint64(v.view("veth_rq", 0).Offset("xdp_rxq")))
	priv := v.view("veth_priv", v.privateOf(rxq.Get("dev")))
	own := priv.Get("rq") + rxq.Get("queue_index")*uint64(v.types.Size("veth_rq"))
	if ring.Get("dev") != rxq.Get("dev") || ring.Address != own {
		return 0
	}
	return v.view("veth_xdp_buff", ctx).Get("skb")
}

func (v *veth) decode(skb, _ uint64) map[string]uint64 { return v.decodePacket(skb) }

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
