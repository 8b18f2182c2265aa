package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// What is kept has the offsets and the sizes that it had.
func TestCut(t *testing.T) {
	u32, u64 := &btf.Int{Name: "u32", Size: 4}, &btf.Int{Name: "u64", Size: 8}
	device := &btf.Struct{Name: "device", Size: 64, Members: []btf.Member{
		{Name: "name", Type: &btf.Array{Index: u32, Type: u32, Nelems: 4}},
		{Name: "features", Type: u64, Offset: 256},
	}}
	inner := &btf.Union{Size: 8, Members: []btf.Member{{Name: "mark", Type: u32}, {Name: "tag", Type: u64}}}
	ring := &btf.Struct{Name: "ring", Size: 128, Members: []btf.Member{
		{Name: "next", Type: &btf.Pointer{Target: device}},
		{Name: "dev", Type: &btf.Const{Type: &btf.Pointer{Target: device}}, Offset: 64},
		{Type: inner, Offset: 192},
	}}
	descriptor := &btf.Union{Name: "descriptor", Size: 16, Members: []btf.Member{{Name: "read", Type: u64}, {Name: "status", Type: u32}}}
	kind := &btf.Enum{Name: "kind", Size: 4, Values: []btf.EnumValue{{Name: "KIND_NONE", Value: 0}, {Name: "KIND_POOL", Value: 3}}}
	other := &btf.Struct{Name: "other", Size: 8, Members: []btf.Member{{Name: "tag", Type: u64}}}

	localDevice := &btf.Struct{Name: "device", Members: []btf.Member{{Name: "features", Type: u64}}}
	localRing := &btf.Struct{Name: "ring___old", Members: []btf.Member{
		{Name: "dev", Type: &btf.Pointer{Target: localDevice}},
		{Name: "mark", Type: u32},
		{Name: "gone", Type: u32},
	}}

	localDescriptor := &btf.Union{Name: "descriptor", Members: []btf.Member{{Name: "status", Type: u32}}}
	localKind := &btf.Enum{Name: "kind", Size: 4, Values: []btf.EnumValue{{Name: "KIND_POOL", Value: 1}}}

	c := newCut(specOf(t, ring, other, descriptor, kind))
	if err := c.need(specOf(t, localRing, localDescriptor, localKind)); err != nil {
		t.Fatal(err)
	}
	raw, err := c.marshal(binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}

	var gotRing, gotDevice *btf.Struct
	if err := kept.TypeByName("ring", &gotRing); err != nil {
		t.Fatal(err)
	}
	if err := kept.TypeByName("device", &gotDevice); err != nil {
		t.Fatal(err)
	}
	var gotDescriptor *btf.Union
	if err := kept.TypeByName("descriptor", &gotDescriptor); err != nil || len(gotDescriptor.Members) != 1 || gotDescriptor.Size != 16 {
		t.Errorf("%+v, %v", gotDescriptor, err)
	}
	var gotKind *btf.Enum
	if err := kept.TypeByName("kind", &gotKind); err != nil || len(gotKind.Values) != 2 || gotKind.Values[1].Value != 3 {
		t.Errorf("%+v, %v", gotKind, err)
	}
	if err := kept.TypeByName("other", new(*btf.Struct)); err == nil {
		t.Error("a struct is kept that nothing uses")
	}
	if gotRing.Size != 128 || len(gotRing.Members) != 2 || gotRing.Members[0].Offset != 64 || gotRing.Members[1].Offset != 192 {
		t.Errorf("%+v", gotRing)
	}
	if target := gotRing.Members[0].Type.(*btf.Pointer).Target; target != gotDevice {
		t.Errorf("dev points to %v", target)
	}
	if union := gotRing.Members[1].Type.(*btf.Union); len(union.Members) != 1 || union.Size != 8 {
		t.Errorf("%+v", union)
	}
	if gotDevice.Size != 64 || len(gotDevice.Members) != 1 || gotDevice.Members[0].Offset != 256 {
		t.Errorf("%+v", gotDevice)
	}
}

