package meta

// PacketStruct is the name of the struct that bpf/examples/receive.c puts in front of
// packets: that of bpf/md_meta.h.
const PacketStruct = "md_meta"

// Place is where that struct is, as the variable "place" of receive.c says: enum md_meta_place. It
// is the same for all packets, and known with the first one.
type Place uint32

// The places.
const (
	Nowhere  Place = iota // there was no packet yet
	InArea                // in front of where the socket's descriptor leads to
	InPacket              // where that leads to: the packet is what follows
)

// Packet has the fields of struct md_meta, with the tags that NewDecoder reads: what
// bpf/examples/receive.c tells of a packet. What they mean, bpf/md_desc.h says.
type Packet struct {
	RxTimestamp uint64 `meta:"rx_timestamp"` // ns of the NIC's clock, 0: no stamp
	Hash        uint32 `meta:"hash"`
	HashType    uint32 `meta:"hash_type"` // enum xdp_rss_hash_type, 0: no hash
	Csum        uint32 `meta:"csum"`      // if CsumStatus is CsumComplete
	Mark        uint32 `meta:"mark"`
	VlanTCI     uint16 `meta:"vlan_tci"`
	VlanProto   uint16 `meta:"vlan_proto"` // a number of the host: 0x8100, 0: no tag
	Ptype       uint16 `meta:"ptype"`      // enum md_ptype
	CsumStatus  uint8  `meta:"csum_status"`
	Fields      Fields `meta:"fields"`
}

// Fields are bits of Packet.Fields, enum md_meta_fields: what the program was asked for,
// and the NIC has told of the packet.
type Fields uint8

// The fields, or those that belong together.
const (
	RxTimestamp Fields = 1 << iota
	Hash               // Hash, HashType
	Csum               // CsumStatus, Csum
	Vlan               // VlanTCI, VlanProto
	Mark
	Ptype
	All = 1<<iota - 1
)

// What Packet.CsumStatus is: enum md_csum_status.
const (
	CsumNone        = 0 // not looked at, or not told
	CsumUnnecessary = 1 // right
	CsumComplete    = 2 // summed up, in Packet.Csum
	CsumBad         = 4 // wrong
)

// Bits of Packet.Ptype: enum md_ptype.
const (
	PtypeIPv4 = 1 << iota
	PtypeIPv6
	PtypeFragment
	PtypeTCP
	PtypeUDP
	PtypeSCTP
	PtypeICMP
	PtypeTunnelled // the others are about what is in the tunnel
	PtypeOtherL4
)

// Bits of Packet.HashType: enum xdp_rss_hash_type of the kernel's include/net/xdp.h.
const (
	HashIPv4 = 1 << iota
	HashIPv6
	HashDynamic // the header of IP has options or extensions
	HashL4      // the ports are in it, too
	HashTCP
	HashUDP
	HashSCTP
	HashIPsec
	HashICMP
)

// HashSoftware is a bit of Packet.HashType: the hash is not the NIC's, but computed.
const HashSoftware = 1 << 31
