package drivers_test

import (
	"debug/elf"
	"encoding/binary"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
)

// The fields are the members of struct md_desc, the last one aside, which is no field.
func TestFields(t *testing.T) {
	header, err := os.ReadFile("../md_desc.h")
	if err != nil {
		t.Fatal(err)
	}
	_, members, _ := strings.Cut(string(header), "\nstruct md_desc {\n")
	members, _, _ = strings.Cut(members, "\n}")
	var names []string
	for _, member := range regexp.MustCompile(`(?m)^\t__\w+ (\w+);$`).FindAllStringSubmatch(members, -1) {
		names = append(names, member[1])
	}
	if want := append(slices.Clone(drivers.Fields), "reserved"); !slices.Equal(names, want) {
		t.Errorf("struct md_desc has %v instead of %v", names, want)
	}
}

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
		for _, field := range drivers.Fields {
			_, has := little.Fields[field]
			if why := little.Lacks[field]; !has && why == "" && !slices.Contains(noDrivers, name) {
				t.Errorf("%s does not say why it lacks %s", name, field)
			}
		}
		for field, accessor := range little.Fields {
			if !slices.Contains(drivers.Fields, field) {
				t.Errorf("%s: struct md_desc has no %s", name, field)
			}
			if accessor.From == "" || big.Fields[field].From != accessor.From {
				t.Errorf("%s: %s is from %q, and from %q", name, field, accessor.From, big.Fields[field].From)
			}
		}
	}
}

// The order of the machine is one of the two.
func TestNativeObject(t *testing.T) {
	native, err := drivers.Object("veth", binary.NativeEndian)
	if err != nil {
		t.Fatal(err)
	}
	if order := elf.Data(native[elf.EI_DATA]); order == elf.ELFDATA2MSB != (binary.NativeEndian.Uint16([]byte{0, 1}) == 1) {
		t.Errorf("%v", order)
	}
}

func TestNoObject(t *testing.T) {
	_, err := drivers.Object("tulip", binary.LittleEndian)
	if err == nil || !strings.Contains(err.Error(), `"tulip"`) || !strings.Contains(err.Error(), "veth") {
		t.Errorf("%v", err)
	}
}
