package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var i40eModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &i40e{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type": {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28, 1 | 0x48, 2 | 0x48,
			1 | 0x108, 2 | 0x108},
		"ptype": {0, 1, 2, 4 | 1, 4 | 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 32 | 1, 32 | 2, 64 | 1, 64 | 2,
			128, 128 | 1, 128 | 2, 128 | 4 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 32 | 2, 128 | 64 | 1},
	},
}

func TestI40e(t *testing.T) { testModel(t, "i40e") }

// i40e is drivers/net/ethernet/intel/i40e, and the short receive descriptor of the NIC as it
// is written back: 16 bytes, little-endian.
type i40e struct{ setting }

func (m *i40e) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "i40e_ring", "xdp_rxq")
}

func (m *i40e) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 4, 512
	queue, index := uint64(random.IntN(queues)), uint64(random.IntN(slots))
	dev, vsi := m.placeDevice(m.types.Size("i40e_netdev_priv")), m.place("i40e_vsi", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	rings, ring := m.memory.Take(8*queues), m.place("i40e_ring", 0)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	priv := m.view("i40e_netdev_priv", m.privateOf(dev.Address))
	descriptors := (m.memory.Take(16*(slots+1)) + 15) &^ 15
	buffs := m.memory.Take(8 * slots)
	isLast := random.IntN(8) != 0
	if chance(random, 8) {
		index = slots - 1
	}

	priv.Set("vsi", vsi.Address)
	vsi.Set("rx_rings", rings)
	m.memory.Store(rings+8*queue, 8, ring.Address)
	ring.Set("vsi", vsi.Address)
	ring.Set("desc", descriptors)
	ring.Set("count", slots)
	ring.Set("rx_bi_zc", buffs)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	rxq.Set("mem.type", uint64(random.IntN(3)))
	pointers = []uint64{priv.At("vsi"), ring.At("desc"), rxq.At("dev")}

	switch isInRing := ring.Has("xdp"); {
	case chance(random, 3): // zero copy
		rxq.Set("mem.type", 3)
		ctx = m.memory.Take(256)
		ahead := uint64(random.IntN(70))
		ring.Set("next_to_clean", (index+slots-ahead)%slots)
		m.memory.Store(buffs+8*index, 8, ctx)
		pointers = append(pointers, ring.At("rx_bi_zc"), vsi.At("rx_rings"), rings+8*queue)
		if ahead < 64 && isLast {
			descriptor = descriptors + 16*index
		}
	case isInRing:
		ctx = ring.At("xdp")
		ring.Set("next_to_process", (index+1)%slots)
		pointers = append(pointers, ring.At("vsi"))
		descriptor = descriptors + 16*index
	default:
		ctx = m.memory.Take(256)
		ring.Set("next_to_clean", index)
		pointers = append(pointers, vsi.At("rx_rings"), rings+8*queue)
		if isLast {
			descriptor = descriptors + 16*index
		}
	}
	m.view("xdp_buff", ctx).Set("rxq", rxq.Address)
	pointers = append(pointers, m.view("xdp_buff", ctx).At("rxq"))
	m.layDescriptor(random, descriptors+16*index, isLast)

	// The device's, but not the ring that it has.
	if chance(random, 8) {
		m.memory.Store(rings+8*queue, 8, m.place("i40e_ring", 0).Address)
		ring.Set("vsi", m.place("i40e_vsi", 0).Address)
		descriptor = 0
	}
	// Zeros where a ring that is not the driver's would have its device, and this one has none.
	if chance(random, 16) {
		priv.Set("vsi", 0)
		ring.Set("vsi", 0)
		descriptor = 0
	}
	return ctx, m.keep(descriptor, dev), pointers
}

// layDescriptor lays out a random descriptor, mostly one that a NIC writes.
func (m *i40e) layDescriptor(random *rand.Rand, at uint64, isLast bool) {
	status := random.Uint64() | 1<<1
	if !isLast {
		status &^= 1 << 1
	}
	status = status&^(0xff<<30) | uint64(random.IntN(170))<<30
	if !chance(random, 4) {
		status |= 1 << 3 // checked
	}
	if chance(random, 2) {
		status &^= 0xff << 19 // no error
	}
	m.storeLittle(at+8, 8, status)
}

