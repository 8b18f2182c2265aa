//go:build linux

package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/xdp-load/xdp-load/reloc"
)

// moduleLayout returns the layout in the BTF of the module of a driver: its descriptor for
// that driver, or the only one. Without a module of its own there has to be one for it, as
// all drivers that are built into the kernel share its BTF. It is nil if there is none, and
// the place says why.
func moduleLayout(kernel *Kernel, r receiver) (*reloc.Layout, Place, error) {
	module := moduleOf(r)
	types, err := kernel.Module(module)
	place := Place{Place: "BTF of module " + module}
	if errors.Is(err, os.ErrNotExist) {
		place.Why = "this kernel shows no BTF: there is no " + kernel.File(vmlinux)
		return nil, place, nil
	}
	if err != nil {
		return nil, place, err
	}
	own := flavourOf(r.driver)
	names := []string{own, reloc.Descriptor}
	if types.Name() != kernel.File(module) {
		place.Place = fmt.Sprintf("BTF of the kernel, as there is no %s", kernel.File(module))
		names = names[:1]
	}
	for _, name := range names {
		layout, err := types.Flavour(name, name == reloc.Descriptor)
		if err == nil && layout != nil {
			err = checkSize(layout)
		}
		if layout != nil || err != nil {
			return layout, place, err
		}
	}
	place.Why = "no struct " + strings.Join(names, " or ")
	return nil, place, nil
}

// flavourOf returns the name of the descriptor that is a driver's, with underscores for
// what C has not in names.
func flavourOf(driver string) string {
	return reloc.Descriptor + "___" + strings.Map(func(r rune) rune {
		if r != '_' && !isWord(r) {
			return '_'
		}
		return r
	}, driver)
}

// moduleOf returns the name of the module that the driver of an interface is in, which need
// not be the driver's; the driver's if the interface is of no device, or built in.
func moduleOf(r receiver) string {
	if bus, device, has := strings.Cut(r.bus, "/"); has {
		if path, err := os.Readlink(filepath.Join("/sys/bus", bus, "devices", device, "driver/module")); err == nil {
			return filepath.Base(path)
		}
	}
	return strings.ReplaceAll(r.driver, "-", "_")
}
