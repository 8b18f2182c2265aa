package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var enaModel = modelled{
	memory: 2 << 20,
	model:  func(s setting) model { return &ena{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 8 | 16, 8 | 32, 1 | 8 | 16, 1 | 8 | 32, 2 | 8 | 16, 2 | 8 | 32},
		"ptype":       {0, 1, 2, 4, 4 | 1, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 8, 16},
	},
}

func TestEna(t *testing.T) { testModel(t, "ena") }

// ena is drivers/net/ethernet/amazon/ena, and the receive completion of the NIC: 16 bytes
// or more, little-endian as the machines that have one.
type ena struct{ setting }

func (m *ena) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "ena_ring", "xdp_rxq")
}

// ringAt returns a ring of a device.
func (m *ena) ringAt(device, queue uint64) *memlab.Struct {
	rings := m.view("ena_adapter", m.privateOf(device)).At("rx_ring")
	return m.view("ena_ring", rings+queue*uint64(m.types.Size("ena_ring")))
}

func (m *ena) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 128
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("ena_adapter"))
	dev.Set("features", random.Uint64()|random.Uint64())
	ring := m.ringAt(dev.Address, queue)
	device := dev.Address
	switch random.IntN(16) {
	case 0: // not in the device
		ring = m.place("ena_ring", 0)
		device = 0
	case 1: // of another number
		queue = (queue + 1) % queues
		device = 0
	case 2: // of another device
		device = 0
	}
	rxq, cq := m.view("xdp_rxq_info", ring.At("xdp_rxq")), m.place("ena_com_io_cq", 0)
	xdp := m.place("xdp_buff", 0)
	entries, size := uint64(1)<<random.IntN(6), []uint64{16, 32}[random.IntN(2)]
	completions, head := m.memory.Take(int(entries*size)), uint64(random.IntN(1<<16))
	if chance(random, 4) {
		head = uint64(random.IntN(2)) // around the wrap
	}

	ring.Set("netdev", dev.Address)
	if device == 0 && chance(random, 2) {
		ring.Set("netdev", m.placeDevice(0).Address)
	}
	ring.Set("ena_com_io_cq", cq.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	cq.Set("cdesc_addr.virt_addr", completions)
	cq.Set("q_depth", entries)
	cq.Set("head", head)
	cq.Set("cdesc_entry_size_in_bytes", size)
	pointers = []uint64{ring.At("netdev"), ring.At("ena_com_io_cq"), rxq.At("dev"), xdp.At("rxq"), cq.At("cdesc_addr.virt_addr")}

	descriptor = completions + (head+entries-1)%entries*size
	m.layCompletion(random, descriptor)
	if ring.Get("netdev") != dev.Address || ring.Address != m.ringAt(dev.Address, queue).Address {
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layCompletion lays out a random completion, mostly one that a NIC writes.
func (m *ena) layCompletion(random *rand.Rand, completion uint64) {
	l3s, l4s := []uint64{0, 8, 11, 21, 24, 27, 8, 11}, []uint64{0, 12, 13, 23, 28, 29, 12, 13}
	status := random.Uint64() & 0xfffe_0000 // 31:17
	status |= l3s[random.IntN(len(l3s))] | uint64(random.IntN(8))<<5 | l4s[random.IntN(len(l4s))]<<8
	status |= rarelySet(random, 13) | rarelySet(random, 14) | rarelySet(random, 15)
	status |= 1<<16 ^ rarelySet(random, 16)
	m.memory.Store(completion, 4, status)
}

// rarelySet returns a number with a bit that is set now and then.
func rarelySet(random *rand.Rand, bit int) uint64 {
	if chance(random, 4) {
		return 1 << bit
	}
	return 0
}

func (m *ena) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	own := m.ringAt(rxq.Get("dev"), rxq.Get("queue_index"))
	if ring.Get("netdev") != rxq.Get("dev") || ring.Address != own.Address {
		return 0
	}
	cq := m.view("ena_com_io_cq", ring.Get("ena_com_io_cq"))
	// Entries of a queue that is nowhere are counted as the machine does it.
	last := (cq.Get("head") - 1) & (cq.Get("q_depth") - 1) & 0xffffffff
	return cq.Get("cdesc_addr.virt_addr") + last*cq.Get("cdesc_entry_size_in_bytes")&0xffffffff
}

func (m *ena) decode(completion, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	is := func(bit uint64) bool { return m.memory.Load(completion+bit/8, 1)>>(bit%8)&1 != 0 }
	ip := map[uint64]uint64{8: 1, 11: 2}[m.memory.Load(completion, 1)&31]
	transport := map[uint64]string{12: "tcp", 13: "udp"}[m.memory.Load(completion+1, 1)&31]
	fragment := is(15)

	fields := map[string]uint64{"hash": 0, "hash_type": 0, "csum_status": 0, "ptype": ip}
	switch {
	case fragment:
		fields["ptype"] |= 4
		return fields
	case transport == "":
		return fields
	}
	fields["ptype"] |= map[string]uint64{"tcp": 8, "udp": 16}[transport]
	if feature(39) { // NETIF_F_RXHASH_BIT
		fields["hash"] = m.memory.Load(completion+8, 4)
		fields["hash_type"] = ip | 8 | map[string]uint64{"tcp": 16, "udp": 32}[transport]
	}
	ipInDoubt := ip == 1 && is(13)
	if feature(40) && is(16) && !ipInDoubt { // NETIF_F_RXCSUM_BIT, and L4 was checked
		fields["csum_status"] = 1
		if is(14) {
			fields["csum_status"] = 4
		}
	}
	return fields
}
