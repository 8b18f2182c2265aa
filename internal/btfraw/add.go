package btfraw

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Member is one of a union, or a parameter of a function.
type Member struct {
	Name string
	Type btf.TypeID
}

// Int adds an integer of so many bytes and returns its ID.
func (e *Edit) Int(name string, size uint32, encoding btf.IntEncoding) btf.TypeID {
	return e.add(name, kindInt, 0, size, uint32(encoding)<<24|size*8)
}

// Pointer adds a pointer to a type and returns its ID.
func (e *Edit) Pointer(to btf.TypeID) btf.TypeID { return e.add("", kindPointer, 0, uint32(to)) }

// Const adds the const type of another and returns its ID.
func (e *Edit) Const(of btf.TypeID) btf.TypeID { return e.add("", kindConst, 0, uint32(of)) }

// Union adds a union of so many bytes and returns its ID. Its names are not shared with
// others, so that objects that are marked by it stay the same bytes. It refuses more
// members than BTF has room for.
func (e *Edit) Union(name string, size uint32, members []Member) (btf.TypeID, error) {
	if len(members) > maxMembers {
		return 0, fmt.Errorf("union %s of %d members: BTF has room for %d", name, len(members), maxMembers)
	}
	words := []uint32{e.strings.append(name), kindUnion<<kindShift | uint32(len(members)), size}
	for _, member := range members {
		words = append(words, e.strings.append(member.Name), uint32(member.Type), 0)
	}
	return e.addWords(words), nil
}

// Struct adds a struct without members, of so many bytes, and returns its ID: what a record
// about the type as a whole needs.
func (e *Edit) Struct(name string, size uint32) btf.TypeID { return e.add(name, kindStruct, 0, size) }

// FuncProto adds a prototype and returns its ID. It refuses more parameters than BTF
// has room for.
func (e *Edit) FuncProto(result btf.TypeID, params ...Member) (btf.TypeID, error) {
	if len(params) > maxMembers {
		return 0, fmt.Errorf("prototype of %d parameters: BTF has room for %d", len(params), maxMembers)
	}
	var words []uint32
	for _, param := range params {
		words = append(words, e.strings.add(param.Name), uint32(param.Type))
	}
	return e.add("", kindFuncProto, len(params), uint32(result), words...), nil
}

// Func adds a function and returns its ID.
func (e *Edit) Func(name string, proto btf.TypeID, linkage btf.FuncLinkage) btf.TypeID {
	return e.add(name, kindFunc, int(linkage), uint32(proto))
}

// Var adds a variable and returns its ID.
func (e *Edit) Var(name string, typ btf.TypeID, linkage btf.VarLinkage) btf.TypeID {
	return e.add(name, kindVar, 0, uint32(typ), uint32(linkage))
}

// add appends a struct btf_type and what follows it.
func (e *Edit) add(name string, kind uint32, vlen int, sizeOrType uint32, more ...uint32) btf.TypeID {
	return e.addWords(append([]uint32{e.strings.add(name), kind<<kindShift | uint32(vlen), sizeOrType}, more...))
}

func (e *Edit) addWords(words []uint32) btf.TypeID {
	raw := make([]byte, 4*len(words))
	for i, word := range words {
		e.put(raw[4*i:], word)
	}
	return e.append(raw)
}

func (e *Edit) append(raw []byte) btf.TypeID {
	e.types = append(e.types, raw)
	return btf.TypeID(len(e.types) - 1)
}

// Placed is a variable, or a function, in a DATASEC.
type Placed struct {
	Type         btf.TypeID // of kind VAR or FUNC
	Offset, Size uint32     // in bytes; 0 where the loader finds them, in .ksyms say
}

// AddVars puts variables behind those of the DATASEC of that name, which is added if
// there is none.
//
// One whose size is 0, as compilers leave it, stays so: loaders take the size from the
// section, and offsets from the symbols (btf_fixup_datasec of libbpf).
func (e *Edit) AddVars(section string, vars ...Placed) error {
	if len(vars) == 0 {
		return nil
	}
	id, err := e.datasec(section)
	if err != nil {
		return err
	}
	if id == 0 {
		id = e.add(section, kindDatasec, 0, 0)
		e.datasecs[section] = id
	}
	size := e.order.Uint32(e.types[id][8:])
	err = e.changeVars(id, func(entries [][]byte) [][]byte {
		for _, v := range vars {
			entry := make([]byte, trailing[kindDatasec].each)
			for i, word := range []uint32{uint32(v.Type), v.Offset, v.Size} {
				e.put(entry[4*i:], word)
			}
			entries = append(entries, entry)
		}
		return entries
	})
	if err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	for _, v := range vars {
		if size > 0 {
			size = max(size, v.Offset+v.Size)
		}
	}
	e.put(e.types[id][8:], size)
	return nil
}

// GrowDatasec tells the DATASEC of that name, if there is one and it has a size, how many
// bytes the section has now, which may be more than its variables have.
func (e *Edit) GrowDatasec(section string, size uint32) error {
	id, err := e.datasec(section)
	if err != nil || id == 0 {
		return err
	}
	if old := e.order.Uint32(e.types[id][8:]); old > 0 {
		e.put(e.types[id][8:], max(old, size))
	}
	return nil
}

// datasec returns the ID of the first DATASEC of that name, 0 if there is none.
func (e *Edit) datasec(name string) (btf.TypeID, error) {
	if e.datasecs != nil {
		return e.datasecs[name], nil
	}
	e.datasecs = make(map[string]btf.TypeID)
	for id, raw := range e.types {
		if id == 0 || e.kind(raw) != kindDatasec {
			continue
		}
		name, err := e.name(raw)
		if err != nil {
			return 0, err
		}
		if e.datasecs[name] == 0 {
			e.datasecs[name] = btf.TypeID(id)
		}
	}
	return e.datasecs[name], nil
}

// name returns the name of a type.
func (e *Edit) name(raw []byte) (string, error) { return e.String(e.order.Uint32(raw)) }

// String returns the string at an offset of the string table.
func (e *Edit) String(offset uint32) (string, error) { return e.strings.at(offset) }
