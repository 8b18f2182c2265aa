package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var mvnetaModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &mvneta{s} },
	values: map[string][]uint64{"csum_status": {0, 1}, "ptype": {0, 1}},
}

func TestMvneta(t *testing.T) { testModel(t, "mvneta") }

// mvneta is drivers/net/ethernet/marvell/mvneta.c. Its descriptors are 32 bytes.
type mvneta struct{ setting }

func (m *mvneta) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 8, 32
	queue, index := uint64(random.IntN(queues)), uint64(random.IntN(slots))
	dev := m.placeDevice(m.types.Size("mvneta_port"))
	dev.Set("features", random.Uint64()|random.Uint64())
	port := m.view("mvneta_port", m.privateOf(dev.Address))
	size := m.types.Size("mvneta_rx_queue")
	rings := m.memory.Take(queues * size)
	ring, xdp := m.view("mvneta_rx_queue", rings+queue*uint64(size)), m.place("xdp_buff", 0)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	descriptors := m.memory.Take(32 * slots)

	port.Set("dev", dev.Address)
	port.Set("rxqs", rings)
	ring.Set("descs", descriptors)
	ring.Set("last_desc", slots-1)
	ring.Set("next_desc_to_proc", (index+1)%slots)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	descriptor = descriptors + 32*index
	desc := m.view("mvneta_rx_desc", descriptor)
	desc.Set("status", random.Uint64()&0xffffffff|1<<27)
	pointers = []uint64{port.At("dev"), port.At("rxqs"), ring.At("descs"), rxq.At("dev"), xdp.At("rxq")}

	switch random.IntN(12) {
	case 0: // the device's, but not in the array
		foreign := m.place("mvneta_rx_queue", 0)
		rxq := m.view("xdp_rxq_info", foreign.At("xdp_rxq"))
		rxq.Set("dev", dev.Address)
		rxq.Set("queue_index", queue)
		xdp.Set("rxq", rxq.Address)
		descriptor = 0
	case 1: // of a device that is not the driver's
		port.Set("dev", 0)
		descriptor = 0
	case 2: // a packet in several buffers
		desc.Set("status", desc.Get("status")&^(1<<27))
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

func (m *mvneta) find(ctx uint64) uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	port := m.view("mvneta_port", m.privateOf(rxq.Get("dev")))
	ring := m.view("mvneta_rx_queue", port.Get("rxqs")+rxq.Get("queue_index")*uint64(m.types.Size("mvneta_rx_queue")))
	if port.Get("dev") != rxq.Get("dev") || ring.At("xdp_rxq") != rxq.Address {
		return 0
	}
	index := ring.Get("last_desc")
	if next := ring.Get("next_desc_to_proc"); next > 0 {
		index = next - 1
	}
	descriptor := ring.Get("descs") + 32*index
	if m.status(descriptor)>>27&1 == 0 {
		return 0
	}
	return descriptor
}

func (m *mvneta) status(descriptor uint64) uint64 {
	return m.view("mvneta_rx_desc", descriptor).Get("status")
}

func (m *mvneta) decode(descriptor, ctx uint64) map[string]uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	features, status := m.view("net_device", rxq.Get("dev")).Get("features"), m.status(descriptor)
	four, right, summing := status>>25&1, status>>30&1, features>>40&1 // NETIF_F_RXCSUM_BIT
	return map[string]uint64{"ptype": four, "csum_status": four * right * summing}
}
