package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var nfpModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &nfp{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 2, 4},
		"hash_type":   {0, 1, 2, 2 | 4, 1 | 0x18, 2 | 0x18, 2 | 4 | 0x18, 1 | 0x28, 2 | 0x28, 2 | 4 | 0x28},
		"ptype":       {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 128 | 1, 128 | 8, 128 | 16, 128 | 8 | 1, 128 | 16 | 1},
		"vlan_proto":  {0, bigEndian(0x8100, 2), bigEndian(0x88a8, 2)},
	},
}

func TestNfp(t *testing.T) { testModel(t, "nfp") }

// nfp is drivers/net/ethernet/netronome/nfp. The descriptor is 8 bytes, little-endian:
// the length of packet and metadata (2), a reserved byte, the length of the metadata with
// a bit on top, flags (2), a VLAN tag (2). The metadata is big-endian.
type nfp struct{ setting }

func (m *nfp) word(address uint64) uint64 { return bigEndian(m.memory.Load(address, 4), 4) }

func (m *nfp) storeWord(address, number uint64) {
	m.memory.Store(address, 4, bigEndian(number, 4))
}

// ringOf returns the ring that a device has for a receive queue.
func (m *nfp) ringOf(rxq *memlab.Struct) *memlab.Struct {
	rings := m.deviceOf(rxq).Get("dp.rx_rings")
	return m.view("nfp_net_rx_ring", rings+rxq.Get("queue_index")*uint64(m.types.Size("nfp_net_rx_ring")))
}

// ringAround returns the ring that a receive queue would be in.
func (m *nfp) ringAround(rxq *memlab.Struct) *memlab.Struct {
	return m.view("nfp_net_rx_ring", rxq.Address-uint64(m.view("nfp_net_rx_ring", 0).Offset("xdp_rxq")))
}

func (m *nfp) deviceOf(rxq *memlab.Struct) *memlab.Struct {
	return m.view("nfp_net", m.privateOf(rxq.Get("dev")))
}

func (m *nfp) rxqOf(ctx uint64) *memlab.Struct {
	return m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
}

func (m *nfp) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 4, 64
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("nfp_net"))
	dev.Set("features", random.Uint64()|random.Uint64())
	nn := m.view("nfp_net", m.privateOf(dev.Address))
	ops, vector := m.place("nfp_dp_ops", 0), m.place("nfp_net_r_vector", 0)
	ops.Set("version", uint64(random.IntN(2)))
	size := uint64(m.types.Size("nfp_net_rx_ring"))
	rings := m.memory.Take(queues * int(size))
	ring := m.view("nfp_net_rx_ring", rings+queue*size)
	descriptors := m.memory.Take(8*slots+8)&^7 + 8
	xdp, buffer := m.place("xdp_buff", 0), m.memory.Take(1024)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))

	ring.Set("r_vec", vector.Address)
	vector.Set("nfp_net", nn.Address)
	nn.Set("dp.rx_rings", rings)
	nn.Set("dp.ops", ops.Address)
	nn.Set("dp.rx_dma_off", uint64(random.IntN(256)))
	ring.Set("cnt", slots)
	ring.Set("rxds", descriptors)
	if chance(random, 4) {
		ring.Set("rd_p", 0) // it runs free, over the end of 32 bits
	}
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	rxq.Set("mem.type", uint64(random.IntN(4)))
	descriptor = descriptors + 8*((ring.Get("rd_p")+slots-1)%slots)
	length := m.layDescriptor(random, descriptor)

	place := uint64(256) // XDP_PACKET_HEADROOM, in AF_XDP's buffers
	if nn.Set("dp.rx_offset", 0); rxq.Get("mem.type") != 3 {
		place = nn.Get("dp.rx_dma_off")
	}
	if chance(random, 2) && rxq.Get("mem.type") != 3 {
		nn.Set("dp.rx_offset", uint64(64+random.IntN(64)))
		place += nn.Get("dp.rx_offset")
	} else {
		place += length
	}
	packet := buffer + place
	xdp.Set("rxq", rxq.Address)
	xdp.Set("data_hard_start", buffer)
	xdp.Set("data", packet)
	xdp.Set("data_meta", packet)
	if rxq.Get("mem.type") == 3 {
		xdp.Set("data_meta", packet+1)
	}
	if length > 0 {
		m.layMetadata(random, packet-length, length, m.isChained(rxq))
	}
	descriptor = m.keep(descriptor, rxq)
	pointers = []uint64{ring.At("r_vec"), vector.At("nfp_net"), nn.At("dp.rx_rings"), nn.At("dp.ops"), ring.At("rxds"), rxq.At("dev"),
		xdp.At("rxq"), xdp.At("data"), xdp.At("data_hard_start")}

	switch random.IntN(10) {
	case 3: // moved, with as much metadata in front of it
		if rxq.Get("mem.type") != 3 {
			xdp.Set("data", packet+16)
			descriptor = 0
		}
	case 0: // the device's, but not in the array
		foreign := m.view("nfp_net_rx_ring", m.memory.Take(int(size)))
		foreign.Set("r_vec", vector.Address)
		rxq := m.view("xdp_rxq_info", foreign.At("xdp_rxq"))
		rxq.Set("dev", dev.Address)
		rxq.Set("queue_index", queue)
		xdp.Set("rxq", rxq.Address)
		descriptor = 0
	case 1: // moved by a program that ran before
		xdp.Set("data", packet+14)
		xdp.Set("data_meta", packet+14)
		descriptor = 0
	case 2: // with metadata in front of it; there is none in AF_XDP's buffers
		if rxq.Get("mem.type") != 3 {
			xdp.Set("data_meta", packet-8)
			descriptor = 0
		}
	}
	return xdp.Address, descriptor, pointers
}

