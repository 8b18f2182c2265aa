package drivers_test

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var mlx4Model = modelled{
	memory: 1 << 20,
	model:  func(s setting) model { return &mlx4{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1},
		"hash_type": {0, 1, 2, 2 | 4, 1 | 0x18, 2 | 0x18, 2 | 4 | 0x18,
			1 | 0x28, 2 | 0x28, 2 | 4 | 0x28},
		"ptype": {0, 1, 2, 4 | 1, 8 | 1, 8 | 2, 16 | 1, 16 | 2,
			128, 128 | 1, 128 | 2, 128 | 4 | 1, 128 | 8 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 16 | 2},
		"vlan_proto": {0, bigEndian(0x8100, 2), bigEndian(0x88a8, 2)},
	},
}

func TestMlx4(t *testing.T) { testModel(t, "mlx4_en") }

// mlx4 is drivers/net/ethernet/mellanox/mlx4, and the completion queue entry of the NIC: 32
// bytes, or the last 32 of 64, big-endian.
type mlx4 struct{ setting }

// cqe returns a number of a completion, by its offset.
func (m *mlx4) cqe(address, offset uint64, size int) uint64 {
	return bigEndian(m.memory.Load(address+offset, size), size)
}

func (m *mlx4) storeCQE(address, offset uint64, size int, number uint64) {
	for i := range size {
		m.memory.Store(address+offset+uint64(i), 1, number>>(8*(size-1-i))&255)
	}
}

func (m *mlx4) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "mlx4_en_rx_ring", "xdp_rxq")
}

// privOf returns the private data of the device of a buff.
func (m *mlx4) privOf(ctx uint64) *memlab.Struct {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	return m.view("mlx4_en_priv", m.privateOf(rxq.Get("dev")))
}

