package rewrite_test

import (
	"encoding/binary"
	"math/bits"

	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/reloc"
)

// numberIn is how memory keeps a number that C knows as 64 bits, in two's complement if it
// is negative: all the conversions of C between integers are the same from there.
//
// Nothing here looks at what rewrite makes of it. Where a number is comes from a generated
// struct, from BTF, or from a resolution, whatever a test is about.
type numberIn struct {
	order           binary.ByteOrder // of the machine
	first, bits     int              // which bits, counted as BTF does: from the lowest of a byte on, or in big endian from the highest
	signed, boolean bool
	swapped         bool // its bytes are in the other order than the machine's
}

// numberOf returns how a field is kept.
func numberOf(f *reloc.Field, order binary.ByteOrder) numberIn {
	n := numberIn{order: order, first: int(f.Offset) * 8, bits: fieldBits(f), signed: f.Signed, boolean: f.Class == reloc.Bool, swapped: isSwapped(f, order)}
	if f.IsBitField() {
		n.first = int(f.BitOffset)
	}
	return n
}

// read returns the number.
func (n numberIn) read(memory []byte) uint64 {
	var raw uint64
	for i := range n.bits {
		at, bit := n.at(i)
		raw |= uint64(memory[at]>>bit&1) << i
	}
	return n.convert(n.swap(raw))
}

// write stores a number, as C does in an assignment.
func (n numberIn) write(memory []byte, number uint64) {
	raw := n.swap(n.convert(number))
	for i := range n.bits {
		at, bit := n.at(i)
		memory[at] = memory[at]&^(1<<bit) | byte(raw>>i&1)<<bit
	}
}

// at returns where the bit is that counts for 2 to the power of i, if the bytes are the
// machine's: its byte, and its place counted from the lowest.
func (n numberIn) at(i int) (at, bit int) {
	if n.order == binary.BigEndian {
		last := n.first + n.bits - 1 - i
		return last / 8, 7 - last%8
	}
	return (n.first + i) / 8, (n.first + i) % 8
}

// convert converts a number to the type, as C does in an assignment.
func (n numberIn) convert(number uint64) uint64 {
	switch {
	case !n.boolean:
		return interpret.Extended(number, n.bits, n.signed)
	case number != 0:
		return 1
	}
	return 0
}

// swap reverses the bytes of what is kept in the other order than the machine's.
func (n numberIn) swap(number uint64) uint64 {
	if !n.swapped {
		return number
	}
	return bits.ReverseBytes64(number) >> (64 - n.bits)
}