// layDescriptor lays out a descriptor, and returns how long the metadata is.
func (m *nfp) layDescriptor(random *rand.Rand, at uint64) uint64 {
	length := uint64(4 * random.IntN(17)) // up to NFP_NET_MAX_PREPEND
	m.memory.Store(at+3, 1, length|1<<7)
	checked := random.Uint64() & random.Uint64() & (1<<14 | 1<<12 | 1<<10 | 1<<6 | 1<<4 | 1<<2)
	if chance(random, 2) {
		checked &= 0xff
	}
	flags := checked | checked>>1 | random.Uint64()&(1<<15|1<<8|1<<7)
	if chance(random, 4) {
		flags |= 1
	}
	if chance(random, 4) { // wrong, or right without having been looked at
		flags ^= random.Uint64() & random.Uint64() & 0x2a2a
	}
	m.memory.Store(at+4, 1, flags)
	m.memory.Store(at+5, 1, flags>>8)
	return length
}

// layMetadata lays out a chain, or what an old firmware has in its stead.
func (m *nfp) layMetadata(random *rand.Rand, at, length uint64, chained bool) {
	if !chained {
		m.storeWord(at, uint64(random.IntN(11)))
		return
	}
	types, shift, end := uint64(0), 0, at+length
	start := at
	for at += 4; at < end && shift < 32; shift += 4 {
		typ := []uint64{1, 2, 4, 4, 5, 6, 8, 9}[random.IntN(8)]
		types |= typ << shift
		switch typ {
		case 1:
			shift += 4
			types |= uint64(random.IntN(11)) << shift
		case 4:
			m.storeWord(at, random.Uint64()&(1<<31|1<<16|0xffff)|random.Uint64()&random.Uint64()&random.Uint64()&(15<<17))
		case 8:
			at += 12
		}
		at += 4
	}
	m.storeWord(start, types&(1<<32-1))
}

// isChained returns whether the metadata is a chain: if the firmware says so, or is one of
// the NFP-3800's (NFP_NFD_VER_NFDK).
func (m *nfp) isChained(rxq *memlab.Struct) bool {
	nn := m.deviceOf(rxq)
	return nn.Get("dp.chained_metadata_format") == 1 || m.view("nfp_dp_ops", nn.Get("dp.ops")).Get("version") == 1
}

// keep returns the address of a descriptor with what counts of its device.
func (m *nfp) keep(descriptor uint64, rxq *memlab.Struct) uint64 {
	features := m.view("net_device", rxq.Get("dev")).Get("features")
	descriptor |= features >> 39 & 1      // NETIF_F_RXHASH_BIT
	descriptor |= features >> 40 & 1 << 1 // NETIF_F_RXCSUM_BIT
	if m.isChained(rxq) {
		descriptor |= 1 << 2
	}
	return descriptor
}

func (m *nfp) find(ctx uint64) uint64 {
	rxq, xdp := m.rxqOf(ctx), m.view("xdp_buff", ctx)
	ring, nn := m.ringOf(rxq), m.deviceOf(rxq)
	vector := m.view("nfp_net_r_vector", m.ringAround(rxq).Get("r_vec"))
	if vector.Get("nfp_net") != nn.Address || ring.At("xdp_rxq") != rxq.Address {
		return 0
	}
	descriptor := ring.Get("rxds") + 8*((ring.Get("rd_p")-1)&(ring.Get("cnt")-1)&0xffffffff)
	place, packet := m.little(descriptor+3, 1)&0x7f, xdp.Get("data_meta")
	if fixed := nn.Get("dp.rx_offset"); fixed != 0 {
		place = fixed
	}
	place += nn.Get("dp.rx_dma_off")
	if rxq.Get("mem.type") == 3 {
		place, packet = 256+m.little(descriptor+3, 1)&0x7f, xdp.Get("data")
	}
	if packet-xdp.Get("data_hard_start") != place || packet != xdp.Get("data") {
		return 0
	}
	return m.keep(descriptor, rxq)
}

