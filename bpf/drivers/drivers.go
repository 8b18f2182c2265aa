// Package drivers holds the accessors that come with xdp-load: for each driver a BPF
// object, compiled from the C file beside it over bpf/md_driver.h.
package drivers

import (
	"embed"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *-el.o *-eb.o
var objects embed.FS

// The accessor files that are for no driver, but for what the file of any may lack.
const (
	Kfuncs   = "kfuncs"   // asks the kernel
	Software = "software" // looks at the packet, and at the clock
)

// Fields are those of struct md_desc in md_desc.h, which files have functions for.
var Fields = []string{"rx_timestamp", "hash", "hash_type", "csum", "csum_status", "vlan_tci", "vlan_proto", "mark", "ptype"}

// Names returns the names of the accessor files, sorted: "veth" for veth.c. What drivers
// a file is for, it says itself, by MD_DRIVER. Those of Kfuncs and Software, which are for
// none, are left out.
func Names() []string {
	files, err := fs.Glob(objects, "*-el.o")
	if err != nil {
		panic(err) // the pattern is malformed
	}
	var names []string
	for _, file := range files {
		if name := strings.TrimSuffix(file, "-el.o"); name != Kfuncs && name != Software {
			names = append(names, name)
		}
	}
	return names
}

// Object returns the object of the accessor file of a name, as the compiler made it for
// programs of a byte order.
func Object(name string, order binary.ByteOrder) ([]byte, error) {
	suffix := "-el.o"
	if order.Uint16([]byte{0, 1}) == 1 { // binary.NativeEndian may be that, too
		suffix = "-eb.o"
	}
	object, err := objects.ReadFile(name + suffix)
	if err != nil {
		return nil, fmt.Errorf("no accessors for %q, there are those for %s", name, strings.Join(Names(), ", "))
	}
	return object, nil
}
