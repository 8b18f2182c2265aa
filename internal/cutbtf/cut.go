package main

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// cut is a kernel's BTF that is being cut down.
type cut struct {
	specs []*btf.Spec // where types are looked for: the module, then vmlinux

	roots   []btf.Type                   // of the kernel, in the order that they are needed
	members map[btf.Type]map[string]bool // those that are kept of a struct or union
	copies  map[btf.Type]btf.Type

	functions []btf.Type // that are kept
}

func newCut(specs ...*btf.Spec) *cut {
	return &cut{
		specs:   specs,
		members: make(map[btf.Type]map[string]bool),
		copies:  make(map[btf.Type]btf.Type),
	}
}

// need marks what the types of an object use.
func (c *cut) need(object *btf.Spec) error {
	for typ, err := range object.All() {
		if err != nil {
			return err
		}
		if typ.TypeName() == "" || !isRecorded(typ) {
			continue
		}
		if kernel := c.find(btfraw.EssentialName(typ.TypeName())); kernel != nil {
			c.addRoot(kernel)
			c.mark(kernel, typ)
		}
	}
	return nil
}

func (c *cut) addRoot(kernel btf.Type) {
	if !slices.Contains(c.roots, kernel) {
		c.roots = append(c.roots, kernel)
	}
}

// isRecorded reports whether a type is of a kind that CO-RE records are about.
func isRecorded(typ btf.Type) bool {
	_, isEnum := typ.(*btf.Enum)
	_, isComposite := composite(typ)
	return isEnum || isComposite
}

// find returns the kernel's struct, union or enum of a name. Of several, which are copies,
// it is the first.
func (c *cut) find(name string) btf.Type {
	for _, spec := range c.specs {
		types, err := spec.AnyTypesByName(name)
		if err != nil {
			continue
		}
		for _, typ := range types {
			if isRecorded(typ) {
				return typ
			}
		}
	}
	return nil
}

func composite(typ btf.Type) ([]btf.Member, bool) {
	switch typ := typ.(type) {
	case *btf.Struct:
		return typ.Members, true
	case *btf.Union:
		return typ.Members, true
	}
	return nil, false
}

// mark marks the members of a kernel's type that a type of an object has.
func (c *cut) mark(kernel, local btf.Type) {
	kernel, local = btf.UnderlyingType(kernel), btf.UnderlyingType(local)
	if array, ok := kernel.(*btf.Array); ok {
		if localArray, ok := local.(*btf.Array); ok {
			c.mark(array.Type, localArray.Type)
		}
		return
	}
	locals, ok := composite(local)
	if _, isComposite := composite(kernel); !ok || !isComposite {
		return
	}
	for _, member := range locals {
		if member.Name == "" {
			c.mark(kernel, member.Type)
			continue
		}
		if found, ok := c.keep(kernel, member.Name); ok {
			c.mark(found.Type, member.Type)
		}
	}
}

// keep keeps a member, which may be in a struct without a name.
func (c *cut) keep(kernel btf.Type, name string) (btf.Member, bool) {
	members, _ := composite(kernel)
	for i, member := range members {
		found, ok := member, member.Name == name
		if inner := btf.UnderlyingType(member.Type); member.Name == "" {
			found, ok = c.keep(inner, name)
		}
		if !ok {
			continue
		}
		if c.members[kernel] == nil {
			c.members[kernel] = make(map[string]bool)
		}
		c.members[kernel][memberKey(i, member)] = true
		return found, true
	}
	return btf.Member{}, false
}

// memberKey tells the members of a struct apart, those without a name included.
func memberKey(i int, member btf.Member) string {
	if member.Name == "" {
		return fmt.Sprint(i)
	}
	return member.Name
}

// needFunctions keeps the functions of some names, and those of the module that have their
// prototypes. types are the module's, raw and read.
func (c *cut) needFunctions(raw *btfraw.BTF, types *btf.Spec, names ...string) error {
	for _, name := range names {
		ids, err := raw.Functions(name)
		if err != nil {
			return err
		}
		for _, id := range ids {
			alike, err := raw.Alike(id)
			if err != nil {
				return err
			}
			for _, id := range append(alike, id) {
				typ, err := types.TypeByID(id)
				if err != nil {
					return err
				}
				c.functions = append(c.functions, typ)
			}
		}
	}
	return nil
}

// marshal returns the BTF of what is kept, in a byte order.
func (c *cut) marshal(order binary.ByteOrder) ([]byte, error) {
	var builder btf.Builder
	for _, root := range c.roots {
		if _, err := builder.Add(c.copy(root)); err != nil {
			return nil, err
		}
	}
	for _, function := range c.functions {
		if _, err := builder.Add(function); err != nil {
			return nil, err
		}
	}
	return builder.Marshal(nil, &btf.MarshalOptions{Order: order})
}

// copy returns a type with what is kept of it.
func (c *cut) copy(typ btf.Type) btf.Type {
	if copied, ok := c.copies[typ]; ok {
		return copied
	}
	switch typ := typ.(type) {
	case *btf.Struct:
		copied := &btf.Struct{Name: typ.Name, Size: typ.Size}
		c.copies[typ] = copied
		copied.Members = c.copyMembers(typ)
		return copied
	case *btf.Union:
		copied := &btf.Union{Name: typ.Name, Size: typ.Size}
		c.copies[typ] = copied
		copied.Members = c.copyMembers(typ)
		return copied
	case *btf.Pointer:
		copied := &btf.Pointer{Target: &btf.Void{}}
		c.copies[typ] = copied
		if target := btf.UnderlyingType(typ.Target); c.isKept(target) {
			copied.Target = c.copy(target)
		}
		return copied
	case *btf.Array:
		return &btf.Array{Index: typ.Index, Type: c.copy(typ.Type), Nelems: typ.Nelems}
	case *btf.Typedef:
		copied := &btf.Typedef{Name: typ.Name}
		c.copies[typ] = copied
		copied.Type = c.copy(typ.Type)
		return copied
	case *btf.Const:
		return c.copy(typ.Type)
	case *btf.Volatile:
		return c.copy(typ.Type)
	default:
		return typ
	}
}

// isKept returns whether something is kept of a type, or of what it points to.
func (c *cut) isKept(typ btf.Type) bool {
	if pointer, ok := typ.(*btf.Pointer); ok {
		return c.isKept(btf.UnderlyingType(pointer.Target))
	}
	return c.members[typ] != nil
}

func (c *cut) copyMembers(typ btf.Type) []btf.Member {
	members, _ := composite(typ)
	var kept []btf.Member
	for i, member := range members {
		if c.members[typ][memberKey(i, member)] {
			member.Type = c.copy(member.Type)
			kept = append(kept, member)
		}
	}
	return kept
}
