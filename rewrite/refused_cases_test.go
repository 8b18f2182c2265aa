package rewrite_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What is refused of fields that refused.c can't have beside its others: they are
// in a packed struct, of a compiler that says less, or in a damaged function.
func TestRefusedCases(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-14", "clang-19")
	for name, c := range map[string]struct {
		local, program string // a field f, and what is done with it
		layout         string
		compiler       string // of the layout, if it is not the program's
		want           string
	}{
		"macro, a type that no register holds": {
			"__u32 f;", "out_unsigned = BPF_CORE_READ_BITFIELD(md, f);",
			"struct md_desc { unsigned __int128 f; }", "",
			"md->f: the types differ: __u32 at 0 in the program, unsigned __int128 at 0 in the layout",
		},
		"macro, a bool that is a number": {
			"_Bool f;", "out_unsigned = BPF_CORE_READ_BITFIELD(md, f);",
			"struct md_desc { __u32 f; }", "",
			"md->f: a truth value differs from a number, and the bit-field macros know nothing of that: _Bool at 0 in the program, __u32 at 0 in the layout",
		},
		"macro, a number that is stored to a bool": {
			"__u8 f : 1;", "BPF_CORE_WRITE_BITFIELD(md, f, in_unsigned);",
			"struct md_desc { _Bool f; }", "",
			"md->f: a truth value differs from a number, and the bit-field macros know nothing of that",
		},
		"macro, an enumeration of unknown sign": {
			"enum { LOW = -1, HIGH } f;", "out_signed = BPF_CORE_READ_BITFIELD(md, f);",
			"struct md_desc { enum { LOW = -1, HIGH } f : 4; }", "clang-14",
			"md->f: the compiler of the layout did not record whether",
		},
		"macro, bytes beyond the layout": {
			"__u32 f : 5;", "out_unsigned = BPF_CORE_READ_BITFIELD(md, f);",
			"struct md_desc { __u32 first; __u32 f : 5; } __attribute__((packed))", "",
			"md->f: the 4 bytes that the bit-field macros load for __u32:5 at bit 32 end beyond the layout's type, which has 5",
		},
		"macro, bits on both sides of an 8-byte boundary": {
			"__u64 f : 40;", "out_unsigned = BPF_CORE_READ_BITFIELD(md, f);",
			"struct md_desc { __u32 first; __u64 f : 40; __u64 last : 56; } __attribute__((packed))", "",
			"md->f: the bit-field __u64:40 at bit 32 crosses an 8-byte boundary, and the bit-field macros read no more",
		},
		"bits in nine bytes": {
			"__u64 f;", "out_unsigned = md->f;",
			"struct md_desc { __u64 first : 4, f : 62, last : 62; } __attribute__((packed))", "",
			"md->f: the bit-field __u64:62 at bit 4 of the layout spans more bytes than one load reads",
		},
		"bits in foreign byte order": {
			"__be32 f : 5;", "out_unsigned = md->f;",
			"struct md_desc { __u32 f : 6; }", "",
			"md->f: __be32:5 at bit 0 is a bit-field in foreign byte order",
		},
		"an atomic instruction for a struct": {
			"struct { __u32 low, high; } f;", "__sync_fetch_and_add((__u64 *)&md->f, 1);",
			"struct md_desc { struct { __u16 low, high; } f; }", "",
			`needs a field of the same type, and the layout has __u16 at 0`,
		},
		"an offset of more bits than the instruction has": {
			"__u32 f;", "out_unsigned = md->f;",
			"struct md_desc { char before[40000]; __u32 f; }", "",
			`md->f: the offset 40000 does not fit into the instruction "r1 = *(u32 *)(r1 + 0)"`,
		},
		"an instruction that is not understood": {
			"__u32 f;", `__u32 *p = &md->f; asm volatile(".8byte 0xff" : "+r"(p)); out_unsigned = *p;`,
			"struct md_desc { __u64 f; }", "",
			"md->f: its offset is kept in a register, and the function is not understood: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := costCompile(t, "clang-19", `
				#include "cost.h"
				#include "write_bitfield.h"
				struct md_desc { `+c.local+` } __attribute__((preserve_access_index));
				PROGRAM(refused, struct md_desc, `+c.program+`)`, "el", "v3")
			if c.compiler == "" {
				c.compiler = "clang-19"
			}
			layout := costCompile(t, c.compiler, "#include <linux/types.h>\n"+c.layout+" layout;", "el", "v3")
			out, report, err := rewrite.Rewrite(object, parseLayout(t, "case", layout), rewrite.Options{})
			var refused *rewrite.RefusedError
			if !errors.As(err, &refused) || out != nil || report != nil {
				t.Fatalf("got %v, want %v", err, rewrite.ErrRefused)
			}
			if message := err.Error() + "\n" + refused.Details(); !strings.Contains(message, c.want) {
				t.Errorf("got  %s\nwant %s", message, c.want)
			}
		})
	}
}

// Where the symbol of a function was stripped, what an offset in a register is
// used for can't be told from what other functions use.
func TestRefusedWithoutSymbol(t *testing.T) {
	needTools(t, "gcc", "clang-19", "llvm-objcopy-19")
	object := costCompile(t, "clang-19", `
		#include "cost.h"
		struct md_desc { __u32 first; __u32 f; } __attribute__((preserve_access_index));
		PROGRAM(kept, struct md_desc, __u32 *p = &md->f; asm volatile("" : "+r"(p)); out_unsigned = *p;)`, "el", "v3")
	layout := parseLayout(t, "wide", costCompile(t, "clang-19", "struct md_desc { unsigned long long f; } layout;", "el", "v3"))
	if _, _, err := rewrite.Rewrite(object, layout, rewrite.Options{}); err != nil {
		t.Errorf("with the symbol: %v", err)
	}
	_, _, err := rewrite.Rewrite(stripped(t, object, "kept"), layout, rewrite.Options{})
	const want = "md->f: its offset is kept in a register, and no symbol says where the function starts"
	if !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A size of more bits than the instruction has that was compiled for the program's own.
func TestRefusedValue(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	object := costCompile(t, "clang-19", `
		#include "cost.h"
		#include <bpf/bpf_core_read.h>
		struct md_desc { __u32 f; } __attribute__((preserve_access_index));
		PROGRAM(measures, struct md_desc, out_unsigned = bpf_core_type_size(struct md_desc);)`, "el", "v1")
	number := &btf.Int{Name: "unsigned int", Size: 4}
	builder, err := btf.NewBuilder([]btf.Type{&btf.Struct{Name: "md_desc", Size: 3 << 30, Members: []btf.Member{{Name: "f", Type: number}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := builder.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	layout, err := reloc.NewLayout("huge", types, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = rewrite.Rewrite(object, layout, rewrite.Options{})
	if want := `struct md_desc: the value 3221225472 does not fit into the instruction "r1 = 4"`; !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Accesses that are recorded in what is no code, as its flags say.
func TestRefusedInData(t *testing.T) {
	t.Parallel()
	needTools(t, "llvm-objcopy-19")
	object := objcopied(t, readProgram(t, "fields-el"), "--set-section-flags=xdp=alloc")
	_, _, err := rewrite.Rewrite(object, readLayout(t, "sparse-el"), rewrite.Options{})
	if want := "section xdp holds no instructions: compile the object again from its source"; !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What a function of the kernel returns or writes has nothing to do with the
// layout, in this program or in another one. Of a function whose symbol was
// stripped nobody can tell, so the kernel decides.
func TestRefusedBesideCalls(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19", "llvm-objcopy-19")
	const unguarded = `
		struct md_desc { __u64 gone; } __attribute__((preserve_access_index));
		PROGRAM(reads, struct md_desc, if (in_unsigned) out_unsigned = md->gone;)`
	layout := parseLayout(t, "without", costCompile(t, "clang-19", "struct md_desc { int other; } layout;", "el", "v3"))
	for name, c := range map[string]struct {
		source string
		strip  string // a symbol
		want   bool   // refused
	}{
		"none": {unguarded, "", true},
		"of the kernel": {`
			extern void bpf_rcu_read_lock(void) __ksym;
			SEC("xdp") int calls(struct xdp_md *ctx) { bpf_rcu_read_lock(); return XDP_PASS; }` + unguarded, "", true},
		"of the program": {`
			static __attribute__((noinline)) int called(int n) { asm volatile("" : "+r"(n)); return n; }
			SEC("xdp") int calls(struct xdp_md *ctx) { return called(ctx->rx_queue_index); }` + unguarded, "", true},
		"of what is not known": {`
			static __attribute__((noinline)) int called(int n) { asm volatile("" : "+r"(n)); return n; }
			SEC("xdp") int calls(struct xdp_md *ctx) { return called(ctx->rx_queue_index); }` + unguarded, "called", false},
		"a callback that is not known": {`
			static long called(__u32 n, void *data) { in_unsigned = n; return 0; }
			SEC("xdp") int calls(struct xdp_md *ctx) { bpf_loop(2, called, 0, 0); return XDP_PASS; }` + unguarded, "called", false},
	} {
		object := costCompile(t, "clang-19", `#include "cost.h"`+c.source, "el", "v3")
		if c.strip != "" {
			object = stripped(t, object, c.strip)
		}
		_, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
		if errors.Is(err, rewrite.ErrRefused) != c.want || !c.want && (err != nil || len(report.Poisoned()) != 1 || report.Poisoned()[0].Guarded) {
			t.Errorf("a call %s: refused %t, want %t: %v", name, errors.Is(err, rewrite.ErrRefused), c.want, err)
		}
	}
}

// stripped returns an object without the symbol of a function.
func stripped(t *testing.T, object []byte, symbol string) []byte {
	t.Helper()
	return objcopied(t, object, "--strip-symbol="+symbol)
}

// objcopied returns an object as llvm-objcopy changes it.
func objcopied(t *testing.T, object []byte, option string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copied.o")
	if err := os.WriteFile(path, object, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("llvm-objcopy-19", option, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return readFile(t, path)
}

// The offset of a field that is also read without the macro is wrong in what clang makes
// for big-endian machines, of the descriptor as of a copy of the program's own.
func TestRefusedMacroHalf(t *testing.T) {
	t.Parallel()
	compilers := []string{"clang-14", "clang-16", "clang-19", "clang-22"}
	needTools(t, append(compilers, "gcc")...)
	const both = `
		#include "cost.h"
		#include <bpf/bpf_core_read.h>
		struct md_0 { __s16 f : 13; __u16 h; __u32 g; } __attribute__((preserve_access_index));
		struct md_0 copy;
		PROGRAM(both, struct md_0, struct md_0 *own = &copy; asm volatile("" : "+r"(own));
			out_unsigned = (%[1]s == md->g) + BPF_CORE_READ_BITFIELD(%[2]s, %[3]s);)`
	for _, endian := range []string{"el", "eb"} {
		layout := parseLayout(t, "layout-"+endian, costCompile(t, "clang-19", "#include <linux/types.h>\nstruct md_0 { __u32 g; __s8 f : 2; __u16 h; } layout;", endian, "v3"))
		for _, compiler := range compilers {
			for _, use := range []struct{ pointer, field string }{{"md", "f"}, {"md", "h"}, {"own", "f"}, {"own", "h"}} {
				object := costCompile(t, compiler, fmt.Sprintf(both, use.pointer+"->"+use.field, use.pointer, use.field), endian, "v2")
				_, _, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: []string{"md_*"}})
				isHalf := err != nil && strings.Contains(err.Error(), "->"+use.field+": what is added to its pointer is computed from the offset")
				if isHalf != (endian == "eb") || !isHalf && err != nil {
					t.Errorf("%s, %s, %v: %v", endian, compiler, use, err)
				}
			}
		}
	}
}

// An offset that something else is made of than an address is none any more: what is read
// there nobody has recorded, even if the layout keeps the field as the program does.
func TestRefusedPartOfOffset(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	layout := parseLayout(t, "moved", costCompile(t, "clang-19", "#include <linux/types.h>\nstruct md_desc { __u32 before[6], hash; } layout;", "el", "v4"))
	for _, change := range []string{"%0 >>= 32", "%0 s>>= 32", "%0 <<= 32", "%0 = (s8)%0", "%0 &= 255", "%0 *= 1"} {
		object := costCompile(t, "clang-19", `
			#include "cost.h"
			#include <bpf/bpf_core_read.h>
			struct md_desc { __u64 stamp; __u32 hash; } __attribute__((preserve_access_index));
			PROGRAM(part, struct md_desc,
				__u64 offset = bpf_core_field_offset(md->hash);
				asm volatile("`+change+`" : "+r"(offset));
				out_unsigned = *(__u32 *)((void *)md + offset);)`, "el", "v4")
		_, _, err := rewrite.Rewrite(object, layout, rewrite.Options{})
		if !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(err.Error(), "md->hash: what is added to its pointer is computed from the offset") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", change, err)
		}
	}
}

