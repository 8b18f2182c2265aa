package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var vethModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &veth{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 2},
		"hash_type":   {0, 8},
	},
}

func TestVeth(t *testing.T) { testModel(t, "veth") }

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
