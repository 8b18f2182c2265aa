package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var bnxtModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &bnxt{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 1, 2, 8, 1 | 8, 2 | 8, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28},
		"ptype": {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 64 | 1, 64 | 2,
			128, 128 | 1, 128 | 2, 128 | 8 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 16 | 2},
		"vlan_proto": {0, bigEndian(0x8100, 2), bigEndian(0x88a8, 2)},
	},
}

func TestBnxt(t *testing.T) { testModel(t, "bnxt_en") }

// bnxt is drivers/net/ethernet/broadcom/bnxt, and the receive completion of the NIC: two
// entries of 16 bytes, little-endian.
type bnxt struct{ setting }

// Types of completions, as the NIC numbers them.
const (
	bnxtL2   = 17
	bnxtL2V3 = 23
)

func (m *bnxt) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "bnxt_rx_ring_info", "xdp_rxq")
}

func (m *bnxt) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 3
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("bnxt"))
	dev.Set("features", random.Uint64()&(random.Uint64()|1<<40))
	priv := m.view("bnxt", m.privateOf(dev.Address))
	size := m.types.Size("bnxt_rx_ring_info")
	rings, napi := m.memory.Take(queues*size), m.place("bnxt_napi", 0)
	ring := m.view("bnxt_rx_ring_info", rings+queue*uint64(size))
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)

	priv.Set("rx_ring", rings)
	priv.Set("flags", random.Uint64()|rarely(random, 1))
	priv.Set("ptp_all_rx_tstamp", uint64(random.IntN(2)))
	napi.Set("bp", priv.Address)
	ring.Set("bnapi", napi.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	pointers = []uint64{priv.At("rx_ring"), napi.At("bp"), ring.At("bnapi"), rxq.At("dev"), xdp.At("rxq")}
	pointers = append(pointers, m.layClock(random, priv)...)

	if m.types.Has("bnxt_xdp_buff") {
		buff, pages := m.view("bnxt_xdp_buff", ctx), m.memory.Take(64)
		buff.Set("rxcmp", pages)
		buff.Set("rxcmp1", pages+32)
		m.layCompletion(random, pages, pages+32, uint64(random.Uint32()))
		descriptor = pages
		pointers = append(pointers, buff.At("rxcmp1"))
	} else {
		var more []uint64
		descriptor, more = m.layRing(random, priv, napi, ring)
		pointers = append(pointers, more...)
	}
	switch random.IntN(16) {
	case 0: // another queue's
		rxq.Set("queue_index", (queue+1)%queues)
		descriptor = 0
	case 1: // another device's
		napi.Set("bp", m.privateOf(m.placeDevice(m.types.Size("bnxt")).Address))
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

// layRing lays out what the NIC has written since the poll has begun, the packet last, and
// returns what is to be found.
func (m *bnxt) layRing(random *rand.Rand, priv, napi, ring *memlab.Struct) (descriptor uint64, pointers []uint64) {
	const total = 1024
	completions := m.view("bnxt_cp_ring_info", napi.At("cp_ring"))
	if ring.Has("rx_cpr") {
		if chance(random, 2) {
			completions = m.place("bnxt_cp_ring_info", 0)
		}
		ring.Set("rx_cpr", completions.Address)
		pointers = append(pointers, ring.At("rx_cpr"))
	} else {
		own := completions.At("cp_ring_arr")
		m.memory.Store(own, 8, 0)
		if chance(random, 2) {
			completions = m.place("bnxt_cp_ring_info", 0)
			m.memory.Store(own, 8, completions.Address)
			pointers = append(pointers, own)
		}
	}
	pages := uint64(1) << random.IntN(4)
	list := m.memory.Take(int(8 * pages))
	for i := range pages {
		m.memory.Store(list+8*i, 8, m.memory.Take(int(16*total/pages)+64))
	}
	priv.Set("cp_ring_mask", total-1)
	priv.Set("cp_nr_pages", pages)
	raw := uint64(random.Uint32())
	if chance(random, 4) {
		raw = 1<<32 - uint64(random.IntN(8)) // about to wrap
	}
	completions.Set("cp_raw_cons", raw)
	completions.Set("cp_desc_ring", list)
	pointers = append(pointers, completions.At("cp_desc_ring"))

	want := uint64(random.Uint32() & 0xffff)
	ring.Set("rx_next_cons", want)
	entry := func(ahead uint64) uint64 { return m.entry(completions, priv, raw+ahead) }
	ahead, steps := m.layEarlier(random, entry, want)
	m.layCompletion(random, entry(ahead), entry(ahead+1), want)
	if steps >= 256 || entry(ahead+1) != entry(ahead)+16 {
		return 0, pointers
	}
	return entry(ahead), pointers
}

// layEarlier lays out completions in front of the packet's, and returns how many entries
// they take, and how many of these are read on the way.
func (m *bnxt) layEarlier(random *rand.Rand, entry func(uint64) uint64, want uint64) (entries, steps uint64) {
	packets := random.IntN(24)
	if chance(random, 16) {
		packets = 100 + random.IntN(100)
	}
	for range packets {
		single := []uint64{0, 2, 4, 46} // transmitted, or an event
		kind := []uint64{bnxtL2, bnxtL2, bnxtL2V3, 19, 21, single[random.IntN(4)]}[random.IntN(6)]
		m.storeLittle(entry(entries), 4, random.Uint64()&^0x3f|kind)
		m.memory.Store(entry(entries)+4, 4, (want+1+uint64(random.IntN(64)))&0xffff)
		entries, steps = entries+1, steps+1
		if kind&1 == 0 {
			continue
		}
		// The second half of a completion may look like the one that is wanted.
		m.storeLittle(entry(entries), 4, random.Uint64()&^0x3f|bnxtL2)
		m.memory.Store(entry(entries)+4, 4, want)
		entries++
		for range random.IntN(4) * random.IntN(2) { // further buffers
			m.storeLittle(entry(entries), 4, random.Uint64()&^0x3f|[]uint64{18, 22}[random.IntN(2)])
			m.memory.Store(entry(entries)+4, 4, want)
			entries, steps = entries+1, steps+1
		}
	}
	return entries, steps
}

// entry returns the address of an entry of a ring, counted on without end.
func (m *bnxt) entry(completions, priv *memlab.Struct, raw uint64) uint64 {
	total := priv.Get("cp_ring_mask") + 1
	place := raw % total
	onPage := total / priv.Get("cp_nr_pages")
	page := m.memory.Load(completions.Get("cp_desc_ring")+8*(place/onPage), 8)
	return page + 16*(place%onPage)
}

// layCompletion lays out a random completion, mostly one that a NIC writes.
func (m *bnxt) layCompletion(random *rand.Rand, first, second, opaque uint64) {
	kind, itypes := []uint64{bnxtL2, bnxtL2V3}[random.IntN(2)], []uint64{1, 2, 2, 3, 3, 7, 9, uint64(random.IntN(16))}
	itype := itypes[random.IntN(len(itypes))]
	m.storeLittle(first, 4, random.Uint64()&^0xf03f|kind|itype<<12|rarely(random, 1<<10))
	m.memory.Store(first+4, 4, opaque)
	misc := random.Uint64() | rarely(random, 1<<31)
	if chance(random, 2) {
		misc &^= 6 << 28 // one of the two types
	}
	m.storeLittle(first+8, 4, misc)
	flags2 := random.Uint64()
	if chance(random, 2) {
		flags2 = flags2&^0xf0 | 0x10
	}
	if chance(random, 4) {
		flags2 &^= 0xf
	}
	m.storeLittle(second, 4, flags2)
	if tag := []uint64{0x8100, 0x88a8, 0x9100, 0}[random.IntN(4)]; tag != 0 {
		m.storeLittle(second+4, 4, tag<<16|uint64(random.IntN(1<<16)))
	}
	if chance(random, 2) {
		m.storeLittle(second+8, 4, random.Uint64()&^0xf0) // no error
	}
	if chance(random, 8) {
		m.storeLittle(second+12, 4, 0) // no stamp
	}
}

func (m *bnxt) layClock(random *rand.Rand, priv *memlab.Struct) []uint64 {
	ptp, clock := m.place("bnxt_ptp_cfg", 0), m.place("cyclecounter", 0)
	priv.Set("ptp_cfg", ptp.Address)
	ptp.Set("tc.cc", clock.Address)
	if ptp.Has("ptp_lock.seqcount") {
		ptp.Set("ptp_lock.seqcount.seqcount.sequence", random.Uint64()&^rarely(random, 1))
	}
	clock.Set("mask", 1<<48-1)
	clock.Set("shift", uint64(random.IntN(32)))
	return []uint64{priv.At("ptp_cfg"), ptp.At("tc.cc")}
}

func (m *bnxt) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	priv, napi := m.view("bnxt", m.privateOf(rxq.Get("dev"))), m.view("bnxt_napi", ring.Get("bnapi"))
	own := priv.Get("rx_ring") + rxq.Get("queue_index")*uint64(m.types.Size("bnxt_rx_ring_info"))
	switch {
	case napi.Get("bp") != priv.Address || ring.Address != own:
		return 0
	case m.types.Has("bnxt_xdp_buff"):
		return m.view("bnxt_xdp_buff", ctx).Get("rxcmp")
	}
	completions := m.view("bnxt_cp_ring_info", napi.At("cp_ring"))
	if ring.Has("rx_cpr") {
		completions = m.view("bnxt_cp_ring_info", ring.Get("rx_cpr"))
	} else if own := m.memory.Load(completions.At("cp_ring_arr"), 8); own != 0 {
		completions = m.view("bnxt_cp_ring_info", own)
	}
	raw := completions.Get("cp_raw_cons")
	for range 256 {
		entry := m.entry(completions, priv, raw)
		switch kind := m.little(entry, 4) & 0x3f; {
		case (kind == bnxtL2 || kind == bnxtL2V3) && m.memory.Load(entry+4, 4) == ring.Get("rx_next_cons"):
			if m.entry(completions, priv, raw+1) != entry+16 {
				return 0
			}
			return entry
		case kind%2 == 1:
			raw += 2
		default:
			raw++
		}
	}
	return 0
}

func (m *bnxt) decode(first, ctx uint64) map[string]uint64 {
	second := first + 16
	if m.types.Has("bnxt_xdp_buff") {
		second = m.view("bnxt_xdp_buff", ctx).Get("rxcmp1")
	}
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	dev := m.view("net_device", rxq.Get("dev"))
	priv := m.view("bnxt", m.view("bnxt_napi", m.ringOf(ctx).Get("bnapi")).Get("bp"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	v3 := m.little(first, 1)&0x3f == bnxtL2V3

	ip := m.little(second+1, 1)&1 + 1
	ptype := map[uint64]uint64{1: ip, 2: ip | 8, 3: ip | 16, 7: ip | 64}[m.little(first+1, 1)>>4]
	fields := map[string]uint64{
		"ptype": ptype, "hash": 0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0,
		"rx_timestamp": m.decodeStamp(first, second, priv),
	}
	if m.little(second, 1)&0xc != 0 {
		fields["ptype"] |= 128
	}
	if m.little(first+1, 1)>>2&1 != 0 && ptype != 0 {
		fields["hash"] = m.little(first+12, 4)
		fields["hash_type"] = m.decodeHashed(first, ptype, v3, priv)
	}
	if feature(40) { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = m.decodeChecksum(second)
	}
	if feature(8) || feature(46) { // NETIF_F_HW_VLAN_CTAG_RX_BIT, STAG
		tag, proto := m.decodeTag(first, second, v3)
		fields["vlan_tci"], fields["vlan_proto"] = tag, bigEndian(proto, 2)
	}
	return fields
}

// decodeHashed: in V3 a number says what was hashed, in 4 bits whose place is up to a
// capability; before, what was asked for.
func (m *bnxt) decodeHashed(first, ptype uint64, v3 bool, priv *memlab.Struct) uint64 {
	hashed, ports := ptype&3, false
	if v3 {
		number := m.little(first+9, 1) >> 4
		if priv.Has("rss_cap") && priv.Get("rss_cap")>>3&1 != 0 {
			number = m.little(first+9, 1) & 15
		}
		switch number {
		case 0, 8:
			ports = true
		case 2, 10: // of the outer headers, of which nothing else is known
			return 8
		}
	} else {
		asked := map[uint64]int{8 | 1: 1, 16 | 1: 2, 8 | 2: 4, 16 | 2: 5} // bits of rss_hash_cfg
		bit, ok := asked[ptype]
		ports = ok && priv.Get("rss_hash_cfg")>>bit&1 != 0
	}
	if !ports {
		return hashed
	}
	return hashed | 8 | map[uint64]uint64{8: 16, 16: 32}[ptype&(8|16)]
}

// decodeChecksum: pairs of "calculated" and "wrong", of the IP header, of L4, and of both in
// front of the innermost.
func (m *bnxt) decodeChecksum(second uint64) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	right, doubt := false, false
	for header := range 4 {
		calculated, wrong := m.little(second, 1)>>header&1 != 0, m.little(second+8, 1)>>(4+header)&1 != 0
		l4 := header == 1 || header == 3
		switch {
		case calculated && wrong:
			return bad
		case wrong && l4:
			doubt = true
		case calculated && l4:
			right = true
		}
	}
	if right && !doubt {
		return unnecessary
	}
	return none
}

// decodeTag returns the tag and its EtherType, or zeroes.
func (m *bnxt) decodeTag(first, second uint64, v3 bool) (tag, proto uint64) {
	if v3 {
		if number := m.little(first+11, 1) >> 4; number>>3 != 0 && number&7 < 2 {
			return m.little(second+10, 2), []uint64{0x88a8, 0x8100}[number&7]
		}
		return 0, 0
	}
	proto = m.little(second+6, 2)
	if m.little(second, 1)>>4 != 1 || proto != 0x8100 && proto != 0x88a8 {
		return 0, 0
	}
	return m.little(second+4, 2), proto
}

func (m *bnxt) decodeStamp(first, second uint64, priv *memlab.Struct) uint64 {
	stamp, ptp := m.little(second+12, 4), m.view("bnxt_ptp_cfg", priv.Get("ptp_cfg"))
	withStamp := m.little(first+1, 1)>>4 == 9
	all := stamp != 0 && m.little(first+1, 1)>>3&1 == 0 && priv.Get("ptp_all_rx_tstamp") != 0
	oldTimeIsShort := ptp.Has("ptp_lock.seqcount") // the change came with the other
	updated := oldTimeIsShort && ptp.Get("ptp_lock.seqcount.seqcount.sequence")&1 != 0
	if !withStamp && !all || priv.Get("flags")&1 == 0 || ptp.Address == 0 || updated {
		return 0
	}
	// The upper half is that of the counter's last reading, or the one after.
	read := ptp.Get("old_time") & (1<<48 - 1)
	if oldTimeIsShort {
		read = ptp.Get("old_time") << 24 & (1<<48 - 1)
	}
	cycles := read>>32<<32 | stamp
	if cycles < read {
		cycles += 1 << 32
	}
	return m.cyclesToTime(ptp, cycles)
}

// cyclesToTime is timecounter_cyc2time().
func (m *bnxt) cyclesToTime(ptp *memlab.Struct, cycles uint64) uint64 {
	cc := m.view("cyclecounter", ptp.Get("tc.cc"))
	mask, mult, shift := cc.Get("mask"), cc.Get("mult"), cc.Get("shift")&63
	last, ns, frac := ptp.Get("tc.cycle_last"), ptp.Get("tc.nsec"), ptp.Get("tc.frac")
	if ahead := (cycles - last) & mask; ahead <= mask/2 {
		return ns + (ahead*mult+frac)>>shift
	}
	return ns - ((last-cycles)&mask*mult-frac)>>shift
}
