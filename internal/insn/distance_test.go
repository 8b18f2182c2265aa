package insn_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// slot returns a slot whose offset is 5 and whose immediate is -7.
func slot(op, src byte, order binary.ByteOrder) []byte {
	registers := src << 4
	if order == binary.BigEndian {
		registers = src
	}
	code := []byte{op, registers, 0, 0, 0, 0, 0, 0}
	order.PutUint16(code[2:], 5)
	order.PutUint32(code[4:], 0xfffffff9)
	return code
}

// Distances are where the instruction set has them, and what it does not define has none.
func TestDistance(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for name, test := range map[string]struct {
			op, src byte
			want    insn.DistanceField
			unknown bool
		}{
			"goto":               {op: 0x05, want: insn.InOffset},
			"gotol":              {op: 0x06, want: insn.InImmediate},
			"gotox":              {op: 0x0d},
			"gotox of 32 bits":   {op: 0x0e, unknown: true},
			"may_goto":           {op: 0xe5, want: insn.InOffset},
			"may_goto of reg":    {op: 0xed, unknown: true},
			"jeq":                {op: 0x15, want: insn.InOffset},
			"jsle of 32 bits":    {op: 0xde, want: insn.InOffset},
			"call of a helper":   {op: 0x85},
			"call of a function": {op: 0x85, src: 1, want: insn.InImmediate},
			"call of a kfunc":    {op: 0x85, src: 2},
			"callx":              {op: 0x8d, src: 1},
			"call of 32 bits":    {op: 0x86, src: 1, unknown: true},
			"exit":               {op: 0x95},
			"exit of reg":        {op: 0x9d, unknown: true},
			"jump to come":       {op: 0xf5, unknown: true},
			"LDDW":               {op: 0x18},
			"LDDW of a function": {op: 0x18, src: 4, want: insn.InImmediate},
			"mov":                {op: 0xb7, src: 4},
			"load":               {op: 0x61, src: 1},
		} {
			code := append(slot(test.op, test.src, order), 0, 0, 0, 0, 0, 0, 0, 0)
			ins := insn.Read(code, order)
			distance, field, err := ins.Distance()
			want := map[insn.DistanceField]int{insn.InOffset: 5, insn.InImmediate: -7}[test.want]
			if field != test.want || distance != want || err != nil != test.unknown {
				t.Errorf("%s: %d in %d bits, %v, want %d in %d", name, distance, field, err, want, test.want)
			}
			if _, err := insn.Decode(code, order); err != nil && !test.unknown {
				t.Errorf("%s: %v", name, err)
			} else if err == nil && test.unknown {
				t.Errorf("%s is decoded", name)
			}
		}
	}
}

// A distance is read as it was written, and one that does not fit changes nothing.
func TestPut(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, test := range []struct {
			op       byte
			distance int
			fits     bool
		}{
			{0x05, 0, true}, {0x05, -1, true}, {0x05, math.MaxInt16, true}, {0x05, math.MinInt16, true},
			{0x05, math.MaxInt16 + 1, false}, {0x05, math.MinInt16 - 1, false},
			{0x06, math.MaxInt16 + 1, true}, {0x06, math.MaxInt32, true}, {0x06, math.MinInt32, true},
			{0x06, math.MaxInt32 + 1, false}, {0x06, math.MinInt32 - 1, false},
			{0x95, 0, false},
		} {
			code := slot(test.op, 0, order)
			before := slices.Clone(code)
			ins := insn.Read(code, order)
			_, field, err := ins.Distance()
			if err != nil || field.Put(code, order, test.distance) != test.fits {
				t.Errorf("%+v: %v", test, err)
			}
			ins = insn.Read(code, order)
			if got, _, _ := ins.Distance(); test.fits && got != test.distance {
				t.Errorf("%+v is read as %d", test, got)
			}
			if !test.fits && !slices.Equal(code, before) {
				t.Errorf("%+v changes the code", test)
			}
		}
	}
}

func TestSecondHalves(t *testing.T) {
	lddw, second, other := []byte{0x18, 7: 0}, []byte{7: 0}, []byte{0xb7, 7: 0}
	for name, test := range map[string]struct {
		code [][]byte
		want []bool
		bad  int
	}{
		"none":        {nil, []bool{}, -1},
		"two":         {[][]byte{lddw, second, other, lddw, second}, []bool{false, true, false, false, true}, -1},
		"cut short":   {[][]byte{other, lddw}, nil, 1},
		"no second":   {[][]byte{lddw, other}, nil, 0},
		"no first":    {[][]byte{other, second}, nil, 1},
		"two seconds": {[][]byte{lddw, second, second}, nil, 2},
	} {
		got, bad := insn.SecondHalves(slices.Concat(test.code...))
		if !slices.Equal(got, test.want) || bad != test.bad {
			t.Errorf("%s: %v, %d, want %v, %d", name, got, bad, test.want, test.bad)
		}
	}
}
