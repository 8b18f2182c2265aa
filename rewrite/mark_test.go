package rewrite_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A rewritten object is taken for a layout exactly if its program would be rewritten
// to the same object for it: the same layout is one in which every access comes to
// the same.
func TestMark(t *testing.T) {
	same, refused := 0, 0
	outputs := make(map[string][]rewritten) // by program
	eachRewritten(t, func(t *testing.T, r rewritten) {
		if !compilerMatrix.MatchString(r.program) {
			outputs[r.program] = append(outputs[r.program], r)
		}
	})
	for program, all := range outputs {
		t.Run(program, func(t *testing.T) {
			for _, r := range all {
				for _, other := range all {
					out, report, err := rewrite.Rewrite(r.out, readLayout(t, other.layout), r.options())
					if !bytes.Equal(r.out, other.out) {
						refused++
						if !errors.Is(err, rewrite.ErrRefused) {
							t.Errorf("rewritten for %s, then for %s: %v", r.layout, other.layout, err)
						}
						continue
					}
					same++
					if err != nil || !bytes.Equal(out, r.out) || !report.Rewritten || len(report.Edits) > 0 {
						t.Errorf("rewritten for %s, then for %s: %v, %+v", r.layout, other.layout, err, report)
					}
				}
			}
		})
	}
	if same == 0 || refused == 0 {
		t.Errorf("%d the same, %d refused", same, refused)
	}
}

