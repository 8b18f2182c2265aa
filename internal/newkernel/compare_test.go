package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/nic"
)

const testdata = "../../bpf/drivers/testdata"

// builtIn is a kernel with the types of a file, as another makes them.
func builtIn(t *testing.T, file string, change func(btf.Type)) *nic.Kernel {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(testdata, file))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var types []btf.Type
	for typ, err := range spec.All() {
		if err != nil {
			t.Fatal(err)
		}
		change(typ)
		types = append(types, typ)
	}
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = builder.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return nic.NewKernel(dir)
}

// member calls a member of a struct something else, or makes it of another type.
func member(of, name, now string, typ btf.Type) func(btf.Type) {
	return func(changed btf.Type) {
		s, ok := changed.(*btf.Struct)
		if !ok || s.Name != of {
			return
		}
		for i := range s.Members {
			if m := &s.Members[i]; m.Name == name {
				m.Name = now
				if typ != nil {
					m.Type = typ
				}
			}
		}
	}
}

func compared(t *testing.T, driver string, kernel *nic.Kernel) *comparison {
	t.Helper()
	c, err := compare(testdata, driver, kernel)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A kernel that is as the newest one has lost nothing.
func TestNothingLost(t *testing.T) {
	c := compared(t, "virtio_net", builtIn(t, "virtio_net-7.3.4.btf", func(btf.Type) {}))
	if !c.isClean() || c.fields != 4 || len(c.gained) > 0 || c.String() != "virtio_net: 4 fields, none lost since 7.3.4\n" {
		t.Errorf("%+v", c)
	}
}

// What a kernel calls something else is lost, with the reason; what it has of another kind is
// told; and a driver that is not there is not compared.
func TestLost(t *testing.T) {
	c := compared(t, "virtio_net", builtIn(t, "virtio_net-7.3.4.btf", member("virtio_net_hdr_v1", "flags", "bits", nil)))
	want := "struct virtio_net_hdr_v1 has no field flags"
	if c.isClean() || c.fields != 3 || len(c.lost) != 1 || !strings.HasPrefix(c.lost[0], "csum_status: ") || !strings.HasSuffix(c.lost[0], want) {
		t.Errorf("%+v", c)
	}
	boolean := &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	c = compared(t, "virtio_net", builtIn(t, "virtio_net-7.3.4.btf", member("virtnet_info", "hdr_len", "hdr_len", boolean)))
	if want := []string{"virtnet_info->hdr_len: bool of 1 bytes, was integer of 1 bytes"}; c.isClean() || len(c.lost) > 0 || !slices.Equal(c.changed, want) {
		t.Errorf("%+v", c)
	}
	inOrder := &btf.Int{Name: "unsigned short", Size: 2}
	c = compared(t, "virtio_net", builtIn(t, "virtio_net-7.3.4.btf", member("virtio_net_hdr_v1_hash", "hash_report", "hash_report", inOrder)))
	if want := []string{"virtio_net_hdr_v1_hash->hash_report: integer of 2 bytes, was little-endian integer of 2 bytes"}; c.isClean() || !slices.Equal(c.changed, want) {
		t.Errorf("%+v", c)
	}
	c = compared(t, "igb", builtIn(t, "virtio_net-7.3.4.btf", func(btf.Type) {}))
	if !strings.HasPrefix(c.absent, "there is no ") || !strings.HasSuffix(c.absent, "/igb") || !c.isClean() {
		t.Errorf("%+v", c)
	}
}

// What the descriptor had, and a kfunc is asked for, takes a program that is bound to the
// device, and is lost; what nothing had is gained, whatever has it.
func TestFieldsMove(t *testing.T) {
	there, asked, no := accessor.Source{From: accessor.FromDescriptor}, accessor.Source{From: accessor.FromKfunc}, accessor.Source{Reason: "no such member"}
	c := &comparison{}
	c.noteFields(
		map[string]accessor.Source{"hash": there, "hash_type": there, "csum": there, "vlan_tci": no, "vlan_proto": asked, "mark": no, "ptype": asked},
		map[string]accessor.Source{"hash": asked, "hash_type": no, "csum": no, "vlan_tci": asked, "vlan_proto": there, "mark": there, "ptype": asked})
	lost := []string{"hash, which a kfunc is asked for now", "hash_type, csum: no such member"}
	gained := []string{"vlan_tci", "vlan_proto", "mark"}
	if !slices.Equal(c.lost, lost) || !slices.Equal(c.gained, gained) {
		t.Errorf("lost %q instead of %q, gained %q instead of %q", c.lost, lost, c.gained, gained)
	}
}

// A directory without a kernel, or without drivers, is an error.
func TestNothingToCompare(t *testing.T) {
	if _, err := compare(testdata, "igb", nic.NewKernel(t.TempDir())); err == nil {
		t.Error("there is no vmlinux")
	}
	if clean, err := run(t.TempDir()); err == nil || clean {
		t.Errorf("%v, %v", clean, err)
	}
}