// What an object has in a struct without a name is looked for as what it has beside it, as
// the kernel may have it either way.
func TestCutAnonymous(t *testing.T) {
	u32 := &btf.Int{Name: "u32", Size: 4}
	ring := &btf.Struct{Name: "ring", Size: 8, Members: []btf.Member{{Name: "mark", Type: u32}, {Name: "tag", Type: u32, Offset: 32}}}
	local := &btf.Struct{Name: "ring", Size: 4, Members: []btf.Member{{Type: &btf.Struct{Size: 4, Members: []btf.Member{{Name: "tag", Type: u32}}}}}}
	c := newCut(specOf(t, ring))
	if err := c.need(specOf(t, local)); err != nil {
		t.Fatal(err)
	}
	raw, err := c.marshal(binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var kept *btf.Struct
	if err := load(t, raw).TypeByName("ring", &kept); err != nil {
		t.Fatal(err)
	}
	if len(kept.Members) != 1 || kept.Members[0].Name != "tag" || kept.Members[0].Offset != 32 {
		t.Errorf("%+v", kept.Members)
	}
}

// Of the elements of an array is kept what is kept of one.
func TestCutArray(t *testing.T) {
	u32 := &btf.Int{Name: "u32", Size: 4}
	slot := &btf.Struct{Name: "slot", Size: 8, Members: []btf.Member{{Name: "mark", Type: u32}, {Name: "tag", Type: u32, Offset: 32}}}
	ring := &btf.Struct{Name: "ring", Size: 32, Members: []btf.Member{{Name: "slots", Type: &btf.Array{Index: u32, Type: slot, Nelems: 4}}}}
	localSlot := &btf.Struct{Name: "slot", Size: 4, Members: []btf.Member{{Name: "tag", Type: u32}}}
	local := &btf.Struct{Name: "ring", Size: 4, Members: []btf.Member{{Name: "slots", Type: &btf.Array{Index: u32, Type: localSlot, Nelems: 1}}}}
	c := newCut(specOf(t, ring))
	if err := c.need(specOf(t, local)); err != nil {
		t.Fatal(err)
	}
	raw, err := c.marshal(binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var kept *btf.Struct
	if err := load(t, raw).TypeByName("ring", &kept); err != nil {
		t.Fatal(err)
	}
	slots := kept.Members[0].Type.(*btf.Array)
	if of := slots.Type.(*btf.Struct); slots.Nelems != 4 || of.Size != 8 || len(of.Members) != 1 || of.Members[0].Name != "tag" {
		t.Errorf("%d of %+v", slots.Nelems, slots.Type)
	}
}

// The functions of a name are kept, with those that have their prototype, and with the
// types of both.
func TestCutFunctions(t *testing.T) {
	u32 := &btf.Int{Name: "u32", Size: 4}
	takes := func(name string) *btf.FuncProto {
		return &btf.FuncProto{Return: u32, Params: []btf.FuncParam{{Name: name, Type: u32}}}
	}
	raw := marshal(t,
		&btf.Func{Name: "asked", Type: takes("a")},
		&btf.Func{Name: "answers", Type: takes("b")},
		&btf.Func{Name: "other", Type: &btf.FuncProto{Return: &btf.Void{}}})
	blob, err := btfraw.Parse(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := load(t, raw)
	c := newCut(spec)
	if err := c.needFunctions(blob, spec, "asked", "not there"); err != nil {
		t.Fatal(err)
	}
	if raw, err = c.marshal(binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	kept := load(t, raw)
	for name, want := range map[string]bool{"asked": true, "answers": true, "other": false} {
		var function *btf.Func
		if err := kept.TypeByName(name, &function); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What accessors find nothing in is in a directory of its own, and in one of the two only.
func TestCutDrivers(t *testing.T) {
	raw, err := os.ReadFile("../../bpf/drivers/testdata/skb-7.3.4.btf")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "6.12.1+deb13")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		vmlinux []byte
		there   string
	}{
		{raw, testdata + "/skb-6.12.1.btf"},
		{marshal(t, &btf.Int{Name: "u32", Size: 4}), testdata + "/without/skb-6.12.1.btf"},
		{raw, testdata + "/skb-6.12.1.btf"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "vmlinux"), test.vmlinux, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := cutDrivers(dir, []string{"skb", "igb"}); err != nil { // there is no igb
			t.Fatal(err)
		}
		var found []string
		for _, pattern := range []string{"/*.btf", "/without/*.btf"} {
			files, err := filepath.Glob(testdata + pattern)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, files...)
		}
		if !slices.Equal(found, []string{test.there}) {
			t.Errorf("%v instead of %s", found, test.there)
		}
	}
	again, err := os.ReadFile(testdata + "/skb-6.12.1.btf")
	if err != nil || !bytes.Equal(again, raw) {
		t.Errorf("what is cut down is not as it was cut before: %d bytes, %d, %v", len(again), len(raw), err)
	}
}

func specOf(t *testing.T, types ...btf.Type) *btf.Spec {
	t.Helper()
	return load(t, marshal(t, types...))
}

func marshal(t *testing.T, types ...btf.Type) []byte {
	t.Helper()
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func load(t *testing.T, raw []byte) *btf.Spec {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}
