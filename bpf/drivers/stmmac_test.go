package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var stmmacModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &stmmac{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28},
		"ptype":       {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 64 | 1, 64 | 2},
	},
	lacks: map[string][]string{"6.1": {"vlan_proto", "vlan_tci"}}, // the tag stays in the packet
}

func TestStmmac(t *testing.T) { testModel(t, "stmmac") }

// stmmac is drivers/net/ethernet/stmicro/stmmac, and the receive descriptors of Synopsys'
// cores: four words, little-endian, or eight.
type stmmac struct{ setting }

// The kinds of descriptors, which are kept in the lowest bits of the address of one.
const (
	stmmacNormal = iota
	stmmacEnhanced
	stmmacExtended
	stmmacGMAC4
	stmmacXGMAC
	stmmacKinds
)

// word returns a word of a descriptor.
func (m *stmmac) word(address uint64, i int) uint64 {
	return m.little(address+uint64(4*i), 4)
}

func (m *stmmac) is(address uint64, word, bit int) bool { return m.word(address, word)>>bit&1 != 0 }

func (m *stmmac) storeWord(address uint64, i int, number uint32) {
	for octet := range 4 {
		m.memory.Store(address+uint64(4*i+octet), 1, uint64(number>>(8*octet)&0xff))
	}
}

func (m *stmmac) set(address uint64, word, bit int, on bool) {
	number := uint32(m.word(address, word)) &^ (1 << bit)
	if on {
		number |= 1 << bit
	}
	m.storeWord(address, word, number)
}

func (m *stmmac) queueOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "stmmac_rx_queue", "xdp_rxq")
}

// inBuff says whether a buff knows its descriptor.
func (m *stmmac) inBuff() bool { return m.view("stmmac_xdp_buff", 0).Has("desc") }

// setFlag sets a member that is an int, or a bool.
func (m *stmmac) setFlag(of *memlab.Struct, member string, on bool) {
	number := uint64(0)
	if on {
		number = 1
	}
	of.Set(member, number)
}

func (m *stmmac) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 8
	kind, index := random.IntN(stmmacKinds), random.IntN(queues)
	dev := m.placeDevice(m.types.Size("stmmac_priv"))
	priv := m.view("stmmac_priv", m.privateOf(dev.Address))
	at := priv.At("dma_conf.rx_queue") + uint64(index*m.types.Size("stmmac_rx_queue"))
	queue := m.view("stmmac_rx_queue", at)
	rxq := m.view("xdp_rxq_info", queue.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)

	queue.Set("priv_data", priv.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", uint64(index))
	xdp.Set("rxq", rxq.Address)
	pointers = []uint64{queue.At("priv_data"), rxq.At("dev"), xdp.At("rxq")}
	pointers = append(pointers, m.layDevice(random, priv, kind)...)
	descriptor, next, more := m.layRing(random, ctx, queue, priv, kind)
	m.layDescriptor(random, descriptor, kind)
	m.layContext(random, next)

	descriptor = m.keep(descriptor, kind)
	// Not the device's, or not the queue that it says.
	switch random.IntN(16) {
	case 0:
		queue.Set("priv_data", m.place("stmmac_priv", 0).Address)
		descriptor = 0
	case 1:
		rxq.Set("queue_index", uint64(index^1))
		descriptor = 0
	}
	return ctx, descriptor, append(pointers, more...)
}

