package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var igbModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &igb{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 1, 2, 2 | 4, 1 | 0x18, 2 | 0x18, 2 | 4 | 0x18, 1 | 0x28, 2 | 0x28, 2 | 4 | 0x28},
		"ptype":       {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 32 | 1, 32 | 2, 128 | 2, 256 | 1, 256 | 2},
	},
}

func TestIgb(t *testing.T) { testModel(t, "igb") }

// igb is drivers/net/ethernet/intel/igb, and the advanced receive descriptor of the NIC as
// it is written back: 16 bytes, little-endian.
type igb struct{ setting }

func (m *igb) store(address uint64, octets ...byte) {
	for i, octet := range octets {
		m.memory.Store(address+uint64(i), 1, uint64(octet))
	}
}

func (m *igb) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "igb_ring", "xdp_rxq")
}

func (m *igb) adapterOf(device uint64) *memlab.Struct {
	return m.view("igb_adapter", m.privateOf(device))
}

func (m *igb) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const slots = 256
	queue := uint64(random.IntN(16))
	dev, ring, vector := m.placeDevice(m.types.Size("igb_adapter")), m.place("igb_ring", 0), m.place("igb_q_vector", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	adapter := m.adapterOf(dev.Address)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)
	clock := m.place("cyclecounter", 0)
	descriptors, index := (m.memory.Take(16*(slots+1))+15)&^15, uint64(random.IntN(slots))
	pad := []uint64{0, 192}[random.IntN(2)] // of the driver's old way to receive, and of its new one
	page := (m.memory.Take(3*4096) + 4095) &^ 4095
	buffer := 2048 * uint64(random.IntN(2))

	own := adapter.At("rx_ring") + 8*queue
	m.memory.Store(own, 8, ring.Address)
	adapter.Set("ptp_flags", random.Uint64()|random.Uint64())
	adapter.Set("hw.mac.type", uint64(random.IntN(8)))
	adapter.Set("link_speed", []uint64{10, 100, 1000, 2500, 0xffff}[random.IntN(5)])
	adapter.Set("tc.cc", clock.Address)
	clock.Set("mask", 1<<(32+random.IntN(32))-1)
	clock.Set("shift", uint64(random.IntN(32)))
	vector.Set("adapter", adapter.Address)
	ring.Set("q_vector", vector.Address)
	ring.Set("desc", descriptors)
	ring.Set("next_to_clean", index)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	rxq.Set("mem.type", uint64(random.IntN(3)))
	xdp.Set("rxq", rxq.Address)
	buffers := m.memory.Take(slots * m.types.Size("igb_rx_buffer"))
	ring.Set("rx_buffer_info", buffers)
	m.view("igb_rx_buffer", buffers+index*uint64(m.types.Size("igb_rx_buffer"))).Set("page_offset", buffer+pad)
	packet := m.layPlace(random, xdp, page+buffer, pad+16)
	descriptor = descriptors + 16*index
	m.layDescriptor(random, descriptor)
	if !chance(random, 4) {
		m.memory.Store(packet-16, 8, 0)
	}
	pointers = []uint64{own, adapter.At("tc.cc"), vector.At("adapter"), ring.At("q_vector"), ring.At("desc"),
		ring.At("rx_buffer_info"), rxq.At("dev"), xdp.At("rxq"), xdp.At("data")}

	descriptor = m.keep(m.ifLast(descriptor), dev)
	// In zero-copy mode the index is that of the buff, as far as a poll goes.
	if chance(random, 4) && ring.Has("rx_buffer_info_zc") {
		rxq.Set("mem.type", 3)
		m.memory.Store(m.layPlace(random, xdp, page, 256+16)-16, 8, rarely(random, 1))
		buffs, ahead := m.memory.Take(8*slots), uint64(random.IntN(70))
		ring.Set("rx_buffer_info_zc", buffs)
		ring.Set("count", slots)
		m.memory.Store(buffs+8*((index+ahead)%slots), 8, ctx)
		pointers = append(pointers, ring.At("rx_buffer_info_zc"))
		descriptor = descriptors + 16*((index+ahead)%slots)
		m.layDescriptor(random, descriptor)
		descriptor = m.keep(m.ifLast(descriptor), dev)
		if ahead >= 64 {
			descriptor = 0
		}
	}
	// The device's, but not the ring that it has.
	if chance(random, 8) {
		m.memory.Store(own, 8, m.place("igb_ring", 0).Address)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

// layPlace puts a packet as far behind the start of its buffer as the driver does, or where
// an earlier program has moved it, or left metadata in front of it. It returns where it is.
func (m *igb) layPlace(random *rand.Rand, xdp *memlab.Struct, start, offset uint64) uint64 {
	place, meta := start+offset, uint64(0)
	switch random.IntN(8) {
	case 0:
		place += []uint64{4, 16, 64}[random.IntN(3)]
	case 1:
		place -= 16
	case 2:
		meta = 8
	}
	xdp.Set("data_hard_start", start)
	xdp.Set("data", place)
	xdp.Set("data_meta", place-meta)
	return place
}

// ifLast returns the address of a descriptor that is the last one of a packet, or 0.
func (m *igb) ifLast(descriptor uint64) uint64 {
	if m.little(descriptor+8, 4)>>1&1 == 0 {
		return 0
	}
	return descriptor
}

// keep returns the address of a descriptor, if it is one, with the features that count.
func (m *igb) keep(descriptor uint64, device *memlab.Struct) uint64 {
	if descriptor == 0 {
		return 0
	}
	for kept, feature := range []int{39, 40, 8} { // NETIF_F_RXHASH_BIT, RXCSUM, HW_VLAN_CTAG_RX
		descriptor |= device.Get("features") >> feature & 1 << kept
	}
	return descriptor
}

// layDescriptor lays out a random descriptor, mostly one that a NIC writes.
func (m *igb) layDescriptor(random *rand.Rand, at uint64) {
	rss, types := random.IntN(16), []uint16{
		0, 0x1, 0x3, 0x4, 0xc, 0x5, 0x11, 0x21, 0x41, 0x14, 0x24, 0x44, 0x101, 0x104, 0x204, 0x201, 0x45, 0x800, uint16(random.IntN(0xfff)),
	}
	info := types[random.IntN(len(types))]<<4 | uint16(rss)
	m.store(at, byte(info), byte(info>>8))
	status := random.Uint32() | 1<<1
	if chance(random, 2) { // without an error
		status &^= 1<<29 | 1<<30 | 1<<2
	}
	if chance(random, 8) {
		status &^= 1 << 1
	}
	m.store(at+8, byte(status), byte(status>>8), byte(status>>16), byte(status>>24))
	m.store(at+12, byte(50+random.IntN(30)), 0) // length
}

func (m *igb) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device", rxq.Get("dev"))
	adapter := m.adapterOf(device.Address)
	if m.memory.Load(adapter.At("rx_ring")+8*rxq.Get("queue_index"), 8) != ring.Address {
		return 0
	}
	index := ring.Get("next_to_clean")
	if ring.Has("rx_buffer_info_zc") && rxq.Get("mem.type") == 3 {
		var ok bool
		if index, ok = m.indexOf(ctx, ring); !ok {
			return 0
		}
	}
	return m.keep(m.ifLast(ring.Get("desc")+16*index), device)
}

