package nic_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

const firmware = "22.31.1014 (MT_0000000359)"

// writeFiles makes a directory of files.
func writeFiles(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, contents := range files {
		if err := os.WriteFile(filepath.Join(dir, name), contents, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The interface's own file comes first, then that of its firmware, as much of it as a file
// has, then that of its driver; whatever its extension. The first directory counts.
func TestFindLayoutFile(t *testing.T) {
	for name, test := range map[string]struct {
		first, second []string
		want          string // "first/NAME" or "second/NAME", or an error
	}{
		"interface":           {first: []string{"mlx5_core", "mlx5_core@22.o"}, second: []string{"eth9.btf"}, want: "second/eth9.btf"},
		"first directory":     {first: []string{"eth9.o"}, second: []string{"eth9.btf", "eth9"}, want: "first/eth9.o"},
		"whole firmware":      {first: []string{"mlx5_core@" + firmware, "mlx5_core@22.31.1014.o"}, want: "first/mlx5_core@" + firmware},
		"longest":             {first: []string{"mlx5_core@22.o", "mlx5_core"}, second: []string{"mlx5_core@22.31"}, want: "second/mlx5_core@22.31"},
		"up to a point":       {first: []string{"mlx5_core@22.", "mlx5_core"}, want: "first/mlx5_core@22."},
		"driver":              {first: []string{"mlx5_core.ko", "mlx4_core", "eth"}, want: "first/mlx5_core.ko"},
		"other firmware":      {first: []string{"mlx5_core@22.3.o", "mlx5_core@22.30", "mlx5_core@2", "mlx5_core@"}, second: []string{"mlx5_core"}, want: "second/mlx5_core"},
		"other firmware only": {first: []string{"mlx5_core@22.3.o", "mlx5_core@22.30"}, want: "no file eth9, mlx5_core@" + firmware + ", mlx5_core, only for other firmware mlx5_core@22.3.o, mlx5_core@22.30"},
		"nothing":             {first: []string{"eth9.c", "eth9.o~", "veth"}, want: "no file eth9, mlx5_core@" + firmware + ", mlx5_core"},
		"two":                 {first: []string{"mlx5_core@22.31.o", "mlx5_core@22.31.btf"}, want: "error: eth9: there are several layouts mlx5_core@22.31 in first: mlx5_core@22.31.btf, mlx5_core@22.31.o: keep one"},
	} {
		t.Run(name, func(t *testing.T) {
			dirs := make([]string, 2)
			for i, names := range [][]string{test.first, test.second} {
				files := make(map[string][]byte)
				for _, name := range names {
					files[name] = whole(little)
				}
				dirs[i] = writeFiles(t, files)
			}
			short := strings.NewReplacer(dirs[0], "first", dirs[1], "second")

			target := &nic.Target{Interface: "eth9", Driver: "mlx5_core", Firmware: firmware}
			places, err := target.FindLayout(nic.Search{Dirs: dirs, Kernel: nic.NewKernel(t.TempDir())})
			got := target.Source.Name
			switch {
			case err != nil:
				got = "error: " + err.Error()
			case target.Layout == nil:
				got = places[0].Why
			}
			if got = short.Replace(got); got != test.want {
				t.Errorf("%s instead of %s", got, test.want)
			}
			if (target.Layout == nil) != (target.Source == nic.Source{}) {
				t.Errorf("Source %v, layout %v", target.Source, target.Layout)
			}
		})
	}
}

// What is found and can't be used is not passed over. Where nothing is found, every place
// is told of.
func TestFindLayoutRefuses(t *testing.T) {
	target := func() *nic.Target { return &nic.Target{Interface: "eth9", Driver: "veth"} }
	kernel := writeFiles(t, map[string][]byte{"vmlinux": base(little)})

	for name, contents := range map[string][]byte{"neither raw BTF nor an ELF file": []byte("text"), "no struct md_desc": base(little)} {
		dir := writeFiles(t, map[string][]byte{"veth.o": contents, "eth9.other": nil})
		if _, err := target().FindLayout(nic.Search{Dirs: []string{dir}, Kernel: nic.NewKernel(kernel)}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v instead of %q", err, name)
		}
	}
	file := filepath.Join(writeFiles(t, map[string][]byte{"file": nil}), "file")
	if _, err := target().FindLayout(nic.Search{Dirs: []string{file}, Kernel: nic.NewKernel(kernel)}); err == nil {
		t.Error("a file was taken for a directory")
	}

	t.Setenv(nic.LayoutDirsVariable, "")
	places, err := target().FindLayout(nic.Search{Kernel: nic.NewKernel(kernel)})
	if _, statErr := os.Stat(nic.LayoutDir); statErr == nil {
		t.Skipf("this machine has %s", nic.LayoutDir)
	}
	if want := "[" + nic.LayoutDir + ": no such directory $XDP_LOAD_LAYOUTS: not set " +
		"BTF of the kernel, as there is no " + kernel + "/veth: no struct md_desc___veth]"; fmt.Sprint(places) != want || err != nil {
		t.Errorf("%v, %v\ninstead of %s", places, err, want)
	}
	t.Setenv(nic.LayoutDirsVariable, "/nonexistent:"+t.TempDir()+":")
	if places, err := target().FindLayout(nic.Search{Kernel: nic.NewKernel(t.TempDir())}); len(places) != 4 || err != nil ||
		places[1].Why != "no such directory" || places[2].Why != "no file eth9, veth" || !strings.HasPrefix(places[3].Why, "this kernel shows no BTF") {
		t.Errorf("%v, %v", places, err)
	}
}

// descriptors is raw BTF of structs { u32 hash; } by these names, split from base.
func descriptors(order byteOrder, sizes map[string]uint32) []byte {
	table, types := "hash\x00", []uint32(nil)
	const start = 5 // of the strings, behind base's
	for name, size := range sizes {
		types = append(types, sized(descriptor(start+uint32(len(table)), start), size)...)
		table += name + "\x00"
	}
	return rawBTF(order, table, types)
}

// A driver's own flavour comes before struct md_desc; those of other drivers don't count.
// What all drivers share, as they are built in, has to be for this one.
func TestFindLayoutInModule(t *testing.T) {
	wholeKernel := func(name string) []byte {
		return rawBTF(little, "\x00"+name+"\x00hash\x00u32\x00", append(u32Type(uint32(len(name))+7), descriptor(1, uint32(len(name))+2)...))
	}
	for name, test := range map[string]struct {
		vmlinux, module []byte
		size            uint32 // of the descriptor that is found, 0 for none
		want            string
	}{
		"the driver's":         {vmlinux: base(little), module: descriptors(little, map[string]uint32{"md_desc___hv_toy": 8, "md_desc": 16}), size: 8},
		"its equal copy":       {vmlinux: base(little), module: descriptors(little, map[string]uint32{"md_desc___hv_toy": 8, "md_desc___other": 8}), size: 8},
		"the only":             {vmlinux: base(little), module: descriptors(little, map[string]uint32{"md_desc": 16}), size: 16},
		"another's":            {vmlinux: base(little), module: descriptors(little, map[string]uint32{"md_desc___toy": 16}), want: "BTF of module hv_toy: no struct md_desc___hv_toy or md_desc"},
		"the kernel's":         {vmlinux: wholeKernel("md_desc"), module: rawBTF(little, "hash\x00", u32Type(18)), want: "BTF of module hv_toy: no struct md_desc___hv_toy or md_desc"},
		"too long":             {vmlinux: base(little), module: descriptors(little, map[string]uint32{"md_desc": 256}), want: "has 256 bytes, and the metadata area no more than 252"},
		"wrong":                {vmlinux: wholeKernel("x"), module: []byte("BTF"), want: "types of module hv_toy"},
		"built in":             {vmlinux: wholeKernel("md_desc___hv_toy"), size: 4},
		"built in, no flavour": {vmlinux: wholeKernel("md_desc"), want: "no struct md_desc___hv_toy"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string][]byte{"vmlinux": test.vmlinux}
			if test.module != nil {
				files["hv_toy"] = test.module
			}
			target := &nic.Target{Interface: "eth9", Driver: "hv-toy"}
			places, err := target.FindLayout(nic.Search{Dirs: []string{}, Kernel: nic.NewKernel(writeFiles(t, files))})
			if test.size == 0 {
				if got := fmt.Sprint(places, err); !strings.Contains(got, test.want) || target.Layout != nil {
					t.Errorf("%s instead of %s", got, test.want)
				}
				return
			}
			if err != nil || target.Layout == nil || target.Source.Kind != nic.ModuleBTF {
				t.Fatal(places, err, target.Source)
			}
			if size, err := target.Layout.SizeOf("md_desc"); err != nil || size != test.size {
				t.Errorf("%d bytes instead of %d, %v", size, test.size, err)
			}
		})
	}
}

// A bond has the layout of all its slaves, or one of its own.
func TestFindLayoutOfBond(t *testing.T) {
	netlab.NeedBonds(t)
	ns := netlab.Enter(t)
	for _, args := range []string{"link add bond0 type bond", "link add one type veth peer one-peer", "tuntap add dev two mode tap",
		"link set one master bond0", "link set two master bond0"} {
		if err := ns.Run("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err)
		}
	}
	for files, want := range map[string]string{
		"bond0.o one.o veth":  "bond0.o",
		"one.o two.o bonding": "",
		"veth.o":              "its slaves have different layouts: ",
	} {
		contents := make(map[string][]byte)
		for file := range strings.FieldsSeq(files) {
			contents[file] = whole(little)
		}
		target, err := nic.ByName("bond0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = target.FindLayout(nic.Search{Dirs: []string{writeFiles(t, contents)}, Kernel: nic.NewKernel(writeFiles(t, map[string][]byte{"vmlinux": base(little)}))})
		got := filepath.Base(target.Source.Name)
		if want == "" {
			want = "." // of no path
		}
		if err != nil && strings.Contains(err.Error(), want) {
			got = want
		}
		if got != want {
			t.Errorf("%s: %s instead of %s, %v", files, got, want, err)
		}
	}
}

// The BTF of a loaded program is a layout, by its ID and by its name, however long that is.
func TestOpenProgram(t *testing.T) {
	netlab.NeedTools(t, "clang-19", "bpftool")
	netlab.Enter(t)
	load := func(file, source string) {
		t.Helper()
		object := compileObject(t, source, "bpf")
		if err := runTool("bpftool", "prog", "load", object, "/sys/fs/bpf/"+file); err != nil {
			t.Fatal(err)
		}
	}
	program := func(name, fields string) string {
		return `#include <linux/bpf.h>
			struct md_desc { ` + fields + ` } layout;
			__attribute__((section("xdp"), used)) int ` + name + `(struct xdp_md *ctx)
			{
				struct md_desc *md = (void *)(long)ctx->data_meta;
				return (void *)(md + 1) > (void *)(long)ctx->data ? 2 : md->hash & 1;
			}
			char _license[] __attribute__((section("license"), used)) = "GPL";`
	}
	load("first", program("produces_metadata", "unsigned int mark, hash;"))
	load("again", program("produces_metadata", "unsigned int mark, hash;"))
	load("other", program("produces_metadata_too", "unsigned int hash;"))

	for name, size := range map[string]uint32{"prog:produces_metadata": 8, "prog:produces_metadata_too": 4} {
		layout, err := nic.OpenLayout(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := layout.SizeOf("md_desc"); got != size || err != nil || layout.Name() != name {
			t.Errorf("%s: %s has %d bytes instead of %d, %v", name, layout.Name(), got, size, err)
		}
	}

	load("differs", program("produces_metadata", "unsigned int a, b, hash;"))
	if _, err := nic.OpenLayout("prog:produces_metadata", ""); err == nil || !strings.Contains(err.Error(), "have this name, and different BTF: give the ID of one") {
		t.Error(err)
	}
	load("without", `__attribute__((section("xdp"), used)) int nothing(void *ctx) { return 2; }`)
	if _, err := nic.OpenLayout("prog:nothing", ""); !errors.Is(err, nic.ErrNoDescriptor) {
		t.Error(err)
	}
	load("ours", "struct xdp_load_source { int source; } mark;\n"+program("consumes_metadata", "unsigned int hash;"))
	if _, err := nic.OpenLayout("prog:consumes_metadata", ""); err == nil || !strings.Contains(err.Error(), "it was compiled with md_desc.h") {
		t.Error(err)
	}
	for _, name := range []string{"prog:", "prog:produces_metada", "prog:4294967295", "prog:produces_meta", "prog:nobody"} {
		if _, err := nic.OpenLayout(name, ""); !errors.Is(err, nic.ErrNoProgram) || !strings.HasPrefix(err.Error(), "layout "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
