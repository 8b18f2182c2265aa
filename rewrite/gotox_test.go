package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/rewrite"
)

// gotoxCases is how many cases the switch has: clang 22 makes gotox of one of 13
// or more for -mcpu=v4.
const gotoxCases = 16

// gotoxSource is a program that reads another field in each case of a switch,
// or the layout for it.
func gotoxSource(which, field, attribute string) string {
	var c strings.Builder
	fmt.Fprintf(&c, "#include \"cost.h\"\nstruct md_0 {\n%s;\n", which)
	for n := range gotoxCases {
		fmt.Fprintf(&c, "%s f%d;\n", field, n)
	}
	fmt.Fprintf(&c, "} %s;\nPROGRAM(choose, struct md_0, switch (md->which) {\n", attribute)
	for n := range gotoxCases {
		fmt.Fprintf(&c, "case %d: out_unsigned = (md->f%d + 1ULL) * %d; break;\n", n, n, 3+n)
	}
	c.WriteString("})\n")
	return c.String()
}

// Behind a jump to an address from a table there is room for instructions, too,
// and the table leads to them.
func TestGotox(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-22")
	for _, endian := range []string{"el", "eb"} {
		object := costCompile(t, "clang-22", gotoxSource("__u32 which", "__u16", "__attribute__((preserve_access_index))"), endian, "v4")
		other := map[string]string{"el": "__be16", "eb": "__le16"}[endian]
		layout := costCompile(t, "clang-22", gotoxSource("__u64 : 9; __u64 which : 33", other, "layout"), endian, "v4")
		out, report, err := rewrite.Rewrite(object, parseLayout(t, "gotox-"+endian, layout), rewrite.Options{Types: []string{"md_*"}})
		if err != nil {
			t.Fatal(err)
		}
		positions := make(map[string]int)
		for _, edit := range report.Edits {
			if len(edit.After) < 2 {
				t.Errorf("%s: %s: %s -> %s", endian, edit.Access.Path, edit.Before, edit.After)
			}
			positions[edit.Access.Path] = edit.Position
		}
		for n, slot := range jumpTable(t, out) {
			if path := fmt.Sprintf("md_0->f%d", n); slot != positions[path] {
				t.Errorf("%s: case %d leads to %d, %s is at %d", endian, n, slot, path, positions[path])
			}
		}
	}
}

// jumpTable returns the slots in an object's .jumptables.
func jumpTable(t *testing.T, object []byte) []int {
	t.Helper()
	obj, err := elfobj.Parse(object)
	if err != nil {
		t.Fatal(err)
	}
	section := obj.Section(".jumptables")
	if section == nil || len(section.Data) != 8*gotoxCases {
		t.Fatalf("got %v, want a table of %d jumps", section, gotoxCases)
	}
	var slots []int
	for at := 0; at < len(section.Data); at += 8 {
		slots = append(slots, int(obj.Order.Uint64(section.Data[at:])/8))
	}
	return slots
}

// Where a goto takes its address from the program's own data, no loader can say
// where that leads: what takes one instruction is rewritten, and nothing else,
// even if a switch has a table beside it.
func TestGotoxWithoutTable(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-22")
	source := func(field, after, attribute string) string {
		return fmt.Sprintf(`
			#include "cost.h"
			#define LABELS { &&even, &&odd }
			struct md_0 { __u32 before, which; %s; } %s;
			PROGRAM(choose, struct md_0,
				static const void *const labels[] = LABELS;
				goto *labels[md->which & 1];
			odd:	in_unsigned = 1;
			even:	md->f = in_signed; %s)`, field, attribute, after)
	}
	var table strings.Builder
	table.WriteString("switch (md->before) {")
	for n := range gotoxCases {
		fmt.Fprintf(&table, "case %d: out_unsigned = (in_unsigned + 1) * %d; break;\n", n, 3+n)
	}
	table.WriteString("}")
	for _, after := range []string{"", table.String()} {
		object := costCompile(t, "clang-22", source("__u32 f", after, "__attribute__((preserve_access_index))"), "el", "v4")
		for field, want := range map[string]string{
			"__u16 f":     "",
			"__u32 f : 3": "leads to nobody knows where",
		} {
			layout := costCompile(t, "clang-22", source(field, "", "layout"), "el", "v4")
			_, _, err := rewrite.Rewrite(object, parseLayout(t, "gotox-el", layout), rewrite.Options{Types: []string{"md_*"}})
			if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: got %v, want %q", field, after, err, want)
			}
		}
	}
}
