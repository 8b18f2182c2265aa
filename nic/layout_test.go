package nic_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

var (
	little byteOrder = binary.LittleEndian
	big    byteOrder = binary.BigEndian
)

func TestOpenLayout(t *testing.T) {
	for name, test := range map[string]struct {
		contents []byte
		base     []byte // nil: none given
	}{
		"raw":                    {contents: whole(little)},
		"raw, big endian":        {contents: whole(big)},
		"object":                 {contents: object(little, map[string][]byte{".BTF": whole(little)})},
		"object, big endian":     {contents: object(big, map[string][]byte{".BTF": whole(big)})},
		"split":                  {contents: split(little), base: base(little)},
		"split, big endian":      {contents: split(big), base: base(big)},
		"split, base in object":  {contents: split(little), base: object(little, map[string][]byte{".BTF": base(little)})},
		"split in object":        {contents: object(little, map[string][]byte{".BTF": split(little)}), base: base(little)},
		"with base":              {contents: object(little, map[string][]byte{".BTF": split(little), ".BTF.base": base(little)})},
		"with base, not another": {contents: object(little, map[string][]byte{".BTF": split(little), ".BTF.base": base(little)}), base: []byte("not read")},
		"as long as can be":      {contents: rawBTF(little, "\x00md_desc\x00hash\x00u32\x00", append(u32Type(14), sized(descriptor(1, 9), 252)...))},
		"base not needed":        {contents: whole(little), base: []byte("not read")},
	} {
		t.Run(name, func(t *testing.T) {
			file, baseFile := write(t, "layout", test.contents), ""
			if test.base != nil {
				baseFile = write(t, "base", test.base)
			}

			layout, err := nic.OpenLayout(file, baseFile)
			if err != nil {
				t.Fatal(err)
			}
			wantReadAlike(t, file, baseFile, layout, err)
			if layout.Name() != file {
				t.Errorf("Name %s instead of %s", layout.Name(), file)
			}
			if size, err := layout.SizeOf("md_desc"); size == 0 || err != nil {
				t.Errorf("Size of md_desc: %d, %v", size, err)
			}
		})
	}
}

