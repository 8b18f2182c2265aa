package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Numbers are those of one packet, by field of struct md_desc. VLAN protocols are in the
// byte order of the host.
type Numbers map[string]uint64

// mdDesc is struct md_desc.
type mdDesc struct {
	RxTimestamp                      uint64
	Hash, HashType, Csum, CsumStatus uint32
	VlanTCI                          uint16
	VlanProto                        wire16
	Mark, Ptype, _                   uint32
}

// wire16 is a number in network byte order.
type wire16 [2]byte

func (w wire16) number() uint64 { return uint64(binary.BigEndian.Uint16(w[:])) }

func (m *mdDesc) numbers() Numbers {
	return Numbers{
		"rx_timestamp": m.RxTimestamp,
		"hash":         uint64(m.Hash),
		"hash_type":    uint64(m.HashType),
		"csum":         uint64(m.Csum),
		"csum_status":  uint64(m.CsumStatus),
		"vlan_tci":     uint64(m.VlanTCI),
		"vlan_proto":   m.VlanProto.number(),
		"mark":         uint64(m.Mark),
		"ptype":        uint64(m.Ptype),
	}
}

// said is struct said of observe.c.
type said struct {
	RxTimestamp                          uint64
	Hash, HashType                       uint32
	VlanTCI                              uint16
	VlanProto                            wire16
	TimestampError, HashError, VlanError int32
}

// rawObservation is struct observation of observe.c.
type rawObservation struct {
	XDP      mdDesc
	Said     said
	Words    [64]byte
	Features uint64
	LowBits  uint32
	Found    uint32
	Queue    uint32
	TagProto wire16
	TagTCI   wire16
	_, _     uint32

	Skb    mdDesc
	SwHash uint32
	Length uint32
	ByHead uint32
	Held   uint32
	Head   [256]byte
}

// observation is what was seen of one packet.
type observation struct {
	rawObservation
	xdp, skb Numbers
	packet   *packet // what its head says
}

func parseObservation(raw []byte) (*observation, error) {
	o := new(observation)
	if size := binary.Size(&o.rawObservation); len(raw) != size {
		return nil, fmt.Errorf("observation of %d bytes instead of %d", len(raw), size)
	}
	if err := binary.Read(bytes.NewReader(raw), binary.NativeEndian, &o.rawObservation); err != nil {
		return nil, fmt.Errorf("read observation: %w", err)
	}
	o.xdp, o.skb = o.XDP.numbers(), o.Skb.numbers()
	o.packet = parsePacket(o.Head[:min(int(o.Held), len(o.Head))])
	return o, nil
}

// descriptor returns bytes of the descriptor, from its address on without the lower three bits. Of what looks like an
// address of the kernel's, which is nobody's business, the upper 16 bits are left.
func (o *observation) descriptor() []byte {
	octets := bytes.Clone(o.Words[:])
	for at := 0; at < len(octets); at += 8 {
		word := binary.NativeEndian.Uint64(octets[at:])
		if word>>48 == 0xffff && word != 1<<64-1 {
			binary.NativeEndian.PutUint64(octets[at:], word&^(1<<48-1))
		}
	}
	return octets
}
