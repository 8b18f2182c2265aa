package reloc

import "github.com/cilium/ebpf/btf"

// Clang loads and stores a bit-field with the bytes of its access unit, which its
// record layout chooses for a stretch of bit-fields (accumulateBitFields of
// clang/lib/CodeGen/CGRecordLayoutBuilder.cpp). Clang up to 18 takes all that
// follow each other without a gap. From 19 on it takes those that share a byte,
// and as many more as fill 8 aligned bytes or fewer, if the struct is aligned to so
// many. Of a union a unit begins where the union does.
//
// BTF tells neither the version, nor the alignment of a struct, nor bit-fields
// without a name, those of no width included, which end a stretch.

// AccessUnit is what is known of the access unit of a bit-field, whichever clang it
// was.
type AccessUnit struct {
	End int64 // where it ends at the latest, in bytes from the start of the root type

	offset int64     // of the struct, in bytes from the start of the root type
	start  uint32    // where the member before the stretch ends, in bytes from the start of the struct
	fields []bitSpan // of the stretch, up to the field itself; none if it is in a union
}

// bitSpan is a bit-field, in bits from the start of its struct.
type bitSpan struct {
	start, end uint32 // end exclusive
	align      uint32 // of its declared type, in bytes
}

// AccessUnit returns what is known of the field's unit. The field has to be a
// bit-field.
func (f *Field) AccessUnit() *AccessUnit {
	offset := int64(f.recordOffset)
	unit := &AccessUnit{End: offset + int64(typeSize(f.record)), offset: offset}
	composite, isStruct := f.record.(*btf.Struct)
	if !isStruct {
		return unit
	}
	found := false
	for i := range composite.Members {
		member := &composite.Members[i]
		start := uint32(member.Offset)
		switch {
		case member.BitfieldSize == 0 && found:
			unit.End = offset + int64(start/8)
			return unit
		case member.BitfieldSize == 0:
			unit.fields, unit.start = nil, start/8+typeSize(member.Type)
		case !found:
			unit.fields = append(unit.fields, bitSpan{start, start + uint32(member.BitfieldSize), max(1, typeSize(member.Type))})
			found = start == f.BitOffset-f.recordOffset*8
		}
	}
	return unit
}

// MayStart reports whether the unit may begin at a byte, counted from the start of
// the root type.
func (u *AccessUnit) MayStart(at int64) bool {
	at -= u.offset
	if len(u.fields) == 0 {
		return at == 0
	}
	if field := u.fields[len(u.fields)-1]; at < int64(u.start) || at > int64(field.start)/8 {
		return false
	}
	begin, end, next := uint32(at), u.start*8, 0
	for next < len(u.fields)-1 && u.fields[next].start < begin*8 {
		end = u.fields[next].end
		next++
	}
	if end > begin*8 || u.fields[next].start < begin*8 {
		return false // in the midst of a bit-field
	}
	return u.mayBegin(begin, end, next) || u.fields[next].start == begin*8 && u.mayJoin(begin, next)
}

// mayBegin reports whether a stretch may begin at a byte between two bit-fields: at
// its start, after a gap, or after a bit-field of no width, which is aligned as its
// type is.
func (u *AccessUnit) mayBegin(begin, end uint32, next int) bool {
	field := u.fields[next]
	return begin == u.start || end < field.start && field.start == begin*8 || begin%field.align == 0
}

// mayJoin reports whether clang from 19 on may put the bit-fields from one on into
// one unit.
func (u *AccessUnit) mayJoin(begin uint32, next int) bool {
	const most = 8
	end := (u.fields[len(u.fields)-1].end + 7) / 8
	for size := uint32(1); size <= most; size *= 2 {
		if begin%size == 0 && begin+size >= end {
			return true
		}
	}
	for _, field := range u.fields[next+1:] {
		if field.start%8 == 0 {
			return false
		}
	}
	return true // each begins in the last byte of the one before
}