// indexOf returns the place of a buff among the 64 from next_to_clean on.
func (m *igb) indexOf(ctx uint64, ring *memlab.Struct) (uint64, bool) {
	for ahead := range uint64(64) {
		index := ring.Get("next_to_clean") + ahead
		if count := ring.Get("count"); index >= count {
			index -= count
		}
		if m.memory.Load(ring.Get("rx_buffer_info_zc")+8*index, 8) == ctx {
			return index, true
		}
	}
	return 0, false
}

// isInPlace returns whether the packet is behind a stamp where the NIC has put that: in a page
// as far as the driver says, or where AF_XDP wants packets.
func (m *igb) isInPlace(ctx uint64, ring *memlab.Struct) bool {
	xdp := m.view("xdp_buff", ctx)
	data := xdp.Get("data")
	if data != xdp.Get("data_meta") {
		return false
	}
	if ring.Has("rx_buffer_info_zc") && m.view("xdp_rxq_info", xdp.Get("rxq")).Get("mem.type") == 3 {
		return data == xdp.Get("data_hard_start")+256+16
	}
	at := ring.Get("rx_buffer_info") + ring.Get("next_to_clean")*uint64(m.types.Size("igb_rx_buffer"))
	offset := m.view("igb_rx_buffer", at).Get("page_offset")
	return (data-16)%4096 == offset%4096
}

