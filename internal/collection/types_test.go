package collection_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

// gotol are objects with the variables got_path and got_rounds, of 8 bytes each, in .bss.
var gotol = []string{"../code/testdata/gotol-el.o", "../code/testdata/gotol-eb.o"}

// retyped returns an object with other types and symbols, by their name, and no records.
func retyped(t *testing.T, path string, symbols map[string]elf.Symbol, types ...btf.Type) []byte {
	t.Helper()
	return changed(t, path, func(obj *elfobj.Object) {
		if _, err := obj.Remove(func(s *elfobj.Section) bool { return s.Name == ".BTF.ext" }); err != nil {
			t.Fatal(err)
		}
		builder, err := btf.NewBuilder(types, nil)
		if err != nil {
			t.Fatal(err)
		}
		if obj.Section(".BTF").Data, err = builder.Marshal(nil, &btf.MarshalOptions{Order: obj.Order}); err != nil {
			t.Fatal(err)
		}
		obj.Section(".rel.BTF").Data = nil
		for name, symbol := range symbols {
			i := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == name })
			if err := obj.SetSymbol(i, symbol); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// readBack returns the DATASECs of what is made of an object, and its symbols that are
// not local.
func readBack(t *testing.T, object []byte) (sections map[string]string, symbols map[string]elf.Symbol, obj *elfobj.Object) {
	t.Helper()
	readable, err := collection.Readable(object)
	if err != nil {
		t.Fatal(err)
	}
	if obj, err = elfobj.Parse(readable); err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(obj.Section(".BTF").Data))
	if err != nil {
		t.Fatal(err)
	}
	sections, symbols = make(map[string]string), make(map[string]elf.Symbol)
	for typ, err := range spec.All() {
		if err != nil {
			t.Fatal(err)
		}
		if datasec, ok := typ.(*btf.Datasec); ok {
			for _, v := range datasec.Vars {
				sections[datasec.Name] += fmt.Sprintf("%s@%d ", v.Type.TypeName(), v.Offset)
			}
		}
	}
	for _, symbol := range obj.Symbols {
		if elf.ST_BIND(symbol.Info) != elf.STB_LOCAL {
			symbols[symbol.Name] = symbol
		}
	}
	return sections, symbols, obj
}

// Variables are where their symbols say, in the order of their offsets, and static ones
// are not called like others. What the compiler leaves to the loader stays.
func TestVariables(t *testing.T) {
	for _, path := range gotol {
		long := &btf.Int{Name: "long", Size: 8}
		variable := func(linkage btf.VarLinkage, name string, offset uint32) btf.VarSecinfo {
			return btf.VarSecinfo{Type: &btf.Var{Name: name, Type: long, Linkage: linkage}, Offset: offset, Size: 8}
		}
		object := retyped(t, path, nil,
			&btf.Datasec{Name: ".bss", Size: 16, Vars: []btf.VarSecinfo{variable(btf.GlobalVar, "got_rounds", 0), variable(btf.GlobalVar, "got_path", 8)}},
			&btf.Datasec{Name: ".data", Size: 24, Vars: []btf.VarSecinfo{variable(btf.StaticVar, "got_path", 0), variable(btf.StaticVar, "got_path", 8), variable(btf.StaticVar, "other", 16)}},
			&btf.Datasec{Name: ".rodata", Vars: []btf.VarSecinfo{variable(btf.StaticVar, "got_path", 0)}},
		)
		got, _, _ := readBack(t, object)
		want := map[string]string{
			".bss":    "got_path@0 got_rounds@8 ",
			".data":   "got_path__2@0 got_path__3@8 other@16 ",
			".rodata": "got_path@0 ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// Weak externs that are nowhere are defined, the others are strong and left to
// cilium/ebpf.
func TestExterns(t *testing.T) {
	extern := func(bind elf.SymBind, name string) elf.Symbol {
		return elf.Symbol{Name: name, Info: elf.ST_INFO(bind, elf.STT_NOTYPE)}
	}
	for name, test := range map[string]struct {
		other    string // besides LINUX_NOWHERE
		sections map[string]string
	}{
		"found": {"LINUX_KERNEL_VERSION", map[string]string{".kconfig": "LINUX_KERNEL_VERSION@0 "}},
		"none":  {"LINUX_NOWHERE_TOO", map[string]string{".rodata.kconfig.externs": "LINUX_NOWHERE@0 LINUX_NOWHERE_TOO@0 "}},
	} {
		for _, path := range gotol {
			number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
			object := retyped(t, path,
				map[string]elf.Symbol{"got_path": extern(elf.STB_WEAK, "LINUX_NOWHERE"), "got_rounds": extern(elf.STB_WEAK, test.other)},
				&btf.Datasec{Name: ".kconfig", Size: 8, Vars: []btf.VarSecinfo{
					{Type: &btf.Var{Name: "LINUX_NOWHERE", Type: number, Linkage: btf.ExternVar}, Size: 4},
					{Type: &btf.Var{Name: test.other, Type: number, Linkage: btf.ExternVar}, Size: 4},
				}})
			sections, symbols, obj := readBack(t, object)
			if !maps.Equal(sections, test.sections) {
				t.Errorf("%s, %s: %v, want %v", name, path, sections, test.sections)
			}
			defined, other := symbols["LINUX_NOWHERE"], symbols[test.other]
			section := obj.Section(".rodata.kconfig")
			if section == nil || int(defined.Section) != section.Index || defined.Size != 4 || elf.ST_VISIBILITY(defined.Other) != elf.STV_HIDDEN {
				t.Fatalf("%s, %s: %v in %v", name, path, defined, section)
			}
			isDefined := other.Section != elf.SHN_UNDEF
			if elf.ST_BIND(other.Info) != elf.STB_GLOBAL || isDefined != (name == "none") || isDefined && other.Value == defined.Value {
				t.Errorf("%s, %s: %v beside %v", name, path, other, defined)
			}
			size := 8
			if isDefined {
				size = 16
			}
			if !bytes.Equal(section.Data, make([]byte, size)) {
				t.Errorf("%s, %s: contents %v", name, path, section.Data)
			}
		}
	}
}

// A weak extern that no option of the kernel's could fill is refused.
func TestExternTooLong(t *testing.T) {
	char := &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}
	text := &btf.Array{Type: char, Index: &btf.Int{Name: "int", Size: 4}, Nelems: 4097}
	object := retyped(t, gotol[0], map[string]elf.Symbol{"got_path": {Name: "CONFIG_NOWHERE", Info: elf.ST_INFO(elf.STB_WEAK, elf.STT_NOTYPE)}},
		&btf.Datasec{Name: ".kconfig", Size: 4097, Vars: []btf.VarSecinfo{{Type: &btf.Var{Name: "CONFIG_NOWHERE", Type: text, Linkage: btf.ExternVar}, Size: 4097}}})
	const want = "an option of 4097 bytes, where the kernel has none of more than 4096"
	if _, err := collection.Readable(object); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v instead of %q", err, want)
	}
}

// Where nothing tells how the kernel was configured, nobody knows the value of an option.
func TestExternOfUnknown(t *testing.T) {
	netlab.Enter(t) // whose mounts are the test's
	for _, dir := range []string{"/boot", "/proc"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, 0)
	}
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	object := retyped(t, gotol[0], map[string]elf.Symbol{"got_path": {Name: "CONFIG_NOWHERE", Info: elf.ST_INFO(elf.STB_WEAK, elf.STT_NOTYPE)}},
		&btf.Datasec{Name: ".kconfig", Size: 4, Vars: []btf.VarSecinfo{{Type: &btf.Var{Name: "CONFIG_NOWHERE", Type: number, Linkage: btf.ExternVar}, Size: 4}}})
	_, err := collection.Readable(object)
	if err == nil || !regexp.MustCompile(`CONFIG_NOWHERE: the kernel's value of this option is in /boot/config-\S+ or /proc/config.gz, and neither can be read$`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}

// Two DATASECs of externs are not told apart.
func TestExternsTwice(t *testing.T) {
	object := retyped(t, gotol[0], nil, &btf.Datasec{Name: ".kconfig"}, &btf.Datasec{Name: ".kconfig", Size: 4})
	if _, err := collection.Readable(object); err == nil {
		t.Error("no error")
	}
}
