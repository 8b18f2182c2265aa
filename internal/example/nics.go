package example

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Facts are what an emulated NIC knows of a packet.
type Facts struct {
	RxTimestamp        uint64
	Hash, HashType     uint32
	Csum, CsumStatus   uint32
	Mark, Ptype        uint32
	VlanTCI, VlanProto uint16 // numbers of the host
}

// NICs write struct md_desc of bpf/examples/NAME.c, by NAME. What they have no room for is
// cut off.
var NICs = map[string]func(*Facts) []byte{
	"nic_a": (*Facts).nicA,
	"nic_b": (*Facts).nicB,
	"nic_c": (*Facts).nicC,
}

func (f *Facts) nicA() []byte {
	const valid = 1
	var b []byte
	for _, word := range []uint32{valid, f.Mark, f.HashType, f.Hash, f.CsumStatus, f.Csum} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	b = binary.NativeEndian.AppendUint64(b, f.RxTimestamp)
	b = binary.BigEndian.AppendUint16(b, f.VlanProto)
	b = binary.NativeEndian.AppendUint16(b, f.VlanTCI)
	return append(b, make([]byte, 4)...) // reserved
}

func (f *Facts) nicB() []byte {
	const length = 60
	b := []byte{0, byte(f.HashType), byte(f.CsumStatus), 0, 0, 0, 0, 0}
	b = binary.NativeEndian.AppendUint16(b, f.VlanTCI)
	b = binary.BigEndian.AppendUint16(b, f.VlanProto)
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, uint16(f.Csum))
	b = binary.NativeEndian.AppendUint16(b, length)
	b = binary.NativeEndian.AppendUint32(b, f.Hash)
	return binary.NativeEndian.AppendUint64(b, uint64(f.Mark))
}

func (f *Facts) nicC() []byte {
	b := binary.NativeEndian.AppendUint64(nil, f.RxTimestamp)
	b = binary.NativeEndian.AppendUint32(b, f.Hash)
	b = binary.NativeEndian.AppendUint32(b, f.Mark)
	b = binary.NativeEndian.AppendUint16(b, f.VlanTCI)
	b = binary.BigEndian.AppendUint16(b, f.VlanProto)
	hashType, ptype, csumStatus := f.HashType&0x1ff, f.Ptype&0x1ff, f.CsumStatus&7
	bits := hashType | ptype<<9 | csumStatus<<18
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // the first one is the highest
		bits = hashType<<23 | ptype<<14 | csumStatus<<11
	}
	b = binary.NativeEndian.AppendUint32(b, bits)
	b = binary.NativeEndian.AppendUint32(b, f.Csum)
	return append(b, make([]byte, 4)...) // reserved
}

// UDPPacket returns a packet from a port of 192.0.2.1 to port 9 of 192.0.2.2.
func UDPPacket(port uint16) []byte {
	packet := make([]byte, 60)
	packet[12] = 0x08
	ip := packet[14:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 46, 64, unix.IPPROTO_UDP
	copy(ip[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(ip[20:], port)
	binary.BigEndian.PutUint16(ip[22:], 9)
	return packet
}
