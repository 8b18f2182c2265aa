// Package observe holds the programs that see what XDP and the stack have of the same
// packet, as BPF objects, compiled from the C files beside them.
package observe

import (
	"embed"
	"encoding/binary"
)

//go:embed *-el.o *-eb.o
var objects embed.FS

// Programs returns the object with the programs, for this machine's byte order.
func Programs() []byte { return object("observe") }

// Accessors returns accessor files, by their names, with the fields that the programs read
// besides those of struct md_desc.
func Accessors() map[string][]byte {
	return map[string][]byte{"descriptor": object("descriptor"), "skb": object("skb")}
}

func object(name string) []byte {
	suffix := "-el.o"
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		suffix = "-eb.o"
	}
	object, err := objects.ReadFile(name + suffix)
	if err != nil {
		panic(err) // it was not compiled
	}
	return object
}
