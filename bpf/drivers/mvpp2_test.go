package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var mvpp2Model = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &mvpp2{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1},
		"ptype":       {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 256 | 1, 256 | 2},
	},
}

func TestMvpp2(t *testing.T) { testModel(t, "mvpp2") }

// mvpp2 is drivers/net/ethernet/marvell/mvpp2. Its descriptors are 32 bytes, little-endian,
// and begin with the status.
type mvpp2 struct{ setting }

func (m *mvpp2) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 8, 32
	queue, index := uint64(random.IntN(queues)), uint64(random.IntN(slots))
	dev := m.placeDevice(m.types.Size("mvpp2_port"))
	port := m.view("mvpp2_port", m.privateOf(dev.Address))
	ring, xdp := m.place("mvpp2_rx_queue", 0), m.place("xdp_buff", 0)
	rings, descriptors := m.memory.Take(8*queues), m.memory.Take(32*slots)
	rxq := m.view("xdp_rxq_info", ring.At([]string{"xdp_rxq_short", "xdp_rxq_long"}[random.IntN(2)]))

	port.Set("dev", dev.Address)
	port.Set("rxqs", rings)
	m.memory.Store(rings+8*queue, 8, ring.Address)
	ring.Set("descs", descriptors)
	ring.Set("last_desc", slots-1)
	ring.Set("next_desc_to_proc", (index+1)%slots)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	descriptor = descriptors + 32*index
	pointers = []uint64{port.At("dev"), port.At("rxqs"), rings + 8*queue, ring.At("descs"), rxq.At("dev"), xdp.At("rxq")}

	switch random.IntN(12) {
	case 0: // the device's, but not the ring that it has
		m.memory.Store(rings+8*queue, 8, m.place("mvpp2_rx_queue", 0).Address)
		descriptor = 0
	case 1: // of a device that is not the driver's
		port.Set("dev", 0)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

func (m *mvpp2) find(ctx uint64) uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	port := m.view("mvpp2_port", m.privateOf(rxq.Get("dev")))
	ring := m.view("mvpp2_rx_queue", m.memory.Load(port.Get("rxqs")+8*rxq.Get("queue_index"), 8))
	own := ring.At("xdp_rxq_short") == rxq.Address || ring.At("xdp_rxq_long") == rxq.Address
	if port.Get("dev") != rxq.Get("dev") || !own {
		return 0
	}
	index := ring.Get("last_desc")
	if next := ring.Get("next_desc_to_proc"); next > 0 {
		index = next - 1
	}
	return ring.Get("descs") + 32*index
}

// What the parser found, MVPP2_PRS_RI_L3_* and _L4_*.
var (
	mvpp2Networks   = [8]uint64{1: 1, 2: 1, 3: 1, 4: 2, 5: 2}
	mvpp2Transports = [8]uint64{1: 8, 2: 16, 3: 256}
)

func (m *mvpp2) decode(descriptor, _ uint64) map[string]uint64 {
	status := m.little(descriptor, 4)
	is := func(bit int) bool { return status>>bit&1 != 0 }
	fields := map[string]uint64{"ptype": mvpp2Networks[status>>28&7], "csum_status": 0}
	if fields["ptype"] != 0 {
		fields["ptype"] |= mvpp2Transports[status>>25&7]
	}
	network := is(30) || is(28) && !is(24)
	if transport := is(25) || is(26); network && transport && is(22) {
		fields["csum_status"] = 1
	}
	return fields
}
