package meta_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

// all are the fields of the layouts in testdata.
type all struct {
	RxTimestamp uint64 `meta:"rx_timestamp,optional"`
	Hash        uint64 `meta:"hash,optional"`
	HashType    uint64 `meta:"hash_type,optional"`
	Csum        uint64 `meta:"csum,optional"`
	CsumStatus  uint64 `meta:"csum_status,optional"`
	VlanTCI     uint64 `meta:"vlan_tci,optional"`
	VlanProto   uint64 `meta:"vlan_proto,optional"`
	Mark        uint64 `meta:"mark,optional"`
	Ptype       uint64 `meta:"ptype,optional"`
	Flow        uint64 `meta:"flow,optional"`
	Port        uint64 `meta:"port,optional"`
	Queue       uint64 `meta:"rx.queue,optional"`
	L3OK        uint64 `meta:"l3_ok,optional"`
	Priority    uint64 `meta:"queue_prio,optional"`
	Delta       int64  `meta:"delta,optional"`
	Skew        int64  `meta:"skew,optional"`
	NoSuch      uint64 `meta:"no_such,optional"`
}

// What is decoded by a layout is what a C compiler reads from the same bytes.
func TestDecodeAsC(t *testing.T) {
	netlab.NeedTools(t, "gcc")
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		t.Skip("needs a little-endian machine: bit-fields are elsewhere")
	}
	for _, name := range []string{"exact", "reordered", "narrow", "wide", "nested", "flavour", "packed", "swapped", "bitfield"} {
		t.Run(name, func(t *testing.T) {
			layout, err := nic.OpenLayout("../testdata/layouts/"+name+"-el.o", "")
			if err != nil {
				t.Fatal(err)
			}
			var got all
			decoder, err := meta.NewDecoder(layout, "md_desc", &got)
			if err != nil {
				t.Fatal(err)
			}
			const areas = 200
			random := rand.NewChaCha8([32]byte{1})
			bytes := make([]byte, areas*decoder.Size())
			random.Read(bytes)

			lines := strings.Split(readInC(t, name, decoder, bytes), "\n")
			for i := range areas {
				front := append([]byte("before"), bytes[i*decoder.Size():][:decoder.Size()]...)
				if !decoder.Decode(front) {
					t.Fatal("nothing is decoded")
				}
				if spelled := spell(decoder, &got); spelled != lines[i] {
					t.Fatalf("area %x: decoded\n%s, and C reads\n%s", front[6:], spelled, lines[i])
				}
			}
		})
	}
}

// spell lists what the layout has.
func spell(decoder *meta.Decoder, decoded *all) string {
	var b strings.Builder
	forEach(decoder, func(i int, path string) {
		fmt.Fprintf(&b, "%s=%v ", path, reflect.ValueOf(decoded).Elem().Field(i))
	})
	return b.String()
}

func forEach(decoder *meta.Decoder, fn func(i int, path string)) {
	for i := range reflect.TypeFor[all]().NumField() {
		path, _, _ := strings.Cut(reflect.TypeFor[all]().Field(i).Tag.Get("meta"), ",")
		if decoder.Has(path) {
			fn(i, path)
		}
	}
}

// readInC has a C program read a layout's fields from areas.
func readInC(t *testing.T, layout string, decoder *meta.Decoder, areas []byte) string {
	t.Helper()
	file, err := filepath.Abs("../testdata/layouts/" + layout + ".c")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c strings.Builder
	fmt.Fprintf(&c, "#include <stdio.h>\n#include %q\nint main(void) {\n__typeof__(layout) d;\nwhile (fread(&d, sizeof(d), 1, stdin) == 1) {\n", file)
	has := 0
	forEach(decoder, func(i int, path string) {
		has++
		value := "d." + path
		if regexp.MustCompile(`(__be\d+|_ethertype) ` + path + `;`).Match(source) {
			value = "(sizeof(" + value + ") == 2 ? __builtin_bswap16(" + value + ") : __builtin_bswap32(" + value + "))"
		}
		format, typ := "%llu", "unsigned long long"
		if reflect.TypeFor[all]().Field(i).Type.Kind() == reflect.Int64 {
			format, typ = "%lld", "long long"
		}
		fmt.Fprintf(&c, "printf(\"%s=%s \", (%s)%s);\n", path, format, typ, value)
	})
	c.WriteString("puts(\"\"); }\n}\n")
	if has < 6 || decoder.Has("no_such") {
		t.Fatalf("%d fields are found", has)
	}

	program := filepath.Join(t.TempDir(), "read")
	compile := exec.Command("gcc", "-x", "c", "-", "-o", program)
	compile.Stdin = strings.NewReader(c.String())
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, output, c.String())
	}
	read := exec.Command(program)
	read.Stdin = bytes.NewReader(areas)
	output, err := read.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// A bit-field is read bit by bit as BTF counts them: from the lowest of the first byte in
