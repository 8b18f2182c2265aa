package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var tsnepModel = modelled{memory: 2 << 20, model: func(s setting) model { return &tsnep{s} }}

func TestTsnep(t *testing.T) { testModel(t, "tsnep") }

// tsnep is drivers/net/ethernet/engleder, and the two numbers in front of each packet, a
// counter and a time, of 8 bytes each, little-endian.
type tsnep struct{ setting }

func (m *tsnep) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 8
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("tsnep_adapter"))
	adapter := m.view("tsnep_adapter", m.privateOf(dev.Address))
	rx := m.view("tsnep_rx", adapter.At("rx")+queue*uint64(m.types.Size("tsnep_rx")))
	rxq := m.view("xdp_rxq_info", rx.At([]string{"xdp_rxq", "xdp_rxq_zc"}[random.IntN(2)]))
	ctx = m.memory.Take(256)
	xdp, start := m.view("xdp_buff", ctx), m.memory.Take(512)
	packet := start + 256 + 16
	meta := packet + uint64(random.IntN(2)) // without room for metadata it is one behind
	switch random.IntN(8) {                 // an earlier program has moved the packet, or left metadata
	case 0:
		packet, meta = packet-16, meta-16
	case 1:
		packet, meta = packet+16, meta+16
	case 2:
		meta = packet - 8
	}

	adapter.Set("netdev", dev.Address)
	adapter.Set("hwtstamp_config.rx_filter", []uint64{0, 1, 1, 12}[random.IntN(4)])
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	xdp.Set("data_hard_start", start)
	xdp.Set("data", packet)
	xdp.Set("data_meta", meta)
	descriptor = adapter.Address
	pointers = []uint64{adapter.At("netdev"), rxq.At("dev"), xdp.At("rxq"), xdp.At("data")}

	// Not the device's, or not the queue that it says.
	switch random.IntN(16) {
	case 0:
		adapter.Set("netdev", m.place("net_device", 0).Address)
		descriptor = 0
	case 1:
		rxq.Set("queue_index", queue^1)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

func (m *tsnep) find(ctx uint64) uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	adapter := m.view("tsnep_adapter", m.privateOf(rxq.Get("dev")))
	rx := m.view("tsnep_rx", adapter.At("rx")+uint64(m.types.Size("tsnep_rx"))*rxq.Get("queue_index"))
	own := rxq.Address == rx.At("xdp_rxq") || rxq.Address == rx.At("xdp_rxq_zc")
	if !own || adapter.Get("netdev") != rxq.Get("dev") {
		return 0
	}
	return adapter.Address
}

func (m *tsnep) decode(descriptor, ctx uint64) map[string]uint64 {
	const all = 1 // HWTSTAMP_FILTER_ALL
	stamp := uint64(0)
	xdp := m.view("xdp_buff", ctx)
	data := xdp.Get("data")
	inPlace := data == xdp.Get("data_hard_start")+256+16 && xdp.Get("data_meta") >= data
	if inPlace && m.view("tsnep_adapter", descriptor).Get("hwtstamp_config.rx_filter") == all {
		at := data - 8
		stamp = m.little(at, 8)
	}
	return map[string]uint64{"rx_timestamp": stamp}
}
