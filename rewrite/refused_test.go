package rewrite_test

import (
	"encoding/binary"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// An access in refused.c with a comment that says in which byte order, both if
// none is named, and why it has to be refused.
var refusedComment = regexp.MustCompile(`(md|swapped_pair)(?:->|, )(\w+(?:\[\d\])?).*/\* refused( e[lb])?: (.*) \*/`)

// "An access is rewritten, or the object is refused and the message names the
// source line, the field, the layout, and what the layout has."
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, endian := range []string{"el", "eb"} {
		t.Run(endian, func(t *testing.T) {
			want := expectedRefusals(t, endian)
			object := readFile(t, testdata+"/invalid/refused-"+endian+".o")
			layout := parseLayout(t, "refused_layout-"+endian, readFile(t, testdata+"/invalid/refused_layout-"+endian+".o"))

			out, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
			var refused *rewrite.RefusedError
			if !errors.As(err, &refused) || !errors.Is(err, rewrite.ErrRefused) || out != nil || report != nil {
				t.Fatalf("got %v, want %v", err, rewrite.ErrRefused)
			}
			if !strings.Contains(err.Error(), "(layout refused_layout), and ") {
				t.Errorf("the error does not name the layout: %v", err)
			}
			seen := make(map[string]bool)
			for _, refusal := range refused.Refusals {
				checkRefusal(t, refusal, want[refusal.Access.Path])
				seen[refusal.Access.Path] = true
			}
			for path, expected := range want {
				if !seen[path] {
					t.Errorf("%s is not refused: %s", path, expected.reason)
				}
			}
		})
	}
}

type expectedRefusal struct {
	line   uint32
	reason string
}

// expectedRefusals reads the comments of refused.c, by path.
func expectedRefusals(t *testing.T, endian string) map[string]expectedRefusal {
	t.Helper()
	expected := make(map[string]expectedRefusal)
	lines := strings.Split(string(readFile(t, testdata+"/invalid/refused.c")), "\n")
	for i, line := range lines {
		comment := refusedComment.FindStringSubmatch(line)
		if comment != nil && (comment[3] == "" || comment[3] == " "+endian) {
			expected[comment[1]+"->"+comment[2]] = expectedRefusal{uint32(i + 1), comment[4]}
		}
	}
	if len(expected) < 15 {
		t.Fatalf("only %d comments in refused.c", len(expected))
	}
	return expected
}

// offsetsInRegisters are the programs where clang records accesses on MOVs, to
// which it gives the line of a neighbour.
var offsetsInRegisters = []string{"part", "macro", "whole", "kept", "atomic", "passed", "walk", "shuffle", "shuffle_global", "baked", "halves"}

func checkRefusal(t *testing.T, got rewrite.Refusal, want expectedRefusal) {
	t.Helper()
	access := got.Access
	switch {
	case want.reason == "":
		t.Errorf("is refused: %s", got.String())
	case !strings.Contains(got.Reason, want.reason):
		t.Errorf("%s: refused for %q, want %q", access.Path, got.Reason, want.reason)
	case access.Source.Line != want.line && !slices.Contains(offsetsInRegisters, access.Program):
		t.Errorf("%s: line %d, want %d", access.Path, access.Source.Line, want.line)
	case !strings.HasPrefix(got.String(), access.Source.String()+": "+access.Path+": ") || got.Remedy == "":
		t.Errorf("%q does not start with line and field, or has no remedy", got.String())
	}
}

// tamper changes an object at the instruction of an access and at the bytes of
// its record, which starts with insn_off, type_id, access_str_off and kind.
type tamper func(order binary.ByteOrder, insn, record []byte)

