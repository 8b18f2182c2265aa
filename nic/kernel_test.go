package nic_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

func openModule(dir, module string) (*reloc.Layout, error) {
	return nic.NewKernel(dir).Module(module)
}

// A directory as the kernel shows it: a module's types are its own and its kernel's, and
// a module without a file is built in.
func TestModule(t *testing.T) {
	for _, module := range []string{"veth", "nothing_of_this_name"} {
		kernel, err := openModule("", module)
		if err != nil {
			t.Fatal(err)
		}
		if size, err := kernel.SizeOf("net_device"); err != nil || size == 0 {
			t.Errorf("%s: struct net_device in %s has %d bytes, %v", module, kernel.Name(), size, err)
		}
	}
	const builtIn = nic.KernelBTF + "/vmlinux"
	if kernel, _ := openModule(nic.KernelBTF, "nothing_of_this_name"); kernel.Name() != builtIn {
		t.Errorf("Types of %s instead of %s", kernel.Name(), builtIn)
	}
}

// Of a directory with the BTF of another kernel, every file is read and compared.
func TestModuleElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		vmlinux, module []byte
		want            string // of the error, nothing for none
		is              error
	}{
		"split":              {vmlinux: base(little), module: split(little)},
		"split, big endian":  {vmlinux: base(big), module: split(big)},
		"built in":           {vmlinux: whole(little)},
		"no vmlinux":         {module: split(little), want: "types of the kernel: ", is: os.ErrNotExist},
		"stands alone":       {vmlinux: base(little), module: whole(little), want: "not split from the kernel's", is: nil},
		"of another kernel":  {vmlinux: rawBTF(little, "\x00", nil), module: split(little), want: "types of module toy: ", is: nic.ErrWrongBase},
		"damaged":            {vmlinux: base(little), module: []byte("types"), want: "types of module toy: "},
		"split from nothing": {vmlinux: split(little), module: split(little), want: "vmlinux: is itself split BTF"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, contents := range map[string][]byte{"vmlinux": test.vmlinux, "toy": test.module} {
				if contents == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), contents, 0o644); err != nil {
					t.Fatal(err)
				}
			}

			kernel, err := openModule(dir, "toy")
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "":
				if size, err := kernel.SizeOf("md_desc"); err != nil || size == 0 {
					t.Errorf("struct md_desc has %d bytes, %v", size, err)
				}
			case err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is):
				t.Errorf("%v instead of %q, %v", err, test.want, test.is)
			}
		})
	}
}

// The running kernel has a release, and others the names of their directories.
func TestKernelName(t *testing.T) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(uname.Release[:])
	dir := filepath.Join(t.TempDir(), "6.12.1")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), base(little), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "here")
	if err := os.Symlink(nic.KernelBTF, link); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{"": release, nic.KernelBTF: release, link: release, dir: "6.12.1", dir + "/../6.12.1/": "6.12.1"} {
		if name := nic.NewKernel(from).Name(); name != want {
			t.Errorf("%q: %q instead of %q", from, name, want)
		}
	}
	t.Chdir(dir)
	if name := nic.NewKernel(".").Name(); name != "6.12.1" {
		t.Errorf("%q", name)
	}
}

// Of several that have one name each is told by its path.
func TestKernelNames(t *testing.T) {
	for i, kernel := range nic.NewKernels("a/btf", "b/btf", "c/6.12", "6.1") {
		if want := []string{"a/btf", "b/btf", "6.12", "6.1"}[i]; kernel.Name() != want {
			t.Errorf("%q instead of %q", kernel.Name(), want)
		}
	}
}
