package link

import (
	"debug/elf"
	"fmt"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// addData puts the data of the source behind that of the object, section by section.
func (l *linking) addData() error {
	for _, from := range l.needed {
		to, err := l.dataSection(from)
		if err != nil {
			return fmt.Errorf("section %s: %w", from, err)
		}
		start, err := l.obj.Grow(to, from.Addralign, from.Length())
		if err != nil {
			return err
		}
		if from.Type != elf.SHT_NOBITS {
			copy(to.Data[start:], from.Data)
		}
		l.data[from.Index] = placed{to, start}
	}
	return nil
}

// dataSection returns the object's section of that name, an empty one if it had none.
func (l *linking) dataSection(from *elfobj.Section) (*elfobj.Section, error) {
	to := l.obj.Section(from.Name)
	switch {
	case to == nil && from.Type == elf.SHT_NOBITS:
		return l.obj.AddZeroes(from.Name, dataFlags&from.Flags, from.Addralign, 0)
	case to == nil:
		return l.obj.AddSection(from.Name, dataFlags&from.Flags, from.Addralign, nil)
	case to.Type != from.Type:
		return nil, fmt.Errorf("it is of type %s in one object, and of type %s in the other", to.Type, from.Type)
	case dataFlags&to.Flags != dataFlags&from.Flags:
		return nil, fmt.Errorf("it has flags %s in one object, and %s in the other", to.Flags, from.Flags)
	}
	return to, nil
}

const dataFlags = elf.SHF_ALLOC | elf.SHF_WRITE | elf.SHF_COMPRESSED
