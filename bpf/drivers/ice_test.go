package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var iceModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &ice{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type": {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28, 1 | 0x48, 2 | 0x48,
			1 | 0x108, 2 | 0x108},
		"ptype": {0, 1, 2, 4 | 1, 4 | 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 32 | 1, 32 | 2, 64 | 1, 64 | 2,
			128, 128 | 1, 128 | 2, 128 | 4 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 32 | 2, 128 | 64 | 1},
	},
	lacks: map[string][]string{"6.1": {"csum"}, "6.12": {"csum"}}, // no sum in the descriptor
}

func TestIce(t *testing.T) { testModel(t, "ice") }

// ice is drivers/net/ethernet/intel/ice, and the receive descriptor of the NIC that is its
// flexible profile 2: 32 bytes, little-endian.
type ice struct{ setting }

// desc returns a number of a descriptor, by its offset.
func (m *ice) desc(address uint64, offset uint64, size int) uint64 {
	return m.little(address+offset, size)
}

func (m *ice) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "ice_rx_ring", "xdp_rxq")
}

// buff returns the driver's part of a buff, and the member that is the descriptor.
func (m *ice) buff(ctx uint64) (*memlab.Struct, string) {
	if m.types.Has("ice_xdp_buff") {
		return m.view("ice_xdp_buff", ctx), "eop_desc"
	}
	return m.view("libeth_xdp_buff", ctx), "desc"
}

func (m *ice) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 4
	queue := uint64(random.IntN(queues))
	dev, vsi := m.placeDevice(m.types.Size("ice_netdev_priv")), m.place("ice_vsi", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	rings, ring := m.memory.Take(queues*8), m.place("ice_rx_ring", 0)
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	priv := m.view("ice_netdev_priv", m.privateOf(dev.Address))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)

	priv.Set("vsi", vsi.Address)
	vsi.Set("rx_rings", rings)
	m.memory.Store(rings+8*queue, 8, ring.Address)
	ring.Set("netdev", dev.Address)
	ring.Set("cached_phctime", rarely(random, random.Uint64()))
	if ring.Has("vlan_proto") {
		ring.Set("vlan_proto", rarely(random, ring.Get("vlan_proto")))
	}
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	pointers = []uint64{priv.At("vsi"), vsi.At("rx_rings"), rings + 8*queue, ring.At("netdev"), rxq.At("dev"),
		xdp.At("rxq")}
	if m.inBuff() {
		buff, member := m.buff(ctx)
		descriptor = m.memory.Take(32)
		buff.Set(member, descriptor)
		pointers = append(pointers, buff.At(member))
	} else {
		descriptor = m.layRing(random, ring, rxq)
		pointers = append(pointers, ring.At("desc"))
	}
	m.layDescriptor(random, descriptor)

	// The device's, but not the ring that it has.
	if chance(random, 8) {
		foreign := m.place("ice_rx_ring", 0)
		m.memory.Store(rings+8*queue, 8, foreign.Address)
		descriptor = 0
	}
	return ctx, m.ifLast(descriptor), pointers
}

// inBuff says whether a buff knows its descriptor.
func (m *ice) inBuff() bool { return !m.view("ice_rx_ring", 0).Has("skb") }

const iceSlots = 256

// layRing lays out a ring in the middle of a poll, or of AF_XDP, and returns the address of
// the descriptor that it is at, or 0 if it has gone too far to tell.
func (m *ice) layRing(random *rand.Rand, ring, rxq *memlab.Struct) uint64 {
	size := m.types.Size("ice_rx_buf")
	descriptors, buffers := m.memory.Take(32*iceSlots), m.memory.Take(size*iceSlots)
	start, behind := random.IntN(iceSlots), random.IntN(140)
	at := (start + behind) % iceSlots
	ring.Set("desc", descriptors)
	ring.Set("rx_buf", buffers)
	ring.Set("count", iceSlots)
	ring.Set("next_to_alloc", uint64(start))
	ring.Set("next_to_clean", uint64(random.IntN(iceSlots)))
	for i := range iceSlots {
		m.view("ice_rx_buf", buffers+uint64(i*size)).Set("page", random.Uint64()|1)
	}
	for i := range behind {
		m.view("ice_rx_buf", buffers+uint64((start+i)%iceSlots*size)).Set("page", 0)
	}
	rxq.Set("mem.type", uint64(random.IntN(3)))
	if chance(random, 4) {
		rxq.Set("mem.type", 3)
		return descriptors + 32*ring.Get("next_to_clean")
	}
	if behind >= 128 {
		m.memory.Store(descriptors+32*uint64(at)+8, 1, 0xff) // which would do
		return 0
	}
	return descriptors + 32*uint64(at)
}

