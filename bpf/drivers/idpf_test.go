package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var idpfModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &idpf{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 2, 4},
		"ptype": {0, 1, 2, 4 | 1, 8 | 1, 8 | 2, 16 | 1, 16 | 2, 32 | 1, 32 | 2, 64 | 1, 64 | 2,
			128, 128 | 1, 128 | 2, 128 | 4 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 32 | 2, 128 | 64 | 1},
	},
}

func TestIdpf(t *testing.T) { testModel(t, "idpf") }

// idpf is drivers/net/ethernet/intel/idpf, and the receive descriptor of virtchnl2 for split
// queues, "advanced NIC 3": 32 bytes, little-endian.
type idpf struct{ setting }

// desc returns a number of a descriptor, by its offset.
func (m *idpf) desc(address uint64, offset uint64, size int) uint64 {
	return m.little(address+offset, size)
}

func (m *idpf) queueOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "idpf_rx_queue", "xdp_rxq")
}

// groups returns the member of idpf_vport that points to the groups of queues.
func (m *idpf) groups() string {
	if m.view("idpf_vport", 0).Has("rxq_grps") {
		return "rxq_grps"
	}
	return "dflt_qv_rsrc.rxq_grps"
}

// stampsFlag returns the number of __IDPF_Q_PTP: __IDPF_Q_RSC_EN is in front of it in the
// kernels that have moved the groups.
func (m *idpf) stampsFlag() uint64 {
	if m.groups() == "rxq_grps" {
		return 6
	}
	return 7
}