// wantReadAlike wants ReadLayout to make of what is in the files what OpenLayout made of them.
func wantReadAlike(t *testing.T, file, baseFile string, opened *reloc.Layout, refused error) {
	t.Helper()

	reader := func(path string) io.ReaderAt {
		contents, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(contents)
	}
	var base io.ReaderAt
	if baseFile != "" {
		base = reader(baseFile)
	}
	layout, err := nic.ReadLayout(file, reader(file), base)
	if refused != nil {
		want := refused.Error()
		if baseFile != "" {
			want = strings.ReplaceAll(want, "base "+baseFile, "base of "+file)
		}
		if err == nil || err.Error() != want {
			t.Errorf("Read: %v\ninstead of: %s", err, want)
		}
		for _, sentinel := range []error{nic.ErrNeedsBase, nic.ErrWrongBase} {
			if errors.Is(err, sentinel) != errors.Is(refused, sentinel) {
				t.Errorf("Read: %v\ninstead of: %v", err, refused)
			}
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	want, wantErr := nic.Header(opened, "header")
	got, err := nic.Header(layout, "header")
	if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) || layout.Name() != opened.Name() {
		t.Errorf("Read is %s, %v\ninstead of %s, %v", got, err, want, wantErr)
	}
}

func TestOpenLayoutRefuses(t *testing.T) {
	module := func(vermagic string) []byte {
		return object(little, map[string][]byte{
			".BTF":     split(little),
			".modinfo": []byte("license=GPL\x00vermagic=" + vermagic + " SMP mod_unload \x00"),
		})
	}

	for name, test := range map[string]struct {
		contents []byte
		base     []byte
		err      error // nil: any
		want     string
	}{
		"empty":            {want: "neither raw BTF nor an ELF file"},
		"text":             {contents: []byte("struct md_desc {};"), want: "neither raw BTF nor an ELF file"},
		"xz":               {contents: []byte("\xfd7zXZ\x00\x00"), want: "decompress it with xz -dk "},
		"gzip":             {contents: []byte("\x1f\x8b\x08\x00"), want: "decompress it with gzip -dk "},
		"zstd":             {contents: []byte("\x28\xb5\x2f\xfd"), want: "decompress it with zstd -dk "},
		"no BTF":           {contents: object(little, nil), want: "no BTF in this object: compile it with -g, and with a variable of the struct in the file (struct md_desc layout;), "},
		"GCC's BTF":        {contents: object(little, map[string][]byte{".BTF": whole(little), ".comment": []byte("\x00GCC: (12.2.0-14+deb12u1+) 12.2.0\x00")}), want: "compiled by GCC"},
		"GCC's module?":    {contents: object(little, map[string][]byte{".BTF": whole(little), ".modinfo": nil, ".comment": []byte("\x00GCC: (12.2.0-14+deb12u1+) 12.2.0\x00")}), want: "compiled by GCC"},
		"linked":           {contents: object(little, map[string][]byte{".BTF": whole(little), ".comment": []byte("GCC: (12.2.0-14+deb12u1+) 12.2.0\x00")}), want: "compiled by GCC"},
		"short BTF":        {contents: whole(little)[:20], want: "damaged BTF"},
		"short section":    {contents: object(little, map[string][]byte{".BTF": whole(little)[:20]}), want: "too short"},
		"no base":          {contents: split(little), err: nic.ErrNeedsBase, want: "split BTF of an unknown kernel: give the vmlinux of the same kernel build as its base"},
		"other kernel's":   {contents: module("1.2.3-other"), err: nic.ErrNeedsBase, want: "split BTF of kernel 1.2.3-other, and running is "},
		"base is split":    {contents: split(little), base: split(little), err: nic.ErrNeedsBase, want: "base: is itself split BTF: give the vmlinux of the same kernel build as its base"},
		"base is none":     {contents: split(little), base: []byte("none"), want: "base: neither raw BTF"},
		"wrong base":       {contents: split(little), base: whole(little), err: nic.ErrWrongBase, want: "not split from this base: "},
		"other order":      {contents: split(little), base: base(big), err: nic.ErrWrongBase, want: "not split from this base: "},
		"too long":         {contents: rawBTF(little, "\x00md_desc\x00hash\x00u32\x00", append(u32Type(14), sized(descriptor(1, 9), 253)...)), want: "struct md_desc has 253 bytes, and the metadata area no more than 252"},
		"flavour too long": {contents: rawBTF(little, "\x00md_desc\x00hash\x00u32\x00md_desc___x\x00", append(append(u32Type(14), descriptor(1, 9)...), sized(descriptor(18, 9), 256)...)), want: "struct md_desc has 256 bytes"},
		"running kernel?":  {contents: module(release(t)), err: nic.ErrWrongBase, want: "base /sys/kernel/btf/vmlinux"},
	} {
		t.Run(name, func(t *testing.T) {
			file, baseFile := write(t, "layout", test.contents), ""
			if test.base != nil {
				baseFile = write(t, "base", test.base)
			}

			layout, err := nic.OpenLayout(file, baseFile)
			if err == nil || layout != nil {
				t.Fatalf("Got %v, %v", layout, err)
			}
			wantReadAlike(t, file, baseFile, layout, err)
			if test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("%q is no %q", err, test.err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q\nlacks %q", err, test.want)
			}
			if !strings.HasPrefix(err.Error(), "layout "+file) {
				t.Errorf("%q does not start with the file's name", err)
			}
		})
	}
}

// GCC's BTF can't be trusted for any machine. That of a kernel or a module is not GCC's.
func TestLayoutsByGCC(t *testing.T) {
	netlab.NeedTools(t, "gcc", "ld", "objcopy")
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, out)
		}
	}
	source := "struct md_desc { unsigned : 11, f : 7, hash; } layout;\n"
	module := source + `static const char info[] __attribute__((section(".modinfo"), used)) = "vermagic=1.2.3 SMP ";` + "\n"
	for name, source := range map[string]string{"host.c": source, "module.c": module} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		run("gcc", "-gbtf", "-c", name)
	}
	run("ld", "-r", "-o", "linked.o", "host.o")
	run("objcopy", "--set-section-flags", ".BTF=alloc,readonly", "host.o", "vmlinux")

	for file, taken := range map[string]bool{"host.o": false, "linked.o": false, "module.o": true, "vmlinux": true} {
		_, err := nic.OpenLayout(filepath.Join(dir, file), "")
		switch {
		case taken && err != nil:
			t.Errorf("%s: %v", file, err)
		case !taken && (err == nil || !strings.HasSuffix(err.Error(), "compiled by GCC, whose BTF says nothing certain of where bit-fields are: compile it with clang -O2 -g -target bpf")):
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestNoSuchLayout(t *testing.T) {
	_, err := nic.OpenLayout("nowhere.btf", "")
	if !errors.Is(err, os.ErrNotExist) || err.Error() != "layout nowhere.btf: no such file or directory" {
		t.Errorf("File: %v", err)
	}
	_, err = nic.OpenLayout(write(t, "layout", split(little)), "nowhere.btf")
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "base nowhere.btf") {
		t.Errorf("Base: %v", err)
	}
	if _, err = nic.OpenLayout(t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("Directory: %v", err)
	}
}

// The kernel's own BTF is a layout, if none that has a descriptor.
func TestKernelLayout(t *testing.T) {
	layout, err := nic.OpenLayout("/sys/kernel/btf/vmlinux", "")
	if err != nil {
		t.Fatal(err)
	}
	if size, err := layout.SizeOf("sk_buff"); size == 0 || err != nil {
		t.Errorf("Size of sk_buff: %d, %v", size, err)
	}
}

// Of the kernel's BTF little is read.
func TestKernelLayoutMemory(t *testing.T) {
	info, err := os.Stat("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	layout, err := nic.OpenLayout("/sys/kernel/btf/vmlinux", "")
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2*uint64(info.Size()) { // before Linux 6.16 it is read whole
		t.Errorf("layout %s: %d bytes, of %d", layout.Name(), allocated, info.Size())
	}
}

// Whatever is cut off or overwritten, there is a layout or an error.
func TestDamagedLayout(t *testing.T) {
	whole := object(little, map[string][]byte{".BTF": split(little), ".BTF.base": base(little)})
	for at := range whole {
		for _, damaged := range [][]byte{whole[:at], overwritten(whole, at, 0xff), overwritten(whole, at, 0)} {
			layout, err := nic.OpenLayout(write(t, "layout", damaged), "")
			if (layout == nil) != (err != nil) {
				t.Fatalf("Damaged at %d: %v, %v", at, layout, err)
			}
		}
	}
}

func overwritten(contents []byte, at int, with byte) []byte {
	contents = bytes.Clone(contents)
	contents[at] = with
	return contents
}

func write(t *testing.T, name string, contents []byte) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, contents, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func release(t *testing.T) string {
	t.Helper()

	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(name.Release[:])
}

// BTF kinds, in the place where struct btf_type has them.
const (
	kindInt    = 1 << 24
	kindStruct = 4<<24 | 1 // with one member
)

// base is raw BTF of an integer of 4 bytes, "u32".
func base(order byteOrder) []byte {
	return rawBTF(order, "\x00u32\x00", u32Type(1))
}

// split continues base with struct md_desc { u32 hash; }.
func split(order byteOrder) []byte {
	return rawBTF(order, "md_desc\x00hash\x00", descriptor(5, 13))
}

// whole is base and split in one, with its strings in another order.
func whole(order byteOrder) []byte {
	return rawBTF(order, "\x00md_desc\x00hash\x00u32\x00", append(u32Type(14), descriptor(1, 9)...))
}

func u32Type(name uint32) []uint32 {
	return []uint32{name, kindInt, 4, 32}
}

func descriptor(name, hash uint32) []uint32 {
	return []uint32{name, kindStruct, 4, hash, 1, 0}
}

// sized gives a type another size.
func sized(typ []uint32, size uint32) []uint32 {
	typ[2] = size
	return typ
}

func rawBTF(order byteOrder, table string, types []uint32) []byte {
	var out []byte
	out = order.AppendUint16(out, 0xeb9f)
	out = append(out, 1, 0) // version, flags
	for _, field := range []uint32{24, 0, uint32(len(types) * 4), uint32(len(types) * 4), uint32(len(table))} {
		out = order.AppendUint32(out, field)
	}
	for _, word := range types {
		out = order.AppendUint32(out, word)
	}
	return append(out, table...)
}

// object is an ELF file with the sections given.
func object(order byteOrder, sections map[string][]byte) []byte {
	data := elf.ELFDATA2LSB
	if order == big {
		data = elf.ELFDATA2MSB
	}
	const headerSize, sectionHeaderSize = 64, 64

	names := "\x00.shstrtab\x00"
	headers := []elf.Section64{{}, {Name: 1, Type: uint32(elf.SHT_STRTAB)}}
	var contents []byte
	for name, section := range sections {
		headers = append(headers, elf.Section64{
			Name: uint32(len(names)),
			Type: uint32(elf.SHT_PROGBITS),
			Off:  uint64(headerSize + len(contents)),
			Size: uint64(len(section)),
		})
		names += name + "\x00"
		contents = append(contents, section...)
	}
	headers[1].Off, headers[1].Size = uint64(headerSize+len(contents)), uint64(len(names))
	contents = append(contents, names...)

	var out bytes.Buffer
	binary.Write(&out, order, elf.Header64{
		Ident:     [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(data), byte(elf.EV_CURRENT)},
		Type:      uint16(elf.ET_REL),
		Machine:   uint16(elf.EM_BPF),
		Version:   uint32(elf.EV_CURRENT),
		Shoff:     uint64(headerSize + len(contents)),
		Ehsize:    headerSize,
		Shentsize: sectionHeaderSize,
		Shnum:     uint16(len(headers)),
		Shstrndx:  1,
	})
	out.Write(contents)
	binary.Write(&out, order, headers)
	return out.Bytes()
}
