package accessor

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Portable returns the accessors with their records: any loader relocates them for the
// kernel that it runs on. All fields are there, but those of other kfuncs than the given
// ones, loads are lowered to Carrier, and the object declares bpf_rdonly_cast.
//
// It wraps ErrNotAsked if no field is left.
func (f *File) Portable(kfuncs ...string) (*rewrite.Accessors, error) {
	f, err := f.asked(kfuncs)
	if err != nil {
		return nil, err
	}
	obj, err := newObject(f.object)
	if err != nil {
		return nil, fmt.Errorf("accessors %s: %w", f.name, err)
	}
	cast, err := obj.declareCast()
	if err != nil {
		return nil, fmt.Errorf("accessors %s: %w", f.name, err)
	}
	if obj, err = obj.reread(); err != nil {
		return nil, fmt.Errorf("accessors %s: %w", f.name, err)
	}
	if err := obj.lower(&lowerer{Carrier, cast}, f.functions()); err != nil {
		return nil, fmt.Errorf("accessors %s: %w", f.name, err)
	}
	return f.accessors(obj, nil, Carrier), nil
}

// declareCast makes the object declare what a cast needs.
func (o *object) declareCast() (cast, error) {
	symbol, err := link.Kfunc(o.file, castFunction, castPrototype)
	if err != nil {
		return cast{}, err
	}
	section := o.file.Section(".BTF")
	edit, err := btfraw.NewEdit(section.Data)
	if err != nil {
		return cast{}, err
	}
	carrier := edit.Struct(carrierStruct, 0)
	section.Data = edit.Bytes()
	record := &btfraw.CORERelo{TypeID: uint32(carrier), AccessString: "0", Kind: uint32(reloc.TargetTypeID)}
	return cast{symbol: symbol, record: record}, nil
}

// castPrototype adds that of bpf_rdonly_cast, as kernel/bpf/helpers.c has it.
func castPrototype(edit *btfraw.Edit) (btf.TypeID, error) {
	u32 := edit.Int("unsigned int", 4, btf.Unsigned)
	address := btfraw.Member{Name: "obj__ign", Type: edit.Pointer(edit.Const(0))}
	return edit.FuncProto(edit.Pointer(0), address, btfraw.Member{Name: "btf_id__k", Type: u32})
}
