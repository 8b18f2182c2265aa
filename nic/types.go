package nic

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// types is the type information of a file.
type types struct {
	btf  []byte
	base []byte // .BTF.base, nil without

	// kernel is the release that a module was built for, empty for a file
	// that is none.
	kernel string
}

// Start of raw BTF, struct btf_header of include/uapi/linux/btf.h, up to and
// with str_len.
const (
	btfMagic      = 0xeb9f
	btfHeaderSize = 24
)

const elfFile = "ELF file"

// readTypes reads raw BTF, or the sections of an ELF file that hold it. Its
// errors start with the path.
func readTypes(path string) (*types, error) {
	file, err := os.Open(path)
	if err != nil {
		var pathError *os.PathError
		errors.As(err, &pathError)
		return nil, fmt.Errorf("%s: %w", path, pathError.Err)
	}
	defer file.Close()
	if resolved(path) == vmlinuxBTF {
		if raw := mappedVmlinux(); raw != nil {
			return &types{btf: raw}, nil
		}
	}

	contents, err := randomAccess(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	return typesAt(path, contents)
}

// typesIn is readTypes of what is in no file.
func typesIn(name string, contents io.ReaderAt) (*types, error) {
	data, err := io.ReadAll(io.NewSectionReader(contents, 0, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return typesAt(name, io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
}

func typesAt(path string, contents *io.SectionReader) (found *types, err error) {
	start := make([]byte, 4)
	n, err := contents.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		var pathError *os.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	start = start[:n]

	switch {
	case bytes.HasPrefix(start, []byte(elf.ELFMAG)):
		found, err = readELF(contents)
	case btfOrder(start) != nil:
		found, err = readRaw(contents)
	default:
		err = explainStart(path, start)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}

// damaged says of an error in what a file holds what to do about it.
func damaged(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it is cut short")
	}
	return fmt.Errorf("damaged %s: %w: make it again, or copy it again", what, err)
}

// randomAccess returns the contents of a file, to read at any place. Those of a pipe,
// which can't be read twice, and of a file that does not tell its size, are read whole.
func randomAccess(file *os.File) (*io.SectionReader, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() { // of which Windows says something else
		return nil, &os.PathError{Op: "read", Path: file.Name(), Err: syscall.EISDIR}
	}
	if info.Mode().IsRegular() && info.Size() > 0 {
		return io.NewSectionReader(file, 0, info.Size()), nil
	}
	data, err := io.ReadAll(file)
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), err
}

// explainStart says why a file that starts so holds no types.
func explainStart(path string, start []byte) error {
	for _, c := range compressions {
		if bytes.HasPrefix(start, []byte(c.magic)) {
			return fmt.Errorf("compressed with %s: decompress it with %s %s", c.name, c.command, path)
		}
	}
	return errors.New("neither raw BTF nor an ELF file with BTF in it: give an object that was compiled with clang -O2 -g -target bpf, a kernel module, or a file of /sys/kernel/btf")
}

// compressions are those of kernel modules, by the first bytes of a file, and
// the command that undoes each.
var compressions = []struct{ magic, name, command string }{
	{"\xfd7zX", "xz", "xz -dk"},
	{"\x1f\x8b", "gzip", "gzip -dk"},
	{"\x28\xb5\x2f\xfd", "zstd", "zstd -dk"},
}

func readRaw(contents *io.SectionReader) (*types, error) {
	raw := make([]byte, contents.Size())
	if _, err := io.ReadFull(contents, raw); err != nil {
		return nil, err
	}
	if len(raw) < btfHeaderSize {
		return nil, damaged("BTF", fmt.Errorf("%d bytes are no header", len(raw)))
	}
	return &types{btf: raw}, nil
}

// readELF reads the BTF of an ELF file. It reads nothing but the section
// headers and the sections it wants: a vmlinux with debug information can be
// larger than memory.
//
// It refuses BTF that GCC made, whatever machine it compiled for: of struct { __u32 : 11,
// f : 7; } version 12 says that f is at bit 0. That of the kernel and its modules is
// pahole's, made of DWARF, whoever compiles them.
func readELF(contents *io.SectionReader) (_ *types, err error) {
	// debug/elf is not made for hostile input, says its documentation.
	defer func() {
		if r := recover(); r != nil {
			err = damaged(elfFile, fmt.Errorf("%v", r))
		}
	}()

	object, err := elf.NewFile(contents)
	if err != nil {
		return nil, damaged(elfFile, err)
	}

	sections := map[string][]byte{".BTF": nil, ".BTF.base": nil, ".modinfo": nil, ".comment": nil}
	for _, section := range object.Sections {
		if _, wanted := sections[section.Name]; !wanted {
			continue
		}
		if sections[section.Name], err = sectionData(section, uint64(contents.Size())); err != nil {
			return nil, damaged(elfFile, fmt.Errorf("section %s: %w", section.Name, err))
		}
	}

	found := &types{
		btf:    sections[".BTF"],
		base:   sections[".BTF.base"],
		kernel: vermagicRelease(sections[".modinfo"]),
	}
	switch {
	case found.btf == nil:
		return nil, explainNoBTF(object)
	case len(found.btf) < btfHeaderSize || found.base != nil && len(found.base) < btfHeaderSize:
		return nil, damaged(elfFile, errors.New("a BTF section is too short for a header"))
	case byGCC(sections[".comment"]) && !isOfKernel(object):
		return nil, errors.New("compiled by GCC, whose BTF says nothing certain of where bit-fields are: compile it with clang -O2 -g -target bpf")
	}
	return found, nil
}

// byGCC reports whether GCC compiled any of what has a .comment. The strings in it are
// those of .ident directives, the empty one first unless a linker has merged them.
func byGCC(comment []byte) bool {
	return bytes.HasPrefix(comment, []byte("GCC: (")) || bytes.Contains(comment, []byte("\x00GCC: ("))
}

// isOfKernel reports whether a file with BTF is a kernel module, or a vmlinux, the only
// one with its BTF in memory (BTF in include/asm-generic/vmlinux.lds.h).
func isOfKernel(object *elf.File) bool {
	if object.Machine == elf.EM_BPF {
		return false
	}
	return isModule(object) || object.Section(".BTF").Flags&elf.SHF_ALLOC != 0
}

// isModule reports whether a file is a kernel module, which tells modpost's .modinfo
// and .gnu.linkonce.this_module.
func isModule(object *elf.File) bool {
	return object.Section(".modinfo") != nil || object.Section(".gnu.linkonce.this_module") != nil
}

// explainNoBTF says why a file has no BTF. An object without code and variables has
// nothing in it that tells whether it was compiled with -g.
func explainNoBTF(object *elf.File) error {
	switch {
	case object.Machine == elf.EM_BPF:
		return errors.New("no BTF in this object: compile it with -g, and with a variable of the struct in the file (struct md_desc layout;), since clang leaves out what nothing uses")
	case isModule(object):
		return errors.New("no BTF in this kernel module: its kernel was configured without CONFIG_DEBUG_INFO_BTF_MODULES")
	}
	return fmt.Errorf("no BTF in this ELF file, which is for %s: compile it with clang -O2 -g -target bpf, or take a vmlinux of a kernel with CONFIG_DEBUG_INFO_BTF", object.Machine)
}

// sectionData returns the contents of a section, which takes no more memory than
// the file is large.
func sectionData(section *elf.Section, fileSize uint64) ([]byte, error) {
	if section.Flags&elf.SHF_COMPRESSED != 0 || section.Type == elf.SHT_NOBITS {
		return nil, errors.New("it is compressed or empty")
	}
	if section.Offset > fileSize || section.FileSize > fileSize-section.Offset {
		return nil, fmt.Errorf("it ends beyond the file, which has %d bytes", fileSize)
	}
	return section.Data()
}

// vermagicRelease returns the kernel release that a module was built for, the
// first word of its vermagic, from the key=value strings of .modinfo.
func vermagicRelease(modinfo []byte) string {
	for entry := range strings.SplitSeq(string(modinfo), "\x00") {
		if vermagic, ok := strings.CutPrefix(entry, "vermagic="); ok {
			release, _, _ := strings.Cut(vermagic, " ")
			return release
		}
	}
	return ""
}

// isSplit reports whether raw BTF, no shorter than a header, continues another.
// The strings of BTF that stands alone start with the empty one, at offset 0
// (btf_parse_str_sec of the kernel); those of split BTF go on after its base's.
func isSplit(raw []byte) bool {
	order := btfOrder(raw)
	if order == nil {
		return false
	}
	headerLen, stringsOff, stringsLen := order.Uint32(raw[4:]), order.Uint32(raw[16:]), order.Uint32(raw[20:])
	start := uint64(headerLen) + uint64(stringsOff)
	if stringsLen == 0 {
		return true
	}
	return start < uint64(len(raw)) && raw[start] != 0
}

// btfOrder returns the byte order of raw BTF, nil if it is none.
func btfOrder(raw []byte) binary.ByteOrder {
	switch {
	case len(raw) < 2:
		return nil
	case binary.LittleEndian.Uint16(raw) == btfMagic:
		return binary.LittleEndian
	case binary.BigEndian.Uint16(raw) == btfMagic:
		return binary.BigEndian
	}
	return nil
}