// An access in code that is copied to keep paths apart is not guarded if only one
// of the copies can't be reached.
func TestGuardedCopies(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	layout := parseLayout(t, "without", costCompile(t, "clang-19", "struct md_desc { unsigned short a; unsigned long long b; } layout;", "el", "v3"))
	const never, doubtful = "there", "*(volatile __s64 *)&in_signed" // which the kernel has to know
	for _, flags := range [][2]string{{never, doubtful}, {doubtful, never}} {
		object := costCompile(t, "clang-19", `
			#include "cost.h"
			struct md_desc { __u32 a, b; __u64 gone; } __attribute__((preserve_access_index));
			PROGRAM(copied, struct md_desc,
				volatile __u32 *p;
				__u64 there = __builtin_preserve_field_info(md->gone, 2);
				__u64 flag;

				*(volatile __s64 *)&in_signed = there;
				if (in_unsigned & 1) {
					p = &md->a;
					flag = `+flags[0]+`;
				} else {
					p = &md->b;
					flag = `+flags[1]+`;
				}
				asm volatile("" : "+r"(p), "+r"(flag));
				if (flag)
					out_signed = md->gone;
				out_unsigned = *p;)`, "el", "v3")
		_, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		poisoned := report.Poisoned()
		if len(poisoned) != 1 || len(poisoned[0].Copies) != 1 || poisoned[0].Guarded {
			t.Errorf("%d poisoned edits, the first with copies at %d, guarded %t", len(poisoned), poisoned[0].Copies, poisoned[0].Guarded)
		}
	}
}
