// Package observe holds the programs that see what XDP and the stack have of the same
// packet, as BPF objects, compiled from the C files beside them.
package observe

import (
	_ "embed"
	"encoding/binary"
)

var (
	//go:embed observe-el.o
	little []byte
	//go:embed observe-eb.o
	big []byte

	//go:embed descriptor-el.o
	descriptorLittle []byte
	//go:embed descriptor-eb.o
	descriptorBig []byte

	//go:embed skb-el.o
	skbLittle []byte
	//go:embed skb-eb.o
	skbBig []byte
)

// Programs returns the object with the programs, for this machine's byte order.
func Programs() []byte { return inOrder(little, big) }

// Accessors returns accessor files, by their names, with the fields that the programs read
// besides those of struct md_desc.
func Accessors() map[string][]byte {
	return map[string][]byte{
		"descriptor": inOrder(descriptorLittle, descriptorBig),
		"skb":        inOrder(skbLittle, skbBig),
	}
}

func inOrder(little, big []byte) []byte {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return big
	}
	return little
}
