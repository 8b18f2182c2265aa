package accessor_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// A function whose symbol says nothing certain of where it is is refused.
func TestReadRefusesSymbols(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*elf.Symbol)
		want   string
	}{
		"two of a name":           {func(s *elf.Symbol) { s.Name = "md_field_hash" }, "it has two functions md_field_hash: compile a file for each driver"},
		"in no section":           {func(s *elf.Symbol) { s.Section = elf.SHN_ABS }, "function md_field_vlan_tci is in no section"},
		"beyond what is in there": {func(s *elf.Symbol) { s.Value = 1 << 40 }, "function md_field_vlan_tci: its symbol says no place of instructions"},
	} {
		t.Run(name, func(t *testing.T) {
			obj, err := elfobj.Parse(compile(t, "19-v3", "bpfel", start+driver+descriptor+hash+`MD_FIELD(vlan_tci, "", struct rx *rx) { return rx->in.x; }`+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == "md_field_vlan_tci" })
			symbol := obj.Symbols[at]
			test.change(&symbol)
			if err := obj.SetSymbol(at, symbol); err != nil {
				t.Fatal(err)
			}
			if _, err := accessor.Read("nic.o", obj.Bytes()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v instead of %q", err, test.want)
			}
		})
	}
}

// A switch may become a jump by a table from clang 22 on.
func TestReadRefusesTable(t *testing.T) {
	var c strings.Builder
	c.WriteString(start + driver + descriptor + `MD_FIELD(hash, "", struct rx *rx) { switch (rx->hash) {` + "\n")
	for n := range 16 {
		fmt.Fprintf(&c, "case %d: return rx->sum * %d;\n", n, 3+n*n)
	}
	c.WriteString("} return 0; }\n")
	const want = "function md_field_hash: it jumps by a table: compile it with -fno-jump-tables"
	if _, err := accessor.Read("nic.o", compile(t, "22-v4", "bpfel", c.String())); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v instead of %q", err, want)
	}
}

// What is too large to be lowered is refused, with the line.
func TestLoweringRefuses(t *testing.T) {
	kernel := newKernel(t, withMore(t, withTypes(t), `struct rx { unsigned int hash; struct { unsigned int x, y; } in; unsigned long long sum; } rx;`, "rx"))
	// values are some that are there before a load and after it.
	const values = `
	__u64 a, b, c, d, e, f, g, h;
	asm volatile("%0 = 1; %1 = 2; %2 = 3; %3 = 4; %4 = 5; %5 = 6; %6 = 7" : "=r"(a), "=r"(b), "=r"(c), "=r"(d), "=r"(e), "=r"(f), "=r"(g));
	h = rx->hash;
	asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g), "+r"(h), "+r"(rx));
	h += a ^ b ^ c ^ d ^ e ^ f ^ g ^ rx->sum;
`
	for name, test := range map[string]struct {
		field    string
		lowering accessor.Lowering
		want     string
	}{
		"stack": {"__u64 own[63]; asm volatile(\"\" : : \"r\"(own) : \"memory\");" + values + "return h + own[1];", accessor.Probe,
			"function md_field_hash: it needs 544 bytes of the stack, which has 512: use less"},
		"registers": {values + "return h;", "",
			"more than 7 values are kept while it loads another one: read the fields one after the other"},
	} {
		t.Run(name, func(t *testing.T) {
			file := readFile(t, compile(t, "19-v3", "bpfel", start+driver+descriptor+`MD_FIELD(hash, "", struct rx *rx) { `+test.field+" }\n"))
			if _, err := file.Resolve(kernel, accessor.Options{Lowering: test.lowering}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v instead of %q", err, test.want)
			}
		})
	}
}

// Accessors that can't be put together are refused by both their names.
func TestCompleteRefuses(t *testing.T) {
	own, err := readFile(t, compile(t, "19-v3", "bpfel", start+driver+descriptor+hash)).Portable()
	if err != nil {
		t.Fatal(err)
	}
	others := kfuncs(t, binary.LittleEndian, vlanKfunc)
	others.Name = "others"
	others.Object = nil
	if _, err := accessor.Complete(own, others); err == nil || !strings.HasPrefix(err.Error(), "accessors of nic, with those of others: ") {
		t.Errorf("Of no object: %v", err)
	}
	others = kfuncs(t, binary.BigEndian, vlanKfunc)
	if _, err := accessor.Complete(own, others); err == nil || !strings.Contains(err.Error(), "differ in byte order") {
		t.Errorf("Of another byte order: %v", err)
	}
}

// When the program starts there is no descriptor.
func TestReadRefusesStart(t *testing.T) {
	const want = "function md_field_hash: it takes struct rx *, and when the program starts there is nothing: declare it by MD_START_FIELD"
	c := start + driver + descriptor + `__attribute__((btf_decl_tag("start"))) MD_FIELD(hash, "", struct rx *rx) { return rx->hash; }` + "\n"
	if _, err := accessor.Read("nic.o", compile(t, "19-v3", "bpfel", c)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v instead of %q", err, want)
	}
}
