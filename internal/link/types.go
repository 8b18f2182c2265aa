package link

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// addTypes adds the types of functions, externs and variables, and all that these refer
// to.
func (l *linking) addTypes() error {
	for _, f := range l.functions {
		if err := l.addFunctionType(f); err != nil {
			return fmt.Errorf("function %s: %w", f.name, err)
		}
	}
	for _, number := range l.externs {
		if err := l.addExternType(l.source.obj.Symbols[number].Name); err != nil {
			return err
		}
	}
	offsets, names := l.symbolsOf()
	for _, section := range l.needed {
		if err := l.addVariableTypes(section, offsets, names); err != nil {
			return fmt.Errorf("section %s: %w", section, err)
		}
	}
	return nil
}

// addFunctionType adds the FUNC of a function. One that the object declares becomes that
// of the definition.
func (l *linking) addFunctionType(f *function) error {
	from := btf.TypeID(f.TypeID)
	if declaration, ok := l.known[f.name]; ok && l.defined[f.symbol] {
		if err := l.define(declaration.id, from); err != nil {
			return err
		}
	}
	id, err := l.types.Type(from)
	if err != nil {
		return err
	}
	f.TypeID = uint32(id)
	if f.name == l.source.obj.Symbols[f.symbol].Name {
		return nil
	}
	return l.edit.Rename(id, f.name)
}

func (l *linking) define(declared, from btf.TypeID) error {
	proto, err := l.source.types.ProtoOf(from)
	if err != nil {
		return err
	}
	if err := l.types.Use(declared, from); err != nil {
		return err
	}
	if proto, err = l.types.Type(proto); err != nil {
		return err
	}
	if err := l.edit.SetProto(declared, proto); err != nil {
		return err
	}
	return l.edit.SetLinkage(declared, btf.GlobalFunc)
}

// addExternType adds an extern to its DATASEC, unless the object has it there.
func (l *linking) addExternType(name string) error {
	if _, ok := l.known[name]; ok {
		return nil
	}
	declaration := l.source.declared[name]
	id, err := l.types.Type(declaration.id)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return l.edit.AddVars(declaration.section, btfraw.Placed{Type: id, Size: declaration.size})
}

// variable is one of the source.
type variable struct {
	section string
	name    string
	offset  uint64 // of a static one, whose name may not be the only one
}

// symbolsOf returns, of the variables that are linked, where global ones are and how
// static ones are called in the object.
func (l *linking) symbolsOf() (offsets map[variable]uint64, names map[variable]string) {
	offsets, names = make(map[variable]uint64), make(map[variable]string)
	for _, n := range l.named {
		symbol := l.source.obj.Symbols[n.from]
		if _, ok := l.data[int(symbol.Section)]; !ok {
			continue
		}
		section := l.source.obj.Sections[symbol.Section].Name
		if isLocal(symbol) {
			names[variable{section, symbol.Name, symbol.Value}] = n.symbol.Name
		} else {
			offsets[variable{section: section, name: symbol.Name}] = symbol.Value
		}
	}
	return offsets, names
}

// addVariableTypes adds the variables of a section of the source to the DATASEC. Those
// that are static are where the BTF says, of the others the symbols do.
func (l *linking) addVariableTypes(from *elfobj.Section, offsets map[variable]uint64, names map[variable]string) error {
	to := l.data[from.Index]
	var added []btfraw.Placed
	for _, v := range l.source.variables[from.Name] {
		offset := uint64(v.offset)
		if value, ok := offsets[variable{section: from.Name, name: v.name}]; ok && !v.isStatic {
			offset = value
		}
		if end := to.start + offset + uint64(v.size); end > maxOffset {
			return fmt.Errorf("variable %s ends at byte %d", v.name, end)
		}
		id, err := l.types.Type(v.id)
		if err != nil {
			return err
		}
		if name, ok := names[variable{from.Name, v.name, offset}]; ok && v.isStatic && name != v.name {
			if err := l.edit.Rename(id, name); err != nil {
				return err
			}
		}
		added = append(added, btfraw.Placed{Type: id, Offset: uint32(to.start + offset), Size: v.size})
	}
	if err := l.edit.AddVars(from.Name, added...); err != nil {
		return err
	}
	return l.edit.GrowDatasec(from.Name, uint32(to.section.Length()))
}

// maxOffset is the largest that a DATASEC has room for.
const maxOffset = 1<<32 - 1
