package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var ixgbevfModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &ixgbevf{igb{s}} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   igbModel.values["hash_type"],
		"ptype":       igbModel.values["ptype"],
	},
}

func TestIxgbevf(t *testing.T) { testModel(t, "ixgbevf") }

// ixgbevf is drivers/net/ethernet/intel/ixgbevf. Its descriptor is laid out as igb's.
type ixgbevf struct{ igb }

func (m *ixgbevf) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "ixgbevf_ring", "xdp_rxq")
}

func (m *ixgbevf) adapterOf(device uint64) *memlab.Struct {
	return m.view("ixgbevf_adapter", m.privateOf(device))
}

func (m *ixgbevf) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const slots = 256
	queue, index := uint64(random.IntN(8)), uint64(random.IntN(slots))
	dev, ring := m.placeDevice(m.types.Size("ixgbevf_adapter")), m.place("ixgbevf_ring", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	adapter := m.adapterOf(dev.Address)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)
	descriptors := (m.memory.Take(16*(slots+1)) + 15) &^ 15

	own := adapter.At("rx_ring") + 8*queue
	m.memory.Store(own, 8, ring.Address)
	adapter.Set("hw.mac.type", uint64(1+random.IntN(3)))
	ring.Set("desc", descriptors)
	ring.Set("next_to_clean", index)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	descriptor = descriptors + 16*index
	m.layDescriptor(random, descriptor)
	pointers = []uint64{own, ring.At("desc"), rxq.At("dev"), xdp.At("rxq")}

	descriptor = m.keep(m.ifLast(descriptor), dev)
	// The device's, but not the ring that it has.
	if chance(random, 8) {
		m.memory.Store(own, 8, m.place("ixgbevf_ring", 0).Address)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

func (m *ixgbevf) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device", rxq.Get("dev"))
	if m.memory.Load(m.adapterOf(device.Address).At("rx_ring")+8*rxq.Get("queue_index"), 8) != ring.Address {
		return 0
	}
	return m.keep(m.ifLast(ring.Get("desc")+16*ring.Get("next_to_clean")), device)
}

func (m *ixgbevf) decode(found, ctx uint64) map[string]uint64 {
	descriptor, summing := found&^15, found&2 != 0
	info, status := m.little(descriptor, 2), m.little(descriptor+8, 4)
	adapter := m.adapterOf(m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	fields := m.decodeAdvanced(found)
	if summing {
		const of82599 = 1
		notOfATunnel := info &^ (1 << 11)
		fields["csum_status"] = ixgbeChecksum(notOfATunnel, status, adapter.Get("hw.mac.type") == of82599)
	}
	if tag := m.little(descriptor+14, 2); status>>3&1 != 0 && m.hasJoined(adapter, tag&0xfff) {
		fields["vlan_tci"], fields["vlan_proto"] = tag, bigEndian(0x8100, 2)
	}
	return fields
}

// hasJoined is test_bit() of the VLANs.
func (m *ixgbevf) hasJoined(adapter *memlab.Struct, vlan uint64) bool {
	return m.memory.Load(adapter.At("active_vlans")+8*(vlan>>6), 8)>>(vlan&63)&1 != 0
}
