package drivers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var sfcModel = modelled{
	memory: 256 << 10,
	model:  func(s setting) model { return &sfc{s} },
	values: map[string][]uint64{"csum_status": {0, 1}, "ptype": {0, 8, 128, 8 | 128}},
}

func TestSfc(t *testing.T)      { testModel(t, "sfc") }
func TestSfcSiena(t *testing.T) { testModel(t, "sfc_siena") }

// sfc is drivers/net/ethernet/sfc, and its siena. In front of a packet there is a prefix of
// 14 or 16 bytes with a hash and a stamp, little-endian.
type sfc struct{ setting }

// stamps returns whether the NIC has stamps: of the two, sfc has a struct of its own for
// the driver's state.
func (m *sfc) stamps() bool { return m.types.Has("efx_probe_data") }

// nicOf returns the driver's state of a device: it is the private data, or the private data
// is a pointer to a struct that has it.
func (m *sfc) nicOf(device uint64) *memlab.Struct {
	private := m.privateOf(device)
	if m.stamps() {
		private = m.memory.Load(private, 8) + uint64(m.view("efx_probe_data", 0).Offset("efx"))
	}
	return m.view("efx_nic", private)
}

func (m *sfc) rxqOf(ctx uint64) *memlab.Struct {
	return m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
}

// channelOf returns the channel that a receive queue would be in.
func (m *sfc) channelOf(rxq *memlab.Struct) *memlab.Struct {
	return m.view("efx_channel", rxq.Address-uint64(m.view("efx_channel", 0).Offset("rx_queue.xdp_rxq_info")))
}

func (m *sfc) placeNIC() (dev, nic *memlab.Struct, pointers []uint64) {
	if !m.stamps() {
		dev := m.placeDevice(m.types.Size("efx_nic"))
		return dev, m.nicOf(dev.Address), nil
	}
	dev = m.placeDevice(8)
	m.memory.Store(m.privateOf(dev.Address), 8, m.place("efx_probe_data", 0).Address)
	return dev, m.nicOf(dev.Address), []uint64{m.privateOf(dev.Address)}
}

func (m *sfc) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const buffers = 32
	queue, index := uint64(random.IntN(32)), uint64(random.IntN(buffers))
	dev, nic, pointers := m.placeNIC()
	channel, xdp := m.place("efx_channel", 0), m.place("xdp_buff", 0)
	rxq := m.view("xdp_rxq_info", channel.At("rx_queue.xdp_rxq_info"))
	size := m.types.Size("efx_rx_buffer")
	array, packet := m.memory.Take(buffers*size), m.memory.Take(256)

	own := nic.At("channel") + 8*queue
	m.memory.Store(own, 8, channel.Address)
	dev.Set("features", random.Uint64()|random.Uint64())
	channel.Set("rx_queue.efx", nic.Address)
	nic.Set("rx_packet_hash_offset", uint64(1<<32-4*(1+random.IntN(4))))
	channel.Set("rx_pkt_index", index)
	channel.Set("rx_queue.buffer", array)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", queue)
	xdp.Set("rxq", rxq.Address)
	xdp.Set("data_hard_start", packet)
	xdp.Set("data", packet+128)
	descriptor = array + index*uint64(size)
	pointers = append(pointers, own, channel.At("rx_queue.efx"), channel.At("rx_queue.buffer"), rxq.At("dev"), xdp.At("rxq"),
		xdp.At("data"), xdp.At("data_hard_start"))
	if m.stamps() {
		pointers = append(pointers, m.layStamp(random, nic, channel, packet+128))
	}
	switch random.IntN(12) {
	case 0: // the device's, but not the channel that it has
		m.memory.Store(own, 8, m.place("efx_channel", 0).Address)
		descriptor = 0
	case 1: // moved by a program that ran before
		xdp.Set("data", packet+128+14)
		descriptor = 0
	case 2: // of a device that is not the driver's
		other := m.place("efx_nic", 0)
		other.Set("rx_packet_hash_offset", 0)
		if m.stamps() {
			other.Set("ptp_data", 0)
			other.Set("rx_packet_ts_offset", 0)
		}
		channel.Set("rx_queue.efx", other.Address)
		descriptor = 0
	}
	return xdp.Address, descriptor, pointers
}

