package collection_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// objects returns what was compiled from one file each, by path.
func objects(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := make(map[string][]byte)
	for _, pattern := range []string{"../../testdata/programs/*.o", "../code/testdata/*.o", "../../loader/testdata/*.o", "../../bpf/examples/*.o"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			tb.Fatalf("%s: no objects: %v", pattern, err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				tb.Fatal(err)
			}
			all[path] = raw
		}
	}
	return all
}

// spelt spells out all that is in a specification.
func spelt(spec *ebpf.CollectionSpec) map[string][]string {
	all := make(map[string][]string)
	for name, program := range spec.Programs {
		all[name] = append(all[name], fmt.Sprintln(program.Type, program.AttachType, program.SectionName, program.License))
		for i := range program.Instructions {
			ins := &program.Instructions[i]
			all[name] = append(all[name], fmt.Sprintln(ins.Symbol(), *ins, ins.Reference(), ins.Source(), btf.FuncMetadata(ins), btf.CORERelocationMetadata(ins)))
		}
	}
	for name, m := range spec.Maps {
		all[name] = append(all[name], fmt.Sprintln(m, m.Contents, m.Key, m.Value))
	}
	for name, v := range spec.Variables {
		all[name] = append(all[name], fmt.Sprintln(v.SectionName, v.Offset, v.Value, v.Type))
	}
	return all
}

// What cilium/ebpf takes for what it is comes out as by itself.
func TestRead(t *testing.T) {
	read := 0
	for path, object := range objects(t) {
		if strings.Contains(path, "hidden") { // see its source
			continue
		}
		want, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
		if err != nil {
			continue
		}
		read++
		got, err := collection.Read(bytes.NewReader(object))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if diff := cmp.Diff(spelt(want), spelt(got)); diff != "" {
			t.Errorf("%s (-cilium/ebpf +got):\n%s", path, diff)
		}
	}
	if read < 100 {
		t.Errorf("only %d objects", read)
	}
}

// changed returns an object after a change to it.
func changed(t *testing.T, path string, change func(*elfobj.Object)) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := elfobj.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	change(obj)
	return obj.Bytes()
}