// inRing returns the address of a descriptor that the buff does not know, or 0.
func (m *ice) inRing(ring, rxq *memlab.Struct) uint64 {
	if rxq.Get("mem.type") == 3 { // MEM_TYPE_XSK_BUFF_POOL
		return ring.Get("desc") + 32*ring.Get("next_to_clean")
	}
	size, at := uint64(m.types.Size("ice_rx_buf")), ring.Get("next_to_alloc")
	for range 128 {
		if m.view("ice_rx_buf", ring.Get("rx_buf")+size*at).Get("page") != 0 {
			return ring.Get("desc") + 32*at
		}
		if at++; at == ring.Get("count") {
			at = 0
		}
	}
	return 0
}

// layDescriptor makes a random descriptor mostly one that a NIC writes.
func (m *ice) layDescriptor(random *rand.Rand, descriptor uint64) {
	if descriptor == 0 {
		return
	}
	store := func(offset uint64, octets ...byte) {
		for i, octet := range octets {
			m.memory.Store(descriptor+offset+uint64(i), 1, uint64(octet))
		}
	}
	if !chance(random, 8) {
		store(0, 2) // profile
	}
	ptype := uint16(random.IntN(170)) | uint16(random.IntN(64))<<10
	store(2, byte(ptype), byte(ptype>>8))
	if !chance(random, 8) {
		store(8, byte(random.Uint32())|1<<1|1<<3) // last, checked
	}
	if chance(random, 2) { // no error of a checksum
		store(8, 1<<1|1<<3, byte(random.Uint32())&^(1<<1))
	}
	if chance(random, 8) {
		store(12, 0, 0, 0, 0) // hash
	}
}

// ifLast returns the address of a descriptor that is the last one of a packet, or 0.
func (m *ice) ifLast(descriptor uint64) uint64 {
	if m.desc(descriptor, 8, 1)>>1&1 == 0 {
		return 0
	}
	return descriptor
}

func (m *ice) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	vsi := m.view("ice_vsi", m.view("ice_netdev_priv", m.privateOf(rxq.Get("dev"))).Get("vsi"))
	own := m.memory.Load(vsi.Get("rx_rings")+8*rxq.Get("queue_index"), 8)
	if ring.Get("netdev") != rxq.Get("dev") || ring.Address != own {
		return 0
	}
	if !m.inBuff() {
		return m.ifLast(m.inRing(ring, rxq))
	}
	buff, member := m.buff(ctx)
	return m.ifLast(buff.Get(member))
}

// icePacket is what a number of a packet type means.
type icePacket struct {
	known    bool
	ip       int    // version of the outer header
	tunnel   bool   // whether there is another
	inner    int    // its version, 0 if it is none
	fragment bool   // of the innermost
	l4       string // of the innermost
}

// icePackets is the table of packet types, as "Hardware Packet Types" of the NIC has it and
// libie_rx_pt_lut[] of the kernel: in the order of their numbers.
var icePackets = func() []icePacket {
	packets := make([]icePacket, 22) // of L2 and of protocols of its own
	for _, ip := range []int{4, 6} {
		seven := func(tunnel bool, inner int) {
			p := icePacket{known: true, ip: ip, tunnel: tunnel, inner: inner}
			fragment := p
			fragment.fragment = true
			packets = append(packets, fragment)
			for _, l4 := range []string{"", "udp", "unused", "tcp", "sctp", "icmp"} {
				p.l4 = l4
				if p.known = l4 != "unused"; !p.known {
					packets = append(packets, icePacket{})
					continue
				}
				packets = append(packets, p)
			}
		}
		seven(false, 0)
		seven(true, 4)
		seven(true, 6)
		for range 3 { // GRE or UDP, with a MAC, with a MAC and a VLAN
			packets = append(packets, icePacket{known: true, ip: ip, tunnel: true})
			seven(true, 4)
			seven(true, 6)
		}
	}
	return packets
}()

func (m *ice) packet(descriptor uint64) icePacket {
	if number := m.desc(descriptor, 2, 2) & 0x3ff; number < uint64(len(icePackets)) {
		return icePackets[number]
	}
	return icePacket{}
}

