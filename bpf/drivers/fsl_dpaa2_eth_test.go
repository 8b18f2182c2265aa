package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var dpaa2Model = modelled{
	memory: 1 << 20,
	model:  func(s setting) model { return &dpaa2{s} },
}

func TestDpaa2(t *testing.T) { testModel(t, "fsl_dpaa2_eth") }

// dpaa2 is drivers/net/ethernet/freescale/dpaa2. A buffer starts with the annotation: the
// status of the frame (8), a stamp (8), and what the parser found.
type dpaa2 struct{ setting }

// queueOf returns the frame queue of a number that takes what was received: those of what
// was sent are in front, as many.
func (m *dpaa2) queueOf(private *memlab.Struct, number uint64) *memlab.Struct {
	number = (number + private.Get("num_channels")) & 0xffffffff
	return m.view("dpaa2_eth_fq", private.At("fq")+number*uint64(m.types.Size("dpaa2_eth_fq")))
}

func (m *dpaa2) channelOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "dpaa2_eth_channel", "xdp_rxq")
}

func (m *dpaa2) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	channels := 1 + random.IntN(16)
	number := uint64(random.IntN(channels))
	dev := m.placeDevice(m.types.Size("dpaa2_eth_priv"))
	private := m.view("dpaa2_eth_priv", m.privateOf(dev.Address))
	channel, xdp := m.place("dpaa2_eth_channel", 0), m.place("xdp_buff", 0)
	rxq := m.view("xdp_rxq_info", channel.At("xdp_rxq"))

	private.Set("num_channels", uint64(channels))
	private.Set("rx_tstamp", uint64(random.IntN(2)))
	queue := m.queueOf(private, number)
	queue.Set("channel", channel.Address)
	channel.Set("priv", private.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", number)
	rxq.Set("mem.type", uint64(random.IntN(4)))
	xdp.Set("rxq", rxq.Address)
	const page = 4096
	descriptor = (m.memory.Take(2*page) + page) &^ (page - 1)
	xdp.Set("data_hard_start", descriptor+uint64(random.IntN(page-256)))
	if rxq.Get("mem.type") == 3 { // AF_XDP's buffers start anywhere
		descriptor = xdp.Get("data_hard_start")
	}
	pointers = []uint64{queue.At("channel"), channel.At("priv"), rxq.At("dev"), xdp.At("rxq"), xdp.At("data_hard_start")}

	switch random.IntN(12) {
	case 0: // the device's, but not the channel that it has
		queue.Set("channel", m.place("dpaa2_eth_channel", 0).Address)
		descriptor = 0
	case 1: // of another device
		channel.Set("priv", m.place("dpaa2_eth_priv", 0).Address)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

func (m *dpaa2) find(ctx uint64) uint64 {
	xdp, channel := m.view("xdp_buff", ctx), m.channelOf(ctx)
	rxq := m.view("xdp_rxq_info", xdp.Get("rxq"))
	private := m.view("dpaa2_eth_priv", m.privateOf(rxq.Get("dev")))
	if channel.Get("priv") != private.Address || m.queueOf(private, rxq.Get("queue_index")).Get("channel") != channel.Address {
		return 0
	}
	start := xdp.Get("data_hard_start")
	if rxq.Get("mem.type") == 3 {
		return start
	}
	return start - start%4096
}

func (m *dpaa2) decode(annotation, ctx uint64) map[string]uint64 {
	private := m.view("dpaa2_eth_priv", m.channelOf(ctx).Get("priv"))
	if private.Get("rx_tstamp") == 0 {
		return map[string]uint64{"rx_timestamp": 0}
	}
	return map[string]uint64{"rx_timestamp": m.little(annotation+8, 8)}
}
