package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var fbnicModel = modelled{memory: 128 << 10, model: func(s setting) model { return &fbnic{s} }}

func TestFbnic(t *testing.T) { testModel(t, "fbnic") }

// fbnic is drivers/net/ethernet/meta/fbnic.
type fbnic struct{ setting }

func (m *fbnic) triadOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "fbnic_q_triad", "xdp_rxq")
}

func (m *fbnic) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 128
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("fbnic_net"))
	triad, buff := m.place("fbnic_q_triad", 0), m.place("fbnic_pkt_buff", 0)
	rxq := m.view("xdp_rxq_info", triad.At("xdp_rxq"))
	own := m.view("fbnic_net", m.privateOf(dev.Address)).At("rx") + 8*queue
	xdp := m.view("xdp_buff", buff.Address)

	m.memory.Store(own, 8, triad.At("cmpl"))
	triad.Set("cmpl.q_idx", queue)
	triad.Set("cmpl.pkt", buff.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", 0)
	xdp.Set("rxq", rxq.Address)
	buff.Set("hwtstamp", rarely(random, random.Uint64()))
	ctx, descriptor = buff.Address, buff.Address
	pointers = []uint64{own, triad.At("cmpl.pkt"), rxq.At("dev"), xdp.At("rxq")}

	// Not the ring's, or not the ring that the device has.
	switch random.IntN(16) {
	case 0:
		triad.Set("cmpl.pkt", m.place("fbnic_pkt_buff", 0).Address)
		descriptor = 0
	case 1:
		m.memory.Store(own, 8, m.place("fbnic_q_triad", 0).At("cmpl"))
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

func (m *fbnic) find(ctx uint64) uint64 {
	triad := m.triadOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	rings := m.view("fbnic_net", m.privateOf(rxq.Get("dev"))).At("rx")
	if triad.Get("cmpl.pkt") != ctx || m.memory.Load(rings+8*triad.Get("cmpl.q_idx"), 8) != triad.At("cmpl") {
		return 0
	}
	return ctx
}

func (m *fbnic) decode(descriptor, _ uint64) map[string]uint64 {
	return map[string]uint64{"rx_timestamp": m.view("fbnic_pkt_buff", descriptor).Get("hwtstamp")}
}
