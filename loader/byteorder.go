package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/xdp-load/xdp-load/reloc"
)

// checkByteOrder wants an object and a layout of this machine's byte order: the kernel
// knows no other, and the two may agree with each other. What is no ELF file is not
// refused here.
func checkByteOrder(object []byte, layout *reloc.Layout) error {
	here := endianness(binary.NativeEndian)
	if byteOrder := elfOrder(object); byteOrder != nil {
		if is := endianness(byteOrder); is != here {
			return fmt.Errorf("%w: the object is %s and this machine is %s: compile it with -target %s", reloc.ErrByteOrder, is.name, here.name, here.target)
		}
	}
	if layout == nil {
		return nil
	}
	if is := endianness(layout.ByteOrder()); is != here {
		return fmt.Errorf("%w: layout %s is %s and this machine is %s: compile it with -target %s", reloc.ErrByteOrder, layout.Name(), is.name, here.name, here.target)
	}
	return nil
}

// elfOrder returns the byte order of an ELF file, nil for what is none.
func elfOrder(object []byte) binary.ByteOrder {
	switch {
	case !bytes.HasPrefix(object, []byte(elf.ELFMAG)) || len(object) <= elf.EI_DATA:
		return nil
	case elf.Data(object[elf.EI_DATA]) == elf.ELFDATA2MSB:
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// order is a byte order with its name and that of clang's target.
type order struct{ name, target string }

func endianness(byteOrder binary.ByteOrder) order {
	if byteOrder.Uint16([]byte{0, 1}) == 1 {
		return order{"big-endian", "bpfeb"}
	}
	return order{"little-endian", "bpfel"}
}
