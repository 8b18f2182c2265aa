package rewrite_test

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A line in pointers.c that has to be refused, and a part of the message.
var pointerComment = regexp.MustCompile(`/\* refused: ?(.*) \*/`)

// Whatever uses the descriptor's pointer without a record of it is refused, with
// its line and what to do about it.
func TestRefusedPointers(t *testing.T) {
	t.Parallel()
	want := make(map[uint32]string)
	lines := strings.Split(string(readFile(t, testdata+"/invalid/pointers.c")), "\n")
	for i, line := range lines {
		if comment := pointerComment.FindStringSubmatch(line); comment != nil {
			want[uint32(i+1)] = comment[1]
		}
	}
	if len(want) < 25 {
		t.Fatalf("only %d comments in pointers.c", len(want))
	}
	for _, object := range []string{"pointers-el", "pointers-eb", "pointers-clang14-v1-el", "pointers-clang16-v2-el", "pointers-clang22-v4-el"} {
		t.Run(object, func(t *testing.T) {
			layout := readLayout(t, "own"+object[len(object)-len("-el"):])
			out, report, err := rewrite.Rewrite(readFile(t, testdata+"/invalid/"+object+".o"), layout, rewrite.Options{})
			var refused *rewrite.RefusedError
			if !errors.As(err, &refused) || out != nil || report != nil {
				t.Fatalf("got %v, want %v", err, rewrite.ErrRefused)
			}
			messages := make(map[uint32]string)
			for _, refusal := range refused.Refusals {
				if refusal.Remedy == "" {
					t.Errorf("no remedy: %s", refusal.String())
				}
				messages[refusal.Access.Source.Line] += refusal.String() + "\n"
			}
			for _, line := range slices.Sorted(maps.Keys(want)) {
				switch message, found := messages[line]; {
				case !found:
					t.Errorf("line %d is not refused: %s", line, strings.TrimSpace(lines[line-1]))
				case !strings.Contains(message, want[line]):
					t.Errorf("line %d: %q is not in %s", line, want[line], message)
				}
			}
			for line, message := range messages {
				if _, found := want[line]; !found {
					t.Errorf("is refused: %s", message)
				}
			}
		})
	}
}

// Only what is refused in the functions that are going to be loaded is.
func TestRefusedInLoadedFunctions(t *testing.T) {
	object, layout := readFile(t, testdata+"/invalid/pointers-el.o"), readLayout(t, "own-el")
	_, _, err := rewrite.Rewrite(object, layout, rewrite.Options{})
	var all *rewrite.RefusedError
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	inFunction := make(map[string][]string)
	for _, refusal := range all.Refusals {
		inFunction[refusal.Access.Program] = append(inFunction[refusal.Access.Program], refusal.String())
	}
	if len(inFunction) < 20 {
		t.Fatalf("Refused in %d functions", len(inFunction))
	}
	for function, want := range inFunction {
		_, _, err := rewrite.Rewrite(object, layout, rewrite.Options{Functions: func(name string) bool { return name == function }})
		var refused *rewrite.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", function, err)
			continue
		}
		var got []string
		for _, refusal := range refused.Refusals {
			got = append(got, refusal.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: refused\n%v\ninstead of\n%v", function, got, want)
		}
	}

	_, report, err := rewrite.Rewrite(object, layout, rewrite.Options{Functions: func(name string) bool { return inFunction[name] == nil }})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Edits) != len(all.Edits) {
		t.Errorf("%d edits instead of %d", len(report.Edits), len(all.Edits))
	}
}

// A program that replaces a global function gets what that function gets, a descriptor
// of the size that the program declares, be it the first argument or not.
func TestReplacedFunction(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	object := costCompile(t, "clang-19", `
		#include <linux/bpf.h>
		#include "../../bpf/md_desc.h"
		SEC("freplace/first") int new_first(struct md_desc *md) { return md ? md->hash : 0; }
		SEC("freplace/second") int new_second(struct xdp_md *ctx, struct md_desc *md) { return md ? md->hash : 0; }`, "el", "v3")
	for name, refused := range map[string]bool{"exact": false, "reordered": false, "swapped": true, "signs": true} {
		source, small := caseLayouts[name]
		layout := readLayout
		if small {
			layout = func(t testing.TB, name string) *reloc.Layout {
				return parseLayout(t, name, costCompile(t, "clang-19", "#include <linux/types.h>\n"+source+" layout;", "el", "v3"))
			}
		}
		_, _, err := rewrite.Rewrite(object, layout(t, name+"-el"), rewrite.Options{})
		var got *rewrite.RefusedError
		switch {
		case !refused && err == nil:
		case !refused || !errors.As(err, &got) || len(got.Refusals) != 2 || !strings.Contains(err.Error(), "the kernel wants 40 bytes for the argument "):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A function of the kernel's may be given the address of a field that is as large as what
// it is declared to be given the address of.
func TestFunctionsOfTheKernelAtFields(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	layout := costCompile(t, "clang-19", "#include <linux/types.h>\nstruct md_desc { __u32 hash; __u64 rx_timestamp; } layout;", "el", "v3")
	for call, message := range map[string]string{
		"bpf_xdp_metadata_rx_hash(ctx, &md->hash, &type)":         "",
		"bpf_xdp_metadata_rx_timestamp(ctx, &md->rx_timestamp)":   "",
		"bpf_xdp_metadata_rx_timestamp(ctx, (void *)&md->hash)":   "8 bytes are passed to bpf_xdp_metadata_rx_timestamp from the address of the field md->hash",
		"bpf_dynptr_slice((void *)ctx, 0, &md->hash, 4)":          "nobody knows how many bytes are passed to bpf_dynptr_slice",
		"bpf_xdp_metadata_rx_timestamp(ctx, (void *)md)":          "the descriptor as a whole is passed to bpf_xdp_metadata_rx_timestamp",
		"bpf_xdp_metadata_rx_hash(ctx, &type, (void *)&md->hash)": "",
	} {
		t.Run(call, func(t *testing.T) {
			object := costCompile(t, "clang-19", `
				#include <linux/bpf.h>
				#include "../../bpf/md_desc.h"
				extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, enum xdp_action *type) __ksym;
				extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
				extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;
				SEC("xdp") int program(struct xdp_md *ctx)
				{
					struct md_desc *md = md_desc(ctx);
					__u32 type;

					if (md)
						`+call+`;
					return XDP_PASS;
				}`, "el", "v3")
			_, _, err := rewrite.Rewrite(object, parseLayout(t, "two-el", layout), rewrite.Options{})
			if message == "" && err != nil || message != "" && (!errors.Is(err, rewrite.ErrRefused) || !strings.Contains(err.Error(), message)) {
				t.Errorf("got %v, want %q", err, message)
			}
		})
	}
}