// keep returns the address of a descriptor, if it is one, with the features that count.
func (m *i40e) keep(descriptor uint64, device *memlab.Struct) uint64 {
	if descriptor == 0 {
		return 0
	}
	for kept, feature := range []int{39, 40, 8} { // NETIF_F_RXHASH_BIT, RXCSUM, HW_VLAN_CTAG_RX
		descriptor |= device.Get("features") >> feature & 1 << kept
	}
	return descriptor
}

func (m *i40e) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device", rxq.Get("dev"))
	vsi := m.view("i40e_netdev_priv", m.privateOf(device.Address)).Get("vsi")
	if ring.Has("xdp") && ring.At("xdp") == ctx {
		last := (ring.Get("next_to_process") + ring.Get("count") - 1) % ring.Get("count")
		if vsi == 0 || ring.Get("vsi") != vsi {
			return 0
		}
		return m.keep(ring.Get("desc")+16*last, device)
	}
	own := m.memory.Load(m.view("i40e_vsi", vsi).Get("rx_rings")+8*rxq.Get("queue_index"), 8)
	if own != ring.Address {
		return 0
	}
	index := ring.Get("next_to_clean")
	if ring.Has("xdp") || rxq.Get("mem.type") == 3 {
		var ok bool
		if index, ok = m.indexOf(ctx, ring); !ok {
			return 0
		}
	}
	descriptor := ring.Get("desc") + 16*index
	if m.little(descriptor+8, 1)>>1&1 == 0 {
		return 0
	}
	return m.keep(descriptor, device)
}

// indexOf returns the place of a buff among the 64 from next_to_clean on.
func (m *i40e) indexOf(ctx uint64, ring *memlab.Struct) (uint64, bool) {
	for ahead := range uint64(64) {
		index := (ring.Get("next_to_clean") + ahead) % ring.Get("count")
		if m.memory.Load(ring.Get("rx_bi_zc")+8*index, 8) == ctx {
			return index, true
		}
	}
	return 0, false
}

func (m *i40e) decode(found, ctx uint64) map[string]uint64 {
	descriptor, hashing, summing := found&^15, found&1 != 0, found&2 != 0
	status := m.little(descriptor+8, 8)
	packet := icePacket{}
	if number := status >> 30 & 0xff; number < uint64(len(icePackets)) {
		packet = icePackets[number]
	}
	fields := map[string]uint64{
		"ptype": packet.ptype(),
		"hash":  0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0, "mark": 0,
	}
	switch status >> 12 & 3 {
	case 1: // the number of a flow director filter
		fields["mark"] = m.little(descriptor+4, 4)
	case 3: // the hash
		if hashing {
			fields["hash"], fields["hash_type"] = m.little(descriptor+4, 4), packet.hashed()
		}
	}
	if summing {
		fields["csum_status"] = i40eChecksum(status, packet)
	}
	if status>>2&1 != 0 {
		fields["vlan_tci"], fields["vlan_proto"] = m.little(descriptor+2, 2), bigEndian(0x8100, 2)
	}
	return fields
}

// i40eChecksum is i40e_rx_checksum(), and what its errors mean: the status is in bits 0 to
// 18, errors are in bits 19 to 26.
func i40eChecksum(status uint64, p icePacket) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	is := func(bit int) bool { return status>>bit&1 != 0 }
	var (
		checked, extended       = is(3), is(15)
		wrongIP, wrongL4        = is(19 + 3), is(19 + 4)
		wrongOuterIP, notLooked = is(19 + 5), is(19 + 7)
	)
	switch {
	case p.l4 == "", !checked, notLooked:
		return none
	case p.ip == 6 && (extended || wrongIP || wrongOuterIP):
		return none
	case wrongIP, wrongOuterIP, wrongL4:
		return bad
	case p.l4 == "icmp":
		return none
	}
	return unnecessary
}
