package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// The slaves of a bond have to agree on a file, and a name that several of them would have
// is told of once.
func TestLayoutOfReceivers(t *testing.T) {
	const tap, igb1, igb2 = "tap0 tun", "eth1 igb 3.1", "eth2 igb 3.2"
	for name, test := range map[string]struct {
		files     []string
		receivers []string
		want      string // "file NAME", or why there is none, or an error
	}{
		"one for all":    {[]string{"igb.o"}, []string{igb1, igb2}, "file igb.o"},
		"one for each":   {[]string{"igb@3.1", "igb@3.2"}, []string{igb1, igb2}, errSlavesDiffer.Error() + ": igb@3.1 of eth1, igb@3.2 of eth2: name one for the bond"},
		"one has none":   {[]string{"igb.o"}, []string{tap, igb1}, errSlavesDiffer.Error() + ": none of tap0, igb.o of eth1: name one for the bond"},
		"none":           {nil, []string{tap, igb1, tap, igb1}, "no file bond0, tun, igb@3.1, igb"},
		"other firmware": {[]string{"igb@2", "igb@3.1", "igb@3.3"}, []string{igb2, igb2}, "no file bond0, igb@3.2, igb, only for other firmware igb@2, igb@3.1, igb@3.3"},
		"no driver":      {[]string{"@3.1"}, []string{"lo"}, "no file bond0"},
	} {
		dir := t.TempDir()
		for _, file := range test.files {
			if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var receivers []receiver
		for _, text := range test.receivers {
			var r receiver
			fmt.Sscan(text, &r.name, &r.driver, &r.firmware)
			receivers = append(receivers, r)
		}
		dirs, err := readLayoutDirs([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		path, err := dirs.forReceivers(receivers)
		got := "file " + filepath.Base(path)
		switch {
		case errors.Is(err, errSlavesDiffer):
			got = strings.ReplaceAll(err.Error(), dir+"/", "")
		case err != nil:
			t.Error(err)
		case path == "":
			got = dirs.places("bond0", receivers)[0].Why
		}
		if got != test.want {
			t.Errorf("%s: %s instead of %s", name, got, test.want)
		}
	}
}

// The slaves of a bond have to be of one driver for the BTF of its module to count.
func TestModuleOfReceivers(t *testing.T) {
	builder, err := btf.NewBuilder([]btf.Type{&btf.Struct{Name: "md_desc___igb", Size: 4, Members: []btf.Member{{Name: "hash", Type: &btf.Int{Name: "u32", Size: 4}}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, vmlinux), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		drivers []string
		found   bool
	}{
		"one":       {[]string{"igb"}, true},
		"alike":     {[]string{"igb", "igb"}, true},
		"different": {[]string{"igb", "ice"}, false},
		"unknown":   {[]string{""}, false},
		"none":      {nil, false},
	} {
		var receivers []receiver
		for _, driver := range test.drivers {
			receivers = append(receivers, receiver{driver: driver})
		}
		target := &Target{Interface: "bond0"}
		places, err := target.findInModule(NewKernel(dir), receivers)
		if err != nil || (target.Layout != nil) != test.found || (len(places) == 0) != test.found {
			t.Errorf("%s: %v, %v, %v", name, target.Layout, places, err)
		}
	}
}

func TestFlavourOf(t *testing.T) {
	for driver, want := range map[string]string{"rvu-nicpf": "md_desc___rvu_nicpf", "8139too": "md_desc___8139too", "a b.c_d": "md_desc___a_b_c_d"} {
		if got := flavourOf(driver); got != want {
			t.Errorf("%s: %s instead of %s", driver, got, want)
		}
	}
}
