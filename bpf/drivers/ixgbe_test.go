package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var ixgbeModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &ixgbe{igb{s}} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   igbModel.values["hash_type"],
		"ptype":       append([]uint64{128, 128 | 1, 128 | 8 | 1, 128 | 16 | 2}, igbModel.values["ptype"]...),
	},
}

func TestIxgbe(t *testing.T) { testModel(t, "ixgbe") }

// ixgbe is drivers/net/ethernet/intel/ixgbe. Its descriptor is laid out as igb's.
type ixgbe struct{ igb }

func (m *ixgbe) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "ixgbe_ring", "xdp_rxq")
}

// adapterOf is ixgbe_from_netdev(), and netdev_priv() before there was one.
func (m *ixgbe) adapterOf(device uint64) *memlab.Struct {
	private := m.privateOf(device)
	if m.types.Has("ixgbe_netdevice_priv") {
		private = m.view("ixgbe_netdevice_priv", private).Get("adapter")
	}
	return m.view("ixgbe_adapter", private)
}

func (m *ixgbe) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const slots = 256
	queue, index := uint64(random.IntN(64)), uint64(random.IntN(slots))
	dev, ring, vector := m.placeDevice(m.types.Size("ixgbe_adapter")), m.place("ixgbe_ring", 0), m.place("ixgbe_q_vector", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	if m.types.Has("ixgbe_netdevice_priv") {
		private := m.view("ixgbe_netdevice_priv", m.privateOf(dev.Address))
		private.Set("adapter", m.place("ixgbe_adapter", 0).Address)
		pointers = append(pointers, private.At("adapter"))
	}
	adapter := m.adapterOf(dev.Address)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)
	clock := m.place("cyclecounter", 0)
	descriptors := (m.memory.Take(16*(slots+1)) + 15) &^ 15
	buffer, offset, length := m.memory.Take(1024), uint64(random.IntN(256)), uint64(60+random.IntN(256))

	own := adapter.At("rx_ring") + 8*queue
	m.memory.Store(own, 8, ring.Address)
	adapter.Set("flags", random.Uint64()|random.Uint64())
	adapter.Set("hw.mac.type", uint64(1+random.IntN(7)))
	adapter.Set("hw_tc.cc", clock.Address)
	clock.Set("mask", 1<<(32+random.IntN(32))-1)
	clock.Set("shift", uint64(random.IntN(32)))
	vector.Set("adapter", adapter.Address)
	ring.Set("q_vector", vector.Address)
	ring.Set("desc", descriptors)
	ring.Set("next_to_clean", index)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	ring.Set("rx_offset", offset)
	rxq.Set("mem.type", uint64(random.IntN(4)))
	if rxq.Get("mem.type") == 3 { // MEM_TYPE_XSK_BUFF_POOL
		offset = 256 // XDP_PACKET_HEADROOM
	}
	if chance(random, 8) {
		offset += 8 // a program that ran before has moved the end
	}
	xdp.Set("data_hard_start", buffer)
	xdp.Set("data_end", buffer+offset+length)
	descriptor = descriptors + 16*index
	m.layDescriptor(random, descriptor)
	m.storeLittle(descriptor+12, 2, length)
	m.memory.Store(descriptor+2, 1, uint64(random.IntN(256))) // a tunnel, or none
	pointers = append(pointers, own, adapter.At("hw_tc.cc"), vector.At("adapter"), ring.At("q_vector"), ring.At("desc"),
		rxq.At("dev"), xdp.At("rxq"), xdp.At("data_end"))

	descriptor = m.keep(m.ifLast(descriptor), dev)
	// The device's, but not the ring that it has.
	if chance(random, 8) {
		m.memory.Store(own, 8, m.place("ixgbe_ring", 0).Address)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

func (m *ixgbe) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device", rxq.Get("dev"))
	if m.memory.Load(m.adapterOf(device.Address).At("rx_ring")+8*rxq.Get("queue_index"), 8) != ring.Address {
		return 0
	}
	return m.keep(m.ifLast(ring.Get("desc")+16*ring.Get("next_to_clean")), device)
}

func (m *ixgbe) decode(found, ctx uint64) map[string]uint64 {
	descriptor, summing, untagging := found&^15, found&2 != 0, found&4 != 0
	info, status := m.little(descriptor, 4), m.little(descriptor+8, 4)
	ring := m.ringOf(ctx)
	fields := m.decodeAdvanced(found)
	if filter := info>>15&1 != 0; info>>16&1 != 0 && !filter {
		fields["ptype"] |= 128
	}
	if summing {
		fields["csum_status"] = ixgbeChecksum(info, status, m.mayBeWrong(ring))
	}
	if untagging && status>>3&1 != 0 {
		fields["vlan_tci"], fields["vlan_proto"] = m.little(descriptor+14, 2), bigEndian(0x8100, 2)
	}
	fields["rx_timestamp"] = 0
	if status>>15&1 != 0 && m.isInPlace(ctx, m.little(descriptor+12, 2)) {
		adapter := m.view("ixgbe_adapter", m.view("ixgbe_q_vector", ring.Get("q_vector")).Get("adapter"))
		fields["rx_timestamp"] = m.decodeStamp(m.view("xdp_buff", ctx).Get("data_end")-8, adapter)
	}
	return fields
}

// isInPlace returns whether a packet of so many bytes ends where the driver has put it.
func (m *ixgbe) isInPlace(ctx, length uint64) bool {
	xdp := m.view("xdp_buff", ctx)
	start := m.ringOf(ctx).Get("rx_offset")
	if m.view("xdp_rxq_info", xdp.Get("rxq")).Get("mem.type") == 3 {
		start = 256
	}
	return xdp.Get("data_end") == xdp.Get("data_hard_start")+start+length
}

// mayBeWrong returns whether a UDP packet without a sum may be called wrong: a bit of the
// ring's state.
func (m *ixgbe) mayBeWrong(ring *memlab.Struct) bool {
	return m.memory.Load(ring.At("state"), 8)>>3&1 != 0
}

// ixgbeChecksum is ixgbe_rx_checksum(), and what its errors mean.
func ixgbeChecksum(info, status uint64, mayBeWrong bool) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	is := func(bit int) bool { return status>>bit&1 != 0 }
	var (
		lookedIP, wrongIP       = is(6), is(31)
		lookedL4, wrongL4       = is(5), is(30)
		lookedOuter, wrongOuter = is(8), is(26)
		udp, vxlan              = info>>9&1 != 0, info>>11&1 != 0
	)
	switch {
	case lookedIP && wrongIP:
		return bad
	case !lookedL4:
		return none
	case wrongL4 && udp && mayBeWrong:
		return none
	case wrongL4:
		return bad
	case vxlan && lookedOuter && wrongOuter:
		return bad
	}
	return unnecessary
}

// decodeStamp is ixgbe_ptp_rx_pktstamp(), which no NIC before X550 has anything for.
func (m *ixgbe) decodeStamp(at uint64, adapter *memlab.Struct) uint64 {
	const x550 = 4
	if adapter.Get("flags")>>25&1 == 0 || adapter.Get("hw.mac.type") < x550 {
		return 0
	}
	seconds, rest := m.little(at+4, 4), m.little(at, 4)
	return m.timecounter(m.view("timecounter", adapter.At("hw_tc")), seconds*1e9+rest)
}
