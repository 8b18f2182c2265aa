package drivers_test

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
)

// fields are those of struct md_desc.
var fields = []string{"rx_timestamp", "hash", "hash_type", "csum", "csum_status", "vlan_tci", "vlan_proto", "mark", "ptype"}

// Every file is there in both byte orders, and says the same in both.
func TestObjects(t *testing.T) {
	names := drivers.Names()
	if !slices.Contains(names, "veth") || !slices.Contains(names, "skb") || slices.Contains(names, drivers.Kfuncs) || slices.Contains(names, drivers.Software) || !slices.IsSorted(names) {
		t.Errorf("the files are %v", names)
	}
	noDrivers := []string{drivers.Kfuncs, drivers.Software}
	for _, name := range append(names, noDrivers...) {
		var files []*accessor.File
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			object, err := drivers.Object(name, order)
			if err != nil {
				t.Fatal(err)
			}
			file, err := accessor.Read(name, object)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		little, big := files[0], files[1]
		if !slices.Contains(little.Drivers, name) || !slices.Equal(little.Drivers, big.Drivers) {
			t.Errorf("%s is for %v, and %v", name, little.Drivers, big.Drivers)
		}
		if !maps.Equal(little.Lacks, big.Lacks) {
			t.Errorf("%s lacks %v, and %v", name, little.Lacks, big.Lacks)
		}
		for _, field := range fields {
			_, has := little.Fields[field]
			if why := little.Lacks[field]; !has && why == "" && !slices.Contains(noDrivers, name) {
				t.Errorf("%s does not say why it lacks %s", name, field)
			}
		}
		for field, accessor := range little.Fields {
			if !slices.Contains(fields, field) {
				t.Errorf("%s: struct md_desc has no %s", name, field)
			}
			if accessor.From == "" || big.Fields[field].From != accessor.From {
				t.Errorf("%s: %s is from %q, and from %q", name, field, accessor.From, big.Fields[field].From)
			}
		}
	}
}

func TestNoObject(t *testing.T) {
	_, err := drivers.Object("tulip", binary.LittleEndian)
	if err == nil || !strings.Contains(err.Error(), `"tulip"`) || !strings.Contains(err.Error(), "veth") {
		t.Errorf("%v", err)
	}
}
