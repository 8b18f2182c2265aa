package collection

import (
	"debug/elf"

	"github.com/cilium/ebpf/btf"
)

// placeVariables makes the BTF tell where variables are. Linking does not change that
// when another file's takes the place of a weak one, or of what a file only declares
// (linker_append_btf of libbpf): cilium/ebpf refuses that, and so does the kernel.
//
// Static variables that are called like a global one, for which cilium/ebpf would take
// them, get another name.
func (r *reading) placeVariables() error {
	globals, taken := r.globalVariables(), make(names)
	for name := range globals {
		taken.take(name)
	}
	return r.eachDatasec(func(id btf.TypeID, datasec *btf.Datasec) error {
		if datasec.Size == 0 { // the compiler leaves it to the loader where variables are
			return nil
		}
		misplaced := make(map[btf.TypeID]uint32)
		for _, v := range datasec.Vars {
			variable, ok := v.Type.(*btf.Var)
			symbol, isGlobal := globals[v.Type.TypeName()]
			switch {
			case !ok || !isGlobal:
			case variable.Linkage == btf.StaticVar:
				if err := r.rename(variable, taken.unlike(variable.Name)); err != nil {
					return err
				}
			case r.sectionOf(symbol).Name == datasec.Name && symbol.Value != uint64(v.Offset):
				id, err := r.types.TypeID(variable)
				if err != nil {
					return err
				}
				misplaced[id] = uint32(symbol.Value)
			}
		}
		if len(misplaced) == 0 {
			return nil
		}
		edit, err := r.change()
		if err != nil {
			return err
		}
		return edit.PlaceVars(id, misplaced)
	})
}

// globalVariables returns the symbols of variables that are not static, but those of
// maps, by name.
func (r *reading) globalVariables() map[string]elf.Symbol {
	globals := make(map[string]elf.Symbol)
	for _, symbol := range r.object.Symbols {
		isVariable := elf.ST_TYPE(symbol.Info) == elf.STT_OBJECT && !isLocal(symbol)
		if isVariable && r.sectionOf(symbol).Name != ".maps" {
			globals[symbol.Name] = symbol
		}
	}
	return globals
}

// eachDatasec calls visit for each DATASEC of the object.
func (r *reading) eachDatasec(visit func(btf.TypeID, *btf.Datasec) error) error {
	if r.types == nil {
		return nil
	}
	for typ, err := range r.types.All() {
		if err != nil {
			return err
		}
		datasec, ok := typ.(*btf.Datasec)
		if !ok {
			continue
		}
		id, err := r.types.TypeID(datasec)
		if err != nil {
			return err
		}
		if err := visit(id, datasec); err != nil {
			return err
		}
	}
	return nil
}

// rename gives a type another name.
func (r *reading) rename(typ btf.Type, name string) error {
	id, err := r.types.TypeID(typ)
	if err != nil {
		return err
	}
	edit, err := r.change()
	if err != nil {
		return err
	}
	return edit.Rename(id, name)
}
