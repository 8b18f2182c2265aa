package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var otx2Model = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &otx2{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type": {0, 1, 2, 1 | 4, 2 | 4, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28, 1 | 0x48, 2 | 0x48,
			1 | 4 | 0x18, 2 | 4 | 0x28},
		"ptype": {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 32 | 1, 32 | 2, 64 | 1, 64 | 2, 256 | 1,
			128, 128 | 1, 128 | 2, 128 | 8 | 1, 128 | 16 | 2, 128 | 32 | 1, 128 | 64 | 1, 128 | 256 | 1},
		"vlan_proto": {0, bigEndian(0x8100, 2)},
	},
}

func TestOtx2(t *testing.T) { testModel(t, "rvu-nicpf") }

// otx2 is drivers/net/ethernet/marvell/octeontx2/nic. A completion is words of 8 bytes: a
// header, and seven of what the parser found, little-endian.
type otx2 struct{ setting }

const otx2Completion = 128

// bits returns some bits of a completion, by their place in it.
func (m *otx2) bits(completion uint64, word, low, count int) uint64 {
	return m.little(completion+uint64(8*word), 8) >> low & (1<<count - 1)
}

// put puts a number there.
func (m *otx2) put(completion uint64, word, low, count int, number uint64) {
	mask := uint64(1<<count-1) << low
	whole := m.little(completion+uint64(8*word), 8)&^mask | number<<low
	m.storeLittle(completion+uint64(8*word), 8, whole)
}

func (m *otx2) rxqOf(ctx uint64) *memlab.Struct {
	return m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
}

func (m *otx2) nicOf(device uint64) *memlab.Struct { return m.view("otx2_nic", m.privateOf(device)) }