func (m *ice) decode(descriptor, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	ring, packet := m.ringOf(ctx), m.packet(descriptor)
	fields := map[string]uint64{
		"rx_timestamp": m.decodeStamp(descriptor, ring),
		"ptype":        packet.ptype(),
		"hash":         0, "hash_type": 0, "csum": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0,
	}
	profile := m.desc(descriptor, 0, 1) == 2
	if feature(39) && profile && m.desc(descriptor, 12, 4) != 0 {
		fields["hash"], fields["hash_type"] = m.desc(descriptor, 12, 4), packet.hashed()
	}
	if feature(40) {
		fields["csum_status"] = m.decodeChecksum(descriptor, ring, packet, profile)
	}
	if fields["csum_status"] == 2 {
		fields["csum"] = m.desc(descriptor, 20, 1)<<8 | m.desc(descriptor, 21, 1)
	}
	first, second := m.desc(descriptor, 9, 1)>>5&1 != 0, m.desc(descriptor, 17, 1)>>3&1 != 0
	if proto := m.stripped(ring, feature); proto != 0 && (first || second) {
		fields["vlan_proto"], fields["vlan_tci"] = proto, m.desc(descriptor, 22, 2)
		if first {
			fields["vlan_tci"] = m.desc(descriptor, 10, 2)
		}
	}
	return fields
}

// stripped returns the EtherType of the tags that are taken off, or 0.
func (m *ice) stripped(ring *memlab.Struct, feature func(bit int) bool) uint64 {
	switch {
	case ring.Has("vlan_proto"):
		return ring.Get("vlan_proto")
	case feature(8): // NETIF_F_HW_VLAN_CTAG_RX_BIT
		return bigEndian(0x8100, 2)
	case feature(46): // NETIF_F_HW_VLAN_STAG_RX_BIT
		return bigEndian(0x88a8, 2)
	}
	return 0
}

func (p icePacket) ptype() uint64 {
	bits := map[string]uint64{"tcp": 8, "udp": 16, "sctp": 32, "icmp": 64}[p.l4]
	innermost := p.ip
	if p.tunnel {
		bits |= 128
		innermost = p.inner
	}
	if p.fragment {
		bits |= 4
	}
	return bits | map[int]uint64{4: 1, 6: 2}[innermost]
}

func (p icePacket) hashed() uint64 {
	const l4 = 8
	return map[int]uint64{4: 1, 6: 2}[p.ip] |
		map[string]uint64{"tcp": l4 | 16, "udp": l4 | 32, "sctp": l4 | 64, "icmp": l4 | 256}[p.l4]
}

// decodeChecksum is ice_rx_csum(), and what its errors mean.
func (m *ice) decodeChecksum(descriptor uint64, ring *memlab.Struct, p icePacket, profile bool) uint64 {
	const none, unnecessary, complete, bad = 0, 1, 2, 4
	status := m.desc(descriptor, 8, 2)
	is := func(bit int) bool { return status>>bit&1 != 0 }
	var (
		checked                  = is(3)
		wrongIP, wrongL4         = is(4), is(5)
		wrongOuterIP, wrongOuter = is(6), is(7)
		extended                 = is(9)
		natted                   = m.desc(descriptor, 16, 1)>>4&1 != 0
	)
	summed := m.view("ice_32b_rx_flex_desc_nic", 0).Has("raw_csum") && ring.Get("flags")>>4&1 != 0 && profile
	switch {
	case p.l4 == "":
		return none
	case summed && p.l4 != "sctp":
		return complete
	case !checked, p.ip == 6 && extended:
		return none
	case p.ip == 4 && wrongOuterIP && p.tunnel:
		return bad
	case p.ip == 4 && wrongOuterIP:
		return none
	case p.ip == 4 && wrongIP:
		return bad
	case wrongL4: // or not looked at
		return none
	case wrongOuter && natted:
		return bad
	case p.l4 == "icmp":
		return none
	}
	return unnecessary
}

// decodeStamp is ice_ptp_extend_32b_ts(): the time next to a cached one whose low 32 bits
// are those of the stamp.
func (m *ice) decodeStamp(descriptor uint64, ring *memlab.Struct) uint64 {
	cached, stamp := ring.Get("cached_phctime"), m.desc(descriptor, 28, 4)
	if m.desc(descriptor, 19, 1)&1 == 0 || cached == 0 {
		return 0
	}
	if ahead := uint32(stamp) - uint32(cached); ahead <= 1<<31-1 {
		return cached + uint64(ahead)
	}
	return cached - uint64(uint32(cached)-uint32(stamp))
}
