package drivers_test

import (
	"math/rand/v2"
	"testing"
)

var virtioNetModel = modelled{
	memory: 64 << 10,
	model:  func(s setting) model { return &virtioNet{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1},
		"hash_type":   {0, 1, 1 | 0x18, 1 | 0x28, 2, 2 | 0x18, 2 | 0x28, 6, 6 | 0x18, 6 | 0x28},
		"ptype":       {0, 1, 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2},
	},
}

func TestVirtioNet(t *testing.T) { testModel(t, "virtio_net") }

// virtioNet is drivers/net/virtio_net.c, and struct virtio_net_hdr_v1_hash as the virtio
// specification has it: little-endian.
type virtioNet struct{ setting }

// header returns a number of a header, by its offset.
func (m *virtioNet) header(address uint64, offset, size int) (number uint64) {
	for i := range size {
		number |= m.memory.Load(address+uint64(offset+i), 1) << (8 * i)
	}
	return number
}

// headroom returns how far behind data_hard_start the driver puts a packet. Since 6.3 it
// counts up to the header in mergeable buffers, in all others up to the packet.
func (m *virtioNet) headroom(info uint64, zeroCopy bool) uint64 {
	const room = 256
	vi := m.view("virtnet_info", info)
	if zeroCopy || vi.Get("mergeable_rx_bufs") == 0 || !m.view("net_device", 0).Has("xdp_metadata_ops") {
		return room
	}
	return room + vi.Get("hdr_len")
}

func (m *virtioNet) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 4
	queue := uint64(random.IntN(queues))
	size := m.types.Size("receive_queue")
	dev := m.placeDevice(m.types.Size("virtnet_info"))
	dev.Set("features", random.Uint64()|random.Uint64())
	rings := m.memory.Take(queues * size)
	ring := m.view("receive_queue", rings+queue*uint64(size))
	vi := m.view("virtnet_info", m.privateOf(dev.Address))
	vi.Set("dev", dev.Address)
	vi.Set("rq", rings)
	vi.Set("mergeable_rx_bufs", uint64(random.IntN(2)))
	m.layReports(random, vi.Address)

	member, zeroCopy := "xdp_rxq", ring.Has("xsk_rxq_info") && chance(random, 3)
	if zeroCopy {
		member = "xsk_rxq_info"
	}
	rxq := m.view("xdp_rxq_info", ring.At(member))
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)

	xdp := m.view("xdp_buff", m.memory.Take(m.types.Size("xdp_buff")))
	buffer := m.memory.Take(1024)
	packet := buffer + m.headroom(vi.Address, zeroCopy)
	xdp.Set("rxq", rxq.Address)
	xdp.Set("data_hard_start", buffer)
	xdp.Set("data", packet)
	xdp.Set("data_meta", packet)
	descriptor = packet - vi.Get("hdr_len")
	m.layHeader(random, descriptor)
	pointers = []uint64{vi.At("dev"), vi.At("rq"), rxq.At("dev"), xdp.At("rxq"),
		xdp.At("data_hard_start"), xdp.At("data"), xdp.At("data_meta")}

	switch random.IntN(12) {
	case 0: // in generic mode, a cpumap or TEST_RUN: the device's, but not in the array
		foreign := m.view("xdp_rxq_info", m.memory.Take(size))
		foreign.Set("dev", dev.Address)
		foreign.Set("queue_index", queue)
		xdp.Set("rxq", foreign.Address)
		descriptor = 0
	case 1: // moved by a program that ran before, or with metadata in front of it
		length := int(vi.Get("hdr_len"))
		moves := []int{-length, length, 14, 14 + 20, -4}
		xdp.Set("data_meta", packet+uint64(moves[random.IntN(len(moves))]))
		if chance(random, 2) {
			xdp.Set("data", xdp.Get("data_meta"))
		}
		descriptor = 0
	case 2: // both: metadata, which moves with the packet, was over the header before
		xdp.Set("data", packet+vi.Get("hdr_len"))
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layReports lays out whether the device reports hashes, and how long its headers are.
func (m *virtioNet) layReports(random *rand.Rand, info uint64) {
	vi := m.view("virtnet_info", info)
	lengths, reports := []uint64{20, 24}, uint64(1)
	if chance(random, 6) {
		lengths, reports = []uint64{10, 12, 24}, 0
	}
	vi.Set("hdr_len", lengths[random.IntN(len(lengths))])
	vi.Set("has_rss_hash_report", reports)
}

func (m *virtioNet) layHeader(random *rand.Rand, header uint64) {
	m.memory.Store(header, 1, uint64(random.IntN(8))) // flags
	if !chance(random, 8) {
		m.memory.Store(header+16, 1, uint64(random.IntN(11)))
		m.memory.Store(header+17, 1, 0)
	}
}

func (m *virtioNet) find(ctx uint64) uint64 {
	xdp := m.view("xdp_buff", ctx)
	rxq := m.view("xdp_rxq_info", xdp.Get("rxq"))
	vi := m.view("virtnet_info", m.privateOf(rxq.Get("dev")))
	own := m.view("receive_queue", vi.Get("rq")+rxq.Get("queue_index")*uint64(m.types.Size("receive_queue")))
	zeroCopy := own.Has("xsk_rxq_info") && rxq.Address == own.At("xsk_rxq_info")
	switch {
	case vi.Get("dev") != rxq.Get("dev"):
		return 0
	case !zeroCopy && rxq.Address != own.At("xdp_rxq"):
		return 0
	case xdp.Get("data_meta") != xdp.Get("data"):
		return 0
	case xdp.Get("data_meta")-xdp.Get("data_hard_start") != m.headroom(vi.Address, zeroCopy):
		return 0
	}
	return xdp.Get("data_meta") - vi.Get("hdr_len")
}

// virtioReport is what VIRTIO_NET_HASH_REPORT_* means.
type virtioReport struct {
	ip      int
	l4      string
	address bool // of an extension header
}

var virtioReports = []virtioReport{
	{}, {ip: 4}, {ip: 4, l4: "tcp"}, {ip: 4, l4: "udp"}, {ip: 6}, {ip: 6, l4: "tcp"}, {ip: 6, l4: "udp"},
	{ip: 6, address: true}, {ip: 6, l4: "tcp", address: true}, {ip: 6, l4: "udp", address: true},
}

func (m *virtioNet) decode(header, ctx uint64) map[string]uint64 {
	device := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev")
	fields := map[string]uint64{"hash": 0, "hash_type": 0, "ptype": 0, "csum_status": 0}
	flags := m.header(header, 0, 1)
	if needsSum, valid := flags&1 != 0, flags&2 != 0; valid && !needsSum {
		fields["csum_status"] = 1
	}
	number := m.header(header, 16, 2)
	hashes := m.view("net_device", device).Get("features")>>39&1 != 0 &&
		m.view("virtnet_info", m.privateOf(device)).Get("has_rss_hash_report") == 1
	if !hashes || number == 0 || number >= uint64(len(virtioReports)) {
		return fields
	}
	report := virtioReports[number]
	fields["hash"] = m.header(header, 12, 4)
	fields["hash_type"] = map[int]uint64{4: 1, 6: 2}[report.ip] | map[string]uint64{"tcp": 8 | 16, "udp": 8 | 32}[report.l4]
	if report.address {
		fields["hash_type"] |= 4
	}
	fields["ptype"] = map[int]uint64{4: 1, 6: 2}[report.ip] | map[string]uint64{"tcp": 8, "udp": 16}[report.l4]
	return fields
}
