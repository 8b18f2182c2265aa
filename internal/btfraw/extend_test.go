package btfraw_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

func TestExtend(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		raw := marshalled(t, order, &btf.Struct{Name: "md_desc", Size: 4, Members: []btf.Member{{Name: "hash", Type: &btf.Int{Name: "u32", Size: 4}}}})
		before := bytes.Clone(raw)
		extension, err := btfraw.Extend(raw)
		if err != nil {
			t.Fatal(err)
		}
		pointer := extension.Pointer(1)
		union, err := extension.Union("mark", 8, []btfraw.Member{{Name: "first", Type: pointer}, {Name: "second", Type: pointer}})
		if err != nil {
			t.Fatal(err)
		}
		spec, err := btf.LoadSpecFromReader(bytes.NewReader(extension.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		typ, err := spec.TypeByID(union)
		if err != nil {
			t.Fatal(err)
		}
		mark := typ.(*btf.Union)
		if mark.Name != "mark" || mark.Size != 8 || len(mark.Members) != 2 || mark.Members[1].Name != "second" {
			t.Errorf("%+v", mark)
		}
		root, err := spec.TypeByID(1)
		if err != nil || root.TypeName() != "md_desc" || mark.Members[0].Type.(*btf.Pointer).Target != root {
			t.Errorf("%v, %v", root, err)
		}
		if !bytes.Equal(raw, before) {
			t.Error("the input was written to")
		}
	}
}

func TestExtendRefuses(t *testing.T) {
	raw := marshalled(t, binary.LittleEndian, &btf.Int{Name: "u32", Size: 4})
	for name, damaged := range map[string][]byte{
		"empty":                nil,
		"more behind":          append(bytes.Clone(raw), 0),
		"cut short":            raw[:len(raw)-1],
		"strings further back": changed(raw, 16, binary.LittleEndian.Uint32(raw[16:])+1),
		"types further back":   changed(raw, 8, 4),
	} {
		if _, err := btfraw.Extend(damaged); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	extension, err := btfraw.Extend(raw)
	if err != nil {
		t.Fatal(err)
	}
	members := make([]btfraw.Member, 1<<16)
	if _, err := extension.Union("mark", 8, members); err == nil || !strings.Contains(err.Error(), fmt.Sprint(len(members))) {
		t.Errorf("%d members: %v", len(members), err)
	}
}

func changed(raw []byte, at int, word uint32) []byte {
	raw = bytes.Clone(raw)
	binary.LittleEndian.PutUint32(raw[at:], word)
	return raw
}

func marshalled(t *testing.T, order binary.ByteOrder, typ btf.Type) []byte {
	t.Helper()
	builder, err := btf.NewBuilder([]btf.Type{typ}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