// What the message names is a field if one differs.
func TestMarkRefuses(t *testing.T) {
	for _, test := range []struct{ program, layout, other, want string }{
		{"fields-el", "reordered-el", "narrow-el",
			"the object was rewritten for a layout where md->rx_timestamp is u64 at 48, and in layout narrow it is u32 at 4: take the object as the compiler made it"},
		{"fields-el", "sparse-el", "exact-el",
			"the object was rewritten for a layout where md->rx_timestamp is not there, and in layout exact it is u64 at 0: take the object as the compiler made it"},
		{"fields-el", "exact-el", "none-el",
			"layout none defines no such type: md_desc: give the BTF of an object compiled from the NIC's own header, with a variable of that type in it, since clang leaves out what nothing uses"},
	} {
		out, _, err := rewrite.Rewrite(readProgram(t, test.program), readLayout(t, test.layout), rewrite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, _, err = rewrite.Rewrite(out, readLayout(t, test.other), rewrite.Options{})
		if err == nil || err.Error() != test.want || out != nil {
			t.Errorf("%s for %s, then %s: %v\nwant %s", test.program, test.layout, test.other, err, test.want)
		}
	}
}

// markLayout is a layout for markProgram.
func markLayout(t *testing.T, name, declarations string) *reloc.Layout {
	t.Helper()
	return parseLayout(t, name+"-el", costCompile(t, "clang-19", "#include <linux/types.h>\n#include <stdbool.h>\n"+declarations+" md;\n", "el", "v3"))
}

const markProgram = `#include "cost.h"
#include <bpf/bpf_core_read.h>
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct tag { __u16 vid, prio; };
struct md_desc { __u32 hash; struct tag tag; __u32 words[4]; __u32 asked; __u64 unread; };
#pragma clang attribute pop
static __attribute__((noinline)) __u16 prio(struct tag *tag) { return tag->prio; }
PROGRAM(mark, struct md_desc,
	if ((void *)md + bpf_core_type_size(struct md_desc) > (void *)(long)ctx->data)
		return 0;
	struct tag copy = md->tag;
	out_unsigned = md->hash + prio(&md->tag) + copy.vid + md->words[in_unsigned & 3] + bpf_core_field_exists(md->asked);)
`

// Each way in which a layout can be the same or another, from files of its own.
func TestMarkCompares(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	program := costCompile(t, "clang-19", markProgram, "el", "v3")
	const layout = "struct md_desc { __u64 pad; __u32 hash; struct tag { __u16 vid, prio; } tag; __u32 words[4]; __u32 asked; __u32 end; }"
	out, _, err := rewrite.Rewrite(program, markLayout(t, "first", layout), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(layout) }
	const where = "the object was rewritten for a layout where "
	for _, test := range []struct{ name, layout, refused string }{
		{"the same", layout, ""},
		{"other names of types", replace("struct tag {", "struct vlan {", "md_desc", "md_desc___nic", "__u32", "unsigned int"), ""},
		{"in a union", replace("__u32 hash;", "union { __u32 hash; __u16 part; };"), ""},
		{"an enumeration of that size", replace("__u32 hash", "enum { ONE } hash"), ""},
		{"a field that is only asked for moves", replace("__u32 asked; __u32 end", "__u32 end; __u64 asked:3"), ""},
		{"a field that is not accessed", replace("__u64 pad", "__u32 pad, pad2"), ""},
		{"moved", replace("__u64 pad; __u32 hash;", "__u32 hash; __u64 __attribute__((packed)) pad;"), where + "md->hash is u32 at 8, and in layout test it is u32 at 0"},
		{"byte order", replace("__u32 hash", "__be32 hash"), where + "md->hash is u32 at 8, and in layout test it is u32be at 8"},
		{"sign", replace("__u32 hash", "int hash"), where + "md->hash is u32 at 8, and in layout test it is s32 at 8"},
		{"bit-field", replace("__u32 hash", "__u32 hash:31"), where + "md->hash is u32 at 8, and in layout test it is 31 bits of u32 at bit 64"},
		{"missing", replace("__u32 hash", "__u32 hush"), where + "md->hash is u32 at 8, and in layout test it is not there"},
		{"no longer asked for", replace("asked", "gone"), where + "field_exists of md->asked is 1, and in layout test it is not there"},
		{"longer", replace("__u32 end", "__u32 end[2]"), where + "type_size of struct md_desc is 40, and in layout test it is 48"},
		{"members of a struct", replace("__u16 vid, prio;", "__u16 prio, vid;"), where + "md->tag is struct at 12, and in layout test it is struct at 12 of other members"},
		{"fewer elements", replace("words[4]", "words[3], more"), where + "md->words is array at 16, and in layout test it is array at 16 of other members"},
	} {
		t.Run(test.name, func(t *testing.T) {
			again, report, err := rewrite.Rewrite(out, markLayout(t, "test", test.layout), rewrite.Options{})
			switch {
			case test.refused == "" && (err != nil || !report.Rewritten || !bytes.Equal(again, out)):
				t.Errorf("got %v", err)
			case test.refused != "" && (!errors.Is(err, rewrite.ErrRefused) || !strings.HasPrefix(err.Error(), test.refused)):
				t.Errorf("got %v\nwant %s", err, test.refused)
			}
		})
	}
}

// The mark is of what was resolved: other root types can be resolved later, and the
// layouts of each are compared with what was resolved in theirs.
func TestMarkOfSeveralTypes(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"el", "eb"} {
		in, layout, other := readProgram(t, "kinds-"+end), readLayout(t, "reordered-"+end), readLayout(t, "wide-"+end)
		descriptor, _, err := rewrite.Rewrite(in, layout, rewrite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		both, report, err := rewrite.Rewrite(descriptor, layout, everyType)
		if err != nil || !report.Rewritten || len(report.Edits) == 0 {
			t.Fatalf("%v, %+v", err, report)
		}
		if again, report, err := rewrite.Rewrite(both, layout, everyType); err != nil || !bytes.Equal(again, both) || len(report.Edits) > 0 {
			t.Errorf("%v, %+v", err, report)
		}
		for _, object := range [][]byte{descriptor, both} {
			for _, opts := range []rewrite.Options{{}, everyType, {Types: []string{"md_csum_status"}}} {
				if _, _, err := rewrite.Rewrite(object, other, opts); !errors.Is(err, rewrite.ErrRefused) {
					t.Errorf("types %q: %v", opts.Types, err)
				}
			}
		}
	}
}

// A layout without a descriptor, such as the kernel's, for records of other types has
// nothing to say of the descriptor.
func TestMarkOfOthers(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	out, _, err := rewrite.Rewrite(readProgram(t, "mixed-el"), readLayout(t, "reordered-el"), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kernel := markLayout(t, "kernel", "struct net_device { __u64 pad; int ifindex; }")
	_, report, err := rewrite.Rewrite(out, kernel, rewrite.Options{Types: []string{"net_device"}})
	if err != nil || report.Rewritten || len(report.Edits) == 0 {
		t.Errorf("%v, %+v", err, report)
	}
}

// What tools do to objects leaves the mark readable, and kernel and libbpf take what
// they make of it.
func TestMarkSurvives(t *testing.T) {
	netlab.NeedRoot(t)
	netlab.Enter(t)
	needTools(t, "bpftool", "llvm-strip-19", "llvm-objcopy-19")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, o := range []struct{ program, layout string }{
		{"fields", "reordered"}, {"store", "reordered"}, {"flavour", "reordered"}, {"nests", "nests"}, {"copies", "copies"}, {"oneload", "reordered"}, {"tc", "reordered"}, {"subprog", "narrow"},
	} {
		out, _, err := rewrite.Rewrite(readProgram(t, o.program+kernelEndian), readLayout(t, o.layout+kernelEndian), rewrite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(o.program+".o"), out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := path("out.o")
	for _, test := range []struct {
		layout  string
		command []string
	}{
		{"reordered", []string{"bpftool", "gen", "object", out, path("fields.o")}},
		{"reordered", []string{"bpftool", "gen", "object", out, path("flavour.o")}},
		{"reordered", []string{"bpftool", "gen", "object", out, path("oneload.o"), path("tc.o")}},
		{"nests", []string{"bpftool", "gen", "object", out, path("nests.o")}},
		{"copies", []string{"bpftool", "gen", "object", out, path("copies.o")}},
		{"reordered", []string{"llvm-strip-19", "-g", "-o", out, path("fields.o")}},
		{"nests", []string{"llvm-strip-19", "-g", "-o", out, path("nests.o")}},
		{"reordered", []string{"llvm-objcopy-19", "--strip-unneeded", path("fields.o"), out}},
	} {
		name := strings.ReplaceAll(strings.Join(test.command, " "), dir+"/", "")
		t.Run(name, func(t *testing.T) {
			if _, err := kernelCommand(test.command[0], test.command[1:]...); err != nil {
				t.Fatal(err)
			}
			object := readFile(t, out)
			again, report, err := rewrite.Rewrite(object, readLayout(t, test.layout+kernelEndian), rewrite.Options{})
			if err != nil || !report.Rewritten || !bytes.Equal(again, object) {
				t.Errorf("for the same layout: %v, %+v", err, report)
			}
			if _, _, err := rewrite.Rewrite(object, readLayout(t, "wide"+kernelEndian), rewrite.Options{}); !errors.Is(err, rewrite.ErrRefused) {
				t.Errorf("for another: %v", err)
			}
			kernelLoad(t, object).Close()
			if _, err := kernelCommand("bpftool", "prog", "loadall", out, kernelPins); err != nil {
				t.Error(err)
			}
			os.RemoveAll(kernelPins)
		})
	}

	// One for a layout, one for another: it is for neither.
	if _, err := kernelCommand("bpftool", "gen", "object", out, path("oneload.o"), path("subprog.o")); err != nil {
		t.Fatal(err)
	}
	for _, layout := range []string{"reordered", "narrow"} {
		if _, _, err := rewrite.Rewrite(readFile(t, out), readLayout(t, layout+kernelEndian), rewrite.Options{}); !errors.Is(err, rewrite.ErrRefused) {
			t.Errorf("two layouts, %s: %v", layout, err)
		}
	}

	// One rewritten, one not.
	if err := os.WriteFile(path("compiled.o"), readProgram(t, "tc"+kernelEndian), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kernelCommand("bpftool", "gen", "object", out, path("oneload.o"), path("compiled.o")); err != nil {
		t.Fatal(err)
	}
	both, report, err := rewrite.Rewrite(readFile(t, out), readLayout(t, "reordered"+kernelEndian), rewrite.Options{})
	if err != nil || !report.Rewritten || len(report.Edits) == 0 {
		t.Fatalf("partly rewritten: %v, %+v", err, report)
	}
	kernelLoad(t, both).Close()
	if _, _, err := rewrite.Rewrite(readFile(t, out), readLayout(t, "wide"+kernelEndian), rewrite.Options{}); !errors.Is(err, rewrite.ErrRefused) {
		t.Errorf("partly rewritten, another layout: %v", err)
	}
}

// What is nested in the descriptor is found by the accesses in the mark, too: in a file
// that is linked to a rewritten one, and in the records that it kept.
func TestMarkLeadsToNested(t *testing.T) {
	needTools(t, "gcc", "clang-19", "bpftool")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, object []byte) {
		if err := os.WriteFile(path(name), object, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const types = `#include "cost.h"
#include <bpf/bpf_core_read.h>
enum color { RED = 1, BLUE = 7 };
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct tag { __u16 vid, prio; };
struct md_desc { __u32 hash; struct tag tag; enum color color; };
#pragma clang attribute pop
`
	const nested = "struct md_desc { __u32 hash; struct tag { __u16 vid, prio; } tag; "
	first, second := markLayout(t, "first", nested+"}"), markLayout(t, "second", nested+"enum color { BLUE = 9 } color; }")
	rewritten := func(object []byte, layout *reloc.Layout, edits int, marked bool) []byte {
		t.Helper()
		out, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
		if err != nil || len(report.Edits) != edits || report.Rewritten != marked {
			t.Fatalf("%v, %+v", err, report)
		}
		return out
	}

	program := costCompile(t, "clang-19", strings.Replace(types, "cost.h\"", "cost.h\"\nint prio(struct tag *tag);", 1)+
		"PROGRAM(linked, struct md_desc, out_unsigned = md->hash + prio(&md->tag);)", "el", "v3")
	write("program.o", rewritten(program, first, 2, false))
	write("function.o", costCompile(t, "clang-19", strings.Replace(types, `#include "cost.h"`, "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>", 1)+
		"int prio(struct tag *tag) { return tag ? tag->prio : 0; }", "el", "v3"))
	if _, err := kernelCommand("bpftool", "gen", "object", path("linked.o"), path("program.o"), path("function.o")); err != nil {
		t.Fatal(err)
	}
	linked := rewritten(readFile(t, path("linked.o")), first, 1, true)
	if again := rewritten(linked, first, 0, true); !bytes.Equal(again, linked) {
		t.Error("rewriting again changes it")
	}
	_, _, err := rewrite.Rewrite(linked, markLayout(t, "moved", "struct md_desc { __u32 hash; struct tag { __u16 prio, vid; } tag; }"), rewrite.Options{})
	if !errors.Is(err, rewrite.ErrRefused) {
		t.Errorf("another layout: %v", err)
	}

	asks := costCompile(t, "clang-19", types+"PROGRAM(asks, struct md_desc, out_unsigned = md->hash + bpf_core_enum_value_exists(enum color, BLUE);)", "el", "v3")
	without := rewritten(asks, first, 1, false)
	if again := rewritten(without, first, 0, true); !bytes.Equal(again, without) {
		t.Error("rewriting again changes it")
	}
	rewritten(without, second, 1, true)
}

// The kernel, which has the mark when libbpf loads an object, knows it by its name.
func TestMarkInTheKernel(t *testing.T) {
	netlab.NeedRoot(t)
	netlab.Enter(t)
	path := kernelWrite(t, kernelRewrite(t, "fields"+kernelEndian, "reordered"))
	if _, err := kernelCommand("bpftool", "prog", "loadall", path, kernelPins); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(kernelPins)
	show, err := kernelCommand("bpftool", "prog", "show", "pinned", filepath.Join(kernelPins, "fields"))
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`btf_id (\d+)`).FindSubmatch(show)
	if id == nil {
		t.Fatalf("no BTF: %s", show)
	}
	dump, err := exec.Command("bpftool", "btf", "dump", "id", string(id[1]), "format", "c").Output()
	if err != nil || !bytes.Contains(dump, []byte("union xdp_load_rewritten {\n")) {
		t.Errorf("%v, %s", err, dump)
	}
}

// What can't be a mark of ours is refused.
func TestMarkDamaged(t *testing.T) {
	layout := readLayout(t, "reordered-el")
	out, _, err := rewrite.Rewrite(readProgram(t, "fields-el"), layout, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ from, to, want string }{
		{"byte_off__0_1__", "byte_off__0_99_", `made by a newer version of this program`},
		{"byte_off__0_1__", "byte_oof__0_1__", `no kind "byte_oof"`},
		{"byte_off__0_1__", "byte_off__0_a__", `is not numbers separated by colons`},
		{"byte_off__0_1__", "byte_sz__0_99__", `struct md_desc has no member number 99`},
		{"byte_off__0_1__", "nested__0_1____", `no kind "0_1"`},
	} {
		if !bytes.Contains(out, []byte(change.from)) {
			t.Fatalf("no %s", change.from)
		}
		_, _, err := rewrite.Rewrite(bytes.Replace(out, []byte(change.from), []byte(change.to), 1), layout, rewrite.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), "damaged mark of what it was rewritten for: ") || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v", change.to, err)
		}
	}
}

// A path that is too long for a name in BTF.
func TestMarkTooLong(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	const deep = 60
	declaration := "__u32 hash;" + strings.Repeat("} n;", deep)
	program := costCompile(t, "clang-19", `#include "cost.h"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct md_desc { __u32 pad; `+strings.Repeat("struct { ", deep)+declaration+` };
#pragma clang attribute pop
PROGRAM(mark, struct md_desc, out_unsigned = md->`+strings.Repeat("n.", deep)+"hash;)", "el", "v3")
	layout := markLayout(t, "deep", "struct md_desc { "+strings.Repeat("struct { ", deep)+declaration+" }")
	_, _, err := rewrite.Rewrite(program, layout, rewrite.Options{})
	var refused *rewrite.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "is longer than a name in BTF can be") {
		t.Errorf("got %v", err)
	}
}

// markLoads loads an object with cilium/ebpf.
func markLoads(t *testing.T, object []byte) error {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollection(spec)
	if err == nil {
		loaded.Close()
	}
	return err
}

// Another name for the descriptor is one for it in the mark as well.
func TestMarkOfTypedef(t *testing.T) {
	object := costCompile(t, "clang-19", driverHeader+`
typedef struct md_desc meta_t;
static __always_inline __u32 mark_of(const meta_t *md) { return md->mark; }
`+driverProgram+"check(MARK, mark_of(md));"+driverEnd, "el", "v3")
	layout := parseLayout(t, "area-el", costCompile(t, "clang-19", "struct md_desc { unsigned mark; } layout;", "el", "v3"))
	other := parseLayout(t, "other-el", costCompile(t, "clang-19", "struct md_desc { unsigned pad, mark; } layout;", "el", "v3"))
	once, _, err := rewrite.Rewrite(object, layout, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	twice, _, err := rewrite.Rewrite(once, layout, rewrite.Options{})
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("again: %v, or another object", err)
	}
	if _, _, err := rewrite.Rewrite(once, other, rewrite.Options{}); err == nil || !strings.Contains(err.Error(), "a layout where md->mark is u32 at 0") {
		t.Errorf("for another layout: %v", err)
	}
}