// layDevice lays out what tells the kind of the descriptors, and what is switched on.
func (m *stmmac) layDevice(random *rand.Rand, priv *memlab.Struct, kind int) []uint64 {
	plat, hw := m.place("plat_stmmacenet_data", 0), m.place("mac_device_info", 0)
	priv.Set("plat", plat.Address)
	priv.Set("hw", hw.Address)
	priv.Set("hwts_rx_en", rarely(random, 1))
	priv.Set("adv_ts", uint64(random.IntN(2)))
	plat.Set("cdc_error_adj", uint64(random.IntN(20)))
	if plat.Has("core_type") {
		core := uint64(random.IntN(2)) // DWMAC_CORE_MAC100, DWMAC_CORE_GMAC
		switch kind {
		case stmmacGMAC4:
			core = 2
		case stmmacXGMAC:
			core = 3
		}
		plat.Set("core_type", core)
	} else {
		m.setFlag(plat, "has_gmac4", kind == stmmacGMAC4)
		m.setFlag(plat, "has_xgmac", kind == stmmacXGMAC)
	}
	enhanced := kind == stmmacEnhanced || kind == stmmacExtended || kind >= stmmacGMAC4 && chance(random, 2)
	m.setFlag(plat, "enh_desc", enhanced)
	m.setFlag(priv, "extend_desc", kind == stmmacExtended || kind == stmmacNormal && chance(random, 2))
	hw.Set("rx_csum", rarely(random, uint64(1+random.IntN(2))))

	pointers := []uint64{priv.At("plat"), priv.At("hw")}
	if hw.Has("hw_vlan_en") {
		hw.Set("hw_vlan_en", rarely(random, 1))
		member, of := m.strips(hw)
		ops := m.place(of, 0)
		hw.Set(member, ops.Address)
		ops.Set("rx_hw_vlan", rarely(random, ops.Address))
		pointers = append(pointers, hw.At(member))
	}
	return pointers
}

// strips returns the member that is a pointer to the functions that take tags from
// descriptors, and the name of that struct.
func (m *stmmac) strips(hw *memlab.Struct) (member, of string) {
	if hw.Has("vlan") {
		return "vlan", "stmmac_vlan_ops"
	}
	return "mac", "stmmac_ops"
}

// layRing lays out how the descriptor is found, and returns its address, and that of the
// one behind it.
func (m *stmmac) layRing(random *rand.Rand, ctx uint64, queue, priv *memlab.Struct, kind int) (descriptor, next uint64, pointers []uint64) {
	const slots = 64
	size, member := 16, "dma_rx"
	if kind == stmmacExtended {
		size, member = 32, "dma_erx"
	}
	ring, index := m.memory.Take(slots*size), random.IntN(slots)
	if chance(random, 4) {
		index = slots - 1 // at the end
	}
	queue.Set(member, ring)
	queue.Set("cur_rx", uint64((index+1)%slots))
	priv.Set("dma_conf.dma_rx_size", slots)
	descriptor, next = ring+uint64(index*size), ring+uint64((index+1)%slots*size)
	if !m.inBuff() {
		return descriptor, next, []uint64{queue.At(member)}
	}
	buff := m.view("stmmac_xdp_buff", ctx)
	buff.Set("desc", descriptor)
	buff.Set("ndesc", next)
	return descriptor, next, []uint64{buff.At("desc"), buff.At("ndesc")}
}

// layDescriptor makes a random descriptor one that a NIC may write.
func (m *stmmac) layDescriptor(random *rand.Rand, at uint64, kind int) {
	last := !chance(random, 8)
	if kind < stmmacGMAC4 {
		m.set(at, 0, 8, last)
		if chance(random, 8) {
			m.storeWord(at, 2, 1<<32-1)
			m.storeWord(at, 3, 1<<32-1)
		}
		if kind == stmmacExtended && chance(random, 8) {
			m.storeWord(at, 6, 1<<32-1)
			m.storeWord(at, 7, 1<<32-1)
		}
		return
	}
	m.set(at, 3, 28, last)
	for _, valid := range []int{25, 26, 27} {
		m.set(at, 3, valid, !chance(random, 4))
	}
	if kind == stmmacGMAC4 && chance(random, 2) { // no error, not bypassed
		m.set(at, 1, 3, false)
		m.set(at, 1, 6, false)
		m.set(at, 1, 7, false)
	}
	if kind == stmmacGMAC4 && chance(random, 2) { // with a stamp
		m.set(at, 1, 14, true)
	}
}

// layContext makes a random descriptor one with a stamp, mostly.
func (m *stmmac) layContext(random *rand.Rand, at uint64) {
	m.set(at, 3, 31, chance(random, 4))
	m.set(at, 3, 30, !chance(random, 4))
	m.set(at, 3, 6, chance(random, 4))
	m.set(at, 3, 4, !chance(random, 4))
	if chance(random, 8) {
		m.storeWord(at, 0, 1<<32-1)
		m.storeWord(at, 1, 1<<32-1)
	}
}

