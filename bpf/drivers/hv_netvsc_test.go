package drivers_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

var netvscModel = modelled{
	memory: 512 << 10,
	model:  func(s setting) model { return &netvsc{s} },
	values: map[string][]uint64{
		"csum_status": {0, 1, 4},
		"hash_type":   {0, 8},
		"ptype":       {0, 1, 8, 16, 1 | 8, 1 | 16},
	},
}

func TestHvNetvsc(t *testing.T) { testModel(t, "hv_netvsc") }

// netvsc is drivers/net/hyperv, and what hosts say of a packet: NDIS's information of a
// list of buffers, as Microsoft documents it.
type netvsc struct{ setting }

func (m *netvsc) channelOf(ctx uint64) *memlab.Struct {
	return m.around(ctx, "netvsc_channel", "xdp_rxq")
}

// channelAt returns the channel that a device has as one of its numbers.
func (m *netvsc) channelAt(device, index uint64) *memlab.Struct {
	first := m.view("netvsc_device", device).At("chan_table")
	return m.view("netvsc_channel", first+index*uint64(m.types.Size("netvsc_channel")))
}

func (m *netvsc) lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64) {
	const channels = 4
	index := uint64(random.IntN(channels))
	dev := m.placeDevice(m.types.Size("net_device_context"))
	dev.Set("features", random.Uint64()|random.Uint64())
	context := m.view("net_device_context", m.privateOf(dev.Address))
	device := m.place("netvsc_device", 0)
	channel := m.channelAt(device.Address, index)
	rxq := m.view("xdp_rxq_info", channel.At("xdp_rxq"))
	ctx = m.memory.Take(256)
	xdp := m.view("xdp_buff", ctx)

	context.Set("nvdev", device.Address)
	channel.Set("net_device", device.Address)
	rxq.Set("dev", dev.Address)
	rxq.Set("queue_index", index)
	xdp.Set("rxq", rxq.Address)
	channel.Set("rsc.ppi_flags", random.Uint64()|random.Uint64())
	if chance(random, 2) { // nothing has failed
		checked := channel.At("rsc.csum_info")
		m.memory.Store(checked, 4, m.memory.Load(checked, 4)&^7)
	}
	pointers = []uint64{context.At("nvdev"), channel.At("net_device"), rxq.At("dev"), xdp.At("rxq")}
	descriptor = channel.At("rsc")

	// A channel of a device that is no more, and one that is another's.
	switch random.IntN(16) {
	case 0:
		context.Set("nvdev", device.Address+64)
		descriptor = 0
	case 1:
		channel.Set("net_device", device.Address+64)
		descriptor = 0
	case 2:
		rxq.Set("queue_index", index^1)
		descriptor = 0
	}
	return ctx, descriptor, pointers
}

func (m *netvsc) find(ctx uint64) uint64 {
	channel := m.channelOf(ctx)
	rxq := m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq"))
	device := m.view("net_device_context", m.privateOf(rxq.Get("dev"))).Get("nvdev")
	if m.channelAt(device, rxq.Get("queue_index")).Address != channel.Address || channel.Get("net_device") != device {
		return 0
	}
	return channel.At("rsc")
}

func (m *netvsc) decode(descriptor, ctx uint64) map[string]uint64 {
	dev := m.view("net_device", m.view("xdp_rxq_info", m.view("xdp_buff", ctx).Get("rxq")).Get("dev"))
	feature := func(bit int) bool { return dev.Get("features")>>bit&1 != 0 }
	said := m.view("nvsc_rsc", descriptor)
	is := func(bit int) bool { return said.Get("ppi_flags")>>bit&1 != 0 } // VLAN, checksum, hash
	fields := map[string]uint64{
		"hash": 0, "hash_type": 0, "csum_status": 0, "ptype": 0, "vlan_tci": 0, "vlan_proto": 0,
	}
	if is(2) && feature(39) { // NETIF_F_RXHASH_BIT
		fields["hash"], fields["hash_type"] = said.Get("hash_info"), 8
	}
	if is(1) {
		fields["ptype"] = m.decodeType(said)
	}
	if is(1) && feature(40) { // NETIF_F_RXCSUM_BIT
		fields["csum_status"] = m.decodeChecksum(said)
	}
	if is(0) {
		tag := said.Get("vlan.value") // bits 2:0 priority, 3 CFI, 15:4 ID
		fields["vlan_tci"] = tag%8*0x2000 + tag/8%2*0x1000 + tag/16%0x1000
		fields["vlan_proto"] = bigEndian(0x8100, 2)
	}
	return fields
}

// checked returns what became of a checksum: of tcp, udp or ip.
func (m *netvsc) checked(said *memlab.Struct, of, became string) bool {
	order := []string{"tcp failed", "udp failed", "ip failed", "tcp succeeded", "udp succeeded", "ip succeeded"}
	return said.Get("csum_info.value")>>slices.Index(order, of+" "+became)&1 != 0
}

func (m *netvsc) decodeChecksum(said *memlab.Struct) uint64 {
	const none, unnecessary, bad = 0, 1, 4
	switch {
	case m.checked(said, "tcp", "failed"), m.checked(said, "udp", "failed"), m.checked(said, "ip", "failed"):
		return bad
	case m.checked(said, "tcp", "succeeded"), m.checked(said, "udp", "succeeded"):
		return unnecessary
	}
	return none
}

func (m *netvsc) decodeType(said *memlab.Struct) (found uint64) {
	for of, bit := range map[string]uint64{"ip": 1, "tcp": 8, "udp": 16} {
		if m.checked(said, of, "failed") || m.checked(said, of, "succeeded") {
			found |= bit
		}
	}
	return found
}
