package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/drivertypes"
	"github.com/xdp-load/xdp-load/reloc"
)

const testdata = "bpf/drivers/testdata"

// cutDrivers writes what accessor files use of a kernel, those of drivers that it has.
func cutDrivers(dir string, names []string) error {
	vmlinux, err := readTypes(filepath.Join(dir, "vmlinux"), nil)
	if err != nil {
		return err
	}
	for _, name := range drivers.Names() {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		if err := cutDriver(dir, vmlinux, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func cutDriver(dir string, vmlinux *types, name string) error {
	object, err := drivers.Object(name, vmlinux.raw.Order)
	if err != nil {
		return err
	}
	file, err := accessor.Read(name, object)
	if err != nil {
		return err
	}
	module := vmlinux
	if file.Context == "xdp_buff" {
		module, err = readTypes(filepath.Join(dir, file.Module), vmlinux)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	raw, err := cutDown(vmlinux, module, object)
	if err != nil {
		return err
	}
	return write(file, name, kernelName(dir), raw)
}

// write writes the types where they belong, and nowhere else.
func write(file *accessor.File, driver, kernel string, raw []byte) error {
	types, err := reloc.NewLayout(kernel, raw, nil)
	if err != nil {
		return err
	}
	path, other := drivertypes.Path(testdata, driver, kernel)
	if _, err := file.Resolve(types, accessor.Options{}); errors.Is(err, accessor.ErrNoAccessors) {
		path, other = other, path
	} else if err != nil {
		return err
	}
	if err := os.Remove(other); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}

// kernelName returns the version that a directory is named after, without what Debian puts
// behind it.
func kernelName(dir string) string {
	name, _, _ := strings.Cut(filepath.Base(dir), "+")
	return name
}
