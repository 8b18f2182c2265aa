package rewrite_test

import "encoding/binary"

// bigEndian is whether the machine that the tests run on is big-endian, and what
// they run on its kernel.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// kernelEndian is what the names of the objects for the machine's kernel end in.
var kernelEndian = map[bool]string{false: "-el", true: "-eb"}[bigEndian]

// machineOrder is the byte order of the machine that the tests run on.
var machineOrder = map[bool]binary.ByteOrder{false: binary.LittleEndian, true: binary.BigEndian}[bigEndian]
