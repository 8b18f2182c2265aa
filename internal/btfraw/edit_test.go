package btfraw_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// editable returns a blob with a function (3), two variables (4, 5) and a DATASEC of
// them (6), between others.
func editable(t *testing.T, order binary.ByteOrder) []byte {
	t.Helper()
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	proto := &btf.FuncProto{Return: number, Params: []btf.FuncParam{{Name: "a", Type: number}}}
	function := &btf.Func{Name: "step", Type: proto, Linkage: btf.GlobalFunc}
	first, second := &btf.Var{Name: "first", Type: number, Linkage: btf.GlobalVar}, &btf.Var{Name: "second", Type: number}
	data := &btf.Datasec{Name: ".data", Size: 8, Vars: []btf.VarSecinfo{{Type: first, Size: 4}, {Type: second, Offset: 4, Size: 4}}}
	behind := &btf.Struct{Name: "behind", Size: 4, Members: []btf.Member{{Name: "member", Type: number}}}
	builder, err := btf.NewBuilder([]btf.Type{number, proto, function, first, second, data, behind}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// spelt spells out all types, by ID.
func spelt(t *testing.T, raw []byte) []string {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for typ, err := range spec.All() {
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%v", typ)
		if datasec, ok := typ.(*btf.Datasec); ok {
			for _, v := range datasec.Vars {
				text += fmt.Sprintf(" %s@%d", v.Type.TypeName(), v.Offset)
			}
		}
		all = append(all, text)
	}
	return all
}

func TestEdit(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*btfraw.Edit) error
		changed map[int][2]string // by ID: what it was and is
	}{
		"nothing": {func(*btfraw.Edit) error { return nil }, nil},
		"rename":  {func(e *btfraw.Edit) error { return e.Rename(5, "another") }, map[int][2]string{5: {`Var:"second"[static]`, `Var:"another"[static]`}, 6: {`Datasec:".data" first@0 second@4`, `Datasec:".data" first@0 another@4`}}},
		"linkage": {func(e *btfraw.Edit) error { return e.SetLinkage(3, btf.StaticFunc) }, map[int][2]string{3: {`Func:"step"[global proto=FuncProto]`, `Func:"step"[static proto=FuncProto]`}}},
		"drop":    {func(e *btfraw.Edit) error { return e.DropVars(6, func(id btf.TypeID) bool { return id == 4 }) }, map[int][2]string{6: {`Datasec:".data" first@0 second@4`, `Datasec:".data" second@4`}}},
		"place":   {func(e *btfraw.Edit) error { return e.PlaceVars(6, map[btf.TypeID]uint32{4: 4, 5: 0}) }, map[int][2]string{6: {`Datasec:".data" first@0 second@4`, `Datasec:".data" second@0 first@4`}}},
		"twice": {func(e *btfraw.Edit) error {
			if err := e.Rename(6, ".other"); err != nil {
				return err
			}
			if err := e.DropVars(6, func(btf.TypeID) bool { return true }); err != nil {
				return err
			}
			return e.Rename(7, "last")
		}, map[int][2]string{6: {`Datasec:".data" first@0 second@4`, `Datasec:".other"`}, 7: {`Struct:"behind"[fields=1 fieldNames=[member]]`, `Struct:"last"[fields=1 fieldNames=[member]]`}}},
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			raw := editable(t, order)
			before, want := bytes.Clone(raw), spelt(t, raw)
			edit, err := btfraw.NewEdit(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := test.change(edit); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for id, change := range test.changed {
				if want[id] != change[0] {
					t.Fatalf("%s: type %d is %s, want %s", name, id, want[id], change[0])
				}
				want[id] = change[1]
			}
			if diff := cmp.Diff(want, spelt(t, edit.Bytes())); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, order, diff)
			}
			if !bytes.Equal(raw, before) {
				t.Errorf("%s: the input was written to", name)
			}
		}
	}
}

// Nothing but the edit is changed in what compilers make.
func TestEditObjects(t *testing.T) {
	for _, object := range objects(t) {
		raw := section(t, object, ".BTF")
		edit, err := btfraw.NewEdit(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(edit.Bytes(), raw) {
			t.Errorf("%s: other bytes without a change", object)
		}
	}
}

func TestEditRefuses(t *testing.T) {
	edit, err := btfraw.NewEdit(editable(t, binary.LittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"void":                edit.Rename(0, "name"),
		"no such type":        edit.Rename(8, "name"),
		"linkage of a struct": edit.SetLinkage(7, btf.StaticFunc),
		"variables of one":    edit.DropVars(4, func(btf.TypeID) bool { return true }),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := btfraw.NewEdit(nil); err == nil {
		t.Error("no BTF: no error")
	}
}
