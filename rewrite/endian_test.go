package rewrite_test

import "encoding/binary"

// bigEndian is whether the machine that the tests run on is big-endian, and what
// they run on its kernel.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// kernelEndian is what the names of the objects for the machine's kernel end in.
var kernelEndian = map[bool]string{false: "-el", true: "-eb"}[bigEndian]

// atBit returns which byte a bit of memory is in, and where. Bits are counted as C
// lays out bit-fields and BTF counts them: from the lowest of a byte on, on a
// big-endian machine from the highest.
func atBit(bit int) (index, shift int) {
	if bigEndian {
		return bit / 8, 7 - bit%8
	}
	return bit / 8, bit % 8
}

// significance returns what the i-th of the bits of a number counts, as a shift.
func significance(i, width int) int {
	if bigEndian {
		return width - 1 - i
	}
	return i
}

// readBits returns the number that some bits of memory are.
func readBits(memory []byte, bit, width int) uint64 {
	var number uint64
	for i := range width {
		index, shift := atBit(bit + i)
		number |= uint64(memory[index]>>shift&1) << significance(i, width)
	}
	return number
}

// writeBits makes some bits of memory a number, as much of it as they hold.
func writeBits(memory []byte, bit, width int, number uint64) {
	for i := range width {
		index, shift := atBit(bit + i)
		memory[index] = memory[index]&^(1<<shift) | byte(number>>significance(i, width)&1)<<shift
	}
}
