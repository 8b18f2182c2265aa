package meta

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/xdp-load/xdp-load/reloc"
)

// stepFor returns what reads a field into a variable that has room for whatever it can hold.
func stepFor(variable reflect.Value, declared reflect.StructField, at *reloc.Field, order binary.ByteOrder) (func(front []byte), error) {
	if !declared.IsExported() {
		return nil, fmt.Errorf("%w: the name of a variable that is written to starts with a capital letter", ErrDoesNotFit)
	}
	f, err := newField(at, order)
	if err != nil {
		return nil, err
	}
	step, isSigned := stepInto(variable, f)
	needed := int(at.BitSize)
	if needed == 0 {
		needed = int(at.Size) * 8
	}
	switch {
	case step == nil:
		return nil, fmt.Errorf("%w: %s is no integer", ErrDoesNotFit, variable.Type())
	case isSigned != at.Signed:
		return nil, fmt.Errorf("%w: %s is %s, and %s is %s", ErrDoesNotFit, at.Type, signedness(at.Signed), variable.Type(), signedness(isSigned))
	case variable.Type().Bits() < needed:
		return nil, fmt.Errorf("%w: it has %d bits, and %s has %d", ErrDoesNotFit, needed, variable.Type(), variable.Type().Bits())
	}
	return step, nil
}

func signedness(signed bool) string {
	if signed {
		return "signed"
	}
	return "unsigned"
}

// stepInto returns what reads a field into an integer, or nil for other variables.
func stepInto(variable reflect.Value, f field) (step func(front []byte), isSigned bool) {
	switch variable.Kind() {
	case reflect.Uint8:
		return into(addressOf[uint8](variable), f), false
	case reflect.Uint16:
		return into(addressOf[uint16](variable), f), false
	case reflect.Uint32:
		return into(addressOf[uint32](variable), f), false
	case reflect.Uint64:
		return into(addressOf[uint64](variable), f), false
	case reflect.Int8:
		return into(addressOf[int8](variable), f), true
	case reflect.Int16:
		return into(addressOf[int16](variable), f), true
	case reflect.Int32:
		return into(addressOf[int32](variable), f), true
	case reflect.Int64:
		return into(addressOf[int64](variable), f), true
	}
	return nil, false
}

type integer interface {
	uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64
}

// addressOf returns the address of a variable, which may be of a type of its own.
func addressOf[T integer](variable reflect.Value) *T {
	return variable.Addr().Convert(reflect.TypeFor[*T]()).Interface().(*T)
}

// into is stepInto for one kind of integer. A field that is all of its bytes is one load.
func into[T integer](to *T, f field) func(front []byte) {
	at := f.offset
	switch {
	case !f.isPlain():
		return func(front []byte) { *to = T(f.load(front)) }
	case f.bytes == 1:
		return func(front []byte) { *to = T(front[at]) }
	case f.bytes == 2 && f.big:
		return func(front []byte) { *to = T(binary.BigEndian.Uint16(front[at:])) }
	case f.bytes == 2:
		return func(front []byte) { *to = T(binary.LittleEndian.Uint16(front[at:])) }
	case f.bytes == 4 && f.big:
		return func(front []byte) { *to = T(binary.BigEndian.Uint32(front[at:])) }
	case f.bytes == 4:
		return func(front []byte) { *to = T(binary.LittleEndian.Uint32(front[at:])) }
	case f.big:
		return func(front []byte) { *to = T(binary.BigEndian.Uint64(front[at:])) }
	}
	return func(front []byte) { *to = T(binary.LittleEndian.Uint64(front[at:])) }
}