// igbHashed is what went into the hash, by the RSS type of the data sheet.
var igbHashed = [16]uint64{
	1: 1 | 8 | 16, 2: 1, 3: 2 | 8 | 16, 4: 2 | 4, 5: 2, 6: 2 | 4 | 8 | 16, 7: 1 | 8 | 32, 8: 2 | 8 | 32, 9: 2 | 4 | 8 | 32,
}

func (m *igb) decode(found, ctx uint64) map[string]uint64 {
	descriptor, summing, untagging := found&^15, found&2 != 0, found&4 != 0
	info, status := m.little(descriptor, 2), m.little(descriptor+8, 4)
	is := func(bit int) bool { return status>>bit&1 != 0 }
	ring := m.ringOf(ctx)
	fields := m.decodeAdvanced(found)
	fields["rx_timestamp"] = 0
	if summing {
		fields["csum_status"] = m.decodeChecksum(descriptor, info>>4, is, ring)
	}
	if untagging && is(3) {
		fields["vlan_tci"], fields["vlan_proto"] = m.little(descriptor+14, 2), bigEndian(0x8100, 2)
		if is(18) && ring.Get("flags")>>3&1 != 0 { // looped back
			fields["vlan_tci"] = m.little(descriptor+15, 1) | m.little(descriptor+14, 1)<<8
		}
	}
	if is(15) && m.isInPlace(ctx, ring) {
		fields["rx_timestamp"] = m.decodeStamp(m.view("xdp_buff", ctx).Get("data")-16, m.view("igb_adapter", m.view("igb_q_vector", ring.Get("q_vector")).Get("adapter")))
	}
	return fields
}

// decodeAdvanced returns what is in the descriptor alone, and the same for igb, igc, ixgbe and
// ixgbevf.
func (m *igb) decodeAdvanced(found uint64) map[string]uint64 {
	descriptor, hashing := found&^15, found&1 != 0
	info := m.little(descriptor, 2)
	fields := map[string]uint64{
		"hash": 0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0, "ptype": igbPacket(info >> 4),
	}
	if hashed := igbHashed[info&15]; hashing && hashed != 0 {
		fields["hash"], fields["hash_type"] = m.little(descriptor+4, 4), hashed
	}
	return fields
}

// igbPacket is what the packet type of the data sheet says, a bit for each header: IPv4,
// with options, IPv6, with extensions, TCP, UDP, SCTP, NFS, ESP, AH, MACsec.
func igbPacket(headers uint64) (ptype uint64) {
	has := func(bit int) bool { return headers>>bit&1 != 0 }
	four, six := has(0) || has(1), has(2) || has(3)
	if has(11) {
		return 0 // of an EtherType filter
	}
	switch {
	case four && six:
		ptype = 2 | 128
	case six:
		ptype = 2
	case four:
		ptype = 1
	}
	for bit, is := range map[int]uint64{4: 8, 5: 16, 6: 32, 8: 256, 9: 256} {
		if has(bit) {
			ptype |= is
		}
	}
	return ptype
}

// decodeChecksum is igb_rx_checksum(), and what its errors mean.
func (m *igb) decodeChecksum(descriptor, headers uint64, is func(int) bool, ring *memlab.Struct) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	length := m.little(descriptor+12, 2)
	if is(15) { // the stamp
		length -= 16
	}
	mayBeSCTP := headers>>4&3 == 0
	switch {
	case is(2): // not looked at
		return none
	case is(30) && is(6): // of the IP header
		return bad
	case is(30), !is(4) && !is(5):
		return none
	case is(29) && uint32(length) <= 60 && mayBeSCTP && ring.Get("flags")>>2&1 != 0:
		return none
	case is(29):
		return bad
	}
	return unnecessary
}

// decodeStamp is igb_ptp_rx_pktstamp().
func (m *igb) decodeStamp(at uint64, adapter *memlab.Struct) uint64 {
	if adapter.Get("ptp_flags")&1 == 0 || m.memory.Load(at, 8) != 0 {
		return 0
	}
	stamp := m.little(at+8, 8)
	if mac := adapter.Get("hw.mac.type"); mac == 6 || mac == 7 { // i210, i211
		late := map[uint64]uint64{10: 20662, 100: 2213, 1000: 448}[adapter.Get("link_speed")]
		return stamp>>32*1e9 + stamp&0xffffffff - late
	}
	return m.timecounter(m.view("timecounter", adapter.At("tc")), stamp)
}