// An object that is not as clang made it is not touched.
func TestTampered(t *testing.T) {
	t.Parallel()
	const (
		clang   = "fields-el"
		stores  = "store-clang19-v4-el"
		offset  = 2 // of the instruction's offset field
		imm     = 4 // and of its immediate
		loadU64 = 0x79
		add     = 0x0f
	)
	for name, test := range map[string]struct {
		program string
		path    string
		kind    reloc.Kind
		layout  string
		change  tamper
		want    string
	}{
		"another offset": {clang, "md->hash", reloc.ByteOffset, "reordered-el",
			func(order binary.ByteOrder, insn, _ []byte) { order.PutUint16(insn[offset:], 12) },
			`fields.c:24: md->hash: the instruction "r1 = *(u32 *)(r2 + 12)" does not hold the byte_off that the record says, 8`},
		"another offset in a register": {"paths-el", "md->swapped", reloc.ByteOffset, "paths-el",
			func(order binary.ByteOrder, insn, _ []byte) { order.PutUint32(insn[imm:], 5) },
			`md->swapped: the instruction "r1 = 5" does not hold the byte_off that the record says, 4`},
		"another constant": {clang, "struct md_desc", reloc.TypeSize, "reordered-el",
			func(order binary.ByteOrder, insn, _ []byte) { order.PutUint32(insn[imm:], 36) },
			`struct md_desc: the instruction "r3 = 36" does not hold the type_size that the record says, 40`},
		"reads beyond the field": {clang, "md->hash", reloc.ByteOffset, "reordered-el",
			func(_ binary.ByteOrder, insn, _ []byte) { insn[0] = loadU64 },
			`fields.c:24: md->hash: the instruction "r1 = *(u64 *)(r2 + 8)" accesses 8 bytes, the field __u32 at 8 has 4`},
		"no constant in the instruction": {clang, "struct md_desc", reloc.TypeSize, "reordered-el",
			func(_ binary.ByteOrder, insn, _ []byte) { insn[0] = add },
			`struct md_desc: type_size is recorded on the instruction`},
		"bits that no instruction has": {clang, "struct md_desc", reloc.TypeSize, "reordered-el",
			func(order binary.ByteOrder, insn, _ []byte) { order.PutUint16(insn[offset:], 0x7777) },
			`struct md_desc: its instruction: instruction has bits set`},
		"record of another instruction": {clang, "md->hash", reloc.ByteOffset, "reordered-el",
			func(order binary.ByteOrder, _, record []byte) { order.PutUint32(record, 6*reloc.InstructionSize) },
			`md->hash: the instruction "r1 = *(u32 *)(r1 + 0)" does not hold the byte_off that the record says, 8`},
		"record of an instruction that is linked": {clang, "md->hash", reloc.FieldExists, "reordered-el",
			func(order binary.ByteOrder, _, record []byte) { order.PutUint32(record, 11*reloc.InstructionSize) },
			`md->hash: the instruction "r1 = 0x0 ll" is also patched by an ELF relocation`},
		"record of another field": {clang, "md->hash", reloc.ByteOffset, "reordered-el",
			func(order binary.ByteOrder, _, record []byte) { order.PutUint32(record, 38*reloc.InstructionSize) },
			`fields.c:25: md->hash: the instruction "r1 = *(u32 *)(r2 + 12)" does not hold the byte_off that the record says, 8`},
		"two records of one instruction": {clang, "md->mark", reloc.FieldExists, "sparse-el",
			func(order binary.ByteOrder, _, record []byte) { order.PutUint32(record, 24*reloc.InstructionSize) },
			`md->mark: the instruction "r1 = 1" would have to become "r1 = 0" for it and "r1 = 1" for another access`},
		"another kind": {clang, "md->hash", reloc.FieldExists, "reordered-el",
			func(order binary.ByteOrder, _, record []byte) { order.PutUint32(record[12:], uint32(reloc.ByteSize)) },
			`md->hash: the instruction "r1 = 1" does not hold the byte_sz that the record says, 4`},
	} {
		t.Run(name, func(t *testing.T) {
			object := readProgram(t, test.program)
			changeAccess(t, object, test.path, test.kind, test.change)
			out, report, err := rewrite.Rewrite(object, readLayout(t, test.layout), rewrite.Options{})
			if !errors.Is(err, rewrite.ErrRefused) || out != nil || report != nil {
				t.Fatalf("got %v, want %v", err, rewrite.ErrRefused)
			}
			var refused *rewrite.RefusedError
			errors.As(err, &refused)
			if message := err.Error() + "\n" + refused.Details(); !strings.Contains(message, test.want) {
				t.Errorf("got  %s\nwant %s", message, test.want)
			}
		})
	}
}

