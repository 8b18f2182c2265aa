package drivers_test

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var mlx5Model = modelled{
	memory: 1 << 20,
	model:  func(s setting) model { return &mlx5{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 2},
		"hash_type":   {0, 1, 2, 1 | 0x18, 2 | 0x18, 1 | 0x28, 2 | 0x28, 1 | 0x88, 2 | 0x88},
		"ptype": {0, 1, 2, 4 | 1, 4 | 2, 8 | 1, 8 | 2, 16 | 1, 16 | 2,
			128, 128 | 1, 128 | 2, 128 | 4 | 1, 128 | 4 | 2, 128 | 8 | 1, 128 | 8 | 2, 128 | 16 | 1, 128 | 16 | 2},
	},
}

func TestMlx5(t *testing.T) { testModel(t, "mlx5_core") }

// mlx5 is drivers/net/ethernet/mellanox/mlx5/core, and the completion queue entry of the
// NIC: 64 bytes, big-endian.
type mlx5 struct{ setting }

// cqe returns a number of a completion, by its offset.
func (m *mlx5) cqe(address uint64, offset uint64, size int) uint64 {
	return bigEndian(m.memory.Load(address+offset, size), size)
}

func bigEndian(loaded uint64, size int) uint64 {
	var raw [8]byte
	binary.NativeEndian.PutUint64(raw[:], loaded)
	if native() == binary.BigEndian {
		return loaded
	}
	return binary.BigEndian.Uint64(raw[:]) >> (64 - 8*size)
}

func (m *mlx5) storeCQE(address uint64, offset uint64, size int, number uint64) {
	if native() == binary.LittleEndian {
		number = bits.ReverseBytes64(number) >> (64 - 8*size)
	}
	m.memory.Store(address+offset, size, number)
}

// ringOf returns the queue of a buff.
func (m *mlx5) ringOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "mlx5e_rq", "xdp_rxq")
}

func (m *mlx5) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const queues = 4
	queue := uint64(random.IntN(queues))
	dev := m.placeDevice(m.types.Size("mlx5e_priv"))
	dev.Set("features", random.Uint64()|random.Uint64())
	channel, channels := m.place("mlx5e_channel", 0), m.memory.Take(queues*8)
	ring := m.view("mlx5e_rq", channel.At([]string{"rq", "xskrq"}[random.IntN(2)]))
	if chance(random, 8) {
		ring = m.place("mlx5e_rq", 0)
	}
	rxq := m.view("xdp_rxq_info", ring.At("xdp_rxq"))
	priv := m.view("mlx5e_priv", m.privateOf(dev.Address))
	buff := m.memory.Take(256)
	xdp := m.view("xdp_buff", buff)

	priv.Set("channels.c", channels)
	m.memory.Store(channels+8*queue, 8, channel.Address)
	ring.Set("netdev", dev.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	pointers = []uint64{priv.At("channels.c"), channels + 8*queue, ring.At("netdev"), rxq.At("dev"), xdp.At("rxq")}

	pointers = append(pointers, m.layDevice(random, ring)...)
	pointers = append(pointers, m.layClock(random, ring)...)
	descriptor, more := m.layCompletion(random, ring, buff)
	m.completion(random, descriptor)

	inChannel := ring.Address == channel.At("rq") || ring.Address == channel.At("xskrq")
	if !inChannel {
		descriptor = 0
	}
	return buff, descriptor, append(pointers, more...)
}

