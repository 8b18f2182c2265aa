package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var ionicModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &ionic{s} },
	values: map[string][]uint64{
		"csum_status": {0, 2, 4},
		"hash_type":   {0, 1, 1 | 0x18, 1 | 0x28, 2, 2 | 0x18, 2 | 0x28},
		"ptype": {0, 1, 8 | 1, 16 | 1, 2, 8 | 2, 16 | 2,
			128, 128 | 1, 128 | 8 | 1, 128 | 16 | 1, 128 | 2, 128 | 8 | 2, 128 | 16 | 2},
		"vlan_proto": {0, bigEndian(0x8100, 2)},
	},
}

func TestIonic(t *testing.T) { testModel(t, "ionic") }

// ionic is drivers/net/ethernet/pensando/ionic, and its completion: 16 bytes,
// little-endian, the second half of 32 where the queue has stamps.
type ionic struct{ setting }

func (m *ionic) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 4, 32
	queue, index := uint64(random.IntN(queues)), uint64(random.IntN(slots))
	dev := m.placeDevice(m.types.Size("ionic_lif"))
	dev.Set("features", random.Uint64()|random.Uint64())
	lif := m.view("ionic_lif", m.privateOf(dev.Address))
	qcq, phc, clock := m.place("ionic_qcq", 0), m.place("ionic_phc", 0), m.place("cyclecounter", 0)
	rxq, xdp := m.place("xdp_rxq_info", 0), m.place("xdp_buff", 0)
	rings := m.memory.Take(8 * queues)
	size := []uint64{16, 32, 64}[random.IntN(3)]
	completions := (m.memory.Take(64*(slots+1)) + 63) &^ 63

	lif.Set("netdev", dev.Address)
	lif.Set("rxqcqs", rings)
	lif.Set("phc", phc.Address)
	m.memory.Store(rings+8*queue, 8, qcq.Address)
	qcq.Set("q.features", random.Uint64()|1<<16)
	if chance(random, 3) {
		qcq.Set("q.features", ^uint64(1<<16))
	}
	qcq.Set("q.xdp_rxq_info", rxq.Address)
	qcq.Set("cq.base", completions)
	qcq.Set("cq.tail_idx", index)
	qcq.Set("cq.desc_size", size)
	phc.Set("tc.cc", clock.Address)
	clock.Set("mask", 1<<(32+random.IntN(32))-1)
	clock.Set("shift", uint64(random.IntN(32)))
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)

	descriptor = completions + (index+1)*size - 16
	m.layCompletion(random, descriptor)
	pointers = []uint64{lif.At("netdev"), lif.At("rxqcqs"), lif.At("phc"), rings + 8*queue, qcq.At("q.xdp_rxq_info"),
		qcq.At("cq.base"), phc.At("tc.cc"), rxq.At("dev"), xdp.At("rxq")}
	descriptor = m.keep(descriptor, dev, qcq)
	if chance(random, 8) { // the device's, but not the queue's
		foreign := m.place("xdp_rxq_info", 0)
		foreign.Set("dev", dev.Address)
		foreign.Set("queue_index", queue)
		xdp.Set("rxq", foreign.Address)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layCompletion lays out a completion, mostly one that a NIC writes.
func (m *ionic) layCompletion(random *rand.Rand, at uint64) {
	types := []uint64{0, 1, 3, 5, 8, 0x18, 0x28, uint64(random.IntN(64))}
	m.memory.Store(at+15, 1, types[random.IntN(8)]|random.Uint64()&(1<<6)|random.Uint64()&(1<<7))
	if chance(random, 2) { // nothing is wrong
		m.memory.Store(at+14, 1, random.Uint64()&(1<<7|1<<6|0x15))
	}
	if chance(random, 4) {
		m.memory.Store(at-8, 8, 1<<64-1) // no stamp
	}
}

// keep returns the address of a completion with the features that count.
func (m *ionic) keep(completion uint64, device, qcq *memlab.Struct) uint64 {
	for kept, feature := range []int{39, 40, 8} { // NETIF_F_RXHASH_BIT, RXCSUM, HW_VLAN_CTAG_RX
		completion |= device.Get("features") >> feature & 1 << kept
	}
	return completion | qcq.Get("q.features")>>16&1<<3
}

func (m *ionic) find(ctx uint64) uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device", rxq.Get("dev"))
	lif := m.view("ionic_lif", m.privateOf(device.Address))
	qcq := m.view("ionic_qcq", m.memory.Load(lif.Get("rxqcqs")+8*rxq.Get("queue_index"), 8))
	if rxq.Address == 0 || lif.Get("netdev") != device.Address || qcq.Get("q.xdp_rxq_info") != rxq.Address {
		return 0
	}
	end := qcq.Get("cq.base") + (qcq.Get("cq.tail_idx")+1)*qcq.Get("cq.desc_size")
	return m.keep(end-16, device, qcq)
}

// ionicTypes are those of packets, as they are without a tunnel.
var ionicTypes = map[uint64]struct{ ptype, hash uint64 }{
	0x01: {1, 1}, 0x03: {8 | 1, 8 | 16 | 1}, 0x05: {16 | 1, 8 | 32 | 1},
	0x08: {2, 2}, 0x18: {8 | 2, 8 | 16 | 2}, 0x28: {16 | 2, 8 | 32 | 2},
}

func (m *ionic) decode(found, ctx uint64) map[string]uint64 {
	completion := found &^ 15
	hashing, summing, untagging, stamping := found&1 != 0, found&2 != 0, found&4 != 0, found&8 != 0
	flags, typ := m.little(completion+14, 1), m.little(completion+15, 1)
	is := func(bit int) bool { return flags>>bit&1 != 0 }
	tunnel := typ&(1<<6) != 0
	known := ionicTypes[typ&63]
	fields := map[string]uint64{
		"rx_timestamp": 0, "hash": 0, "hash_type": 0, "csum": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0,
		"ptype": known.ptype,
	}
	if tunnel {
		fields["ptype"] |= 128
	}
	if hashing && !tunnel && known.hash != 0 {
		fields["hash"], fields["hash_type"] = m.little(completion+4, 4), known.hash
	}
	switch {
	case !summing:
	case is(1) || is(3) || is(5): // TCP, UDP, IPv4
		fields["csum_status"] = 4
	case is(7):
		fields["csum_status"], fields["csum"] = 2, m.little(completion+8, 2)
	}
	if untagging && is(6) {
		fields["vlan_tci"], fields["vlan_proto"] = m.little(completion+10, 2), bigEndian(0x8100, 2)
	}
	if stamp := m.little(completion-8, 8); stamping && stamp != 1<<64-1 {
		dev := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev")
		phc := m.view("ionic_lif", m.privateOf(dev)).Get("phc")
		fields["rx_timestamp"] = m.timecounter(m.view("timecounter", phc+uint64(m.view("ionic_phc", 0).Offset("tc"))), stamp)
	}
	return fields
}