// metadata returns where each type of a chain is, and the four bits of the hash.
func (m *nfp) metadata(at uint64) (places map[uint64]uint64, hashed uint64) {
	places = make(map[uint64]uint64)
	types := m.word(at)
	for at += 4; types != 0; types >>= 4 {
		typ := types & 15
		places[typ] = at
		if typ == 1 {
			types >>= 4
			hashed = types & 15
		}
		if typ == 8 { // fw_handle (8), tcp_seq (4), two offsets and two reserved bytes
			at += 12
		}
		at += 4
	}
	return places, hashed
}

// nfpHashed is what went into the hash, by NFP_NET_RSS_*.
var nfpHashed = []string{"", "4", "6", "6x", "4tcp", "6tcp", "6xtcp", "4udp", "6udp", "6xudp"}

var nfpHashBits = map[byte]uint64{'4': 1, '6': 2, 'x': 4, 't': 8 | 16, 'u': 8 | 32}
var nfpHashPacket = map[byte]uint64{'4': 1, '6': 2, 't': 8, 'u': 16}

func bitsOf(letters string, bits map[byte]uint64) (sum uint64) {
	for i := range len(letters) {
		sum |= bits[letters[i]]
	}
	return sum
}

func (m *nfp) decode(found, ctx uint64) map[string]uint64 {
	descriptor, hashing, summing, chained := found&^7, found&1 != 0, found&2 != 0, found&4 != 0
	flags, length := m.little(descriptor+4, 2), m.little(descriptor+3, 1)&0x7f
	is := func(bit int) bool { return flags>>bit&1 != 0 }
	start := m.view("xdp_buff", ctx).Get("data") - length
	var places map[uint64]uint64
	var hashed uint64
	switch {
	case chained && length > 0:
		places, hashed = m.metadata(start)
	case !chained && is(15):
		places, hashed = map[uint64]uint64{1: start + 4}, m.word(start)
	}
	fields := map[string]uint64{
		"hash": 0, "hash_type": 0, "mark": 0, "csum": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0, "ptype": 0,
	}
	what := ""
	if hashed < uint64(len(nfpHashed)) && places[1] != 0 {
		what = nfpHashed[hashed]
	}
	if what != "" && hashing {
		fields["hash"], fields["hash_type"] = m.word(places[1]), bitsOf(what, nfpHashBits)
	}
	if at := places[2]; at != 0 {
		fields["mark"] = m.word(at)
	}
	fields["vlan_tci"], fields["vlan_proto"] = m.decodeVLAN(descriptor, is(0), places[4])
	if at := places[6]; at != 0 && summing {
		fields["csum_status"], fields["csum"] = 2, m.memory.Load(at, 4)
	} else if summing {
		fields["csum_status"] = nfpChecksum(is)
	}
	fields["ptype"] = nfpPacket(is, bitsOf(what, nfpHashPacket))
	return fields
}

func (m *nfp) decodeVLAN(descriptor uint64, own bool, chained uint64) (tci, proto uint64) {
	if own {
		return m.little(descriptor+6, 2), bigEndian(0x8100, 2)
	}
	if chained == 0 || m.word(chained)>>31 == 0 {
		return 0, 0
	}
	protos := map[uint64]uint64{0: 0x8100, 1: 0x88a8}
	vlan := m.word(chained)
	ethertype, known := protos[vlan>>16&15]
	if !known {
		return 0, 0
	}
	return vlan & 0xffff, bigEndian(ethertype, 2)
}

// nfpChecksum is what the pairs of bits mean, "checked" and "right" below it: IPv4, TCP and
// UDP of the inner headers, a byte above those of the outer ones.
func nfpChecksum(is func(int) bool) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	transport, unlooked := false, false
	for _, checked := range []int{14, 12, 10, 6, 4, 2} {
		right := is(checked - 1)
		switch {
		case is(checked) && !right:
			return bad
		case right && !is(checked):
			unlooked = true
		case right && checked != 14 && checked != 6:
			transport = true
		}
	}
	if unlooked || !transport {
		return none
	}
	return unnecessary
}

// nfpPacket is what was checked and what was hashed.
func nfpPacket(is func(int) bool, hashed uint64) (ptype uint64) {
	names := map[int]uint64{6: 1, 4: 8, 2: 16}
	for bit, header := range names {
		if is(bit + 8) {
			ptype |= header | 128
		}
	}
	if ptype != 0 {
		return ptype
	}
	for bit, header := range names {
		if is(bit) {
			ptype |= header
		}
	}
	if ptype&1 == 0 {
		ptype |= hashed
	}
	return ptype
}
