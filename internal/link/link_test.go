package link_test

import (
	"bytes"
	"debug/elf"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/link"
)

// A variable that the program declares can't come from what is linked.
func TestIntoRefusesVariable(t *testing.T) {
	obj := compile(t, "clang-19", "bpfel", "declares")
	before := obj.Bytes()
	_, err := newSource(t, compile(t, "clang-19", "bpfel", "device")).Into(obj, nil, link.Wanted{Functions: []string{"device"}})
	if want := "the object declares last, which only functions can be linked for"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if !bytes.Equal(obj.Bytes(), before) {
		t.Error("the object is another")
	}
}

// What can't be linked is refused, and nothing is changed.
func TestIntoRefuses(t *testing.T) {
	device, refused := compile(t, "clang-19", "bpfel", "device"), compile(t, "clang-19", "bpfel", "refused")
	for name, test := range map[string]struct {
		source   *elfobj.Object
		function string
		change   func(obj *elfobj.Object)
		want     string
	}{
		"no such function": {device, "devise", nil, "no function devise"},
		"no func_info":     {withoutRecords(t, device), "device", nil, "function device has no func_info in .BTF.ext: compile with -g"},
		"map":              {refused, "uses_map", nil, "testdata/refused.c:16: function uses_map: instruction 4: it uses map counts: maps can't be linked"},
		"pointers in data": {refused, "uses_pointers", nil, "it uses section .data, which points at other things"},
		"undefined":        {refused, "uses_undefined", nil, "neither object defines undefined"},
		"both define it":   {refused, "program", nil, "both objects have a program"},
		"other byte order": {compile(t, "clang-19", "bpfeb", "device"), "device", nil, "differ in byte order"},
		"no BTF":           {device, "device", func(o *elfobj.Object) { o.Section(".BTF").Name = ".none" }, "the object has no BTF: compile with -g"},
		"no .BTF.ext":      {device, "device", func(o *elfobj.Object) { o.Section(".BTF.ext").Name = ".none" }, "the object has no .BTF.ext: compile with -g"},
		"other data": {device, "device", func(o *elfobj.Object) {
			o.Section(".data").Type = elf.SHT_NOBITS
		}, "section .data: it is of type SHT_NOBITS in one object, and of type SHT_PROGBITS in the other"},
		"other flags": {device, "device", func(o *elfobj.Object) {
			o.Section(".data").Flags &^= elf.SHF_WRITE
		}, "section .data: it has flags SHF_ALLOC in one object, and SHF_WRITE+SHF_ALLOC in the other"},
		"no data section": {withSections(t, device, map[string]string{".data": ".other"}), "device", nil,
			"it uses section .other, which can't be linked: only .data, .rodata and .bss can"},
		"two sections": {withSections(t, device, map[string]string{".bss": ".data"}), "device", nil,
			"it uses two sections .data, whose variables the BTF does not tell apart"},
		"two functions": {renamed(t, device, "static_device", "device"), "device", nil,
			"two functions in what is linked are called device: give one of them another name"},
		"own kfunc": {device, "device", func(o *elfobj.Object) {
			rename(t, o, "program", "bpf_cast_to_kern_ctx")
		}, "bpf_cast_to_kern_ctx is the kernel's, and the object has something of its own by that name"},
		"no symbols": {device, "device", func(o *elfobj.Object) {
			table := o.SymbolTable()
			table.Type, table.Info = elf.SHT_PROGBITS, 0
		}, "the object has no symbol table"},
	} {
		t.Run(name, func(t *testing.T) {
			obj := compile(t, "clang-19", "bpfel", "calls")
			ext := readExt(t, obj)
			if test.change != nil {
				test.change(obj)
			}
			before, records := obj.Bytes(), bytes.Clone(ext.Bytes())
			linked, err := newSource(t, test.source).Into(obj, ext, link.Wanted{Functions: []string{test.function}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v, want %q", linked, err, test.want)
			}
			if !bytes.Equal(obj.Bytes(), before) || !bytes.Equal(ext.Bytes(), records) {
				t.Error("the object is another")
			}
		})
	}
}

// withoutRecords returns an object that lacks .BTF.ext.
func withoutRecords(t *testing.T, obj *elfobj.Object) *elfobj.Object {
	t.Helper()
	without := parse(t, obj.Bytes())
	without.Section(".BTF.ext").Name = ".none"
	return without
}

// withSections returns an object with other names of sections.
func withSections(t *testing.T, obj *elfobj.Object, names map[string]string) *elfobj.Object {
	t.Helper()
	with := parse(t, obj.Bytes())
	for from, to := range names {
		with.Section(from).Name = to
	}
	return with
}

// renamed returns an object with another name of a symbol.
func renamed(t *testing.T, obj *elfobj.Object, from, to string) *elfobj.Object {
	t.Helper()
	other := parse(t, obj.Bytes())
	rename(t, other, from, to)
	return other
}

func rename(t *testing.T, obj *elfobj.Object, from, to string) {
	t.Helper()
	index := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == from })
	symbol := obj.Symbols[index]
	symbol.Name = to
	if err := obj.SetSymbol(index, symbol); err != nil {
		t.Fatal(err)
	}
}

// A source without records is refused.
func TestNewSourceRefuses(t *testing.T) {
	for name, change := range map[string]func(*elfobj.Object){
		"no BTF":            func(o *elfobj.Object) { o.Section(".BTF").Name = ".none" },
		"damaged BTF":       func(o *elfobj.Object) { o.Section(".BTF").Data = o.Section(".BTF").Data[1:] },
		"damaged records":   func(o *elfobj.Object) { o.Section(".BTF.ext").Data = o.Section(".BTF.ext").Data[:20] },
		"half a relocation": func(o *elfobj.Object) { o.Section(".rel.text").Data = o.Section(".rel.text").Data[1:] },
	} {
		obj := compile(t, "clang-19", "bpfel", "device")
		change(obj)
		if source, err := link.NewSource(obj); err == nil {
			t.Errorf("%s: %v", name, source)
		}
	}
}

// What is linked again gets other names, where it can.
func TestTwice(t *testing.T) {
	source := newSource(t, compile(t, "clang-19", "bpfel", "device"))
	obj := compile(t, "clang-19", "bpfel", "calls")
	var symbols []string
	for range 2 {
		linked, err := source.Into(obj, nil, link.Wanted{Functions: []string{"static_device"}})
		if err == nil {
			symbols = append(symbols, obj.Symbols[linked.Functions["static_device"]].Name)
			continue
		}
		// the data has global variables
		if want := "both objects have a last"; !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !slices.Equal(symbols, []string{"static_device"}) {
		t.Error(symbols)
	}
}

// Only what is needed is linked.
func TestNeeded(t *testing.T) {
	obj := compile(t, "clang-19", "bpfel", "loads")
	source := newSource(t, compile(t, "clang-19", "bpfel", "device"))
	if _, err := source.Into(obj, nil, link.Wanted{Functions: []string{"sum_below"}}); err != nil {
		t.Fatal(err)
	}
	var functions []string
	for _, symbol := range obj.Functions(obj.Section(".text")) {
		functions = append(functions, symbol.Name)
	}
	if !slices.Equal(functions, []string{"sum_below", "add"}) {
		t.Error(functions)
	}
	for _, name := range []string{"bpf_cast_to_kern_ctx", "xdp_buff", "factor", ".ksyms"} {
		if bytes.Contains(obj.Section(".BTF").Data, []byte(name+"\x00")) {
			t.Errorf("the BTF has %s", name)
		}
	}
}