// layCompletion lays out how the completion is found, and returns its address.
func (m *mlx5) layCompletion(random *rand.Rand, ring *memlab.Struct, buff uint64) (uint64, []uint64) {
	if m.types.Has("mlx5e_xdp_buff") {
		xdp, cqe := m.view("mlx5e_xdp_buff", buff), m.memory.Take(64)
		if chance(random, 8) { // of a block of compressed ones
			cqe = ring.At("cqd.title")
		}
		xdp.Set("cqe", cqe)
		return cqe, []uint64{xdp.At("cqe")}
	}
	ring.Set("cqd.left", rarely(random, 1))
	if ring.Get("cqd.left") != 0 {
		return ring.At("cqd.title"), nil
	}

	// Fragments of a page each; a CQ has 2^log entries of 64 or 128 bytes.
	log, stride := 3+random.IntN(5), 6+random.IntN(2)
	perFragment := min(log, 12-stride)
	fragments := 1 << (log - perFragment)
	frags := m.memory.Take(fragments * m.types.Size("mlx5_buf_list"))
	counter := uint64(random.Uint32())
	if chance(random, 2) {
		counter = uint64(uint32(random.IntN(3) - 1)) // around the wrap
	}
	ring.Set("cq.wq.cc", counter)
	ring.Set("cq.wq.fbc.frags", frags)
	ring.Set("cq.wq.fbc.sz_m1", 1<<log-1)
	ring.Set("cq.wq.fbc.frag_sz_m1", 1<<perFragment-1)
	ring.Set("cq.wq.fbc.strides_offset", 0)
	ring.Set("cq.wq.fbc.log_stride", uint64(stride))
	ring.Set("cq.wq.fbc.log_frag_strides", uint64(perFragment))
	for i := range fragments {
		list := m.view("mlx5_buf_list", frags+uint64(i*m.types.Size("mlx5_buf_list")))
		list.Set("buf", m.memory.Take(1<<(perFragment+stride)))
	}
	return m.lastCompletion(ring), []uint64{ring.At("cq.wq.fbc.frags")}
}

// lastCompletion returns the address of the completion that was last taken from the CQ of
// a ring: of entry cc - 1, counted around.
func (m *mlx5) lastCompletion(ring *memlab.Struct) uint64 {
	fbc := func(member string) uint64 { return ring.Get("cq.wq.fbc." + member) }
	entry := uint64(uint32(ring.Get("cq.wq.cc"))-1)&fbc("sz_m1") + fbc("strides_offset")
	fragment := uint64(uint32(entry) >> (fbc("log_frag_strides") & 31))
	list := m.view("mlx5_buf_list", fbc("frags")+fragment*uint64(m.types.Size("mlx5_buf_list")))
	at := list.Get("buf") + (entry&fbc("frag_sz_m1"))<<(fbc("log_stride")&31)
	if fbc("log_stride")&31 == 7 {
		at += 64
	}
	return at
}

// layDevice lays out the device and its switch.
func (m *mlx5) layDevice(random *rand.Rand, ring *memlab.Struct) []uint64 {
	mdev, general := m.place("mlx5_core_dev", 0), m.place("mlx5_hca_cap", 0)
	eswitch := m.place("mlx5_eswitch", 0)
	ring.Set("mdev", mdev.Address)
	m.memory.Store(mdev.At("caps.hca"), 8, general.Address)
	mdev.Set("priv.eswitch", eswitch.Address)
	eswitch.Set("mode", uint64(random.IntN(3)))
	if chance(random, 4) {
		mdev.Set("priv.eswitch", 0)
	}
	return []uint64{ring.At("mdev"), mdev.At("caps.hca"), mdev.At("priv.eswitch")}
}

// stampsConfig returns the member that is a pointer to what ethtool has set, and the name
// of that struct.
func (m *mlx5) stampsConfig(ring *memlab.Struct) (member, of string) {
	if ring.Has("hwtstamp_config") {
		return "hwtstamp_config", "kernel_hwtstamp_config"
	}
	return "tstamp", "hwtstamp_config"
}

func (m *mlx5) layClock(random *rand.Rand, ring *memlab.Struct) []uint64 {
	member, of := m.stampsConfig(ring)
	config, clock := m.place(of, 0), m.place("mlx5_clock", 0)
	counter := m.place("cyclecounter", 0)
	ring.Set(member, config.Address)
	ring.Set("clock", clock.Address)
	config.Set("rx_filter", rarely(random, 1))
	clock.Set("lock.seqcount.seqcount.sequence", random.Uint64()&^rarely(random, 1))
	clock.Set("timer.tc.cc", counter.Address)
	counter.Set("mask", 1<<(32+random.IntN(32))-1)
	counter.Set("shift", uint64(random.IntN(32)))
	return []uint64{ring.At(member), ring.At("clock"), clock.At("timer.tc.cc")}
}

