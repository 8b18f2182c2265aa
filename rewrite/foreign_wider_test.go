package rewrite_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What is loaded from the kernel's memory need not fit in the bytes of the program's
// load: libbpf makes that as wide as the kernel's field, which here is that of 64 bits.
// Of such a number a field of 32 bits gets 32, however wide the layout keeps it.
func TestForeignWider(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	needTools(t, "clang-19", "bpftool")
	f := strangeProgram{
		types: `
			struct md_desc { __u32 stamp; __u64 whole; } PAI;
			struct task_struct___narrow { __u32 start_time; } PAI;
			struct task_struct___wide { __u64 start_time; } PAI;`,
		program: `
			void *task = bpf_get_current_task_btf();
			md->stamp = ((struct task_struct___narrow *)task)->start_time;
			md->whole = ((struct task_struct___wide *)task)->start_time;`,
	}
	object := costCompile(t, "clang-19", f.C(), "el", "v3")
	layout := costCompile(t, "clang-19", "#include <linux/types.h>\nstruct md_desc { __u64 stamp, whole; } layout;", "el", "v3")
	rewritten, _, err := rewrite.Rewrite(object, parseLayout(t, "nic"+kernelEndian, layout), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wider.o")
	if err := os.WriteFile(path, rewritten, 0o600); err != nil {
		t.Fatal(err)
	}
	netlab.Enter(t)
	if _, err := kernelCommand("bpftool", "prog", "load", path, kernelPins); err != nil {
		t.Fatal(err)
	}
	program, err := ebpf.LoadPinnedProgram(kernelPins, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	_, after := kernelRun(t, program, make([]byte, 16))
	stamp, whole := binary.NativeEndian.Uint64(after), binary.NativeEndian.Uint64(after[8:])
	if whole == 0 || stamp != whole&0xffffffff {
		t.Errorf("the 32 bits of %#x are %#x", whole, stamp)
	}
}
