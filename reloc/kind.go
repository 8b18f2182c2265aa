package reloc

import (
	"fmt"
	"slices"
)

// Kind is what a CO-RE relocation record asks about its type or field:
// enum bpf_core_relo_kind of include/uapi/linux/bpf.h.
type Kind uint32

// The kinds of record, with the libbpf macro that makes clang emit each.
const (
	ByteOffset   Kind = iota // an access itself; bpf_core_field_offset
	ByteSize                 // bpf_core_field_size
	FieldExists              // bpf_core_field_exists
	Signed                   // BPF_CORE_READ_BITFIELD
	LeftShift                // BPF_CORE_READ_BITFIELD
	RightShift               // BPF_CORE_READ_BITFIELD
	LocalTypeID              // bpf_core_type_id_local
	TargetTypeID             // bpf_core_type_id_kernel
	TypeExists               // bpf_core_type_exists
	TypeSize                 // bpf_core_type_size
	EnumExists               // bpf_core_enum_value_exists
	EnumValue                // bpf_core_enum_value
	TypeMatches              // bpf_core_type_matches
)

// kindNames are the names that libbpf, llvm-objdump and bpftool print.
var kindNames = [...]string{
	ByteOffset:   "byte_off",
	ByteSize:     "byte_sz",
	FieldExists:  "field_exists",
	Signed:       "signed",
	LeftShift:    "lshift_u64",
	RightShift:   "rshift_u64",
	LocalTypeID:  "local_type_id",
	TargetTypeID: "target_type_id",
	TypeExists:   "type_exists",
	TypeSize:     "type_size",
	EnumExists:   "enumval_exists",
	EnumValue:    "enumval_value",
	TypeMatches:  "type_matches",
}

// String returns the name that libbpf gives the kind, such as "byte_off".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// KindNamed returns the kind of a name, and whether there is one.
func KindNamed(name string) (Kind, bool) {
	index := slices.Index(kindNames[:], name)
	return Kind(index), index >= 0
}

// MarshalText returns the same as String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k Kind) known() bool { return int(k) < len(kindNames) }

// aboutField reports whether the record's access string is a path to a field.
func (k Kind) aboutField() bool { return k <= RightShift }

// AboutEnum reports whether the access string is the index of an enumerator.
func (k Kind) AboutEnum() bool { return k == EnumExists || k == EnumValue }