// completion makes a random completion one that a NIC may write.
func (m *mlx5) completion(random *rand.Rand, cqe uint64) {
	if chance(random, 2) {
		m.storeCQE(cqe, 32, 4, uint64(random.Uint32()>>8)) // no LRO
	}
	if chance(random, 2) {
		m.storeCQE(cqe, 0, 1, uint64(random.IntN(8))) // no TLS
	}
	m.storeCQE(cqe, 44, 4, uint64(random.IntN(256))) // length
	if chance(random, 4) {
		m.storeCQE(cqe, 44, 4, uint64(63+random.IntN(3))) // around that of a short frame
	}
}

func (m *mlx5) find(ctx uint64) uint64 {
	ring := m.ringOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	priv := m.view("mlx5e_priv", m.privateOf(rxq.Get("dev")))
	channel := m.view("mlx5e_channel", m.memory.Load(priv.Get("channels.c")+8*rxq.Get("queue_index"), 8))
	own := ring.Address == channel.At("rq") || ring.Address == channel.At("xskrq")
	switch {
	case ring.Get("netdev") != rxq.Get("dev") || !own:
		return 0
	case m.types.Has("mlx5e_xdp_buff"):
		return m.view("mlx5e_xdp_buff", ctx).Get("cqe")
	case ring.Get("cqd.left") != 0:
		return ring.At("cqd.title")
	}
	return m.lastCompletion(ring)
}

func (m *mlx5) decode(cqe, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	fields := map[string]uint64{
		"rx_timestamp": m.decodeStamp(cqe, m.ringOf(ctx)),
		"mark":         m.decodeMark(cqe, m.ringOf(ctx)),
		"ptype":        m.decodeType(cqe),
		"hash":         0, "hash_type": 0, "csum": 0, "csum_status": 0, "vlan_tci": 0, "vlan_proto": 0,
	}
	if feature(39) { // NETIF_F_RXHASH_BIT
		fields["hash"] = m.cqe(cqe, 12, 4)
		fields["hash_type"] = m.decodeHashType(cqe)
	}
	if feature(40) { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = m.decodeChecksum(cqe, m.ringOf(ctx))
	}
	if fields["csum_status"] == 2 {
		fields["csum"] = m.memory.Load(cqe+20, 2) // as it is in the packet
	}
	if m.cqe(cqe, 29, 1)&1 != 0 {
		fields["vlan_tci"] = m.cqe(cqe, 30, 2)
		fields["vlan_proto"] = bigEndian(0x8100, 2)
	}
	return fields
}

// decodeHashType: bits 7:6 what of L4 is in the hash, 3:2 what of L3.
func (m *mlx5) decodeHashType(cqe uint64) uint64 {
	type hashed struct{ l4, l3 uint64 }
	const ipv4, ipv6, l4 = 1, 2, 8
	const tcp, udp, ipsec = l4 | 16, l4 | 32, l4 | 128
	known := map[hashed]uint64{
		{0, 1}: ipv4, {1, 1}: ipv4 | tcp, {2, 1}: ipv4 | udp, {3, 1}: ipv4 | ipsec,
		{0, 2}: ipv6, {1, 2}: ipv6 | tcp, {2, 2}: ipv6 | udp, {3, 2}: ipv6 | ipsec,
	}
	number := m.cqe(cqe, 16, 1)
	return known[hashed{number >> 6, number >> 2 & 3}]
}

