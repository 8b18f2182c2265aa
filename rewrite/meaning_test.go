package rewrite_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// "Never silently wrong": each edited load reads the number that is in the
// layout's field, cut to what the program asked for, and each edited store
// writes it, in either byte order. Bit-fields are left to package reloc.
func TestLoadsAndStoresMeanTheField(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	loads, stores := 0, 0
	eachRewritten(t, func(t *testing.T, r rewritten) {
		var order binary.ByteOrder = binary.LittleEndian
		if strings.HasSuffix(r.program, "-eb") {
			order = binary.BigEndian
		}
		for _, edit := range r.report.Edits {
			if edit.Poisoned || edit.Access.Kind != reloc.ByteOffset || edit.Resolution.Field.IsBitField() {
				continue
			}
			area := make([]byte, 256)
			for i := range area {
				area[i] = byte(random.Uint32())
			}
			switch edit.Before[0].OpCode.Class() {
			case asm.LdXClass:
				loads++
				checkLoad(t, order, area, edit)
			case asm.StXClass:
				stores++
				checkStore(t, order, area, edit, random.Uint64())
			case asm.StClass:
				stores++
				checkStore(t, order, area, edit, uint64(edit.Before[0].Constant))
			}
		}
	})
	if loads == 0 || stores == 0 {
		t.Errorf("%d loads, %d stores", loads, stores)
	}
}

func checkLoad(t *testing.T, order binary.ByteOrder, area []byte, edit rewrite.Edit) {
	t.Helper()
	after, target := edit.After[0], edit.Resolution.Field
	want := cut(read(order, area, int(target.Offset), int(target.Size)), edit.Before[0].OpCode.Size().Sizeof())
	if got := read(order, area, int(after.Offset), after.OpCode.Size().Sizeof()); got != want {
		t.Errorf("%s: %s -> %s reads %#x, %s is %#x", edit.Access.Path, edit.Before, edit.After, got, target, want)
	}
}

// checkStore wants the field to hold the value, and the bytes around it to be
// as they were.
func checkStore(t *testing.T, order binary.ByteOrder, area []byte, edit rewrite.Edit, value uint64) {
	t.Helper()
	after, target := edit.After[0], edit.Resolution.Field
	stored := value
	if after.OpCode.Class() == asm.StClass {
		stored = uint64(after.Constant)
	}
	before := string(area)
	write(order, area, int(after.Offset), after.OpCode.Size().Sizeof(), stored)

	start, end := int(target.Offset), int(target.Offset+target.Size)
	if got, want := read(order, area, start, int(target.Size)), cut(value, int(target.Size)); got != want {
		t.Errorf("%s: %s -> %s: %s is %#x, want %#x", edit.Access.Path, edit.Before, edit.After, target, got, want)
	}
	if string(area[:start])+string(area[end:]) != before[:start]+before[end:] {
		t.Errorf("%s: %s -> %s writes beside %s", edit.Access.Path, edit.Before, edit.After, target)
	}
}

func read(order binary.ByteOrder, area []byte, offset, size int) (value uint64) {
	for i := range size {
		at := offset + i // of the most significant byte first
		if order == binary.LittleEndian {
			at = offset + size - 1 - i
		}
		value = value<<8 | uint64(area[at])
	}
	return value
}

func write(order binary.ByteOrder, area []byte, offset, size int, value uint64) {
	for i := range size {
		at := offset + size - 1 - i
		if order == binary.LittleEndian {
			at = offset + i
		}
		area[at] = byte(value >> (8 * i))
	}
}

// cut returns the low-order bytes of a value.
func cut(value uint64, size int) uint64 { return value << (64 - 8*size) >> (64 - 8*size) }
