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
	f := strangeProgram{
		types: `
			struct md_desc { __u32 stamp; __u64 whole; } PAI;
			struct task_struct___narrow { __u32 start_time; } PAI;
			struct task_struct___wide { __u64 start_time; } PAI;`,
		program: `
			void *task = bpf_get_current_task_btf();
			md->stamp = ((struct task_struct___narrow *)task)->start_time;
			md->whole = ((struct task_struct___wide *)task)->start_time;`,
		layout: `struct md_desc { __u64 stamp, whole; }`,
	}
	program := f.loadByBpftool(t)
	_, after := kernelRun(t, program, make([]byte, 16))
	stamp, whole := binary.NativeEndian.Uint64(after), binary.NativeEndian.Uint64(after[8:])
	if whole == 0 || stamp != whole&0xffffffff {
		t.Errorf("the 32 bits of %#x are %#x", whole, stamp)
	}
}

// loadByBpftool rewrites a program for a layout of types, and has bpftool load it, by which libbpf
// resolves what it has of the kernel's types.
func (f strangeProgram) loadByBpftool(t *testing.T) *ebpf.Program {
	t.Helper()
	netlab.NeedRoot(t)
	needTools(t, "clang-19", "bpftool")
	object := costCompile(t, "clang-19", f.C(), "el", "v3")
	layout := costCompile(t, "clang-19", "#include <linux/types.h>\n"+f.layout+" layout;", "el", "v3")
	rewritten, _, err := rewrite.Rewrite(object, parseLayout(t, "nic"+kernelEndian, layout), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program.o")
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
	t.Cleanup(func() { program.Close() })
	return program
}

// Of a bit-field of a struct of the kernel's, too, clang records the bytes in front of those
// that it stores, and libbpf puts that right: what was known of its bytes is not so any more.
func TestForeignBits(t *testing.T) {
	t.Parallel()
	program := strangeProgram{
		types: `
			struct md_desc { __s32 bits : 18; __u32 last; } PAI;
			struct bpf_prog_info___kept {
				__u32 type, id; __u8 tag[8]; __u32 jited_prog_len, xlated_prog_len;
				__u64 jited_prog_insns, xlated_prog_insns, load_time;
				__u32 created_by_uid, nr_map_ids; __u64 map_ids; char name[16];
				__u32 ifindex, gpl_compatible : 1;
			} PAI;`,
		program: `
			struct bpf_prog_info___kept memory, *info = &memory;
			__builtin_memset(info, 0, sizeof(*info));
			OPAQUE(info);
			__u32 *raw = (__u32 *)info + 21;
			*raw = 0x20000;
			barrier();
			info->gpl_compatible = md->last;
			barrier();
			md->bits = *raw;`,
		layout: `struct md_desc { __s32 bits, last; }`,
	}.loadByBpftool(t)
	_, after := kernelRun(t, program, []byte{9, 9, 9, 9, 1, 0, 0, 0})
	const want = -0x20000 + 1 // 18 bits, of which the first is the sign
	if got := int32(binary.NativeEndian.Uint32(after)); got != want {
		t.Errorf("%#x instead of %#x", got, want)
	}
}
