package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var igcModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &igc{igb{s}} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   igbModel.values["hash_type"],
		"ptype":       igbModel.values["ptype"],
	},
}

func TestIgc(t *testing.T) { testModel(t, "igc") }

// igc is drivers/net/ethernet/intel/igc. Its descriptor is laid out as igb's.
type igc struct{ igb }

func (m *igc) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "igc_ring", "xdp_rxq")
}

func (m *igc) adapterOf(device uint64) *memlab.Struct {
	return m.view("igc_adapter", m.privateOf(device))
}

func (m *igc) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const slots = 256
	queue, index := uint64(random.IntN(4)), uint64(random.IntN(slots))
	dev, ring := m.placeDevice(m.types.Size("igc_adapter")), m.place("igc_ring", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	adapter := m.adapterOf(dev.Address)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)
	descriptors := (m.memory.Take(16*(slots+1)) + 15) &^ 15

	own := adapter.At("rx_ring") + 8*queue
	m.memory.Store(own, 8, ring.Address)
	adapter.Set("link_speed", []uint64{10, 100, 1000, 2500, 0xffff}[random.IntN(5)])
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	m.layPlace(random, xdp, m.memory.Take(512), 256+16)
	descriptor = descriptors + 16*index
	m.layDescriptor(random, descriptor)
	pointers = []uint64{own, rxq.At("dev"), xdp.At("rxq"), xdp.At("data")}
	if m.types.Has("igc_xdp_buff") {
		buff := m.view("igc_xdp_buff", ctx)
		buff.Set("rx_desc", descriptor)
		pointers = append(pointers, buff.At("rx_desc"))
		descriptor = m.keep(m.ifLast(descriptor), dev)
	} else {
		ring.Set("desc", descriptors)
		ring.Set("next_to_clean", index)
		pointers = append(pointers, ring.At("desc"))
		descriptor = m.keep(m.ifLast(descriptor), dev)
		// In zero-copy mode nobody knows the index.
		rxq.Set("mem.type", uint64(random.IntN(3)))
		if chance(random, 8) {
			rxq.Set("mem.type", 3)
			descriptor = 0
		}
	}

	// The device's, but not the ring that it has.
	if chance(random, 8) {
		m.memory.Store(own, 8, m.place("igc_ring", 0).Address)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

func (m *igc) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device", rxq.Get("dev"))
	if m.memory.Load(m.adapterOf(device.Address).At("rx_ring")+8*rxq.Get("queue_index"), 8) != ring.Address {
		return 0
	}
	if m.types.Has("igc_xdp_buff") {
		return m.keep(m.ifLast(m.view("igc_xdp_buff", ctx).Get("rx_desc")), device)
	}
	if rxq.Get("mem.type") == 3 {
		return 0
	}
	return m.keep(m.ifLast(ring.Get("desc")+16*ring.Get("next_to_clean")), device)
}

func (m *igc) decode(found, ctx uint64) map[string]uint64 {
	descriptor, summing, untagging := found&^15, found&2 != 0, found&4 != 0
	status := m.little(descriptor+8, 4)
	fields := m.decodeAdvanced(found)
	if summing {
		fields["csum_status"] = igcChecksum(status)
	}
	if untagging && status>>3&1 != 0 {
		fields["vlan_tci"], fields["vlan_proto"] = m.little(descriptor+14, 2), bigEndian(0x8100, 2)
	}
	fields["rx_timestamp"] = 0
	// With metadata in front of it, or farther on than the headroom and the stamp are long, an
	// earlier program has moved the packet.
	xdp := m.view("xdp_buff", ctx)
	moved := xdp.Get("data") != xdp.Get("data_hard_start")+272 || xdp.Get("data") != xdp.Get("data_meta")
	if status>>15&1 != 0 && !moved {
		adapter := m.adapterOf(m.view("xdp_rxq_info", xdp.Get("rxq")).Get("dev"))
		late := map[uint64]uint64{10: 6450, 100: 185, 1000: 300, 2500: 1485}[adapter.Get("link_speed")]
		seconds, nanoseconds := m.little(xdp.Get("data")-4, 4), m.little(xdp.Get("data")-8, 4)
		fields["rx_timestamp"] = seconds*1e9 + nanoseconds - late
	}
	return fields
}

// igcChecksum is igc_rx_checksum(), with an error only of what was looked at.
func igcChecksum(status uint64) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	is := func(bit int) bool { return status>>bit&1 != 0 }
	lookedIP, lookedL4, wrongIP, wrongL4 := is(6), is(4) || is(5), is(30), is(29)
	switch {
	case is(2): // not looked at
		return none
	case wrongIP && lookedIP, wrongL4 && lookedL4 && !wrongIP:
		return bad
	case lookedL4 && !wrongL4 && !wrongIP:
		return unnecessary
	}
	return none
}
