package rewrite_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// An offset that is there for no run, as a comparison of constants says, is no
// reason to refuse the object: clang leaves the code of comparisons that inlining
// makes tautologies. What it shares a load with is converted as if it were alone.
func TestOffsetInDeadCode(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	source := func(vlan, attribute string) string {
		return `#include "cost.h"
struct md_0 { __u32 hash; ` + vlan + ` vlan; __u16 proto; } ` + attribute + `;
static inline __attribute__((always_inline)) __u32 pick(struct md_0 *a, struct md_0 *b)
{
	return a->hash == b->hash ? a->vlan : b->proto;
}
PROGRAM(dead, struct md_0, out_unsigned = pick(md, md);)
`
	}
	for _, endian := range []string{"el", "eb"} {
		program := costCompile(t, "clang-19", source("__u16", "__attribute__((preserve_access_index))"), endian, "v3")
		for vlan, want := range map[string]string{
			"__u16": "r1 = *(u16 *)(r1 + 0)",
			"__u8":  "r1 = *(u8 *)(r1 + 0)",
		} {
			layout := costCompile(t, "clang-19", source("__u64 before; "+vlan, "layout"), endian, "v3")
			out, report, err := rewrite.Rewrite(program, parseLayout(t, "dead-"+endian, layout), rewrite.Options{Types: []string{"md_*"}})
			if err != nil {
				t.Errorf("%s, %s: %v", endian, vlan, err)
				continue
			}
			if code := instructions(decodeSections(t, out)["xdp"]...).String(); strings.Count(code, want) != 1 {
				t.Errorf("%s, %s: %q is not in %q once", endian, vlan, want, code)
			}
			at := slices.IndexFunc(report.Edits, func(e rewrite.Edit) bool { return e.Access.Path == "md_0->proto" })
			if at < 0 {
				t.Fatalf("%s: no offset of proto", endian)
			}
			if dead := report.Edits[at]; len(dead.After) != 1 || len(dead.Others) > 0 {
				t.Errorf("%s, %s: %s becomes %s, with %v", endian, vlan, dead.Before, dead.After, dead.Others)
			}
		}
	}
}

