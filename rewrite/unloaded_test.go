package rewrite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A weak program that another file's takes the place of changes nothing but where the
// others start, wherever its code is; what is told of it is of the object as it was.
func TestUnloaded(t *testing.T) {
	t.Parallel()
	needTools(t, "clang-19", "bpftool")
	const weak = `#include <linux/bpf.h>
#include "../../bpf/md_desc.h"
__attribute__((weak)) SEC("xdp") int PROGRAM(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	return md ? md->hash + md->hash_type : 0;
}
`
	for program, layoutName := range map[string]string{"paths": "paths", "fields": "bitfield", "parts": "parts", "store": "bitfield"} {
		object := readProgram(t, program+kernelEndian)
		accesses, err := reloc.Read(object)
		if err != nil {
			t.Fatal(err)
		}
		layout := readLayout(t, layoutName+kernelEndian)
		want := rewriteReport(t, object, layout)

		for _, order := range []string{"front", "behind"} {
			t.Run(program+"/"+order, func(t *testing.T) {
				dir := t.TempDir()
				compiled, other, linked := filepath.Join(dir, "program.o"), filepath.Join(dir, "weak.o"), filepath.Join(dir, "linked.o")
				source := strings.Replace(weak, "PROGRAM", accesses[0].Program, 1)
				if err := os.WriteFile(compiled, object, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(other, costCompile(t, "clang-19", source, strings.Trim(kernelEndian, "-"), "v3"), 0o600); err != nil {
					t.Fatal(err)
				}
				files := []string{"gen", "object", linked, other, compiled}
				if order == "behind" {
					files[3], files[4] = files[4], files[3]
				}
				if _, err := kernelCommand("bpftool", files...); err != nil {
					t.Fatal(err)
				}
				got := rewriteReport(t, readFile(t, linked), layout)
				if diff := cmp.Diff(relativeEdits(want), relativeEdits(got)); diff != "" {
					t.Errorf("(-alone +linked):\n%s", diff)
				}
			})
		}
	}
}

// relativeEdits spells out the edits of a report, by the functions that they are in.
func relativeEdits(report *rewrite.Report) map[string][]string {
	all := make(map[string][]string)
	for _, edit := range report.Edits {
		start := edit.Access.FunctionStart
		text := fmt.Sprintln(edit.Access.Insn-start, edit.Access.Source, edit.Access.Path, edit.Before, edit.After, edit.Position, edit.Copies)
		for _, other := range edit.Others {
			text += fmt.Sprintln(other.Insn-start, other.Before, other.After, other.Position, other.Copies)
		}
		all[edit.Access.Program] = append(all[edit.Access.Program], text)
	}
	return all
}

func rewriteReport(t *testing.T, object []byte, layout *reloc.Layout) *rewrite.Report {
	t.Helper()
	_, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
