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
	object, err := examples.ReadFile("examples/" + name + suffix())
	if err != nil {
		return nil, fmt.Errorf("no example %q", name)
	}
	return object, nil
}

// ExampleFile returns where that object is, from the top of the repository: for what is given
// files.
func ExampleFile(name string) string { return "bpf/examples/" + name + suffix() }

func suffix() string {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return "-eb.o"
	}
	return "-el.o"
}
