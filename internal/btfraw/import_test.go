package btfraw_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Types that are imported are what they were, in a blob that keeps its own.
func TestImport(t *testing.T) {
	all := objects(t)
	for i := 0; i < len(all); i += 9 {
		object := all[i]
		for _, other := range []string{all[(i+1)%len(all)], all[(i+2)%len(all)]} {
			into, from := section(t, object, ".BTF"), section(t, other, ".BTF")
			edit, source := newEdit(t, into), newEdit(t, from)
			imported, err := edit.Import(source)
			if into[0] != from[0] { // the byte order
				if err == nil {
					t.Errorf("%s: types of the other byte order are imported", object)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			types, before := spec(t, from), spec(t, into)
			ids := make(map[btf.TypeID]btf.TypeID)
			for typ, err := range types.All() {
				if err != nil {
					t.Fatal(err)
				}
				id, err := types.TypeID(typ)
				if err != nil {
					t.Fatal(err)
				}
				if ids[id], err = imported.Type(id); err != nil {
					t.Fatal(err)
				}
			}
			after := spec(t, edit.Bytes())
			for old, now := range ids {
				if want, got := deep(t, types, old), deep(t, after, now); got != want {
					t.Fatalf("%s: type %d of %s is %s, was %s", object, old, other, got, want)
				}
			}
			for id := btf.TypeID(1); ; id++ {
				if _, err := before.TypeByID(id); err != nil {
					break
				}
				if want, got := deep(t, before, id), deep(t, after, id); got != want {
					t.Fatalf("%s: type %d is %s, was %s", object, id, got, want)
				}
			}
			if !bytes.Equal(source.Bytes(), from) {
				t.Errorf("%s changed", other)
			}
			checkShared(t, edit.Bytes(), into, from)
		}
	}
}

// checkShared wants the strings of two blobs to be in one, each once but those that were
// there more often.
func checkShared(t *testing.T, out, into, from []byte) {
	t.Helper()
	seen, known := make(map[string]bool), make(map[string]bool)
	before := table(into)
	for _, s := range before {
		seen[s] = true
	}
	for _, s := range table(from) {
		known[s] = true
	}
	added := table(out)[len(before):]
	for _, s := range added {
		if seen[s] {
			t.Errorf("%q is there twice", s)
		}
		if !known[s] {
			t.Errorf("%q comes from nowhere", s)
		}
		seen[s] = true
	}
}

// table returns the strings of a blob.
func table(raw []byte) []string {
	var order binary.ByteOrder = binary.LittleEndian
	if raw[0] == 0xeb {
		order = binary.BigEndian
	}
	start := order.Uint32(raw[4:]) + order.Uint32(raw[16:])
	return strings.Split(strings.TrimSuffix(string(raw[start:]), "\x00"), "\x00")
}

func newEdit(t *testing.T, raw []byte) *btfraw.Edit {
	t.Helper()
	edit, err := btfraw.NewEdit(raw)
	if err != nil {
		t.Fatal(err)
	}
	return edit
}

func spec(t *testing.T, raw []byte) *btf.Spec {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// deep spells out a type, and what it refers to.
func deep(t *testing.T, types *btf.Spec, id btf.TypeID) string {
	t.Helper()
	typ, err := types.TypeByID(id)
	if err != nil {
		t.Fatal(err)
	}
	return spell(t, typ, 2)
}

func spell(t *testing.T, typ btf.Type, depth int) string {
	t.Helper()
	if depth < 0 {
		return fmt.Sprintf("%T %s", typ, typ.TypeName())
	}
	below := func(typ btf.Type) string { return spell(t, typ, depth-1) }
	members := func(all []btf.Member) (text string) {
		for _, m := range all {
			text += fmt.Sprintf(" %s@%d:%d %s", m.Name, m.Offset, m.BitfieldSize, below(m.Type))
		}
		return text
	}
	switch typ := typ.(type) {
	case *btf.Void:
		return "void"
	case *btf.Int:
		return fmt.Sprintf("int %s %d %v", typ.Name, typ.Size, typ.Encoding)
	case *btf.Float:
		return fmt.Sprintf("float %s %d", typ.Name, typ.Size)
	case *btf.Pointer:
		return "*" + below(typ.Target)
	case *btf.Array:
		return fmt.Sprintf("[%d %s]%s", typ.Nelems, below(typ.Index), below(typ.Type))
	case *btf.Struct:
		return fmt.Sprintf("struct %s %d {%s} %q", typ.Name, typ.Size, members(typ.Members), typ.Tags)
	case *btf.Union:
		return fmt.Sprintf("union %s %d {%s} %q", typ.Name, typ.Size, members(typ.Members), typ.Tags)
	case *btf.Enum:
		return fmt.Sprintf("enum %s %d %t %v", typ.Name, typ.Size, typ.Signed, typ.Values)
	case *btf.Fwd:
		return fmt.Sprintf("declared %s %v", typ.Name, typ.Kind)
	case *btf.Typedef:
		return fmt.Sprintf("typedef %s %s %q", typ.Name, below(typ.Type), typ.Tags)
	case *btf.Volatile:
		return "volatile " + below(typ.Type)
	case *btf.Const:
		return "const " + below(typ.Type)
	case *btf.Restrict:
		return "restrict " + below(typ.Type)
	case *btf.TypeTag:
		return typ.Value + " " + below(typ.Type)
	case *btf.Func:
		return fmt.Sprintf("func %s %v %s %q", typ.Name, typ.Linkage, below(typ.Type), typ.Tags)
	case *btf.FuncProto:
		text := below(typ.Return)
		for _, param := range typ.Params {
			text += fmt.Sprintf(", %s %s", param.Name, below(param.Type))
		}
		return text
	case *btf.Var:
		return fmt.Sprintf("var %s %v %s", typ.Name, typ.Linkage, below(typ.Type))
	case *btf.Datasec:
		text := fmt.Sprintf("section %s %d", typ.Name, typ.Size)
		for _, v := range typ.Vars {
			text += fmt.Sprintf(" %d:%d %s", v.Offset, v.Size, below(v.Type))
		}
		return text
	}
	t.Fatalf("%T is not compared", typ)
	return ""
}

// Nothing is imported that is not asked for, or referred to; what is about a type is.
func TestImportReaches(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		number := &btf.Int{Name: "int", Size: 4}
		list := &btf.Struct{Name: "list", Size: 8, Tags: []string{"tag"}}
		list.Members = []btf.Member{{Name: "next", Type: &btf.Pointer{Target: list}}}
		function := &btf.Func{Name: "walk", Type: &btf.FuncProto{Return: number, Params: []btf.FuncParam{{Name: "from", Type: &btf.Pointer{Target: list}}}}}
		builder, err := btf.NewBuilder([]btf.Type{function, &btf.Struct{Name: "other", Size: 4, Members: []btf.Member{{Name: "of", Type: number}}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: order})
		if err != nil {
			t.Fatal(err)
		}
		from := spec(t, raw)
		named, err := from.AnyTypeByName("walk")
		if err != nil {
			t.Fatal(err)
		}
		id, err := from.TypeID(named)
		if err != nil {
			t.Fatal(err)
		}
		edit := newEdit(t, marshalled(t, order, &btf.Int{Name: "own", Size: 8}))
		imported, err := edit.Import(newEdit(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // once
			if _, err := imported.Type(id); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		for typ, err := range spec(t, edit.Bytes()).All() {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := typ.(*btf.Void); ok {
				continue
			}
			if named, ok := typ.(*btf.Struct); ok && !slices.Equal(named.Tags, []string{"tag"}) {
				t.Errorf("%v has tags %q", named, named.Tags)
			}
			names = append(names, fmt.Sprintf("%T %s", typ, typ.TypeName()))
		}
		slices.Sort(names)
		want := []string{"*btf.Func walk", "*btf.FuncProto ", "*btf.Int int", "*btf.Int own", "*btf.Pointer ", "*btf.Struct list"}
		if got := slices.Compact(names); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Damaged types of another blob are refused.
func TestImportRefuses(t *testing.T) {
	for name, damage := range map[string]func(raw []byte){
		"no such type": func(raw []byte) { binary.LittleEndian.PutUint32(raw[24+8:], 99) },
		"no such name": func(raw []byte) { binary.LittleEndian.PutUint32(raw[24+12:], 9999) },
	} {
		raw := marshalled(t, binary.LittleEndian, &btf.Pointer{Target: &btf.Int{Name: "int", Size: 4}})
		damage(raw)
		source, err := btfraw.NewEdit(raw)
		if err != nil {
			continue
		}
		imported, err := newEdit(t, marshalled(t, binary.LittleEndian, &btf.Int{Name: "own", Size: 8})).Import(source)
		if err != nil {
			t.Fatal(err)
		}
		if id, err := imported.Type(1); err == nil {
			t.Errorf("%s: type %d", name, id)
		}
	}
}

// FuzzImport: no panic, and either an error or a blob with all types, which reads back.
func FuzzImport(f *testing.F) {
	for _, object := range objects(f) {
		f.Add(section(f, object, ".BTF"), section(f, object, ".BTF"))
	}
	f.Fuzz(func(t *testing.T, into, from []byte) {
		edit, err := btfraw.NewEdit(into)
		if err != nil {
			return
		}
		source, err := btfraw.NewEdit(from)
		if err != nil {
			return
		}
		imported, err := edit.Import(source)
		if err != nil {
			return
		}
		for id := btf.TypeID(1); ; id++ {
			now, err := imported.Type(id)
			if err != nil {
				break
			}
			if again, err := imported.Type(id); err != nil || again != now {
				t.Fatalf("type %d is %d, then %d, %v", id, now, again, err)
			}
			if id&(id-1) != 0 { // each time takes time
				continue
			}
			out := edit.Bytes()
			read, err := btfraw.NewEdit(out)
			if err != nil {
				t.Fatalf("the output does not read back: %v", err)
			}
			if !bytes.Equal(read.Bytes(), out) {
				t.Fatal("the output reads back as something else")
			}
		}
	})
}
