package btfraw_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// kinds of struct btf_type's info word.
const (
	kindInt       = 1 << 24
	kindFunc      = 12 << 24
	kindFuncProto = 13 << 24
)

// blob is raw BTF of words, which are types, and of strings.
func blob(t *testing.T, order binary.ByteOrder, table string, types ...uint32) []byte {
	t.Helper()
	size := uint32(4 * len(types))
	return appendAll(t, order, uint16(0xeb9f), uint8(1), uint8(0), []uint32{24, 0, size, size, uint32(len(table))}, types, []byte(table))
}

// Functions are alike if they take and return the same types, whatever their parameters are
// called, in a blob and in what it is split from. Those of the base are not its own.
func TestAlike(t *testing.T) {
	const table = "\x00u32\x00a\x00b\x00asked\x00alike\x00other\x00"
	name := func(of string) uint32 { return uint32(strings.Index(table, "\x00"+of+"\x00") + 1) }
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		base, err := btfraw.Parse(blob(t, order, table,
			name("u32"), kindInt, 4, 32, // 1
			0, kindFuncProto|1, 1, name("a"), 1, // 2: u32 (u32 a)
			0, kindFuncProto|1, 1, name("b"), 1, // 3: u32 (u32 b)
			0, kindFuncProto|1, 0, name("a"), 1, // 4: void (u32 a)
			0, kindFuncProto|2, 1, name("a"), 1, name("b"), 1, // 5: u32 (u32 a, u32 b)
			name("asked"), kindFunc, 2, // 6
			name("alike"), kindFunc, 3, // 7
			name("other"), kindFunc, 4, // 8
			name("other"), kindFunc, 5, // 9
		), nil)
		if err != nil {
			t.Fatal(err)
		}
		own := uint32(len(table))
		module, err := btfraw.Parse(blob(t, order, "own\x00",
			own, kindFunc, 2, // 10
			0, kindFuncProto|1, 1, 0, 1, // 11: u32 (u32)
			own, kindFunc, 11, // 12
			own, kindFunc, 4, // 13
		), base)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := base.Alike(6); err != nil || !slices.Equal(got, []btf.TypeID{7}) {
			t.Errorf("in the base: %v, %v", got, err)
		}
		if got, err := module.Alike(6); err != nil || !slices.Equal(got, []btf.TypeID{10, 12}) {
			t.Errorf("in the module: %v, %v", got, err)
		}
		if name, err := module.FunctionName(12); err != nil || name != "own" {
			t.Errorf("%q, %v", name, err)
		}
		if _, err := base.Alike(1); err == nil {
			t.Error("a number is taken for a function")
		}
	}
}

// A function whose type is no prototype is damage.
func TestAlikeRefuses(t *testing.T) {
	damaged, err := btfraw.Parse(blob(t, binary.LittleEndian, "\x00f\x00", 1, kindInt, 4, 32, 1, kindFunc, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := damaged.Alike(2); err == nil || !strings.Contains(err.Error(), "damaged BTF: type 1 of function 2 is no prototype") {
		t.Error(err)
	}
}
