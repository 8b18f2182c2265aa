package meta_test

import (
	"encoding/binary"
	"fmt"
	"log"

	"github.com/xdp-load/xdp-load/meta"
	"github.com/xdp-load/xdp-load/nic"
)

// What a NIC has written in front of a packet is read into variables of one's own.
func ExampleNewDecoder() {
	layout, err := nic.OpenLayout("../bpf/examples/nic_a-el.o", "")
	if err != nil {
		log.Panic(err)
	}
	var packet struct {
		Hash  uint32 `meta:"hash"`
		Ptype uint32 `meta:"ptype,optional"`
	}
	decoder, err := meta.NewDecoder(layout, "md_desc", &packet)
	if err != nil {
		log.Panic(err)
	}

	front := make([]byte, 64) // the end of which is the metadata area
	binary.LittleEndian.PutUint32(front[64-decoder.Size()+12:], 0xcafe)
	fmt.Println(decoder.Decode(front), decoder.Has("ptype"))
	fmt.Printf("%#x\n", packet.Hash)
	// Output:
	// true false
	// 0xcafe
}
