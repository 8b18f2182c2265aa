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

func TestAdd(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		raw := marshalled(t, order, &btf.Struct{Name: "md_desc", Size: 4, Members: []btf.Member{{Name: "hash", Type: &btf.Int{Name: "u32", Size: 4}}}})
		before := bytes.Clone(raw)
		edit, err := btfraw.NewEdit(raw)
		if err != nil {
			t.Fatal(err)
		}
		pointer := edit.Pointer(1)
		union, err := edit.Union("mark", 8, []btfraw.Member{{Name: "first", Type: pointer}, {Name: "second", Type: pointer}})
		if err != nil {
			t.Fatal(err)
		}
		spec, err := btf.LoadSpecFromReader(bytes.NewReader(edit.Bytes()))
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

func TestNewEditRefuses(t *testing.T) {
	raw := marshalled(t, binary.LittleEndian, &btf.Int{Name: "u32", Size: 4})
	for name, damaged := range map[string][]byte{
		"empty":                nil,
		"more behind":          append(bytes.Clone(raw), 0),
		"cut short":            raw[:len(raw)-1],
		"strings further back": changed(raw, 16, binary.LittleEndian.Uint32(raw[16:])+1),
		"types further back":   changed(raw, 8, 4),
	} {
		if _, err := btfraw.NewEdit(damaged); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	edit, err := btfraw.NewEdit(raw)
	if err != nil {
		t.Fatal(err)
	}
	members := make([]btfraw.Member, 1<<16)
	if _, err := edit.Union("mark", 8, members); err == nil || !strings.Contains(err.Error(), fmt.Sprint(len(members))) {
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

// Functions of the kernel are put behind those that are there, or are the first.
func TestAddVars(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		edit := newEdit(t, editable(t, order))
		u64 := edit.Int("u64", 8, btf.Unsigned)
		proto, err := edit.FuncProto(edit.Pointer(edit.Const(0)), btfraw.Member{Name: "at", Type: u64}, btfraw.Member{Type: u64})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"first_kfunc", "second_kfunc"} {
			if err := edit.AddVars(".ksyms", btfraw.Placed{Type: edit.Func(name, proto, btf.ExternFunc)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := edit.AddVars(".data", btfraw.Placed{Type: edit.Var("third", u64, btf.StaticVar), Offset: 8, Size: 8}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{".data", ".ksyms", ".none"} {
			if err := edit.GrowDatasec(name, 40); err != nil {
				t.Fatal(err)
			}
		}
		types := spec(t, edit.Bytes())
		var externs, data *btf.Datasec
		if err := types.TypeByName(".ksyms", &externs); err != nil {
			t.Fatal(err)
		}
		if err := types.TypeByName(".data", &data); err != nil {
			t.Fatal(err)
		}
		if len(externs.Vars) != 2 || externs.Size != 0 {
			t.Fatalf("%+v", externs)
		}
		kfunc := externs.Vars[1].Type.(*btf.Func)
		result := kfunc.Type.(*btf.FuncProto)
		if kfunc.Name != "second_kfunc" || kfunc.Linkage != btf.ExternFunc || len(result.Params) != 2 || result.Params[0].Name != "at" {
			t.Errorf("%+v %+v", kfunc, result)
		}
		if _, ok := result.Return.(*btf.Pointer).Target.(*btf.Const).Type.(*btf.Void); !ok {
			t.Errorf("%+v", result.Return)
		}
		if third := data.Vars[2]; len(data.Vars) != 3 || data.Size != 40 || third.Offset != 8 || third.Type.TypeName() != "third" {
			t.Errorf("%+v", data)
		}
	}
}