// Code that no jump leads to belongs to a function whose symbol is gone.
func TestOffsetThatNoPathLeadsTo(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	const source = `#include "cost.h"
struct md_0 { __u16 vlan; __u16 proto; } __attribute__((preserve_access_index));
PROGRAM(lost, struct md_0,
	asm volatile("r0 = 0; exit");
	out_unsigned = __builtin_preserve_field_info(md->vlan, 2) ? md->vlan : md->proto;)
`
	object := costCompile(t, "clang-19", source, "el", "v3")
	_, _, err := rewrite.Rewrite(object, parseLayout(t, "lost-el", object), rewrite.Options{Types: []string{"md_*"}})
	if want := "no path leads to it in function lost"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// A loop that ends at the address of one past the last element.
func TestWalkToTheEnd(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	source := func(before, attribute string) string {
		return `#include "cost.h"
struct md_0 { ` + before + ` __u32 words[4]; __u32 hash; } ` + attribute + `;
PROGRAM(walk, struct md_0,
	for (__u32 *p = md->words; p != &md->words[4]; p++)
		out_unsigned = out_unsigned * 3 + *p;)
`
	}
	object := costCompile(t, "clang-19", source("__u32 before;", "__attribute__((preserve_access_index))"), "el", "v3")
	layout := costCompile(t, "clang-19", source("__u64 before[2];", "layout"), "el", "v3")
	out, _, err := rewrite.Rewrite(object, parseLayout(t, "walk-el", layout), rewrite.Options{Types: []string{"md_*"}})
	if err != nil {
		t.Fatal(err)
	}
	loaded := kernelLoad(t, out)
	area := make([]byte, kernelMaxMetadata)
	for i := range area {
		area[i] = byte(i)
	}
	kernelRun(t, loaded.Programs["walk"], area)
	want := uint64(0)
	for at := 16; at < 32; at += 4 {
		want = want*3 + uint64(binary.LittleEndian.Uint32(area[at:]))
	}
	if got := kernelResults(t, loaded)["out_unsigned"]; got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

// A volatile bit-field that is not aligned is accessed with its neighbours, a byte at
// a time. Where these begin depends on the compiler's version.
func TestVolatileBitField(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-14")
	source := func(members, attribute string) string {
		return `#include "cost.h"
struct md_0 { ` + members + ` } ` + attribute + `;
PROGRAM(volatile_bits, struct md_0, out_unsigned = md->f;)
`
	}
	layout := parseLayout(t, "volatile-el", costCompile(t, "clang-14", source("__u8 f;", "layout"), "el", "v3"))
	for members, want := range map[string]string{
		"__u8 first; volatile __u32 f : 3; __u32 : 13; __u32 last : 8;":              "",
		"__u8 first; __u32 before : 8; volatile __u32 f : 3; __u32 : 5;":             "where the bit-field volatile __u32:3 at bit 16 is in what the instruction",
		"__u8 first; __u32 before : 8; volatile __u32 f : 3; __u32 : 5; __u32 last;": "where the bit-field volatile __u32:3 at bit 16 is in what the instruction",
	} {
		object := costCompile(t, "clang-14", source(members, "__attribute__((preserve_access_index))"), "el", "v3")
		_, _, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: []string{"md_*"}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", members, err, want)
		}
	}
}

// Bytes are the same whatever the sign: where nothing tells how a number of them is
// read, or no compiler has said of which sign it is, they stay as they are.
func TestSignAlone(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-14", "clang-19")
	for name, c := range map[string]struct{ compiler, members, program, layout string }{
		"an address": {"clang-19", "__u32 f;", "__u32 h = 0; bpf_probe_read_kernel(&h, 4, &md->f); out_unsigned = h;", "__u32 before; __s32 f;"},
		"an index":   {"clang-19", "__s32 f[4];", "out_signed = md->f[in_unsigned & 3];", "__u32 before; __u32 f[4];"},
		"enum":       {"clang-14", "enum { LOW = -1, HIGH } f;", "out_signed = md->f;", "__u32 before; __s32 f;"},
		"enum bits":  {"clang-14", "enum { LOW = -1, HIGH } f : 4;", "out_signed = md->f; md->f = in_signed;", "__u32 before; __s32 : 3; __s32 f : 4;"},
	} {
		source := func(members, attribute string) string {
			return "#include \"cost.h\"\nstruct md_0 { " + members + " } " + attribute + ";\nPROGRAM(sign, struct md_0, " + c.program + ")\n"
		}
		object := costCompile(t, c.compiler, source(c.members, "__attribute__((preserve_access_index))"), "el", "v3")
		layout := parseLayout(t, "sign-el", costCompile(t, "clang-19", "#include <linux/types.h>\nstruct md_0 { "+c.layout+" } layout;", "el", "v3"))
		_, report, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: []string{"md_*"}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, edit := range report.Edits {
			if len(edit.After) != 1 && !edit.Access.Local.Field.IsBitField() {
				t.Errorf("%s: %s became %s", name, edit.Before, edit.After)
			}
		}
	}
}

// The size of a type that is no descriptor is the target's, also for a buffer of the
// program's own, as for a loader.
func TestSizeOfAnotherType(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	const source = `
		#include "cost.h"
		#include <bpf/bpf_helpers.h>
		#include <bpf/bpf_core_read.h>
		struct md_0 { __u32 f; %s } %s;
		char buffer[64];
		PROGRAM(reads, struct md_0, out_unsigned = md->f; bpf_probe_read_kernel(buffer, bpf_core_type_size(struct md_0), (void *)4096);)`
	object := costCompile(t, "clang-19", fmt.Sprintf(source, "", "__attribute__((preserve_access_index))"), "el", "v3")
	layout := costCompile(t, "clang-19", fmt.Sprintf(source, "__u64 more;", "layout"), "el", "v3")
	_, report, err := rewrite.Rewrite(object, parseLayout(t, "sizes-el", layout), rewrite.Options{Types: []string{"md_0"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range report.Edits {
		if edit.Access.Kind == reloc.TypeSize && (edit.Own != "" || edit.Resolution.Value != 16) {
			t.Errorf("%s: %s -> %s, own: %q", edit.Access.Path, edit.Before, edit.After, edit.Own)
		}
	}
}
