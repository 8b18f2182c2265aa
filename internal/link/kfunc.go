package link

import (
	"debug/elf"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Kfunc makes an object declare a function of the kernel, as extern with __ksym does,
// and returns the index of its symbol. The prototype is added by proto, which is not
// called if the object declares the function already.
//
// Indices of other symbols stay. Relocations of .BTF, which no loader reads, go. After
// an error the object is as it was.
func Kfunc(obj *elfobj.Object, name string, proto func(*btfraw.Edit) (btf.TypeID, error)) (int, error) {
	types, _, err := readTypes(obj)
	if err != nil {
		return 0, err
	}
	known, _, err := readDatasecs(types)
	if err != nil {
		return 0, err
	}
	index := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == name && elf.ST_TYPE(s.Info) != elf.STT_FILE })
	switch {
	case index >= 0 && obj.Symbols[index].Section == elf.SHN_UNDEF && known[name].section == ksymsSection:
		return index, nil
	case index >= 0:
		return 0, fmt.Errorf("%s is the kernel's, and the object has something of its own by that name", name)
	}

	draft, adopt := obj.Draft()
	if _, err := draft.Remove(func(section *elfobj.Section) bool { return isOfTypes(draft, section) }); err != nil {
		return 0, err
	}
	section := draft.Section(".BTF")
	edit, err := btfraw.NewEdit(section.Data)
	if err != nil {
		return 0, err
	}
	id, err := proto(edit)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if err := edit.AddVars(ksymsSection, btfraw.Placed{Type: edit.Func(name, id, btf.ExternFunc)}); err != nil {
		return 0, err
	}
	section.Data = edit.Bytes()
	indices, err := draft.AddSymbols([]elf.Symbol{{Name: name, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_NOTYPE)}})
	if err != nil {
		return 0, err
	}
	adopt()
	return indices[0], nil
}
