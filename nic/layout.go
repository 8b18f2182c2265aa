// Package nic knows network interfaces: which driver and firmware is behind
// each, and the layout of the metadata that they write.
package nic

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/xdp-load/xdp-load/internal/kernel"
	"github.com/xdp-load/xdp-load/reloc"
)

var (
	// ErrNeedsBase is wrapped by OpenLayout's and ReadLayout's error about split BTF whose base
	// has to be named.
	ErrNeedsBase = errors.New("split BTF")

	// ErrWrongBase is wrapped by OpenLayout's and ReadLayout's error about split BTF that was
	// not split from the base given.
	ErrWrongBase = reloc.ErrWrongBase
)

const baseHint = "give the vmlinux of the same kernel build as its base"

// OpenLayout reads a layout from a file: raw BTF, or an ELF file of any machine
// with a .BTF section, such as an object compiled from a header, a kernel
// module, a vmlinux, or the object of a program that writes metadata. Messages
// call the layout by the file's path as given here.
//
// Of prog:ID or prog:NAME it is in the BTF that a program was loaded with instead: that of the
// producer in front of those to be loaded, which has its own idea of the metadata area. That takes
// CAP_SYS_ADMIN. The path of a file of such a name is ./prog:1.
//
// The BTF of a kernel module is split: it continues that of its kernel, its
// base, and means nothing without it. The base is the .BTF.base section of the
// file if it has one, else the file base if that is not empty, in one of the
// same formats. Else it is that of the running kernel, but only if the file is
// certain to belong to it: it is one of /sys/kernel/btf, or a module whose
// vermagic names the running kernel. A base that is not needed is not read.
//
// Returns an error wrapping ErrNeedsBase if the base is missing, ErrWrongBase
// if it is another kernel's, os.ErrNotExist, or, of a program, ErrNoProgram or
// ErrNoDescriptor. BTF that GCC made is refused, and so are a descriptor that is longer than
// the metadata area can be, and a program that was compiled with md_desc.h: the struct in its
// BTF is the one that it was compiled for, and not what it writes.
func OpenLayout(file, base string) (*reloc.Layout, error) {
	open := func() (*reloc.Layout, error) { return readLayout(file, base) }
	if program, is := strings.CutPrefix(file, programPrefix); is {
		open = func() (*reloc.Layout, error) { return readProgram(program) }
	}
	layout, err := open()
	if err != nil {
		return nil, err
	}
	if err := checkSize(layout); err != nil {
		return nil, err
	}
	return layout, nil
}

// ReadLayout reads a layout as OpenLayout does, from what is in a file. Messages call it by
// the name. base is nil if the layout is not split, has its base with it, or is of a module
// of the running kernel.
//
// Returns an error wrapping ErrNeedsBase or ErrWrongBase, and refuses what OpenLayout refuses.
func ReadLayout(name string, layout, base io.ReaderAt) (*reloc.Layout, error) {
	types, err := typesIn(name, layout)
	if err != nil {
		return nil, fmt.Errorf("layout %w", err)
	}
	read, err := layoutOf(name, types, func() (*reloc.Layout, error) { return baseIn(base, "of "+name, types) })
	if err != nil {
		return nil, err
	}
	if err := checkSize(read); err != nil {
		return nil, err
	}
	return read, nil
}

// checkSize refuses a layout whose descriptor no packet can have.
func checkSize(layout *reloc.Layout) error {
	size, err := layout.SizeOf(reloc.Descriptor)
	if err == nil && size > maxMetadata {
		err = fmt.Errorf("layout %s: struct %s has %d bytes, and the metadata area no more than %d, so that no packet ever has one: declare what the NIC writes in front of a packet, and nothing else",
			layout.Name(), reloc.Descriptor, size, maxMetadata)
	}
	return err
}

// maxMetadata is how many bytes there can be between data_meta and data: their number
// is a multiple of 4 that fits the 8 bits of meta_len in struct skb_shared_info
// (xdp_metalen_invalid in include/net/xdp.h).
const maxMetadata = 252

func readLayout(file, base string) (*reloc.Layout, error) {
	types, err := readTypes(file)
	if err != nil {
		return nil, fmt.Errorf("layout %w", err)
	}
	return layoutOf(file, types, func() (*reloc.Layout, error) { return findBase(file, types, base) })
}

// layoutOf returns the layout in types that may be split from those that base returns.
func layoutOf(name string, types *types, base func() (*reloc.Layout, error)) (*reloc.Layout, error) {
	if !isSplit(types.btf) {
		return reloc.NewLayout(name, types.btf, nil)
	}

	of, err := base()
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", name, err)
	}
	layout, err := of.Split(name, types.btf)
	if err != nil {
		return nil, fmt.Errorf("%w: base %s", err, of.Name())
	}
	return layout, nil
}

// findBase returns the types that the file's are split from.
func findBase(file string, types *types, base string) (*reloc.Layout, error) {
	if types.base != nil {
		return types.ownBase()
	}
	if base == "" {
		var err error
		if base, err = runningKernelsBase(file, types); err != nil {
			return nil, err
		}
	}
	if resolved(base) == vmlinuxBTF {
		return KernelTypes()
	}

	baseTypes, err := readTypes(base)
	if err != nil {
		return nil, fmt.Errorf("base %w", err)
	}
	return baseTypes.asBase(base)
}

// baseIn is findBase for what is in no file.
func baseIn(base io.ReaderAt, name string, types *types) (*reloc.Layout, error) {
	if types.base != nil {
		return types.ownBase()
	}
	if base == nil {
		if _, err := runningKernelsBase("", types); err != nil {
			return nil, err
		}
		return KernelTypes()
	}
	baseTypes, err := typesIn(name, base)
	if err != nil {
		return nil, fmt.Errorf("base %w", err)
	}
	return baseTypes.asBase(name)
}

// ownBase returns the base that is in the file.
func (t *types) ownBase() (*reloc.Layout, error) {
	return reloc.NewLayout(".BTF.base of the same file", t.base, nil)
}

// asBase returns types that others are split from.
func (t *types) asBase(name string) (*reloc.Layout, error) {
	if isSplit(t.btf) {
		return nil, fmt.Errorf("base %s: is itself %w: %s", name, ErrNeedsBase, baseHint)
	}
	return reloc.NewLayout(name, t.btf, nil)
}

// runningKernelsBase returns the path of the running kernel's BTF if the file
// was certainly split from it.
func runningKernelsBase(file string, types *types) (string, error) {
	if isKernelBTF(file) {
		return vmlinuxBTF, nil
	}

	running, err := kernel.Release()
	if err != nil {
		return "", err
	}
	switch types.kernel {
	case running:
		return vmlinuxBTF, nil
	case "":
		return "", fmt.Errorf("%w of an unknown kernel: %s", ErrNeedsBase, baseHint)
	default:
		return "", fmt.Errorf("%w of kernel %s, and running is %s: %s", ErrNeedsBase, types.kernel, running, baseHint)
	}
}