// decodeChecksum is mlx5e_handle_csum() without what the driver leaves out under XDP.
func (m *mlx5) decodeChecksum(cqe uint64, ring *memlab.Struct) uint64 {
	const none, unnecessary, complete = 0, 1, 2
	var (
		lro       = m.cqe(cqe, 32, 1) != 0
		decrypted = m.cqe(cqe, 0, 1)>>3&3 != 0 || m.types.Has("mlx5e_psp") && m.cqe(cqe, 36, 1)>>6 == 3
		ip        = m.cqe(cqe, 29, 1)>>2&3 != 0
		long      = m.cqe(cqe, 46, 2) > 64
		full      = ring.Get("state")>>4&1 != 0
		l3, l4    = m.cqe(cqe, 28, 1)>>1&1 != 0, m.cqe(cqe, 28, 1)>>2&1 != 0
	)
	switch {
	case lro:
		return unnecessary
	case full && ip && long && !decrypted:
		return complete
	case l3 && l4:
		return unnecessary
	}
	return none
}

// decodeMark: the low 16 bits of the flow tag, unless a switch has it.
func (m *mlx5) decodeMark(cqe uint64, ring *memlab.Struct) uint64 {
	mdev := m.view("mlx5_core_dev", ring.Get("mdev"))
	if m.view("mlx5_eswitch", mdev.Get("priv.eswitch")).Get("mode") == 1 {
		return 0
	}
	return m.cqe(cqe, 58, 2)
}

// decodeType: in byte 29, bits 3:2 are L3, 6:4 L4, 7 a fragment; bit 0 of byte 0 a tunnel.
func (m *mlx5) decodeType(cqe uint64) uint64 {
	const ipv4, ipv6, fragment, tcp, udp, tunnel = 1, 2, 4, 8, 16, 128
	number := m.cqe(cqe, 29, 1)
	found := map[uint64]uint64{1: ipv6, 2: ipv4}[number>>2&3]
	l4 := map[uint64]uint64{1: tcp, 2: udp, 3: tcp, 4: tcp}[number>>4&7]
	if l4 == 0 && number>>7 != 0 {
		l4 = fragment
	}
	if found != 0 {
		found |= l4
	}
	return found | m.cqe(cqe, 0, 1)&1*tunnel
}

func (m *mlx5) decodeStamp(cqe uint64, ring *memlab.Struct) uint64 {
	member, of := m.stampsConfig(ring)
	if int32(m.view(of, ring.Get(member)).Get("rx_filter")) != 1 { // HWTSTAMP_FILTER_ALL
		return 0
	}
	if cqe == ring.At("cqd.title") { // that of the first of a block
		return 0
	}
	if m.isRealTime(ring) {
		return m.cqe(cqe, 48, 4)*1_000_000_000 + m.cqe(cqe, 52, 4)
	}
	clock := m.view("mlx5_clock", ring.Get("clock"))
	if clock.Get("lock.seqcount.seqcount.sequence")&1 != 0 {
		return 0 // it is being updated
	}
	return m.cyclesToTime(clock, m.cqe(cqe, 48, 8))
}

// isRealTime: of the general capabilities, words of 32 bits in big-endian order, two bits.
func (m *mlx5) isRealTime(ring *memlab.Struct) bool {
	mdev := m.view("mlx5_core_dev", ring.Get("mdev"))
	general := m.view("mlx5_hca_cap", m.memory.Load(mdev.At("caps.hca"), 8))
	bit := uint64(m.view("mlx5_ifc_cmd_hca_cap_bits", 0).Offset("rq_ts_format"))
	octet := m.memory.Load(general.At("cur")+bit/8, 1)
	format := octet >> (6 - bit%8) & 3
	return format == 1 || format == 2
}

// cyclesToTime is what Documentation of include/linux/timecounter.h promises, in 128 bits.
func (m *mlx5) cyclesToTime(clock *memlab.Struct, cycles uint64) uint64 {
	cc := m.view("cyclecounter", clock.Get("timer.tc.cc"))
	mask, shift := cc.Get("mask"), cc.Get("shift")&63
	last, ns, frac := clock.Get("timer.tc.cycle_last"), clock.Get("timer.tc.nsec"), clock.Get("timer.tc.frac")
	ahead, behind := (cycles-last)&mask, (last-cycles)&mask
	if ahead > mask/2 {
		return ns - (behind*cc.Get("mult")-frac)>>shift
	}
	return ns + (ahead*cc.Get("mult")+frac)>>shift
}
