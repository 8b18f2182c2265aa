package btfraw

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Functions returns the IDs of all functions of a name. It takes the time to look at each,
// the first time that it is asked for them.
func (b *BTF) Functions(name string) ([]btf.TypeID, error) {
	if err := b.Index(); err != nil {
		return nil, err
	}
	own := b.ownFunctions(name)
	if b.base == nil {
		return own, nil
	}
	ids, err := b.base.Functions(name)
	if err != nil {
		return nil, err
	}
	return slices.Concat(ids, own), nil
}

// ownFunctions leaves out those of the base.
func (b *BTF) ownFunctions(name string) (ids []btf.TypeID) {
	if known, ok := b.functions.Load(name); ok {
		return known.([]btf.TypeID)
	}
	for i, offset := range b.offsets {
		if raw := b.types[offset:]; b.kind(raw) == kindFunc && b.isString(b.word(raw), name) {
			ids = append(ids, b.first+btf.TypeID(i))
		}
	}
	b.functions.Store(name, ids)
	return ids
}

// Alike returns the IDs of the functions of the blob itself, those of its base left out,
// that have the prototype of a function: the same types, whatever parameters are called. It
// takes the time to look at each.
func (b *BTF) Alike(function btf.TypeID) ([]btf.TypeID, error) {
	wanted, err := b.prototype(function)
	if err != nil {
		return nil, err
	}
	var ids []btf.TypeID
	for i, offset := range b.offsets {
		if b.kind(b.types[offset:]) != kindFunc {
			continue
		}
		id := b.first + btf.TypeID(i)
		prototype, err := b.prototype(id)
		if err != nil {
			return nil, err
		}
		if id != function && b.isSamePrototype(prototype, wanted) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// prototype returns the BTF_KIND_FUNC_PROTO of a function.
func (b *BTF) prototype(function btf.TypeID) ([]byte, error) {
	raw, err := b.find(function)
	if err != nil {
		return nil, err
	}
	if b.kind(raw) != kindFunc {
		return nil, fmt.Errorf("type %d is no function", function)
	}
	id := btf.TypeID(b.word(raw[8:]))
	if raw, err = b.find(id); err != nil {
		return nil, err
	}
	if b.kind(raw) != kindFuncProto {
		return nil, fmt.Errorf("damaged BTF: type %d of function %d is no prototype", id, function)
	}
	return raw, nil
}

// isSamePrototype compares the types that two prototypes have: after that of the result,
// each parameter is a name and a type (struct btf_param).
func (b *BTF) isSamePrototype(p, q []byte) bool {
	same := len(p) == len(q) && b.word(p[8:]) == b.word(q[8:])
	for at := typeSize; same && at < len(p); at += 8 {
		same = b.word(p[at+4:]) == b.word(q[at+4:])
	}
	return same
}

// FunctionName returns the name of a function.
func (b *BTF) FunctionName(function btf.TypeID) (string, error) {
	raw, err := b.find(function)
	if err != nil {
		return "", err
	}
	return b.String(b.word(raw))
}