func read(t *testing.T, object []byte) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := collection.Read(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// called returns, by program and function, the functions that are called. The BTF has
// their names.
func called(spec *ebpf.CollectionSpec) map[string][]string {
	all := make(map[string][]string)
	for program, spec := range spec.Programs {
		names := make(map[string]string) // by symbol
		for i := range spec.Instructions {
			if function := btf.FuncMetadata(&spec.Instructions[i]); function != nil {
				names[spec.Instructions[i].Symbol()] = function.Name
			}
		}
		caller := ""
		for i := range spec.Instructions {
			ins := &spec.Instructions[i]
			if symbol := ins.Symbol(); symbol != "" {
				caller = program + ", " + names[symbol]
			}
			if ins.IsFunctionCall() {
				all[caller] = append(all[caller], names[ins.Reference()])
			}
		}
	}
	return all
}

// Static functions of one name are told apart, in both byte orders: the calls go where
// they went.
func TestStaticFunctions(t *testing.T) {
	for _, path := range []string{"../code/testdata/subprogs-el.o", "../code/testdata/subprogs-eb.o"} {
		original, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		renamed := 0
		object := changed(t, path, func(obj *elfobj.Object) {
			for i, symbol := range obj.Symbols {
				if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && elf.ST_BIND(symbol.Info) == elf.STB_LOCAL {
					symbol.Name = "kind_of" // which is global
					renamed++
					if err := obj.SetSymbol(i, symbol); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		if renamed < 3 {
			t.Fatalf("%s has %d static functions", path, renamed)
		}
		want := called(read(t, original))
		if diff := cmp.Diff(want, called(read(t, object))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if calls := slices.Collect(maps.Values(want)); len(slices.Concat(calls...)) < 10 {
			t.Errorf("%s: only the calls %v", path, want)
		}
	}
}

// A static program that is not the only one of its name is named with its section, be it
// in front of the other or behind it.
func TestStaticPrograms(t *testing.T) {
	for _, name := range []string{"mix", "sum"} {
		object := changed(t, "../code/testdata/subprogs-el.o", func(obj *elfobj.Object) {
			i := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == name })
			symbol := obj.Symbols[i]
			symbol.Name, symbol.Info = "kind_of", elf.ST_INFO(elf.STB_LOCAL, elf.STT_FUNC) // which is in .text
			symbol.Section = elf.SectionIndex(obj.Section("xdp").Index)
			if err := obj.SetSymbol(i, symbol); err != nil {
				t.Fatal(err)
			}
		})
		if _, err := collection.Readable(object); err == nil || !strings.Contains(err.Error(), "section xdp has a static program kind_of,") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLicense(t *testing.T) {
	for name, test := range map[string]struct{ contents, other, want string }{
		"one":            {"GPL\x00", "", "GPL"},
		"two":            {"GPL\x00Proprietary\x00", "", "GPL"},
		"without an end": {"GPL", "", "GPL"},
		"none":           {"\x00GPL\x00", "", ""},
		"empty":          {"", "", ""},
		"another":        {"GPL\x00", "license_text", "GPL"},
		"long":           {strings.Repeat("GPL ", 25) + "\x00", "", strings.Repeat("GPL ", 16)[:63]},
	} {
		object := changed(t, "../../testdata/programs/fields-eb.o", func(obj *elfobj.Object) {
			obj.Section("license").Data = []byte(test.contents)
			if test.other != "" {
				if _, err := obj.AddSection(test.other, elf.SHF_ALLOC, 1, []byte("The text.\x00")); err != nil {
					t.Fatal(err)
				}
			}
		})
		for _, program := range read(t, object).Programs {
			if program.License != test.want {
				t.Errorf("%s: %q, want %q", name, program.License, test.want)
			}
		}
	}
}

// Maps and functions may be weak, and are what they were.
func TestWeak(t *testing.T) {
	for _, path := range []string{"../code/testdata/subprogs-el.o", "../code/testdata/subprogs-eb.o", "../code/testdata/callbacks-eb.o"} {
		original, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		object := changed(t, path, func(obj *elfobj.Object) {
			for i, symbol := range obj.Symbols {
				if elf.ST_BIND(symbol.Info) == elf.STB_GLOBAL {
					symbol.Info = elf.ST_INFO(elf.STB_WEAK, elf.ST_TYPE(symbol.Info))
					if err := obj.SetSymbol(i, symbol); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		if diff := cmp.Diff(spelt(read(t, original)), spelt(read(t, object))); diff != "" {
			t.Errorf("%s (-strong +weak):\n%s", path, diff)
		}
	}
}

// A hidden function is static for the kernel, and its address that of its symbol.
func TestHidden(t *testing.T) {
	for _, path := range []string{"../code/testdata/hidden-el.o", "../code/testdata/hidden-eb.o"} {
		object, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var taken []string
		linkages := make(map[string]btf.FuncLinkage)
		for _, ins := range read(t, object).Programs["loops"].Instructions {
			if ins.OpCode.IsDWordLoad() && ins.Src == asm.PseudoFunc {
				taken = append(taken, ins.Reference())
			}
			if function := btf.FuncMetadata(&ins); function != nil {
				linkages[function.Name] = function.Linkage
			}
		}
		want := map[string]btf.FuncLinkage{"loops": btf.GlobalFunc, "step": btf.StaticFunc, "unrelated": btf.StaticFunc}
		if !slices.Equal(taken, []string{"step"}) || !maps.Equal(linkages, want) {
			t.Errorf("%s: addresses of %v, %v", path, taken, linkages)
		}
	}
}

// What comes out is an object, whatever goes in. What cilium/ebpf makes of that is not
// asked: it takes the memory that a damaged object says its data have.
func FuzzReadable(f *testing.F) {
	for _, object := range objects(f) {
		if len(object) < 8_000 {
			f.Add(object)
		}
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		readable, err := collection.Readable(object)
		if err != nil {
			return
		}
		if _, err := collection.Readable(readable); err != nil {
			t.Error(err)
		}
	})
}