// keep returns the address of a descriptor, with its kind, or 0 if it is not the last one of
// a packet.
func (m *stmmac) keep(at uint64, kind int) uint64 {
	word, bit := 0, 8
	if kind >= stmmacGMAC4 {
		word, bit = 3, 28
	}
	if !m.is(at, word, bit) {
		return 0
	}
	return at | uint64(kind)
}

func (m *stmmac) kindOf(priv *memlab.Struct) int {
	plat := m.view("plat_stmmacenet_data", priv.Get("plat"))
	gmac4, xgmac := false, false
	if plat.Has("core_type") {
		gmac4, xgmac = plat.Get("core_type") == 2, plat.Get("core_type") == 3
	} else {
		gmac4, xgmac = plat.Get("has_gmac4") != 0, plat.Get("has_xgmac") != 0
	}
	switch {
	case gmac4:
		return stmmacGMAC4
	case xgmac:
		return stmmacXGMAC
	case plat.Get("enh_desc") == 0:
		return stmmacNormal
	case priv.Get("extend_desc") == 0:
		return stmmacEnhanced
	}
	return stmmacExtended
}

func (m *stmmac) find(ctx uint64) uint64 {
	queue := m.queueOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	priv := m.view("stmmac_priv", m.privateOf(rxq.Get("dev")))
	own := priv.At("dma_conf.rx_queue") + uint64(m.types.Size("stmmac_rx_queue"))*rxq.Get("queue_index")
	if queue.Address != own || queue.Get("priv_data") != priv.Address {
		return 0
	}
	kind := m.kindOf(priv)
	if m.inBuff() {
		return m.keep(m.view("stmmac_xdp_buff", ctx).Get("desc"), kind)
	}
	index := queue.Get("cur_rx")
	if index == 0 {
		index = priv.Get("dma_conf.dma_rx_size")
	}
	index = uint64(uint32(index - 1))
	if kind == stmmacExtended {
		return m.keep(queue.Get("dma_erx")+32*index, kind)
	}
	return m.keep(queue.Get("dma_rx")+16*index, kind)
}

func (m *stmmac) decode(found, ctx uint64) map[string]uint64 {
	at, kind := found&^15, int(found&15)
	priv := m.view("stmmac_priv", m.queueOf(ctx).Get("priv_data"))
	hw := m.view("mac_device_info", priv.Get("hw"))
	fields := map[string]uint64{
		"rx_timestamp": m.decodeStamp(at, kind, priv, ctx),
		"ptype":        m.decodeType(at, kind),
		"hash":         0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0,
	}
	if kind == stmmacXGMAC && m.is(at, 3, 26) {
		fields["hash"], fields["hash_type"] = m.word(at, 1), stmmacTypes[m.word(at, 3)>>20&15].hashed
	}
	if hw.Get("rx_csum") != 0 {
		fields["csum_status"] = m.decodeChecksum(at, kind)
	}
	if proto := m.decodeTag(at, kind, hw); proto != 0 {
		fields["vlan_tci"], fields["vlan_proto"] = m.word(at, 0)&0xffff, bigEndian(proto, 2)
	}
	return fields
}

// stmmacTypes is the type of a packet in a descriptor of XGMAC: bits 23:20 of word 3.
var stmmacTypes = map[uint64]struct{ hashed, ptype uint64 }{
	1: {1 | 0x18, 1 | 8}, 2: {1 | 0x28, 1 | 16}, 3: {1, 1 | 64}, 7: {1, 1},
	9: {2 | 0x18, 2 | 8}, 10: {2 | 0x28, 2 | 16}, 11: {2, 2 | 64}, 15: {2, 2},
}

// decodeTag returns the EtherType of the tag that the NIC took off, or 0.
func (m *stmmac) decodeTag(at uint64, kind int, hw *memlab.Struct) uint64 {
	if !hw.Has("hw_vlan_en") || hw.Get("hw_vlan_en") == 0 {
		return 0
	}
	if member, of := m.strips(hw); m.view(of, hw.Get(member)).Get("rx_hw_vlan") == 0 {
		return 0
	}
	const c, s = 0x8100, 0x88a8
	switch {
	case kind == stmmacGMAC4 && m.is(at, 3, 25):
		return c
	case kind == stmmacXGMAC: // bits 19:16: S, C, CC, SS, CS, SC
		return map[uint64]uint64{8: s, 9: c, 10: c, 11: s, 12: c, 13: s}[m.word(at, 3)>>16&15]
	}
	return 0
}

