package btfraw_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

const kernelBTF = "/sys/kernel/btf/vmlinux"

// Types of an excerpt are what they were, those behind pointers as far as their name and size.
func TestExcerpt(t *testing.T) {
	for _, object := range objects(t) {
		checkExcerpts(t, object, section(t, object, ".BTF"), 7)
	}
	raw, err := os.ReadFile(kernelBTF)
	if err != nil {
		t.Fatal(err)
	}
	checkExcerpts(t, kernelBTF, raw, 97)
}

// checkExcerpts compares one of so many types, alone and two at a time, with what
// cilium/ebpf reads.
func checkExcerpts(t *testing.T, name string, raw []byte, oneOf btf.TypeID) {
	t.Helper()
	blob, err := btfraw.Parse(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	types := spec(t, raw)
	for id := oneOf; ; id += oneOf {
		typ, err := types.TypeByID(id)
		if err != nil {
			break
		}
		if fmt.Sprintf("%T", typ) == "*btf.declTag" {
			continue
		}
		for _, ids := range [][]btf.TypeID{{id}, {id, id - 1}} {
			excerpt, err := blob.Excerpt(ids...)
			if err != nil {
				t.Fatalf("%s: types %d: %v", name, ids, err)
			}
			part := spec(t, excerpt.Raw)
			for i, id := range ids {
				checkExcerpt(t, fmt.Sprintf("%s: type %d", name, id), types, part, id, btf.TypeID(i+1))
			}
			for id, original := range excerpt.Originals[1:] {
				checkOriginal(t, fmt.Sprintf("%s: types %d", name, ids), types, part, original, btf.TypeID(id+1))
			}
		}
	}
}

func checkExcerpt(t *testing.T, what string, whole, part *btf.Spec, original, id btf.TypeID) {
	t.Helper()
	want, err := whole.TypeByID(original)
	if err != nil {
		t.Fatal(err)
	}
	got, err := part.TypeByID(id)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got, want := brief(got, false, nil), brief(want, false, nil); got != want {
		t.Fatalf("%s: %s\nwas %s", what, got, want)
	}
}

func checkOriginal(t *testing.T, what string, whole, part *btf.Spec, original, id btf.TypeID) {
	t.Helper()
	want, err := whole.TypeByID(original)
	if err != nil {
		t.Fatal(err)
	}
	got, err := part.TypeByID(id)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if fmt.Sprintf("%T %s", got, got.TypeName()) != fmt.Sprintf("%T %s", want, want.TypeName()) {
		t.Fatalf("%s: type %d is %v, not %v", what, id, got, want)
	}
}

// brief spells a type out, without the members of structs and unions behind pointers.
// within are those that are being spelled, on this side of a pointer.
func brief(typ btf.Type, behindPointer bool, within []btf.Type) string {
	for _, outer := range within {
		if outer == typ {
			return "itself"
		}
	}
	within = append(within, typ)
	inner := func(typ btf.Type) string { return brief(typ, behindPointer, within) }
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	members := func(all []btf.Member) {
		for _, m := range all {
			if !behindPointer {
				add("%s@%d:%d %s;", m.Name, m.Offset, m.BitfieldSize, inner(m.Type))
			}
		}
	}
	add("%T %s", typ, typ.TypeName())
	switch typ := typ.(type) {
	case *btf.Struct:
		add("%d", typ.Size)
		members(typ.Members)
	case *btf.Union:
		add("%d", typ.Size)
		members(typ.Members)
	case *btf.Int:
		add("%d %v", typ.Size, typ.Encoding)
	case *btf.Float:
		add("%d", typ.Size)
	case *btf.Enum:
		add("%d %t %v", typ.Size, typ.Signed, typ.Values)
	case *btf.Fwd:
		add("%v", typ.Kind)
	case *btf.Pointer:
		if !behindPointer {
			within = nil
		}
		add("%s", brief(typ.Target, true, within))
	case *btf.Array:
		add("%d %s %s", typ.Nelems, inner(typ.Index), inner(typ.Type))
	case *btf.FuncProto:
		for _, p := range typ.Params {
			add("%s %s", p.Name, inner(p.Type))
		}
		add("returns %s", inner(typ.Return))
	case *btf.Func:
		add("%v %s", typ.Linkage, inner(typ.Type))
	case *btf.Var:
		add("%v %s", typ.Linkage, inner(typ.Type))
	case *btf.Datasec:
		for _, v := range typ.Vars {
			add("%d %d %s", v.Offset, v.Size, inner(v.Type))
		}
	case *btf.Typedef:
		add("%s", inner(typ.Type))
	case *btf.Const:
		add("%s", inner(typ.Type))
	case *btf.Volatile:
		add("%s", inner(typ.Type))
	case *btf.Restrict:
		add("%s", inner(typ.Type))
	case *btf.TypeTag:
		add("%s", inner(typ.Type))
	}
	return "(" + strings.Join(words, " ") + ")"
}

// Of the kernel's types a few are in the excerpt of even the most connected.
func TestExcerptIsSmall(t *testing.T) {
	raw, err := os.ReadFile(kernelBTF)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := btfraw.Parse(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sk_buff", "net_device", "xdp_buff", "task_struct"} {
		ids, err := blob.Named(name)
		if err != nil || len(ids) != 1 {
			t.Fatalf("%s: types %v, %v", name, ids, err)
		}
		excerpt, err := blob.Excerpt(ids...)
		if err != nil {
			t.Fatal(err)
		}
		if len(excerpt.Raw) > len(raw)/50 {
			t.Errorf("%s: %d of %d bytes, %d types", name, len(excerpt.Raw), len(raw), len(excerpt.Originals))
		}
	}
}

func TestExcerptRefuses(t *testing.T) {
	raw := marshalled(t, binary.LittleEndian, &btf.Pointer{Target: &btf.Typedef{Name: "word", Type: &btf.Int{Name: "int", Size: 4}}})
	for name, test := range map[string]struct {
		damage func(raw []byte)
		id     btf.TypeID
	}{
		"no such type":     {func([]byte) {}, 4},
		"target beyond":    {func(raw []byte) { raw[24+8] = 4 }, 1},
		"name of a target": {func(raw []byte) { raw[24+12] = 200 }, 1},
	} {
		damaged := bytes.Clone(raw)
		test.damage(damaged)
		blob, err := btfraw.Parse(damaged, nil)
		if err != nil {
			t.Fatal(err)
		}
		excerpt, err := blob.Excerpt(test.id)
		if err == nil || excerpt != nil {
			t.Errorf("%s: %v", name, excerpt)
		}
	}
}

func BenchmarkExcerpt(b *testing.B) {
	raw, err := os.ReadFile(kernelBTF)
	if err != nil {
		b.Fatal(err)
	}
	blob, err := btfraw.Parse(raw, nil)
	if err != nil {
		b.Fatal(err)
	}
	ids, err := blob.Named("net_device")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := blob.Excerpt(ids...); err != nil {
			b.Fatal(err)
		}
	}
}

// Of damaged BTF there is an excerpt or an error.
func FuzzExcerpt(f *testing.F) {
	for _, object := range objects(f)[:6] {
		f.Add(section(f, object, ".BTF"), uint32(5))
	}
	f.Fuzz(func(t *testing.T, raw []byte, id uint32) {
		blob, err := btfraw.Parse(raw, nil)
		if err != nil {
			return
		}
		excerpt, err := blob.Excerpt(btf.TypeID(id))
		if (err == nil) != (excerpt != nil) {
			t.Fatalf("%v with the error %v", excerpt, err)
		}
		if err != nil || id == 0 {
			return
		}
		part, err := btfraw.Parse(excerpt.Raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := part.CheckReferences(); err != nil || excerpt.Originals[1] != btf.TypeID(id) {
			t.Errorf("type %d is %d: %v", id, excerpt.Originals[1], err)
		}
	})
}