// layStamp lays out a stamp and the last event, mostly near to each other and to the end of
// a second, and returns where the pointer to the clock's state is.
func (m *sfc) layStamp(random *rand.Rand, nic, channel *memlab.Struct, packet uint64) uint64 {
	ptp := m.place("efx_ptp_data", 0)
	nic.Set("ptp_data", ptp.Address)
	nic.Set("rx_packet_ts_offset", 1<<32-4)
	second := []uint64{1 << 27, 1 << 27, 4e9, 4e9, 1e9}[random.IntN(5)]
	ptp.Set("nic_time.minor_max", second)
	ptp.Set("nic_time.sync_event_diff_min", second-second/10)
	ptp.Set("nic_time.sync_event_diff_max", second/4+second/10)
	channel.Set("sync_events_state", 3)
	if chance(random, 8) {
		channel.Set("sync_events_state", uint64(random.IntN(3)))
	}
	event := random.Uint64N(second)
	minor := (event + random.Uint64N(second/2) + second - second/8) % second
	if chance(random, 4) {
		minor = random.Uint64N(second)
	}
	channel.Set("sync_timestamp_minor", event)
	m.storeLittle(packet-4, 4, minor)
	if correction := uint32(random.IntN(2000) - 1000); chance(random, 2) {
		ptp.Set("ts_corrections.general_rx", uint64(correction))
	} else if chance(random, 2) {
		ptp.Set("ts_corrections.general_rx", second/2)
	}
	return nic.At("ptp_data")
}

func (m *sfc) find(ctx uint64) uint64 {
	rxq, xdp := m.rxqOf(ctx), m.view("xdp_buff", ctx)
	channel := m.channelOf(rxq)
	nic := m.view("efx_nic", channel.Get("rx_queue.efx"))
	own := m.memory.Load(nic.At("channel")+8*rxq.Get("queue_index"), 8)
	if nic.Address != m.nicOf(rxq.Get("dev")).Address || own != channel.Address ||
		xdp.Get("data")-xdp.Get("data_hard_start") != 128 {
		return 0
	}
	return channel.Get("rx_queue.buffer") + channel.Get("rx_pkt_index")*uint64(m.types.Size("efx_rx_buffer"))
}

func (m *sfc) decode(buffer, ctx uint64) map[string]uint64 {
	rxq := m.rxqOf(ctx)
	channel := m.channelOf(rxq)
	nic := m.view("efx_nic", channel.Get("rx_queue.efx"))
	feature := func(bit int) bool { return m.view("net_device", rxq.Get("dev")).Get("features")>>bit&1 != 0 }
	packet, flags := m.view("xdp_buff", ctx).Get("data"), m.view("efx_rx_buffer", buffer).Get("flags")
	fields := map[string]uint64{"hash": 0, "csum_status": 0, "ptype": flags>>6&1<<3 | flags>>9&1<<7}
	if feature(39) { // NETIF_F_RXHASH_BIT
		fields["hash"] = m.little(packet+uint64(int32(nic.Get("rx_packet_hash_offset"))), 4)
	}
	if feature(40) { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = flags >> 1 & 1
	}
	if m.stamps() {
		fields["rx_timestamp"] = m.stamp(nic, channel, packet)
	}
	return fields
}

// stamp is __efx_rx_skb_attach_timestamp(): the stamp is the part of a second.
func (m *sfc) stamp(nic, channel *memlab.Struct, packet uint64) uint64 {
	ptp := m.view("efx_ptp_data", nic.Get("ptp_data"))
	number := func(path string) uint32 { return uint32(ptp.Get(path)) }
	second := number("nic_time.minor_max")
	stamp := uint32(m.little(packet+uint64(int32(nic.Get("rx_packet_ts_offset"))), 4))
	event, major := uint32(channel.Get("sync_timestamp_minor")), uint32(channel.Get("sync_timestamp_major"))
	late := stamp - event
	if stamp < event {
		late += second
	}
	ahead, behind := late <= number("nic_time.sync_event_diff_max"), late >= number("nic_time.sync_event_diff_min")
	if channel.Get("sync_events_state") != 3 || !ahead && !behind {
		return 0
	}
	if !ahead {
		major--
	}
	if event >= second-late {
		major++
	}
	return sfcTime(major, stamp, second, int32(number("ts_corrections.general_rx")))
}

// sfcTime is a time in nanoseconds, from parts of a second of which there are so many.
func sfcTime(major, stamp, second uint32, correction int32) uint64 {
	switch second {
	case 1 << 27:
		parts := int32(stamp) + correction
		if parts < 0 {
			major, parts = major-1, parts+1<<27
		} else if parts >= 1<<27 {
			major, parts = major+1, parts-1<<27
		}
		return uint64(major)*1e9 + uint64(uint32((uint64(uint32(parts))*1e9+1<<26)>>27))
	case 4e9:
		rounded := int64(uint32(correction)+2) / 4
		if correction < 0 {
			rounded = -(int64(-correction) + 2) / 4
		}
		return uint64(major)*1e9 + uint64((stamp+2)/4) + uint64(rounded)
	}
	return 0
}