// A constant that the layout's field can't hold is converted to it as C does,
// and the report says so.
func TestConstantsAreConverted(t *testing.T) {
	const stores = "store-clang19-v4-el"
	for _, test := range []struct {
		path, layout string
		constant     uint32
		after, note  string
	}{
		{"md->hash_type", "narrow-el", 0x19, "*(u8 *)(r2 + 0) = 25", ""},
		{"md->hash_type", "narrow-el", 0x119, "*(u8 *)(r2 + 0) = 25", "stores 25, which is what the 8 bits hold of 281"},
		{"md->hash_type", "narrow-el", 0xffffffff, "*(u8 *)(r2 + 0) = -1", "stores 255, which is what the 8 bits hold of 4294967295"},
		{"md->mark", "wide-el", 42, "*(u64 *)(r1 + 0) = 42", ""},
		{"md->mark", "wide-el", 0xffffffff, "r2 = 0xffffffff ll; *(u64 *)(r1 + 0) = r2", ""},
	} {
		object := readProgram(t, stores)
		changeAccess(t, object, test.path, reloc.ByteOffset, func(order binary.ByteOrder, insn, _ []byte) {
			order.PutUint32(insn[4:], test.constant)
		})
		_, report, err := rewrite.Rewrite(object, readLayout(t, test.layout), rewrite.Options{})
		if err != nil {
			t.Errorf("%d: %v", test.constant, err)
			continue
		}
		found := false
		for _, edit := range report.Edits {
			constant := edit.Before[0].OpCode.Class() == asm.StClass && uint32(edit.Before[0].Constant) == test.constant
			if edit.Access.Path != test.path || !constant {
				continue
			}
			found = true
			if edit.After.String() != test.after || edit.Note != test.note {
				t.Errorf("%s = %d: %q, note %q, want %q, note %q", test.path, test.constant, edit.After, edit.Note, test.after, test.note)
			}
		}
		if !found {
			t.Errorf("no store of %d to %s", test.constant, test.path)
		}
	}
}

// Tables of the object that contradict each other are refused before any code is moved.
func TestMisfit(t *testing.T) {
	object := readFile(t, "../bpf/examples/balance-el.o")
	relocations := parseELF(t, object).Section(".relxdp")
	object[relocations.Offset+12] = 200 // the symbol, in the high half of r_info
	_, _, err := rewrite.Rewrite(object, readLayout(t, "swapped-el"), rewrite.Options{})
	if want := "the parts of the object do not fit together: "; err == nil || !strings.Contains(err.Error(), want) ||
		!strings.HasSuffix(err.Error(), ": compile the object again from its source") {
		t.Errorf("got %v, want %q", err, want)
	}
}

// changeAccess changes the last access of a path and kind.
func changeAccess(t *testing.T, object []byte, path string, kind reloc.Kind, change tamper) {
	t.Helper()
	accesses, err := reloc.Read(object)
	if err != nil {
		t.Fatal(err)
	}
	file := parseELF(t, object)
	for i := len(accesses) - 1; i >= 0; i-- {
		access := accesses[i]
		if access.Path != path || access.Kind != kind {
			continue
		}
		code := object[file.Section(access.Section).Offset:]
		record := object[file.Section(".BTF.ext").Offset+parseExt(t, object).cores[i].at:]
		change(file.ByteOrder, code[access.Insn*reloc.InstructionSize:], record)
		return
	}
	t.Fatalf("no %s of %s", kind, path)
}

func TestOtherByteOrder(t *testing.T) {
	for _, p := range []pair{{"fields-el", "exact-eb"}, {"fields-eb", "exact-el"}} {
		_, _, err := rewrite.Rewrite(readProgram(t, p.program), readLayout(t, p.layout), rewrite.Options{})
		if !errors.Is(err, reloc.ErrByteOrder) {
			t.Errorf("%s for %s: %v, want %v", p.program, p.layout, err, reloc.ErrByteOrder)
		}
	}
}

// A wrong file is told from a NIC that knows little.
func TestNoDescriptor(t *testing.T) {
	_, _, err := rewrite.Rewrite(readProgram(t, "fields-el"), readLayout(t, "none-el"), rewrite.Options{})
	if !errors.Is(err, rewrite.ErrNoDescriptor) {
		t.Errorf("got %v, want %v", err, rewrite.ErrNoDescriptor)
	}
}

