// Package btfraw reads what github.com/cilium/ebpf/btf keeps to itself of the
// BPF Type Format: strings by their offset, type IDs by name, and the records
// of .BTF.ext by their place. The types themselves are read by that package, those
// of a kernel, which are many, in excerpts.
//
// The format is Documentation/bpf/btf.rst and include/uapi/linux/btf.h of the
// kernel.
package btfraw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"
)

const (
	magic      = 0xeb9f
	version    = 1
	headerSize = 24 // struct btf_header
	typeSize   = 12 // struct btf_type
)

// BTF is a blob of type information, possibly split from a base.
type BTF struct {
	Order binary.ByteOrder

	base        *BTF
	isBigEndian bool
	types       []byte
	strings     string // so that names can be parts of it

	first   btf.TypeID // ID of the first type
	offsets []uint32   // of the types; nil until Index
	named   []uint32   // those that C can name, as indices of offsets

	makeNames sync.Once
	names     *nameIndex
	functions sync.Map // that were asked for: IDs by name
}

// Parse reads the header of a raw BTF blob, whose byte order it finds from the
// magic number. base is what the blob is split from, nil if it stands alone.
//
// It keeps a reference to raw.
func Parse(raw []byte, base *BTF) (*BTF, error) {
	order, err := byteOrder(raw, "BTF")
	if err != nil {
		return nil, err
	}
	if base != nil && base.Order != order {
		return nil, errors.New("BTF and the base it is split from differ in byte order")
	}
	if len(raw) < headerSize {
		return nil, fmt.Errorf("damaged BTF: %d bytes are no header", len(raw))
	}

	headerLen := order.Uint32(raw[4:])
	if raw[2] != version || raw[3] != 0 || headerLen < headerSize {
		return nil, fmt.Errorf("BTF of version %d, flags %#x, with a header of %d bytes: this program knows version %d, no flags, and %d bytes or more",
			raw[2], raw[3], headerLen, version, headerSize)
	}
	types, err := slice(raw, headerLen, order.Uint32(raw[8:]), order.Uint32(raw[12:]))
	if err != nil {
		return nil, fmt.Errorf("damaged BTF: types: %w", err)
	}
	table, err := slice(raw, headerLen, order.Uint32(raw[16:]), order.Uint32(raw[20:]))
	if err != nil {
		return nil, fmt.Errorf("damaged BTF: strings: %w", err)
	}
	return &BTF{Order: order, base: base, isBigEndian: order == binary.BigEndian, types: types, strings: string(table)}, nil
}

func byteOrder(raw []byte, what string) (binary.ByteOrder, error) {
	switch {
	case len(raw) < 2:
		return nil, fmt.Errorf("damaged %s: %d bytes are no header", what, len(raw))
	case binary.LittleEndian.Uint16(raw) == magic:
		return binary.LittleEndian, nil
	case binary.BigEndian.Uint16(raw) == magic:
		return binary.BigEndian, nil
	}
	return nil, fmt.Errorf("not %s: it starts with %#04x instead of %#04x", what, binary.BigEndian.Uint16(raw), magic)
}

// slice returns size bytes of data, from offset after the header.
func slice(data []byte, header, offset, size uint32) ([]byte, error) {
	start := uint64(header) + uint64(offset)
	end := start + uint64(size)
	if end > uint64(len(data)) {
		return nil, fmt.Errorf("bytes %d to %d of %d", start, end, len(data))
	}
	return data[start:end], nil
}

// String returns the string at an offset of the string table, that of the
// base coming first.
func (b *BTF) String(offset uint32) (string, error) {
	if err := b.checkString(offset); err != nil {
		return "", err
	}
	rest := b.from(offset)
	end := strings.IndexByte(rest, 0)
	if end < 0 {
		return "", fmt.Errorf("damaged BTF: string at offset %d has no end", offset)
	}
	return rest[:end], nil
}

// checkString wants a string to start at an offset.
func (b *BTF) checkString(offset uint32) error {
	at := offset
	if b.base != nil {
		if at < uint32(len(b.base.strings)) {
			return b.base.checkString(at)
		}
		at -= uint32(len(b.base.strings))
	}
	if uint64(at) >= uint64(len(b.strings)) {
		return fmt.Errorf("damaged BTF: string offset %d is beyond the string table", offset)
	}
	if at > 0 && b.strings[at-1] != 0 {
		return fmt.Errorf("damaged BTF: string offset %d is in the middle of a string", offset)
	}
	return nil
}

// isString reports whether a string is at an offset, which is right.
func (b *BTF) isString(offset uint32, s string) bool {
	rest := b.from(offset)
	return len(rest) > len(s) && rest[len(s)] == 0 && rest[:len(s)] == s
}

// from returns what is in the string table from an offset, which is right.
func (b *BTF) from(offset uint32) string {
	if b.base != nil {
		if offset < uint32(len(b.base.strings)) {
			return b.base.strings[offset:]
		}
		offset -= uint32(len(b.base.strings))
	}
	return b.strings[offset:]
}

// encodedSize returns how many bytes a type takes, from the info word of its
// struct btf_type: kind in bits 24 to 28, vlen in bits 0 to 15.
func encodedSize(info uint32) (int, error) {
	kind, vlen := info>>24&0x1f, int(info&0xffff)
	if kind == 0 || int(kind) >= len(trailing) {
		return 0, fmt.Errorf("unknown kind %d of type: made by a newer compiler than this program knows", kind)
	}
	return typeSize + trailing[kind].fixed + vlen*trailing[kind].each, nil
}

// trailing gives, by BTF kind, the bytes that follow struct btf_type: a fixed
// number, and a number for each of vlen elements.
var trailing = [...]struct{ fixed, each int }{
	1:  {fixed: 4},  // INT
	2:  {},          // PTR
	3:  {fixed: 12}, // ARRAY
	4:  {each: 12},  // STRUCT
	5:  {each: 12},  // UNION
	6:  {each: 8},   // ENUM
	7:  {},          // FWD
	8:  {},          // TYPEDEF
	9:  {},          // VOLATILE
	10: {},          // CONST
	11: {},          // RESTRICT
	12: {},          // FUNC
	13: {each: 8},   // FUNC_PROTO
	14: {fixed: 4},  // VAR
	15: {each: 12},  // DATASEC
	16: {},          // FLOAT
	17: {fixed: 4},  // DECL_TAG
	18: {},          // TYPE_TAG
	19: {each: 12},  // ENUM64
}

// EssentialName takes the flavour suffix off a type's name: the last "___"
// that has no further underscore on either side, and what follows it
// (bpf_core_essential_name_len of libbpf).
func EssentialName(name string) string {
	const marker = "___"
	if !strings.Contains(name, marker) { // as nearly all, which takes less time to see
		return name
	}
	for i := len(name) - len(marker) - 1; i > 0; i-- {
		if name[i:i+len(marker)] == marker && name[i-1] != '_' && name[i+len(marker)] != '_' {
			return name[:i]
		}
	}
	return name
}