// little-endian, from the highest in big-endian.
func TestDecodeBitFields(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var order binary.ByteOrder = binary.LittleEndian
		if random.IntN(2) == 0 {
			order = binary.BigEndian
		}
		size, offset, signed := 1+random.IntN(32), random.IntN(32), random.IntN(2) == 0
		encoding := btf.Unsigned
		if signed {
			encoding = btf.Signed
		}
		layout := layoutOf(t, order, &btf.Struct{Name: "md_desc", Size: 8, Members: []btf.Member{{
			Name: "x", Type: &btf.Int{Name: "number", Size: 4, Encoding: encoding},
			Offset: btf.Bits(offset), BitfieldSize: btf.Bits(size),
		}}})
		front := make([]byte, 8)
		binary.NativeEndian.PutUint64(front, random.Uint64())

		var want uint64
		for i := range size {
			bit := offset + i
			if order == binary.LittleEndian {
				want |= uint64(front[bit/8]>>(bit%8)&1) << i
			} else {
				want = want<<1 | uint64(front[bit/8]>>(7-bit%8)&1)
			}
		}
		var got uint64
		if signed {
			var into struct {
				X int32 `meta:"x"`
			}
			decode(t, layout, &into, front)
			got, want = uint64(into.X), uint64(int64(want<<(64-size))>>(64-size))
		} else {
			var into struct {
				X uint32 `meta:"x"`
			}
			decode(t, layout, &into, front)
			got = uint64(into.X)
		}
		if got != want {
			t.Fatalf("%s, %d bits at %d of %x, signed %t: %#x instead of %#x", order, size, offset, front, signed, got, want)
		}
	}
}

// A struct that is no multiple of 4 is at the start of the area, which is one.
func TestDecodePacked(t *testing.T) {
	word := &btf.Int{Name: "__u32", Size: 4}
	layout := layoutOf(t, binary.LittleEndian, &btf.Struct{Name: "md_desc", Size: 30, Members: []btf.Member{{Name: "hash", Type: word}, {Name: "mark", Type: word, Offset: 26 * 8}}})
	area := make([]byte, 32)
	binary.LittleEndian.PutUint32(area, 0xcafe)
	binary.LittleEndian.PutUint32(area[26:], 17)
	var into struct {
		Hash uint32 `meta:"hash"`
		Mark uint32 `meta:"mark"`
	}
	decode(t, layout, &into, append([]byte("before"), area...))
	if into.Hash != 0xcafe || into.Mark != 17 {
		t.Errorf("decoded %+v", into)
	}
	decoder, err := meta.NewDecoder(layout, "md_desc", &into)
	if err != nil {
		t.Fatal(err)
	}
	if decoder.Size() != 32 || decoder.Decode(area[:30]) {
		t.Errorf("size is %d, or of too few bytes something is decoded", decoder.Size())
	}
}

func decode(t *testing.T, layout *reloc.Layout, into any, front []byte) {
	t.Helper()
	decoder, err := meta.NewDecoder(layout, "md_desc", into)
	if err != nil {
		t.Fatal(err)
	}
	if !decoder.Decode(front) {
		t.Fatal("nothing is decoded")
	}
}