func (m *stmmac) decodeChecksum(at uint64, kind int) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	switch kind {
	case stmmacEnhanced: // bits 5, 7 and 0 of word 0: IP, header wrong, payload wrong
		if m.is(at, 0, 5) && (m.is(at, 0, 7) || m.is(at, 0, 0)) {
			return bad
		}
	case stmmacExtended: // of word 4, if bit 0 of word 0 says so
		ip, bypassed, wrong := m.is(at, 4, 6) || m.is(at, 4, 7), m.is(at, 4, 5), m.is(at, 4, 3) || m.is(at, 4, 4)
		if m.is(at, 0, 0) && ip && !bypassed && wrong {
			return bad
		}
	case stmmacGMAC4:
		ip, bypassed, wrong := m.is(at, 1, 4) || m.is(at, 1, 5), m.is(at, 1, 6), m.is(at, 1, 3) || m.is(at, 1, 7)
		switch {
		case !m.is(at, 3, 26) || !ip || bypassed:
			return none
		case wrong:
			return bad
		case m.word(at, 1)&7 >= 1 && m.word(at, 1)&7 <= 3:
			return unnecessary
		}
	case stmmacXGMAC:
		if stmmacTypes[m.word(at, 3)>>20&15].ptype&(8|16) != 0 {
			return unnecessary
		}
	}
	return none
}

func (m *stmmac) decodeType(at uint64, kind int) uint64 {
	var ipv4, ipv6 bool
	var l4 uint64
	switch {
	case kind == stmmacXGMAC:
		return stmmacTypes[m.word(at, 3)>>20&15].ptype
	case kind == stmmacGMAC4 && m.is(at, 3, 26):
		ipv4, ipv6, l4 = m.is(at, 1, 4), m.is(at, 1, 5), m.word(at, 1)&7
	case kind == stmmacExtended && m.is(at, 0, 0):
		ipv4, ipv6, l4 = m.is(at, 4, 6), m.is(at, 4, 7), m.word(at, 4)&7
	}
	found := map[uint64]uint64{1: 16, 2: 8, 3: 64}[l4]
	switch {
	case ipv4:
		return found | 1
	case ipv6:
		return found | 2
	}
	return 0
}

// decodeStamp is stmmac_xdp_rx_timestamp().
func (m *stmmac) decodeStamp(at uint64, kind int, priv *memlab.Struct, ctx uint64) uint64 {
	if priv.Get("hwts_rx_en") == 0 {
		return 0
	}
	next := m.next(ctx)
	context := !m.is(next, 3, 31) && m.is(next, 3, 30)
	var ns, s uint64
	switch {
	case kind == stmmacGMAC4 && m.is(at, 3, 26) && m.is(at, 1, 14) && context:
		ns, s = m.word(next, 0), m.word(next, 1)
	case kind == stmmacXGMAC && m.is(at, 3, 27) && context && !m.is(next, 3, 6) && m.is(next, 3, 4):
		ns, s = m.word(next, 0), m.word(next, 1)
	case kind == stmmacExtended && priv.Get("adv_ts") != 0:
		if m.is(at, 0, 7) {
			ns, s = m.word(at, 6), m.word(at, 7)
		}
	case kind <= stmmacExtended:
		ns, s = m.word(at, 2), m.word(at, 3)
	}
	const lost = 1<<32 - 1
	if ns == 0 && s == 0 || ns == lost && s == lost {
		return 0
	}
	return s*1_000_000_000 + ns - m.view("plat_stmmacenet_data", priv.Get("plat")).Get("cdc_error_adj")
}

// next returns the address of the descriptor behind the last one of a packet.
func (m *stmmac) next(ctx uint64) uint64 {
	if m.inBuff() {
		return m.view("stmmac_xdp_buff", ctx).Get("ndesc")
	}
	queue := m.queueOf(ctx)
	return queue.Get("dma_rx") + 16*queue.Get("cur_rx")
}
