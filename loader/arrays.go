//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
)

// programArray is a map of programs to tail-call. A new one is filled at once; one
// that was pinned by name, which a program that another loader has attached may be
// calling through, when everything is ready to be attached.
type programArray struct {
	name    string
	entries []ebpf.MapKV // slot and name of the program
	reused  bool
}

// takeProgramArrays takes it upon itself to fill program arrays. cilium/ebpf would
// write them before it knows whether everything can be loaded.
func (l *load) takeProgramArrays() {
	for name, spec := range l.spec.Maps {
		if spec.Type == ebpf.ProgramArray {
			l.arrays = append(l.arrays, programArray{name: name, entries: spec.Contents})
		}
	}
}

// withoutArrayContents returns the specification without what program arrays start
// with.
func withoutArrayContents(spec *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	spec = spec.Copy()
	for _, m := range spec.Maps {
		if m.Type == ebpf.ProgramArray {
			m.Contents = nil
		}
	}
	return spec
}

// fill puts the programs into an array.
func (a *programArray) fill(collection *ebpf.Collection) error {
	for _, entry := range a.entries {
		if err := a.put(collection, entry); err != nil {
			return err
		}
	}
	return nil
}

func (a *programArray) put(collection *ebpf.Collection, entry ebpf.MapKV) error {
	name, _ := entry.Value.(string)
	program := collection.Programs[name]
	if program == nil {
		return fmt.Errorf("map %s: the object has no program %v to put into slot %v", a.name, entry.Value, entry.Key)
	}
	if err := collection.Maps[a.name].Put(entry.Key, program); err != nil {
		return fmt.Errorf("map %s: put program %s into slot %v: %w", a.name, name, entry.Key, err)
	}
	return nil
}

// replace puts the programs into an array that may have others, and returns these.
// If it fails the array is as it was.
func (a *programArray) replace(collection *ebpf.Collection) (replacedPrograms, error) {
	replaced := replacedPrograms{array: collection.Maps[a.name]}
	for _, entry := range a.entries {
		before, err := programAt(replaced.array, entry.Key)
		if err != nil {
			replaced.restore()
			return replaced, fmt.Errorf("map %s: slot %v has a program, which could not be put back if the load failed: %w", a.name, entry.Key, err)
		}
		replaced.slots = append(replaced.slots, ebpf.MapKV{Key: entry.Key, Value: before})
		if err := a.put(collection, entry); err != nil {
			replaced.restore()
			return replaced, err
		}
	}
	return replaced, nil
}

// replacedPrograms are those that were in slots of an array before others came, nil
// where a slot was empty.
type replacedPrograms struct {
	array *ebpf.Map
	slots []ebpf.MapKV // Value is a *ebpf.Program
}

// restore puts the programs back.
func (r *replacedPrograms) restore() {
	for _, slot := range r.slots {
		if before := slot.Value.(*ebpf.Program); before != nil {
			_ = r.array.Put(slot.Key, before)
		} else {
			_ = r.array.Delete(slot.Key)
		}
	}
	r.close()
}

func (r *replacedPrograms) close() {
	for _, slot := range r.slots {
		slot.Value.(*ebpf.Program).Close() // does nothing if it is nil
	}
	r.slots = nil
}

// programAt opens the program in a slot of an array. It returns nil if the slot is
// empty. It takes CAP_SYS_ADMIN: an array tells only the IDs of its programs.
func programAt(m *ebpf.Map, slot any) (*ebpf.Program, error) {
	var id uint32
	err := m.Lookup(slot, &id)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	program, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // removed in the meantime
	}
	return program, err
}
