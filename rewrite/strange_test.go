package rewrite_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// strangeProgram is a program as none of the generators makes it, for one layout and one
// metadata area: it does what C says, or is refused.
type strangeProgram struct {
	types   string // the program's struct md_desc and what it needs; "" for the header's
	source  string // functions and data before the program
	program string // what it does with md: sets out
	whole   string // or all of the program, without md

	layout  string // of the NIC, in C
	area    string // the metadata area, in hexadecimal
	out     uint64 // what C says that out is then
	after   string // and the metadata area; "" if it stays as it was
	refuse  bool   // whether it may be refused instead
	refused bool   // whether it has to be
}

var strangeCompilers = []pairCompiler{{14, "v1"}, {16, "v2"}, {19, "v3"}, {22, "v4"}}

func (f strangeProgram) C() string {
	header := `#include "../../bpf/md_desc.h"`
	if f.types != "" {
		header = `
			#include <linux/types.h>
			#include <bpf/bpf_helpers.h>
			#include <bpf/bpf_core_read.h>
			#define PAI __attribute__((preserve_access_index))
			` + f.types + `
			#define md_desc(ctx) __md_desc((void *)(long)(ctx)->data_meta, (void *)(long)(ctx)->data)
			static __always_inline struct md_desc *__md_desc(void *meta, void *data)
			{
				return meta + bpf_core_type_size(struct md_desc) > data ? (void *)0 : meta;
			}`
	}
	program := `
		SEC("xdp") int program(struct xdp_md *ctx)
		{
			struct md_desc *md = md_desc(ctx);

			if (!md)
				return XDP_ABORTED;
			` + f.program + `
			return XDP_PASS;
		}`
	if f.whole != "" {
		program = f.whole
	}
	return `
		#include <linux/bpf.h>
		` + header + `
		char _license[] SEC("license") = "Dual BSD/GPL";
		#define OPAQUE(value) asm volatile("" : "+r"(value) : : "memory")
		#define barrier() asm volatile("" : : : "memory")
		#define NOINLINE static __attribute__((noinline))
		__u64 in, out;
		` + f.source + program
}

func (f strangeProgram) check(t *testing.T) {
	t.Parallel()
	t.Helper()
	netlab.NeedRoot(t)
	needTools(t, "gcc", "clang-14", "clang-16", "clang-19", "clang-22")
	layout := costCompile(t, "clang-19", "#include <linux/types.h>\n"+f.layout+" layout;", "el", "v3")
	for _, by := range strangeCompilers {
		t.Run(by.String(), func(t *testing.T) { f.checkBy(t, by, layout) })
	}
}

func (f strangeProgram) checkBy(t *testing.T, by pairCompiler, layout []byte) {
	object := costCompile(t, fmt.Sprintf("clang-%d", by.version), f.C(), "el", by.cpu)
	rewritten, _, err := rewrite.Rewrite(object, parseLayout(t, "nic"+kernelEndian, layout), rewrite.Options{})
	switch {
	case errors.Is(err, rewrite.ErrRefused) && (f.refuse || f.refused):
		t.Logf("refused: %v", err)
		return
	case err != nil:
		t.Fatal(err)
	case f.refused:
		t.Fatal("is not refused")
	}
	loaded, err := ebpf.NewCollection(kernelSpec(t, rewritten))
	if err != nil {
		t.Fatalf("is neither refused nor does it load: %v", err)
	}
	defer loaded.Close()
	area, err := hex.DecodeString(f.area)
	if err != nil {
		t.Fatal(err)
	}
	want := area
	if f.after != "" {
		if want, err = hex.DecodeString(f.after); err != nil {
			t.Fatal(err)
		}
	}
	action, after := kernelRun(t, loaded.Programs["program"], area)
	if action != kernelXDPPass {
		t.Errorf("returned %d", action)
	}
	if got := kernelResults(t, loaded)["out"]; got != f.out {
		t.Errorf("out is %#x instead of %#x, metadata %x", got, f.out, area)
	}
	if !bytes.Equal(after, want) {
		t.Errorf("metadata is\n%x instead of\n%x, it was\n%x", after, want, area)
	}
}
