package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var vmxnet3Model = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &vmxnet3{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28, 1 | 0x88, 2 | 0x88},
		"ptype": {1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 4 | 1, 4 | 2,
			128 | 8 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 16 | 2},
	},
}

func TestVmxnet3(t *testing.T) { testModel(t, "vmxnet3") }

// vmxnet3 is drivers/net/vmxnet3, and the completion of a receive queue: 16 bytes.
type vmxnet3 struct{ setting }

// completion returns bits of a completion, counted from the lowest of its first byte.
func (m *vmxnet3) completion(address uint64, bit, width int) (number uint64) {
	for i := range width {
		at := bit + i
		number |= m.memory.Load(address+uint64(at/8), 1) >> (at % 8) & 1 << i
	}
	return number
}

// Bits of the completion that are asked for alone.
const (
	vmxnet3Inner         = 13
	vmxnet3Last          = 14
	vmxnet3NotCalculated = 30
	vmxnet3Tag           = 64 + 15
	vmxnet3L4Right       = 96 + 16
	vmxnet3UDP           = 96 + 17
	vmxnet3TCP           = 96 + 18
	vmxnet3IPRight       = 96 + 19
	vmxnet3IPv6          = 96 + 20
	vmxnet3IPv4          = 96 + 21
	vmxnet3Fragment      = 96 + 22
)

func (m *vmxnet3) is(completion uint64, bit int) bool { return m.completion(completion, bit, 1) == 1 }

func (m *vmxnet3) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "vmxnet3_rx_queue", "xdp_rxq")
}

func (m *vmxnet3) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues, size = 4, 8
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("vmxnet3_adapter"))
	dev.Set("features", random.Uint64()|random.Uint64())
	adapter := m.view("vmxnet3_adapter", m.privateOf(dev.Address))
	ring := m.view("vmxnet3_rx_queue", adapter.At("rx_queue")+queue*uint64(m.types.Size("vmxnet3_rx_queue")))

	// In generic mode, a cpumap or TEST_RUN: the device's, but not in the array.
	foreign := chance(random, 8)
	if foreign {
		ring = m.place("vmxnet3_rx_queue", 0)
	}
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	completions, next := m.memory.Take(16*size), uint64(random.IntN(size))
	ring.Set("adapter", adapter.Address)
	ring.Set("comp_ring.base", completions)
	ring.Set("comp_ring.next2proc", next)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp := m.place("xdp_buff", 0)
	xdp.Set("rxq", rxq.Address)
	pointers = []uint64{ring.At("adapter"), ring.At("comp_ring.base"), rxq.At("dev"), xdp.At("rxq")}

	descriptor = completions + 16*next
	m.layCompletion(random, descriptor)
	if foreign || !m.is(descriptor, vmxnet3Last) {
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layCompletion lays out a random completion, mostly one that a device writes.
func (m *vmxnet3) layCompletion(random *rand.Rand, completion uint64) {
	set := func(bit int, on bool) {
		at, mask := completion+uint64(bit/8), uint64(1)<<(bit%8)
		octet := m.memory.Load(at, 1) &^ mask
		if on {
			octet |= mask
		}
		m.memory.Store(at, 1, octet)
	}
	set(vmxnet3Last, !chance(random, 16))
	set(vmxnet3Inner, chance(random, 4))
	if chance(random, 2) {
		v4 := chance(random, 2)
		set(vmxnet3IPv4, v4)
		set(vmxnet3IPv6, !v4)
		tcp := chance(random, 2)
		set(vmxnet3TCP, tcp)
		set(vmxnet3UDP, !tcp)
		set(vmxnet3Fragment, false)
	}
	if chance(random, 2) {
		set(vmxnet3NotCalculated, false)
		set(vmxnet3IPRight, true)
	}
	if chance(random, 2) {
		set(29, false) // one of the types of hashes that there are
	}
}

func (m *vmxnet3) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	adapter := m.view("vmxnet3_adapter", m.privateOf(rxq.Get("dev")))
	own := adapter.At("rx_queue") + rxq.Get("queue_index")*uint64(m.types.Size("vmxnet3_rx_queue"))
	if ring.Get("adapter") != adapter.Address || ring.Address != own {
		return 0
	}
	completion := ring.Get("comp_ring.base") + 16*ring.Get("comp_ring.next2proc")
	if !m.is(completion, vmxnet3Last) {
		return 0
	}
	return completion
}

// vmxnet3Hashes is VMXNET3_RCD_RSS_TYPE_* as bits of enum xdp_rss_hash_type.
var vmxnet3Hashes = []uint64{
	0, 1, 1 | 8 | 16, 2, 2 | 8 | 16, 1 | 8 | 32, 2 | 8 | 32, 1 | 8 | 128, 2 | 8 | 128,
}

func (m *vmxnet3) decode(completion, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	fields := map[string]uint64{
		"hash": 0, "hash_type": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0,
		"ptype": m.decodePacketType(completion),
	}
	typ := m.completion(completion, 26, 4)
	if feature(39) && typ != 0 && typ < uint64(len(vmxnet3Hashes)) {
		fields["hash"], fields["hash_type"] = m.completion(completion, 32, 32), vmxnet3Hashes[typ]
	}
	if feature(40) {
		fields["csum_status"] = m.decodeChecksum(completion)
	}
	if m.is(completion, vmxnet3Tag) {
		fields["vlan_tci"], fields["vlan_proto"] = m.completion(completion, 80, 16), bigEndian(0x8100, 2)
	}
	return fields
}

// decodeChecksum is vmxnet3_rx_csum(), and what it means if that finds nothing right.
func (m *vmxnet3) decodeChecksum(completion uint64) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	is := func(bit int) bool { return m.is(completion, bit) }
	v4 := is(vmxnet3IPv4)
	ip := !v4 || is(vmxnet3IPRight)
	switch {
	case is(vmxnet3NotCalculated), !v4 && !is(vmxnet3IPv6):
		return none
	case ip && is(vmxnet3L4Right):
		return unnecessary
	case is(vmxnet3Inner):
		return none
	case !ip:
		return bad
	case is(vmxnet3Fragment):
		return none
	case is(vmxnet3TCP):
		return bad
	case is(vmxnet3UDP) && !v4: // over IPv4 there may be no sum
		return bad
	}
	return none
}

func (m *vmxnet3) decodePacketType(completion uint64) (ptype uint64) {
	first := func(bits map[int]uint64, order ...int) uint64 {
		for _, bit := range order {
			if m.is(completion, bit) {
				return bits[bit]
			}
		}
		return 0
	}
	return first(map[int]uint64{vmxnet3IPv4: 1, vmxnet3IPv6: 2}, vmxnet3IPv4, vmxnet3IPv6) |
		first(map[int]uint64{vmxnet3TCP: 8, vmxnet3UDP: 16}, vmxnet3TCP, vmxnet3UDP) |
		first(map[int]uint64{vmxnet3Fragment: 4}, vmxnet3Fragment) |
		first(map[int]uint64{vmxnet3Inner: 128}, vmxnet3Inner)
}
