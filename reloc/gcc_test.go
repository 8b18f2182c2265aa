package reloc_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/reloc"
)

// Each program of gcc.c makes one access. This is what GCC 12 recorded of it: the
// class of the instruction that the record is on, or nothing. Only on a load or
// store is it where the access is.
var recordedByGCC = map[string]string{
	"load_u64":       "LD", // of a global variable's address, then comes the load
	"load_u32":       "",
	"load_s32":       "LDX",
	"load_element":   "",
	"load_nested":    "",
	"load_union":     "",
	"load_bits":      "",
	"store_constant": "ST",
	"store_u32":      "LD",
}

// An object in which not every access is recorded is refused: the others would
// stay as they were compiled.
func TestGCC(t *testing.T) {
	for _, endian := range []string{"el", "eb"} {
		data := readFile(t, "../testdata/invalid/gcc-"+endian+".o")
		if accesses, err := reloc.Read(data); !errors.Is(err, reloc.ErrNoFuncInfo) || accesses != nil {
			t.Errorf("%s: got %v, want %v", endian, err, reloc.ErrNoFuncInfo)
		}
		if diff := cmp.Diff(recordedByGCC, recordedClasses(t, data)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", endian, diff)
		}
	}
}

// recordedClasses returns, for each function of a section "xdp", the classes of
// the instructions that have a CO-RE record.
func recordedClasses(t *testing.T, data []byte) map[string]string {
	t.Helper()
	object, err := elfobj.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	types, err := btfraw.Parse(object.Section(".BTF").Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	ext, err := btfraw.ParseExt(object.Section(".BTF.ext").Data, types)
	if err != nil {
		t.Fatal(err)
	}
	code := object.Section("xdp")
	classes := make(map[string]string)
	for _, function := range object.Functions(code) {
		var found []string
		for _, record := range ext.CORERelos() {
			if at := uint64(record.InsnOffset); at >= function.Value && at < function.Value+function.Size {
				found = append(found, []string{"LD", "LDX", "ST", "STX", "ALU", "JMP", "JMP32", "ALU64"}[code.Data[at]&7])
			}
		}
		classes[function.Name] = strings.Join(found, " ")
	}
	return classes
}