func (m *otx2) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, slots = 4, 64
	queue, index := uint64(random.IntN(queues)), uint64(random.IntN(slots))
	dev := m.placeDevice(m.types.Size("otx2_nic"))
	dev.Set("features", random.Uint64()|random.Uint64())
	nic := m.nicOf(dev.Address)
	size := m.types.Size("otx2_cq_queue")
	rings := m.memory.Take(queues * size)
	ring, xdp := m.view("otx2_cq_queue", rings+queue*uint64(size)), m.place("xdp_buff", 0)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	completions := m.memory.Take(otx2Completion * slots)

	nic.Set("netdev", dev.Address)
	nic.Set("qset.cq", rings)
	nic.Set("flags", random.Uint64())
	nic.Set("hw.rss_info.flowkey_cfg", uint64(random.Uint32()|random.Uint32()))
	if chance(random, 6) {
		nic.Set("hw.rss_info.flowkey_cfg", 0)
	}
	ring.Set("cqe_base", completions)
	ring.Set("cqe_size", otx2Completion)
	ring.Set("cqe_cnt", slots)
	ring.Set("cq_head", (index+1)%slots)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	descriptor = completions + otx2Completion*index
	m.layCompletion(random, descriptor)
	pointers = []uint64{nic.At("netdev"), nic.At("qset.cq"), ring.At("cqe_base"), rxq.At("dev"), xdp.At("rxq")}

	switch random.IntN(12) {
	case 0: // the device's, but not in the array
		foreign := m.place("otx2_cq_queue", 0)
		rxq := m.view("xdp_rxq_info", foreign.At("xdp_rxq"))
		rxq.Set("dev", dev.Address)
		rxq.Set("queue_index", queue)
		xdp.Set("rxq", rxq.Address)
		descriptor = 0
	case 1: // of a device that is not the driver's
		nic.Set("netdev", 0)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layCompletion lays out a completion, mostly one that a NIC writes.
func (m *otx2) layCompletion(random *rand.Rand, at uint64) {
	if !chance(random, 3) { // no error
		m.put(at, 1, 20, 12, 0)
	} else if !chance(random, 3) { // of the last level
		m.put(at, 1, 20, 4, 15)
		m.put(at, 1, 24, 8, []uint64{0x10, 0x12, 0x22}[random.IntN(3)])
	}
	if !chance(random, 4) {
		m.put(at, 1, 40, 4, uint64(2+random.IntN(4)))
	}
	m.put(at, 1, 44, 4, uint64([]int{0, 1, 2, 4, 5, 15, random.IntN(16)}[random.IntN(7)]))
	if chance(random, 2) { // no tunnel
		m.put(at, 1, 52, 12, 0)
	} else if !chance(random, 4) { // one with IP
		m.put(at, 1, 56, 4, uint64(1+random.IntN(2)))
	}
	m.put(at, 1, 36, 4, uint64(random.IntN(4)))
}

func (m *otx2) find(ctx uint64) uint64 {
	rxq := m.rxqOf(ctx)
	nic := m.nicOf(rxq.Get("dev"))
	ring := m.view("otx2_cq_queue", nic.Get("qset.cq")+rxq.Get("queue_index")*uint64(m.types.Size("otx2_cq_queue")))
	if nic.Get("netdev") != rxq.Get("dev") || ring.At("xdp_rxq") != rxq.Address {
		return 0
	}
	index := uint64(uint32(ring.Get("cq_head"))-1) & (ring.Get("cqe_cnt") - 1) & 0xffffffff
	return ring.Get("cqe_base") + index*ring.Get("cqe_size")
}

// The parser's types of layers, those that md_desc has a bit for.
var (
	otx2Networks   = map[uint64]uint64{2: 1, 3: 1, 4: 2, 5: 2}
	otx2Transports = map[uint64]uint64{1: 8, 2: 16, 4: 32, 5: 64, 15: 64, 8: 256, 9: 256, 10: 256, 11: 256}
)

// otx2Hashed is what goes into the hash of a packet that has a layer: by the type of it, the
// bit of the configuration and what xdp_rss_hash_type says.
var (
	otx2HashedNetworks   = map[uint64][2]uint64{2: {1, 1}, 3: {1, 1 | 4}, 4: {2, 2}, 5: {2, 2 | 4}}
	otx2HashedTransports = map[uint64][2]uint64{1: {3, 8 | 16}, 2: {4, 8 | 32}, 4: {5, 8 | 64}}
)

func (m *otx2) decode(completion, ctx uint64) map[string]uint64 {
	rxq := m.rxqOf(ctx)
	nic, features := m.nicOf(rxq.Get("dev")), m.view("net_device", rxq.Get("dev")).Get("features")
	network, transport := m.bits(completion, 1, 40, 4), m.bits(completion, 1, 44, 4)
	fields := map[string]uint64{
		"hash": 0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0, "mark": 0,
		"ptype": m.ptype(completion, network, transport),
	}
	if features>>39&1 != 0 { // NETIF_F_RXHASH_BIT
		config := nic.Get("hw.rss_info.flowkey_cfg")
		for _, layer := range [][2]uint64{otx2HashedNetworks[network], otx2HashedTransports[transport]} {
			if config>>layer[0]&1 != 0 {
				fields["hash_type"] |= layer[1]
			}
		}
	}
	if fields["hash_type"] != 0 {
		fields["hash"] = m.bits(completion, 0, 0, 32)
	}
	if features>>40&1 != 0 { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = m.checksum(completion, transport)
	}
	if gone, tag := m.bits(completion, 2, 21, 1), m.bits(completion, 1, 36, 4); gone != 0 && tag == 2 {
		fields["vlan_tci"], fields["vlan_proto"] = m.bits(completion, 2, 32, 16), bigEndian(0x8100, 2)
	}
	if nic.Get("flags")>>17&1 != 0 {
		fields["mark"] = m.bits(completion, 4, 48, 16)
	}
	return fields
}

func (m *otx2) ptype(completion, network, transport uint64) uint64 {
	const tunnelled = 128
	switch inner := m.bits(completion, 1, 56, 4); {
	case inner == 1 || inner == 2:
		return inner | otx2Transports[m.bits(completion, 1, 60, 4)] | tunnelled
	case inner != 0 || m.bits(completion, 1, 52, 4) == 1:
		return tunnelled
	case otx2Networks[network] != 0:
		return otx2Networks[network] | otx2Transports[transport]
	}
	return 0
}

// checksum is the error of a packet, a level and a code, 0x12 and 0x22 of the last level
// being those of sums.
func (m *otx2) checksum(completion, transport uint64) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	switch m.bits(completion, 1, 20, 12) {
	case 0x12f, 0x22f:
		return bad
	case 0:
		if transport == 1 || transport == 2 {
			return unnecessary
		}
	}
	return none
}
