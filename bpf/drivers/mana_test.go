package drivers_test

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var manaModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &mana{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type": {0, 1, 1 | 0x18, 1 | 0x28, 2, 2 | 0x18, 2 | 0x28,
			2 | 4, 2 | 4 | 0x18, 2 | 4 | 0x28},
		"ptype": {0, 1, 2, 8, 16, 8 | 1, 8 | 2, 16 | 1, 16 | 2},
	},
}

func TestMana(t *testing.T) { testModel(t, "mana") }

// mana is drivers/net/ethernet/microsoft/mana, and the completion of a receive queue:
// little-endian.
type mana struct{ setting }

// Types of completions, as the NIC numbers them.
const (
	manaPacket    = 1
	manaUpTo4     = 2
	manaFence     = 3
	manaTruncated = 4
	manaUpTo8     = 7
)

func (m *mana) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "mana_rxq", "xdp_rxq")
}

func (m *mana) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 4
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("mana_port_context"))
	dev.Set("features", random.Uint64()|random.Uint64())
	port := m.view("mana_port_context", m.privateOf(dev.Address))
	ring, rings := m.place("mana_rxq", 0), m.memory.Take(8*queues)
	rxq, xdp := m.view("xdp_rxq_info", ring.At("xdp_rxq")), m.place("xdp_buff", 0)

	port.Set("rxqs", rings)
	m.memory.Store(rings+8*queue, 8, ring.Address)
	ring.Set("ndev", dev.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	pointers = []uint64{port.At("rxqs"), rings + 8*queue, ring.At("ndev"), rxq.At("dev"), xdp.At("rxq")}
	descriptor = m.layPoll(random, ring)
	switch random.IntN(16) {
	case 0: // another queue's
		rxq.Set("queue_index", (queue+1)%queues)
		m.memory.Store(rings+8*rxq.Get("queue_index"), 8, m.place("mana_rxq", 0).Address)
		descriptor = 0
	case 1: // another device's
		ring.Set("ndev", m.placeDevice(0).Address)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// completionAt returns the address of a completion that was copied.
func (m *mana) completionAt(ring *memlab.Struct, i int) uint64 {
	return ring.At("rx_cq.gdma_comp_buf") + uint64(i*m.types.Size("gdma_comp"))
}

// layPoll lays out the completions of a poll, and returns what is to be found.
func (m *mana) layPoll(random *rand.Rand, ring *memlab.Struct) (descriptor uint64) {
	completions := 1 + random.IntN(20)
	if chance(random, 8) {
		completions = 1 + random.IntN(200)
	}
	several := chance(random, 16)
	packets := 0
	for i := range completions {
		at, kind, length := m.completionAt(ring, i), uint64(manaPacket), uint64(1+random.IntN(1<<16-1))
		switch last := i == completions-1; {
		case several && last:
			kind = []uint64{manaUpTo4, manaUpTo8}[random.IntN(2)]
		case !last && chance(random, 16):
			kind = []uint64{manaFence, manaTruncated, manaTruncated, 5, 63}[random.IntN(5)]
		case !last && chance(random, 64):
			length = 0
		}
		m.storeLittle(at, 4, random.Uint64()&^0x3f|kind)
		m.storeLittle(at+8, 4, random.Uint64()&^0xffff|length)
		if kind == manaPacket && length != 0 {
			packets, descriptor = packets+1, at
		}
		m.layResult(random, at)
	}
	if several {
		packets++
	}
	if several || completions > 128 {
		descriptor = 0
	}
	ring.Set("rx_cq.work_done", uint64(packets))
	return descriptor
}

// layResult lays out what the NIC found out, mostly what one does.
func (m *mana) layResult(random *rand.Rand, completion uint64) {
	result := random.Uint64() & 0x1fff
	if chance(random, 4) {
		result |= random.Uint64() & 0xf000 // the outer header
	}
	if hashed := random.IntN(12); hashed < 9 {
		result |= 1 << (16 + hashed)
	}
	for _, pair := range []int{25, 27, 29} {
		switch random.IntN(4) {
		case 0:
		case 1:
			if chance(random, 2) {
				result |= 2 << pair
			}
		default:
			result |= 1 << pair
		}
	}
	m.storeLittle(completion+4, 4, result)
}

func (m *mana) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	port := m.view("mana_port_context", m.privateOf(rxq.Get("dev")))
	own := m.memory.Load(port.Get("rxqs")+8*rxq.Get("queue_index"), 8)
	if ring.Get("ndev") != rxq.Get("dev") || ring.Address != own {
		return 0
	}
	var packets []uint64
	for i := range 128 {
		at := m.completionAt(ring, i)
		kind := m.little(at, 1) & 0x3f
		if kind == manaUpTo4 || kind == manaUpTo8 {
			break
		}
		if kind == manaPacket && m.little(at+8, 2) != 0 {
			packets = append(packets, at)
		}
	}
	if nr := int(ring.Get("rx_cq.work_done")); nr >= 1 && nr <= len(packets) {
		return packets[nr-1]
	}
	return 0
}

// manaHashes is NDIS_HASH_*, by its bit, as bits of enum xdp_rss_hash_type.
var manaHashes = []uint64{
	1, 1 | 8 | 16, 1 | 8 | 32, 2, 2 | 8 | 16, 2 | 8 | 32, 2 | 4, 2 | 4 | 8 | 16, 2 | 4 | 8 | 32,
}

func (m *mana) decode(completion, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	result := m.little(completion+4, 4)
	is := func(bit int) bool { return result>>bit&1 != 0 }
	var hashed uint64
	if number := uint32(result >> 16 & 0x1ff); number != 0 {
		hashed = manaHashes[bits.TrailingZeros32(number)]
	}

	fields := map[string]uint64{
		"hash": 0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0, "ptype": hashed & 3,
	}
	switch {
	case hashed&16 != 0 || is(27) || is(28):
		fields["ptype"] |= 8
	case hashed&32 != 0 || is(29) || is(30):
		fields["ptype"] |= 16
	}
	if feature(39) && hashed != 0 { // NETIF_F_RXHASH_BIT
		fields["hash"], fields["hash_type"] = m.little(completion+16, 4), hashed
	}
	if feature(40) { // NETIF_F_RXCSUM_BIT
		switch {
		case is(14) || is(26) || is(28) || is(30): // wrong
			fields["csum_status"] = 4
		case is(25) && (is(27) || is(29)):
			fields["csum_status"] = 1
		}
	}
	if is(12) {
		fields["vlan_tci"], fields["vlan_proto"] = result&0xfff, bigEndian(0x8100, 2)
	}
	return fields
}
