package reloc

import (
	"errors"

	"github.com/cilium/ebpf/btf"
)

// Map is what the object's BTF says of a map that it declares in .maps.
type Map struct {
	KeySize, ValueSize uint32 // in bytes, 0 if it has none
}

// Map returns the map of a name, and whether the object declares one
// (parse_btf_map_def of libbpf).
func (r *Recorded) Map(name string) (Map, bool) {
	var variable *btf.Var
	if r.Types.TypeByName(name, &variable) != nil {
		return Map{}, false
	}
	definition, isStruct := btf.UnderlyingType(variable.Type).(*btf.Struct)
	if !isStruct {
		return Map{}, false
	}
	var m Map
	var err error
	for i := range definition.Members {
		switch member := &definition.Members[i]; member.Name {
		case "key", "key_size":
			m.KeySize, err = declaredSize(member)
		case "value", "value_size":
			m.ValueSize, err = declaredSize(member)
		}
		if err != nil {
			return Map{}, false
		}
	}
	return m, true
}

// declaredSize returns the number of bytes in a member of a map's definition: __type(key,
// T) makes it a pointer to T, __uint(key_size, N) one to an array of N.
func declaredSize(member *btf.Member) (uint32, error) {
	pointer, isPointer := btf.UnderlyingType(member.Type).(*btf.Pointer)
	if !isPointer {
		return 0, errors.New("no pointer")
	}
	if member.Name == "key_size" || member.Name == "value_size" {
		array, isArray := btf.UnderlyingType(pointer.Target).(*btf.Array)
		if !isArray {
			return 0, errors.New("no pointer to an array")
		}
		return array.Nelems, nil
	}
	size, err := btf.Sizeof(pointer.Target)
	return uint32(size), err
}
