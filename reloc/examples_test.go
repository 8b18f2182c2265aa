package reloc_test

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// The types of these examples.
var (
	number16 = &btf.Int{Name: "__u16", Size: 2}
	number32 = &btf.Int{Name: "__u32", Size: 4}
	signed32 = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
)

func fieldOf(typ btf.Type) *reloc.Field {
	field, err := reloc.FieldOf(typ)
	if err != nil {
		log.Panic(err)
	}
	return field
}

func ExampleRead() {
	object, err := os.ReadFile("../bpf/examples/balance-el.o")
	if err != nil {
		log.Panic(err)
	}
	accesses, err := reloc.Read(object)
	if err != nil {
		log.Panic(err)
	}
	for _, access := range accesses {
		fmt.Println(access.Source, access.Path, access.Kind, access.Local.String())
	}
	// Output:
	// bpf/examples/balance.c:17 struct xdp_load_source type_exists 1
	// bpf/examples/balance.c:19 struct md_desc type_size 40
	// bpf/examples/balance.c:19 xdp_load_source->desc byte_off void * at 0
	// bpf/examples/balance.c:22 md->hash byte_off __u32 at 8
}

func ExampleReadObject() {
	object, err := os.ReadFile("../bpf/examples/balance-el.o")
	if err != nil {
		log.Panic(err)
	}
	recorded, err := reloc.ReadObject(object)
	if err != nil {
		log.Panic(err)
	}
	packets, isThere := recorded.Map("packets")
	fmt.Println(len(recorded.Accesses), packets, isThere)
	// Output: 4 {4 8} true
}

func ExampleNewLayout() {
	var builder btf.Builder
	md := &btf.Struct{Name: "md_desc", Size: 8, Members: []btf.Member{{Name: "mark", Type: number32}, {Name: "hash", Type: number32, Offset: 32}}}
	if _, err := builder.Add(md); err != nil {
		log.Panic(err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		log.Panic(err)
	}
	layout, err := reloc.NewLayout("my NIC", raw, nil)
	if err != nil {
		log.Panic(err)
	}
	size, err := layout.SizeOf("md_desc")
	fmt.Println(layout.Name(), size, err)
	// Output: my NIC 8 <nil>
}

func ExampleNewAccess() {
	md := &btf.Struct{Name: "md_desc", Size: 8, Members: []btf.Member{{Name: "mark", Type: number32}, {Name: "hash", Type: number32, Offset: 32}}}
	access, err := reloc.NewAccess(md, "0:1", reloc.ByteOffset, binary.LittleEndian)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(access.Path, access.Local.String())
	// Output: md->hash __u32 at 4
}

func ExampleFieldOf() {
	field, err := reloc.FieldOf(number16)
	fmt.Println(field, err)

	_, err = reloc.FieldOf(&btf.Fwd{Name: "unknown"})
	fmt.Println(err != nil)
	// Output:
	// __u16 at 0 <nil>
	// true
}

func ExampleSameRepresentation() {
	fmt.Println(reloc.SameRepresentation(fieldOf(number32), fieldOf(number32), binary.LittleEndian))
	fmt.Println(reloc.SameRepresentation(fieldOf(number32), fieldOf(signed32), binary.LittleEndian))
	// Output:
	// true
	// false
}

func ExampleSameBits() {
	fmt.Println(reloc.SameBits(fieldOf(number32), fieldOf(signed32), binary.LittleEndian))
	fmt.Println(reloc.SameBits(fieldOf(number32), fieldOf(number16), binary.LittleEndian))
	// Output:
	// true
	// false
}

func ExampleSameElements() {
	array := func(n uint32) *reloc.Field { return fieldOf(&btf.Array{Index: number32, Type: number16, Nelems: n}) }
	fmt.Println(reloc.SameElements(array(4), array(8), binary.LittleEndian))
	fmt.Println(reloc.SameElements(array(8), array(4), binary.LittleEndian))
	// Output:
	// true
	// false
}

func ExampleLeaves() {
	local := &btf.Struct{Name: "rx", Size: 4, Members: []btf.Member{{Name: "queue", Type: number16}, {Name: "ring", Type: number16, Offset: 16}}}
	target := &btf.Struct{Name: "rx", Size: 8, Members: []btf.Member{{Name: "ring", Type: number32}, {Name: "queue", Type: number16, Offset: 32}}}
	leaves, why, err := reloc.Leaves(fieldOf(local), fieldOf(target), 0, 4, binary.LittleEndian)
	if err != nil {
		log.Panic(err)
	}
	fmt.Printf("%q\n", why)
	for _, leaf := range leaves {
		fmt.Println(leaf.Local, "->", leaf.Target)
	}
	// Output:
	// ""
	// __u16 at 0 -> __u16 at 4
	// __u16 at 2 -> __u32 at 0
}

func ExampleKindNamed() {
	kind, isThere := reloc.KindNamed("field_exists")
	fmt.Println(kind == reloc.FieldExists, isThere)
	// Output: true true
}

func ExampleSpellIdentity() {
	md := &btf.Struct{Name: "md_desc", Size: 4, Members: []btf.Member{{Name: "hash", Type: number32}}}
	access, err := reloc.NewAccess(md, "0:0", reloc.ByteOffset, binary.LittleEndian)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(reloc.SpellIdentity(access.Identity(access.Local)))
	// Output: u32 at 0
}

func ExampleTypeString() {
	fmt.Println(reloc.TypeString(&btf.Array{Index: number32, Type: &btf.Int{Name: "__u8", Size: 1}, Nelems: 4}))
	// Output: __u8[4]
}
