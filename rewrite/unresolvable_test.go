package rewrite_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

const unresolvableTypes = `#include "cost.h"
#include <bpf/bpf_core_read.h>
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct md_desc { __u32 hash, mark; };
struct meta { struct md_desc md; __u32 mine; };
struct outer { __u64 before; struct { struct meta metas[2]; } in; __u32 mine; };
struct task_struct { int pid; };
struct pointing { struct md_desc *md; __u32 mine; };
#pragma clang attribute pop
#define AT(type) ((type *)(void *)md)
`

// A struct around the descriptor is known to nobody.
func TestUnresolvable(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	layout := markLayout(t, "layout", "struct md_desc { __u64 stamp; __u32 mark, hash; }")
	for _, test := range []struct {
		body string
		want string // path of what is refused; none: it is not
	}{
		{"out_unsigned = AT(struct meta)->md.hash;", "meta->md.hash"},
		{"out_unsigned = AT(struct meta)->mine;", "meta->mine"},
		{"AT(struct meta)->md.hash = in_unsigned;", "meta->md.hash"},
		{"out_unsigned = AT(struct outer)->in.metas[1].md.mark;", "outer->in.metas[1].md.mark"},
		{"out_unsigned = AT(struct outer)->mine;", "outer->mine"},
		{"out_unsigned = bpf_core_field_exists(AT(struct meta)->md.hash);", "meta->md.hash"},
		{"out_unsigned = bpf_core_type_size(struct meta);", "struct meta"},
		{"out_unsigned = AT(struct meta)->md.hash + AT(struct md_desc)->mark;", "meta->md.hash"},
		{"out_unsigned = bpf_core_type_exists(struct meta);", ""},
		{"out_unsigned = bpf_core_type_id_local(struct meta);", ""},
		{"out_unsigned = AT(struct pointing)->mine;", ""},
		{"out_unsigned = AT(struct task_struct)->pid;", ""},
	} {
		program := costCompile(t, "clang-19", unresolvableTypes+"PROGRAM(unresolvable, struct md_desc, "+test.body+")", "el", "v3")
		_, _, err := rewrite.Rewrite(program, layout, rewrite.Options{})
		var refused *rewrite.RefusedError
		errors.As(err, &refused)
		switch {
		case test.want == "" && err == nil:
		case test.want == "" || refused == nil || refused.Refusals[0].Access.Path != test.want || refused.Refusals[0].Access.Source.Line != 11,
			!strings.Contains(err.Error(), "neither the layout nor the kernel has such a type: take the descriptor with "):
			t.Errorf("%s: %v", test.body, err)
		}
		// Unless the layout is asked for it.
		if _, _, err := rewrite.Rewrite(program, layout, rewrite.Options{Types: []string{"*"}}); err != nil && strings.Contains(err.Error(), "within it") {
			t.Errorf("%s, all types: %v", test.body, err)
		}
	}
}

// Several are refused together with what else is, in the object's order, and the
// edits of the others are there.
func TestUnresolvableAmongOthers(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	program := costCompile(t, "clang-19", unresolvableTypes+`PROGRAM(several, struct md_desc,
	out_unsigned = AT(struct meta)->mine;
	out_signed = md->mark;
	out_unsigned += md->hash;
	out_unsigned += AT(struct meta)->md.hash;
)`, "el", "v3")
	_, _, err := rewrite.Rewrite(program, markLayout(t, "layout", "struct md_desc { __u64 stamp; __u32 hash; }"), rewrite.Options{})
	var refused *rewrite.RefusedError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	var paths []string
	for i := range refused.Refusals {
		paths = append(paths, refused.Refusals[i].Access.Path)
	}
	if !slices.Equal(paths, []string{"meta->mine", "md->mark", "meta->md.hash"}) || len(refused.Edits) != 1 {
		t.Errorf("refused %q, edits %v", paths, refused.Edits)
	}
}