// What has the name and is no struct is no descriptor, either. A program that asks
// for each field first would see none of them.
func TestNoStruct(t *testing.T) {
	needTools(t, "gcc", "clang-22")
	object := costCompile(t, "clang-22", `
		#include "cost.h"
		struct md_0 { __u32 f; } __attribute__((preserve_access_index));
		PROGRAM(guarded, struct md_0, if (__builtin_preserve_field_info(md->f, 2)) out_unsigned = md->f;)`, "el", "v3")
	for _, source := range []string{
		"typedef struct { __u32 f; } md_0; md_0 layout;",
		"struct other { __u32 f; } *md_0(void) { return 0; }",
		"struct md_1 { __u32 f; } md_0;",
	} {
		layout := costCompile(t, "clang-22", "#include <linux/types.h>\n"+source, "el", "v3")
		_, _, err := rewrite.Rewrite(object, parseLayout(t, "md_0", layout), rewrite.Options{Types: []string{"md_*"}})
		if !errors.Is(err, rewrite.ErrNoDescriptor) {
			t.Errorf("%s: got %v, want %v", source, err, rewrite.ErrNoDescriptor)
		}
	}
}

// clang 14 does not record that an enum is signed, so how to widen it is not
// known.
func TestEnumOfUnknownSign(t *testing.T) {
	for object, want := range map[string]bool{"enum-el": false, "enum-clang14-el": true} {
		_, _, err := rewrite.Rewrite(readFile(t, testdata+"/invalid/"+object+".o"), readLayout(t, "shapes-el"), rewrite.Options{})
		refused := errors.Is(err, rewrite.ErrRefused) && strings.Contains(err.Error(), "did not record whether the enumeration is signed")
		if refused != want || !refused && err != nil {
			t.Errorf("%s: %v", object, err)
		}
	}
}

// A jump that no longer reaches over what has grown.
func TestJumpOutOfReach(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	const source = `
		#include <linux/bpf.h>
		#include <bpf/bpf_helpers.h>

		struct md_desc { __u32 hash; } __attribute__((preserve_access_index));

		SEC("xdp") int jumps(struct xdp_md *ctx)
		{
			struct md_desc *md = (void *)(long)ctx->data_meta;
			__u32 hash;

			asm volatile("r0 = 0; if r0 == 0 goto +32767" : : : "r0");
			hash = md->hash;
			asm volatile(".rept 32767; r0 = %0; .endr" : : "r"(hash) : "r0");
			return 0;
		}`
	object := costCompile(t, "clang-19", source, "el", "v3")
	if _, _, err := rewrite.Rewrite(object, readLayout(t, "exact-el"), rewrite.Options{}); err != nil {
		t.Error(err)
	}
	out, report, err := rewrite.Rewrite(object, readLayout(t, "swapped-el"), rewrite.Options{})
	if !errors.Is(err, rewrite.ErrRefused) || out != nil || report != nil {
		t.Fatalf("got %v, want %v", err, rewrite.ErrRefused)
	}
	if want := "make the function smaller"; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "32768") {
		t.Errorf("got %v, want %q", err, want)
	}
}

// A function that other functions call has arguments that may be needed after an
// access, whatever its section is called.
func TestArgumentsAreKept(t *testing.T) {
	for _, endian := range []string{"el", "eb"} {
		object := readFile(t, testdata+"/invalid/sections-"+endian+".o")
		_, report, err := rewrite.Rewrite(object, readLayout(t, "swapped-"+endian), rewrite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		stores := 0
		for _, edit := range report.Edits {
			if edit.Access.Program != "keep" || edit.Before[0].OpCode.Class() != asm.StXClass {
				continue
			}
			stores++
			for _, ins := range edit.After {
				if ins.OpCode.Class().IsALU() && ins.Dst == edit.Before[0].Src {
					t.Errorf("%s: %s -> %s changes an argument", endian, edit.Before, edit.After)
				}
			}
		}
		if stores != 1 {
			t.Errorf("%s: %d stores", endian, stores)
		}
	}
}
