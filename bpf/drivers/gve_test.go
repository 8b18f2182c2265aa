package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var gveModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &gve{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 2, 4},
		"hash_type":   {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28},
		"ptype": {0, 1, 2, 4 | 1, 4 | 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2,
			32 | 1, 32 | 2, 64 | 1, 64 | 2, 256 | 1, 256 | 2},
	},
	lacks: map[string][]string{"6.12": {"rx_timestamp"}},
}

func TestGve(t *testing.T) { testModel(t, "gve") }

// gve is drivers/net/ethernet/google/gve: of GQI queues descriptors of 64 bytes, big-endian,
// of DQO queues completions of 32 bytes, little-endian.
type gve struct{ setting }

func (m *gve) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "gve_rx_ring", "xdp_rxq")
}

func (m *gve) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 4, 8
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("gve_priv"))
	dev.Set("features", random.Uint64()|random.Uint64())
	priv := m.view("gve_priv", m.privateOf(dev.Address))
	size := m.types.Size("gve_rx_ring")
	rings := m.memory.Take(queues * size)
	ring := m.view("gve_rx_ring", rings+queue*uint64(size))
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	xdp, types := m.place("xdp_buff", 0), m.memory.Take(2*1024)

	priv.Set("rx", rings)
	priv.Set("ptype_lut_dqo", types)
	for i := range uint64(2 * 1024) {
		m.memory.Store(types+i, 1, uint64(random.IntN(7)))
	}
	if priv.Has("ts_config") {
		priv.Set("ts_config.rx_filter", rarely(random, 1))
	}
	ring.Set("gve", priv.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	descriptors, index := (m.memory.Take(64*(slots+1))+63)&^63, uint64(random.IntN(slots))
	format := uint64(1 + random.IntN(4))
	if chance(random, 16) {
		format = 5 * uint64(random.IntN(2)) // none that there is
	}
	priv.Set("queue_format", format)
	pointers = []uint64{priv.At("rx"), priv.At("ptype_lut_dqo"), ring.At("gve"), rxq.At("dev"), xdp.At("rxq")}
	switch format {
	case 1, 2:
		ring.Set("desc.desc_ring", descriptors)
		ring.Set("cnt", index+slots*uint64(random.IntN(1000)))
		ring.Set("mask", slots-1)
		descriptor = descriptors + 64*index
		m.layDescriptor(random, descriptor)
		pointers = append(pointers, ring.At("desc.desc_ring"))
	case 3, 4:
		ring.Set("dqo.complq.desc_ring", descriptors)
		ring.Set("dqo.complq.head", index)
		descriptor = m.layCompletion(random, descriptors+32*index)
		pointers = append(pointers, ring.At("dqo.complq.desc_ring"))
	}
	switch random.IntN(16) {
	case 0: // another queue's
		rxq.Set("queue_index", (queue+1)%queues)
		descriptor = 0
	case 1: // another device's
		ring.Set("gve", m.privateOf(m.placeDevice(m.types.Size("gve_priv")).Address))
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layDescriptor lays out a random descriptor, mostly one that a NIC writes.
func (m *gve) layDescriptor(random *rand.Rand, at uint64) {
	if chance(random, 4) {
		m.memory.Store(at+58, 2, 0) // no sum
	}
	flags := random.Uint64() &^ (1<<6 | 1<<7 | 1<<8)
	flags |= 1 << (7 + random.IntN(2)) // IPv4 or IPv6
	if chance(random, 2) {
		flags &^= 1<<9 | 1<<10
	}
	if chance(random, 4) {
		flags |= 1 << 6
		flags &^= 1<<9 | 1<<10
	}
	if chance(random, 8) {
		flags &^= 0x7c0
	}
	if flags>>9&3 == 3 {
		flags &^= 1 << 9
	}
	m.memory.Store(at+62, 1, flags>>8&255)
	m.memory.Store(at+63, 1, flags&255)
}

// layCompletion lays out a random completion, and returns what is found if it is that.
func (m *gve) layCompletion(random *rand.Rand, at uint64) uint64 {
	status := random.Uint64() | 1<<1 | 1<<3
	if chance(random, 2) { // no error
		status &^= 1<<4 | 1<<5 | 1<<6
	}
	if chance(random, 8) {
		status &^= 1 << 3
	}
	last := !chance(random, 8)
	if !last {
		status &^= 1 << 1
	}
	m.memory.Store(at+8, 1, status&255)
	if !last {
		return 0
	}
	return at | 1
}

func (m *gve) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	priv := m.view("gve_priv", m.privateOf(rxq.Get("dev")))
	own := priv.Get("rx") + rxq.Get("queue_index")*uint64(m.types.Size("gve_rx_ring"))
	if ring.Get("gve") != priv.Address || ring.Address != own {
		return 0
	}
	switch priv.Get("queue_format") {
	case 1, 2:
		return ring.Get("desc.desc_ring") + 64*(ring.Get("cnt")&ring.Get("mask"))
	case 3, 4:
		if at := ring.Get("dqo.complq.desc_ring") + 32*ring.Get("dqo.complq.head"); m.memory.Load(at+8, 1)>>1&1 != 0 {
			return at | 1
		}
	}
	return 0
}

func (m *gve) decode(found, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	decode := m.decodeDescriptor
	if found&1 != 0 {
		decode = m.decodeCompletion
	}
	fields := decode(found&^1, m.view("gve_priv", m.ringOf(ctx).Get("gve")))
	// NETIF_F_RXHASH_BIT; and there is none of fragments and of what is no IP.
	if ptype := fields["ptype"]; !feature(39) || ptype&3 == 0 || ptype&4 != 0 {
		fields["hash"], fields["hash_type"] = 0, 0
	}
	if !feature(40) { // NETIF_F_RXCSUM_BIT
		fields["csum"], fields["csum_status"] = 0, 0
	}
	return fields
}

// gveHashed is what of the headers goes into the hash: of IPv4 the addresses, and so on.
func gveHashed(ptype uint64) (hashed uint64) {
	switch {
	case ptype&1 != 0:
		hashed = 1
	case ptype&2 != 0:
		hashed = 2
	}
	switch {
	case ptype&8 != 0:
		hashed |= 8 | 16
	case ptype&16 != 0:
		hashed |= 8 | 32
	}
	return hashed
}

// decodeDescriptor reads struct gve_rx_desc, whose flags begin with bit 3.
func (m *gve) decodeDescriptor(at uint64, _ *memlab.Struct) map[string]uint64 {
	flags := bigEndian(m.memory.Load(at+62, 2), 2) >> 3
	var ptype uint64
	for flag, bit := range map[int]uint64{3: 4, 4: 1, 5: 2, 6: 8, 7: 16} {
		ptype |= flags >> flag & 1 * bit
	}
	fields := map[string]uint64{
		"ptype": ptype, "hash": bigEndian(m.memory.Load(at+48, 4), 4), "hash_type": gveHashed(ptype),
		"csum": m.memory.Load(at+58, 2), "csum_status": 0, "rx_timestamp": 0,
	}
	if fields["csum"] != 0 {
		fields["csum_status"] = 2
	}
	return fields
}

// decodeCompletion reads struct gve_rx_compl_desc_dqo.
func (m *gve) decodeCompletion(at uint64, priv *memlab.Struct) map[string]uint64 {
	is := func(octet uint64, bit int) bool { return m.memory.Load(at+octet, 1)>>bit&1 != 0 }
	kind := priv.Get("ptype_lut_dqo") + 2*(m.little(at+2, 2)&0x3ff)
	l3 := map[uint64]uint64{2: 1, 3: 2}[m.memory.Load(kind, 1)]
	l4 := map[uint64]uint64{1: 256, 2: 8, 3: 16, 4: 64, 5: 32}[m.memory.Load(kind+1, 1)]
	fields := map[string]uint64{
		"ptype": l3 | l4, "hash": m.little(at+16, 4), "hash_type": gveHashed(l3 | l4),
		"csum": 0, "csum_status": 0, "rx_timestamp": 0,
	}
	v4, v6, transport := l3 == 1, l3 == 2, l4 != 0 && l4 != 256
	switch {
	case !is(8, 3): // not looked at
	case v4 && is(8, 4):
		fields["csum_status"] = 4
	case v4 && is(8, 6), v6 && is(1, 1), is(8, 5):
	case transport:
		fields["csum_status"] = 1
	}
	if priv.Has("ts_config") && priv.Get("ts_config.rx_filter") == 1 && is(11, 0) {
		fields["rx_timestamp"] = gveStamp(priv.Get("last_sync_nic_counter"), m.little(at+28, 4))
	}
	return fields
}

// gveStamp returns the time nearest to another whose lower half is known.
func gveStamp(near, lower uint64) uint64 {
	stamp := near>>32<<32 | lower
	switch ahead := int64(stamp - near); {
	case ahead >= 1<<31:
		return stamp - 1<<32
	case ahead < -1<<31:
		return stamp + 1<<32
	}
	return stamp
}