// The loader can't, which is why it is refused: a loader that could would be asked.
func TestUnresolvableForLoaders(t *testing.T) {
	netlab.NeedRoot(t)
	needTools(t, "gcc", "clang-19")
	program := costCompile(t, "clang-19", unresolvableTypes+"PROGRAM(unresolvable, struct md_desc, out_unsigned = AT(struct meta)->md.hash;)", "el", "v3")
	if err := markLoads(t, program); err == nil {
		t.Error("the loader resolved it")
	}
}

const enumTypes = `#include "cost.h"
#include <bpf/bpf_core_read.h>
enum color { RED = 1, BLUE = 7 };
enum pid_type { PIDTYPE_PID = 40, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID, PIDTYPE_MAX };
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct md_desc { __u32 hash; struct { enum color color[2]; } in; enum pid_type kind; };
struct kill { int sig; enum pid_type type; };
#pragma clang attribute pop
`

// An enumeration of the descriptor's is asked of the layout, whether or not an access
// leads to it, unless it is that of a struct that is the loader's.
func TestEnumsOfTheDescriptor(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	const blue, exists = "out_unsigned = md->hash + bpf_core_enum_value(enum color, BLUE);", "out_unsigned = md->hash + bpf_core_enum_value_exists(enum color, BLUE);"
	const enumeration = "enum color { BLUE = 9 }; struct md_desc { __u32 hash; struct { enum color color; } in; }"
	for _, test := range []struct {
		name, body, layout string
		want               string // by kind and path: what it comes to; left to the loader if empty
	}{
		{"value", blue, strings.Replace(enumeration, "color;", "color[2];", 1), "9"},
		{"exists", exists, strings.Replace(enumeration, "color;", "color[2];", 1), "1"},
		{"no such value", blue, strings.NewReplacer("color;", "color[2];", "BLUE", "GREEN").Replace(enumeration), "refused: enum color has no BLUE, and the program can reach it: guard it with bpf_core_enum_value_exists(enum color, BLUE)"},
		{"does no such value exist", exists, strings.NewReplacer("color;", "color[2];", "BLUE", "GREEN").Replace(enumeration), "not there: enum color has no BLUE"},
		{"no member", blue, "struct md_desc { __u32 hash; }", "refused: layout layout has no enum color at md->in.color, and the program can reach it: guard it with bpf_core_field_exists(md->in.color)"},
		{"a number", blue, "struct md_desc { __u32 hash; struct { __u32 color[2]; } in; }", "refused: layout layout has no enum color at md->in.color, and the program can reach it: guard it with bpf_core_field_exists(md->in.color)"},
		{"exists in no member", exists, "struct md_desc { __u32 hash; }", ""},
		{"guarded", "out_unsigned = md->hash; if (bpf_core_field_exists(md->in.color)) out_signed = bpf_core_enum_value(enum color, BLUE);", "struct md_desc { __u32 hash; }", "not there: layout layout has no enum color at md->in.color"},
		{"the kernel's too", "struct kill *kill = (void *)(long)in_unsigned; out_unsigned = md->hash + bpf_core_enum_value(enum pid_type, PIDTYPE_PID); if (md->hash) bpf_core_read(&out_signed, 4, &kill->sig);",
			"enum pid_type { PIDTYPE_PID = 9 }; struct md_desc { __u32 hash; enum pid_type kind; }", ""},
		{"of a descriptor that is not accessed", "out_unsigned = bpf_core_enum_value(enum color, BLUE);", enumeration, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := costCompile(t, "clang-19", enumTypes+"PROGRAM(enums, struct md_desc, "+test.body+")", "el", "v3")
			layout := markLayout(t, "layout", test.layout)
			out, report, err := rewrite.Rewrite(program, layout, rewrite.Options{})
			got := ""
			var refused *rewrite.RefusedError
			if errors.As(err, &refused) {
				got = "refused: " + refused.Refusals[0].Reason + ": " + refused.Refusals[0].Remedy
			} else if err != nil {
				t.Fatal(err)
			} else {
				for _, edit := range report.Edits {
					if edit.Access.Kind == reloc.EnumValue || edit.Access.Kind == reloc.EnumExists {
						got = edit.Resolution.String()
					}
				}
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err == nil {
				checkReadsBack(t, out, layout, rewrite.Options{})
			}
		})
	}
}
