package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var qedeModel = modelled{
	memory: 64 << 10,
	model:  func(s setting) model { return &qede{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28},
		"ptype":       {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 4 | 1, 128, 128 | 1, 128 | 8 | 2, 128 | 16 | 1},
		"vlan_proto":  {0, bigEndian(0x8100, 2)},
	},
}

func TestQede(t *testing.T) { testModel(t, "qede") }

// qede is drivers/net/ethernet/qlogic/qede, and the completion of a packet in one buffer or
// several (struct eth_fast_path_rx_reg_cqe of include/linux/qed/eth_common.h): 32 bytes,
// little-endian.
type qede struct{ setting }

const qedeCompletion = 32

func (m *qede) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 4, 32
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("qede_dev"))
	edev := m.view("qede_dev", m.privateOf(dev.Address))
	size := m.types.Size("qede_fastpath")
	array := m.memory.Take(queues * size)
	own := m.view("qede_fastpath", array+queue*uint64(size))
	ring, xdp := m.place("qede_rx_queue", 0), m.place("xdp_buff", 0)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	descriptor = m.memory.Take(qedeCompletion*slots) + qedeCompletion*uint64(random.IntN(slots))

	edev.Set("ndev", dev.Address)
	edev.Set("fp_array", array)
	own.Set("rxq", ring.Address)
	ring.Set("rx_comp_ring.p_cons_elem", descriptor+qedeCompletion)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	m.layCompletion(random, descriptor)
	pointers = []uint64{edev.At("ndev"), edev.At("fp_array"), own.At("rxq"), ring.At("rx_comp_ring.p_cons_elem"),
		rxq.At("dev"), xdp.At("rxq")}

	switch random.IntN(12) {
	case 0: // the device's, but not the ring that it has
		own.Set("rxq", m.place("qede_rx_queue", 0).Address)
		descriptor = 0
	case 1: // its number is another's
		rxq.Set("queue_index", queue^1)
		other := m.view("qede_fastpath", array+(queue^1)*uint64(size))
		other.Set("rxq", 0)
		descriptor = 0
	case 2: // of a device that is not qede's
		edev.Set("ndev", 0)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layCompletion lays out a completion, mostly one that a NIC writes.
func (m *qede) layCompletion(random *rand.Rand, at uint64) {
	flags := random.Uint64()
	if chance(random, 2) { // no errors
		flags &^= 1<<9 | 1<<10 | 1<<13 | 1<<15
	}
	if chance(random, 2) { // no tunnel
		flags &^= 0xf << 11
	}
	if chance(random, 2) { // no fragment
		flags &^= 1 << 4
	}
	m.memory.Store(at+4, 1, flags)
	m.memory.Store(at+5, 1, flags>>8)
	if chance(random, 2) {
		m.memory.Store(at+6, 2, 0) // no tag
	}
	if !chance(random, 4) {
		m.memory.Store(at+15, 1, random.Uint64()&^(1<<6))
	}
}

func (m *qede) find(ctx uint64) uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	edev := m.view("qede_dev", m.privateOf(rxq.Get("dev")))
	own := m.view("qede_fastpath", edev.Get("fp_array")+rxq.Get("queue_index")*uint64(m.types.Size("qede_fastpath")))
	ring := m.view("qede_rx_queue", rxq.Address-uint64(m.view("qede_rx_queue", 0).Offset("xdp_rxq")))
	if edev.Get("ndev") != rxq.Get("dev") || own.Get("rxq") != ring.Address {
		return 0
	}
	return ring.Get("rx_comp_ring.p_cons_elem") - qedeCompletion
}

// qedeHashed is what went into the hash: enum rss_hash_type.
var qedeHashed = [8]uint64{1: 1, 2: 1 | 8 | 16, 3: 2, 4: 2 | 8 | 16, 5: 1 | 8 | 32, 6: 2 | 8 | 32}

func (m *qede) decode(completion, _ uint64) map[string]uint64 {
	flags := m.little(completion+4, 2)
	is := func(bit int) bool { return flags>>bit&1 != 0 }
	fields := map[string]uint64{
		"hash": 0, "hash_type": qedeHashed[m.little(completion+1, 1)&7],
		"vlan_tci": m.little(completion+6, 2), "vlan_proto": 0,
		"csum_status": qedeChecksum(is, m.little(completion+15, 1)>>6&1 != 0),
		"ptype":       [4]uint64{0, 1, 2, 0}[flags&3] | [4]uint64{0, 8, 16, 0}[flags>>2&3],
	}
	if fields["hash_type"] != 0 {
		fields["hash"] = m.little(completion+8, 4)
	}
	if fields["vlan_tci"] != 0 {
		fields["vlan_proto"] = bigEndian(0x8100, 2)
	}
	if is(4) {
		fields["ptype"] |= 4
	}
	if is(11) {
		fields["ptype"] |= 128
	}
	return fields
}

// qedeChecksum is what the NIC says of the sums of a packet, and of the outer headers if it
// is in a tunnel.
func qedeChecksum(is func(int) bool, outerFragment bool) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	calculated, wrong := is(6), is(9) || is(6) && is(10)
	if is(11) {
		calculated = calculated || is(14)
		wrong = wrong || is(13) || is(14) && is(15)
	}
	switch {
	case wrong && (is(4) || outerFragment):
		return none
	case wrong:
		return bad
	case calculated:
		return unnecessary
	}
	return none
}
