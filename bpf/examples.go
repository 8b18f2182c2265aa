// Package bpf holds the objects of the example programs, for those that run them.
package bpf

import (
	"embed"
	"encoding/binary"
	"fmt"
)

//go:embed examples/*-el.o examples/*-eb.o
var examples embed.FS

// Example returns the object of an example, compiled for this machine's byte order: of
// "balance" that of examples/balance.c.
func Example(name string) ([]byte, error) {
	suffix := "-el.o"
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		suffix = "-eb.o"
	}
	object, err := examples.ReadFile("examples/" + name + suffix)
	if err != nil {
		return nil, fmt.Errorf("no example %q", name)
	}
	return object, nil
}