func (m *idpf) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 4
	index, size := random.IntN(queues), m.types.Size("idpf_rxq_group")
	dev, vport := m.placeDevice(m.types.Size("idpf_netdev_priv")), m.place("idpf_vport", 0)
	dev.Set("features", random.Uint64()|random.Uint64())
	groups, set := m.memory.Take(queues*size), m.place("idpf_rxq_set", 0)
	group := m.view("idpf_rxq_group", groups+uint64(index*size))
	queue := m.view("idpf_rx_queue", set.At("rxq"))
	rxq := m.view("xdp_rxq_info", queue.At("xdp_rxq"))
	priv := m.view("idpf_netdev_priv", m.privateOf(dev.Address))
	ctx = m.memory.Take(256)
	xdp, buff := m.view("xdp_buff", ctx), m.view("libeth_xdp_buff", ctx)
	table := m.memory.Take(1024 * m.types.Size("libeth_rx_pt"))

	priv.Set("vport", vport.Address)
	vport.Set(m.groups(), groups)
	own := group.At("splitq.rxq_sets")
	m.memory.Store(own, 8, set.Address)
	queue.Set("rx_ptype_lkup", table)
	queue.Set("cached_phc_time", rarely(random, random.Uint64()))
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", uint64(index))
	xdp.Set("rxq", rxq.Address)
	descriptor = m.layDescriptor(random)
	buff.Set("desc", descriptor)
	pointers = []uint64{priv.At("vport"), vport.At(m.groups()), own, queue.At("rx_ptype_lkup"), rxq.At("dev"),
		xdp.At("rxq"), buff.At("desc")}

	// The device's, but not the queue that it has.
	if chance(random, 8) {
		m.memory.Store(own, 8, m.place("idpf_rxq_set", 0).Address)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

// layDescriptor lays out a random descriptor, mostly one that a NIC writes.
func (m *idpf) layDescriptor(random *rand.Rand) uint64 {
	descriptor := m.memory.Take(32)
	store := func(offset uint64, octet byte) { m.memory.Store(descriptor+offset, 1, uint64(octet)) }
	if !chance(random, 4) {
		store(7, byte(random.Uint32())&^(1<<2)) // not put together
	}
	if !chance(random, 8) {
		store(8, byte(random.Uint32())|1<<3) // checked
	}
	if chance(random, 2) {
		store(8, byte(random.Uint32())&^(1<<4|1<<5)|1<<3) // no error but of outer headers
	}
	if chance(random, 4) {
		store(8, 1<<3) // no error
	}
	return descriptor
}

func (m *idpf) find(ctx uint64) uint64 {
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	vport := m.view("idpf_vport", m.view("idpf_netdev_priv", m.privateOf(rxq.Get("dev"))).Get("vport"))
	size := uint64(m.types.Size("idpf_rxq_group"))
	group := m.view("idpf_rxq_group", vport.Get(m.groups())+size*rxq.Get("queue_index"))
	set := m.view("idpf_rxq_set", m.memory.Load(group.At("splitq.rxq_sets"), 8))
	if m.queueOf(ctx).Address != set.At("rxq") {
		return 0
	}
	return m.view("libeth_xdp_buff", ctx).Get("desc")
}

func (m *idpf) decode(descriptor, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	queue := m.queueOf(ctx)
	number := m.desc(descriptor, 2, 1) | m.desc(descriptor, 3, 1)&3<<8
	packet := m.view("libeth_rx_pt", queue.Get("rx_ptype_lkup")+number*uint64(m.types.Size("libeth_rx_pt")))
	fields := map[string]uint64{
		"rx_timestamp": m.decodeStamp(descriptor, queue),
		"ptype":        m.decodeType(packet),
		"hash":         0, "hash_type": 0, "csum": 0, "csum_status": 0,
	}
	if feature(39) && packet.Get("payload_layer") != 0 { // NETIF_F_RXHASH_BIT, PKT_HASH_TYPE_NONE
		fields["hash"] = m.desc(descriptor, 16, 2) | m.desc(descriptor, 18, 1)<<16 | m.desc(descriptor, 19, 1)<<24
		fields["hash_type"] = packet.Get("hash_type")
	}
	if feature(40) { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = m.decodeChecksum(descriptor, packet)
	}
	if fields["csum_status"] == 2 { // the other way round, and inverted
		fields["csum"] = (m.desc(descriptor, 14, 1)<<8 | m.desc(descriptor, 15, 1)) ^ 0xffff
	}
	return fields
}

// decodeChecksum is idpf_rx_csum(), and what its errors mean.
func (m *idpf) decodeChecksum(descriptor uint64, packet *memlab.Struct) uint64 {
	const none, unnecessary, complete, bad = 0, 1, 2, 4
	is := func(bit int) bool { return m.desc(descriptor, 8, 1)>>bit&1 != 0 }
	var (
		l4                       = []string{"", "udp", "tcp", "sctp", "icmp", "timesync", "?", "?"}[packet.Get("inner_prot")]
		ipv4, ipv6               = packet.Get("outer_ip") == 1, packet.Get("outer_ip") == 2
		tunnel                   = packet.Get("tunnel_type") != 0
		extended                 = m.desc(descriptor, 1, 1)>>1&1 != 0
		together                 = m.desc(descriptor, 7, 1)>>2&1 != 0
		summed                   = m.desc(descriptor, 3, 1)>>4&1 == 0
		checked                  = is(3)
		wrongIP, wrongL4         = is(4), is(5)
		wrongOuterIP, wrongOuter = is(6), is(7)
	)
	switch {
	case l4 == "":
		return none
	case together:
		return unnecessary
	case !checked:
		return none
	case ipv4 && wrongIP, ipv4 && wrongOuterIP && tunnel:
		return bad
	case ipv4 && wrongOuterIP, ipv6 && extended:
		return none
	case wrongL4: // or not looked at
		return none
	case summed && l4 != "sctp":
		return complete
	case wrongOuter:
		return none
	case l4 == "udp", l4 == "tcp", l4 == "sctp":
		return unnecessary
	}
	return none
}

func (m *idpf) decodeType(packet *memlab.Struct) uint64 {
	const fragment, tunnel = 4, 128
	found := map[uint64]uint64{1: 16, 2: 8, 3: 32, 4: 64}[packet.Get("inner_prot")]
	ips := map[uint64]uint64{1: 1, 2: 2}
	if packet.Get("tunnel_type") != 0 {
		return found | tunnel | ips[packet.Get("tunnel_end_prot")] | packet.Get("tunnel_end_frag")*fragment
	}
	return found | ips[packet.Get("outer_ip")] | packet.Get("outer_frag")*fragment
}

// decodeStamp is idpf_ptp_tstamp_extend_32b_to_64b(): the time next to a cached one whose
// low 32 bits are those of the stamp.
func (m *idpf) decodeStamp(descriptor uint64, queue *memlab.Struct) uint64 {
	cached, stamp := queue.Get("cached_phc_time"), m.desc(descriptor, 28, 4)
	on := m.memory.Load(queue.At("flags"), 8)>>m.stampsFlag()&1 != 0
	if !on || m.desc(descriptor, 11, 1)&1 == 0 || cached == 0 {
		return 0
	}
	if ahead := uint32(stamp) - uint32(cached); ahead <= 1<<31-1 {
		return cached + uint64(ahead)
	}
	return cached - uint64(uint32(cached)-uint32(stamp))
}