func layoutOf(t *testing.T, order binary.ByteOrder, types ...btf.Type) *reloc.Layout {
	t.Helper()
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		t.Fatal(err)
	}
	layout, err := reloc.NewLayout("test", raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// exampleLayout returns the layout of what bpf/examples/receive.c writes, on a machine of a
// byte order.
func exampleLayout(tb testing.TB, suffix string) *reloc.Layout {
	tb.Helper()
	layout, err := nic.OpenLayout("../bpf/examples/receive"+suffix, "")
	if err != nil {
		tb.Fatal(err)
	}
	return layout
}

// A program of either byte order is understood, wherever its bytes are looked at.
func TestDecodePacket(t *testing.T) {
	for suffix, order := range map[string]binary.AppendByteOrder{"-el.o": binary.LittleEndian, "-eb.o": binary.BigEndian} {
		want := meta.Packet{
			RxTimestamp: 0x1122334455667788, Hash: 0xcafe0001, HashType: meta.HashSoftware | 0x29, Csum: 0x12345, Mark: 0x80000007,
			VlanTCI: 0xa123, VlanProto: 0x88a8, Ptype: 0x111, CsumStatus: meta.CsumBad, Fields: meta.All,
		}
		front := order.AppendUint64(nil, want.RxTimestamp)
		for _, word := range []uint32{want.Hash, want.HashType, want.Csum, want.Mark} {
			front = order.AppendUint32(front, word)
		}
		front = order.AppendUint16(front, want.VlanTCI)
		front = binary.BigEndian.AppendUint16(front, want.VlanProto)
		front = order.AppendUint16(front, want.Ptype)
		front = append(front, want.CsumStatus, uint8(want.Fields))

		var got meta.Packet
		decoder, err := meta.NewDecoder(exampleLayout(t, suffix), meta.PacketStruct, &got)
		if err != nil {
			t.Fatal(err)
		}
		if !decoder.Decode(front) || got != want {
			t.Errorf("%s: decoded %+v instead of %+v", suffix, got, want)
		}
		got = meta.Packet{Mark: 1}
		if decoder.Decode(front[1:]) || got != (meta.Packet{Mark: 1}) {
			t.Errorf("%s: of too few bytes %+v is decoded", suffix, got)
		}
	}
}

func TestNewDecoderRefuses(t *testing.T) {
	layout, err := nic.OpenLayout("../testdata/layouts/wide-el.o", "")
	if err != nil {
		t.Fatal(err)
	}
	type nothing struct{ Hash uint64 }
	for _, test := range []struct {
		into any
		name string
		want error
		text string
	}{
		{&struct {
			Mark uint32 `meta:"mark"`
		}{}, "md_desc", meta.ErrDoesNotFit, "mark of struct md_desc into Mark: does not fit: it has 64 bits, and uint32 has 32"},
		{&struct {
			Mark int64 `meta:"mark"`
		}{}, "md_desc", meta.ErrDoesNotFit, "__u64 is unsigned, and int64 is signed"},
		{&struct {
			Mark string `meta:"mark"`
		}{}, "md_desc", meta.ErrDoesNotFit, "string is no integer"},
		{&struct {
			Words uint64 `meta:"words"`
		}{}, "md_desc", meta.ErrDoesNotFit, "and no number"},
		{&struct {
			mark uint64 `meta:"mark"`
		}{}, "md_desc", meta.ErrDoesNotFit, "starts with a capital letter"},
		{&struct {
			Mark uint64 `meta:"marc"`
		}{}, "md_desc", reloc.ErrNoField, `struct md_desc has no "marc", but `},
		{&struct {
			Mark uint64 `meta:"mark,maybe"`
		}{}, "md_desc", nil, `"maybe" in its tag`},
		{&struct {
			Mark uint64 `meta:"mark"`
		}{}, "md_descriptor", reloc.ErrNoStruct, "no such struct: struct md_descriptor"},
		{new(nothing), "md_desc", nil, "no field has a tag"},
		{nothing{}, "md_desc", nil, "give the address of a struct"},
		{(*nothing)(nil), "md_desc", nil, "give the address of a struct"},
		{nil, "md_desc", nil, "give the address of a struct"},
	} {
		decoder, err := meta.NewDecoder(layout, test.name, test.into)
		if err == nil || decoder != nil || !strings.Contains(err.Error(), test.text) || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%T: %v instead of %q", test.into, err, test.text)
		}
	}
}

// Flavours that disagree about a field are not one layout.
func TestNewDecoderAmbiguous(t *testing.T) {
	word := &btf.Int{Name: "__u32", Size: 4}
	one := &btf.Struct{Name: "md_desc___a", Size: 8, Members: []btf.Member{{Name: "hash", Type: word}, {Name: "mark", Type: word, Offset: 32}}}
	other := &btf.Struct{Name: "md_desc___b", Size: 8, Members: []btf.Member{{Name: "mark", Type: word}, {Name: "hash", Type: word, Offset: 32}}}
	var into struct {
		Hash uint32 `meta:"hash"`
	}
	_, err := meta.NewDecoder(layoutOf(t, binary.LittleEndian, one, other), "md_desc", &into)
	if !errors.Is(err, reloc.ErrAmbiguous) || !strings.Contains(err.Error(), "hash is __u32 at 0 in struct md_desc___a, and __u32 at 4 in struct md_desc___b") {
		t.Error(err)
	}
	other.Size, other.Members = 12, one.Members
	_, err = meta.NewDecoder(layoutOf(t, binary.LittleEndian, one, other), "md_desc", &into)
	if !errors.Is(err, reloc.ErrAmbiguous) || !strings.Contains(err.Error(), "struct md_desc___a has 8 bytes, and struct md_desc___b has 12") {
		t.Error(err)
	}
	one.Size = 2 // too small for its fields, as no compiler makes it
	_, err = meta.NewDecoder(layoutOf(t, binary.LittleEndian, one), "md_desc", &into)
	if !errors.Is(err, meta.ErrDoesNotFit) || !strings.Contains(err.Error(), "it ends at byte 4, and the struct at 2") {
		t.Error(err)
	}
}

// Nothing is allocated for a packet.
func TestDecodeAllocates(t *testing.T) {
	var packet meta.Packet
	decoder, err := meta.NewDecoder(exampleLayout(t, "-el.o"), meta.PacketStruct, &packet)
	if err != nil {
		t.Fatal(err)
	}
	front := make([]byte, 256)
	if n := testing.AllocsPerRun(1000, func() { decoder.Decode(front) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	var packet meta.Packet
	decoder, err := meta.NewDecoder(exampleLayout(b, "-el.o"), meta.PacketStruct, &packet)
	if err != nil {
		b.Fatal(err)
	}
	front := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		decoder.Decode(front)
	}
}