func (m *mlx4) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	queue := uint64(random.IntN(128))
	dev := m.placeDevice(m.types.Size("mlx4_en_priv"))
	dev.Set("features", random.Uint64()|random.Uint64())
	dev.Set("hw_enc_features", random.Uint64()|random.Uint64())
	priv := m.view("mlx4_en_priv", m.privateOf(dev.Address))
	ring, rxq := m.place("mlx4_en_rx_ring", 0), (*memlab.Struct)(nil)
	rxq = m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)

	own := priv.At("rx_ring") + 8*queue
	priv.Set("dev", dev.Address)
	m.memory.Store(own, 8, ring.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	ring.Set("hwtstamp_rx_filter", uint64(random.IntN(2)))
	pointers = []uint64{priv.At("dev"), own, rxq.At("dev"), xdp.At("rxq")}
	pointers = append(pointers, m.layDevice(random, priv)...)

	descriptor, more := m.layQueue(random, priv, ring, ctx, queue)
	m.layCompletion(random, descriptor)
	pointers = append(pointers, more...)
	switch random.IntN(16) {
	case 0: // not in the device
		m.memory.Store(own, 8, m.place("mlx4_en_rx_ring", 0).Address)
		descriptor = 0
	case 1: // of another number
		rxq.Set("queue_index", (queue+1)%128)
		descriptor = 0
	case 2: // not the driver's device
		priv.Set("dev", m.placeDevice(0).Address)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

// layQueue lays out how the completion is found, and returns its address.
func (m *mlx4) layQueue(random *rand.Rand, priv, ring *memlab.Struct, ctx, queue uint64) (uint64, []uint64) {
	const entries = 16
	if m.types.Has("mlx4_en_xdp_buff") {
		buff, cqe := m.view("mlx4_en_xdp_buff", ctx), m.memory.Take(32)
		buff.Set("cqe", cqe)
		return cqe, nil
	}
	cq, size := m.place("mlx4_en_cq", 0), uint64(32)<<random.IntN(4)
	own := priv.At("rx_cq") + 8*queue
	buffer, counter := m.memory.Take(int(entries*size)), uint64(random.Uint32())
	m.memory.Store(own, 8, cq.Address)
	m.capsOf(priv).Set("caps.cqe_size", size)
	ring.Set("size_mask", entries-1)
	cq.Set("mcq.cons_index", counter)
	cq.Set("buf", buffer)
	return buffer + counter%entries*size + mlx4Half[size], []uint64{own, cq.At("buf")}
}

// mlx4Half is where in completions of a size the driver's struct is: only those of 64 bytes
// have something else in front of it, and those of 128 and 256 are longer behind it.
var mlx4Half = map[uint64]uint64{64: 32}

// capsOf returns the struct that has what the NIC can do.
func (m *mlx4) capsOf(priv *memlab.Struct) *memlab.Struct {
	return m.view("mlx4_dev", m.view("mlx4_en_dev", priv.Get("mdev")).Get("dev"))
}

// layDevice lays out the device and its clock.
func (m *mlx4) layDevice(random *rand.Rand, priv *memlab.Struct) []uint64 {
	mdev, counter := m.place("mlx4_en_dev", 0), m.place("cyclecounter", 0)
	priv.Set("mdev", mdev.Address)
	if mdev.Has("dev") {
		mdev.Set("dev", m.place("mlx4_dev", 0).Address)
	}
	mdev.Set("profile.udp_rss", rarely(random, 1))
	mdev.Set("clock_lock.seqcount.seqcount.sequence", random.Uint64()&^rarely(random, 1))
	mdev.Set("clock.cc", counter.Address)
	counter.Set("mask", 1<<48-1)
	counter.Set("shift", uint64(random.IntN(32)))
	return []uint64{priv.At("mdev"), mdev.At("clock.cc")}
}

// layCompletion lays out a random completion, mostly one that a NIC writes.
func (m *mlx4) layCompletion(random *rand.Rand, cqe uint64) {
	l3s, l4s := []uint64{0, 1 << 6, 1 << 6, 1 << 7, 1 << 8, 1 << 8, 1 << 9}, []uint64{0, 1 << 10, 1 << 11}
	status := uint64(random.Uint32()) & 0xe03f
	status |= l3s[random.IntN(len(l3s))] | l4s[random.IntN(len(l4s))] | rarely(random, 1<<12)
	m.storeCQE(cqe, 16, 2, status)
	if chance(random, 2) {
		m.memory.Store(cqe+18, 1, 0) // no extension headers
	}
	if !chance(random, 4) {
		m.storeCQE(cqe, 26, 2, 0xffff)
	}
	if chance(random, 4) {
		m.storeCQE(cqe, 29, 2, 0) // the lower half of the stamp has just wrapped
	}
}

func (m *mlx4) find(ctx uint64) uint64 {
	ring, priv := m.ringOf(ctx), m.privOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	own := m.memory.Load(priv.At("rx_ring")+8*rxq.Get("queue_index"), 8)
	switch {
	case priv.Get("dev") != rxq.Get("dev") || ring.Address != own:
		return 0
	case m.types.Has("mlx4_en_xdp_buff"):
		return m.view("mlx4_en_xdp_buff", ctx).Get("cqe")
	}
	cq := m.view("mlx4_en_cq", m.memory.Load(priv.At("rx_cq")+8*rxq.Get("queue_index"), 8))
	index := cq.Get("mcq.cons_index") & ring.Get("size_mask")
	size := m.capsOf(priv).Get("caps.cqe_size")
	return cq.Get("buf") + index*size + mlx4Half[size]
}

func (m *mlx4) decode(cqe, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	is := func(bit int) bool { return m.cqe(cqe, 16, 2)>>bit&1 != 0 }
	flag := func(bit int) bool { return m.cqe(cqe, 0, 4)>>bit&1 != 0 }
	stamped := m.ringOf(ctx).Get("hwtstamp_rx_filter")
	mdev := m.view("mlx4_en_dev", m.privOf(ctx).Get("mdev"))
	v4, fragment, v6, options, tcp, udp, ok := is(6), is(7), is(8), is(9), is(10), is(11), is(12)

	fields := map[string]uint64{"hash": 0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0, "rx_timestamp": 0}
	if feature(39) && (v4 || fragment || v6) { // NETIF_F_RXHASH_BIT
		fields["hash"] = m.cqe(cqe, 4, 4)
		fields["hash_type"] = 1
		if v6 && !fragment {
			fields["hash_type"] = 2
			if m.cqe(cqe, 18, 1) != 0 {
				fields["hash_type"] |= 4
			}
		}
		switch {
		case fragment:
		case tcp:
			fields["hash_type"] |= 8 | 16
		case udp && mdev.Get("profile.udp_rss") != 0:
			fields["hash_type"] |= 8 | 32
		}
	}
	if feature(40) && (tcp || udp) && ok && m.cqe(cqe, 26, 2) == 0xffff { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = 1
	}
	if proto := m.decodeTag(flag, feature); stamped == 0 && proto != 0 {
		fields["vlan_tci"], fields["vlan_proto"] = m.cqe(cqe, 12, 2), bigEndian(proto, 2)
	}
	if stamped == 1 {
		fields["rx_timestamp"] = m.decodeStamp(cqe, mdev)
	}
	fields["ptype"] = m.decodeType(fragment, v4 || options, v6, tcp, udp)
	if flag(27) && dev.Get("hw_enc_features")>>40&1 != 0 {
		fields["ptype"] |= 128
	}
	return fields
}

// decodeTag returns the type of the tag: there is a bit for each, and a feature.
func (m *mlx4) decodeTag(flag, feature func(int) bool) uint64 {
	switch {
	case flag(29) && feature(8): // NETIF_F_HW_VLAN_CTAG_RX_BIT
		return 0x8100
	case flag(30) && feature(46): // NETIF_F_HW_VLAN_STAG_RX_BIT
		return 0x88a8
	}
	return 0
}

func (m *mlx4) decodeType(fragment, v4, v6, tcp, udp bool) (ptype uint64) {
	switch {
	case fragment:
		return 1 | 4
	case v4:
		ptype = 1
	case v6:
		ptype = 2
	}
	switch {
	case tcp:
		ptype |= 8
	case udp:
		ptype |= 16
	}
	return ptype
}

// decodeStamp: 32 bits at 12 and 16 at 29, of which the upper ones are late where the lower
// ones are 0.
func (m *mlx4) decodeStamp(cqe uint64, mdev *memlab.Struct) uint64 {
	if mdev.Get("clock_lock.seqcount.seqcount.sequence")&1 != 0 {
		return 0 // it is being updated
	}
	high, low := m.cqe(cqe, 12, 4), m.cqe(cqe, 29, 1)<<8|m.cqe(cqe, 30, 1)
	if low == 0 {
		high++
	}
	return m.cyclesToTime(mdev, high<<16+low)
}

// cyclesToTime is timecounter_cyc2time(), with the product as it is in 64 bits.
func (m *mlx4) cyclesToTime(mdev *memlab.Struct, cycles uint64) uint64 {
	cc := m.view("cyclecounter", mdev.Get("clock.cc"))
	mask, shift := cc.Get("mask"), cc.Get("shift")&63
	last, ns, frac := mdev.Get("clock.cycle_last"), mdev.Get("clock.nsec"), mdev.Get("clock.frac")
	ahead, behind := (cycles-last)&mask, (last-cycles)&mask
	_, product := bits.Mul64(min(ahead, behind), cc.Get("mult"))
	if ahead > mask/2 {
		return ns - (product-frac)>>shift
	}
	return ns + (product+frac)>>shift
}
