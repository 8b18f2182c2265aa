//go:build linux

package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/nic"
)

// checkRedirects wants maps and programs in the object that the entries fit.
func (l *load) checkRedirects() error {
	for _, r := range l.Redirects {
		if err := r.check(l.spec); err != nil {
			return fmt.Errorf("map %s: %w", r.Map, err)
		}
	}
	return nil
}

func (r *Redirect) check(spec *ebpf.CollectionSpec) error {
	m := spec.Maps[r.Map]
	if m == nil {
		return errors.New("nothing that is loaded uses a map of the name")
	}
	_, ok := redirectMaps[m.Type]
	switch {
	case !ok:
		return fmt.Errorf("its type is %v: packets are redirected into a CPUMap, a DevMap or a DevMapHash", m.Type)
	case m.Type == ebpf.CPUMap && (r.Queue == 0 || r.Interface != ""):
		return fmt.Errorf("key %d: a cpumap takes the size of the queue of a CPU, in packets", r.Key)
	case m.Type != ebpf.CPUMap && (r.Queue != 0 || r.Interface == ""):
		return fmt.Errorf("key %d: a devmap takes the name of an interface", r.Key)
	case r.Program == "":
		return nil
	case m.ValueSize != sizeofRedirect:
		return fmt.Errorf("key %d: its values have no room for program %s: declare them as struct bpf_cpumap_val or bpf_devmap_val", r.Key, r.Program)
	}
	program := spec.Programs[r.Program]
	if program == nil || !isFor(m, program) {
		return fmt.Errorf(`key %d: program %s is none in SEC("xdp/%s"), of which there is %s`, r.Key, r.Program, mapOf[redirectMaps[m.Type]], sections(spec))
	}
	return nil
}

// putRedirects puts the entries into the maps that are new, or into those that were there
// before. What these had is put back if the load fails.
func (l *load) putRedirects(isNew bool) error {
	for _, r := range l.Redirects {
		if l.reused[r.Map] == isNew {
			continue
		}
		if err := l.putRedirect(&r); err != nil {
			return fmt.Errorf("map %s: key %d: %w", r.Map, r.Key, err)
		}
	}
	return nil
}

func (l *load) putRedirect(r *Redirect) error {
	m := l.collection.Maps[r.Map]
	value, err := r.value(l.collection)
	if err != nil {
		return err
	}
	value = value[:m.ValueSize()/4]
	if l.reused[r.Map] {
		if err := l.keepRedirect(m, r.Key); err != nil {
			return fmt.Errorf("what is there could not be put back if the load failed: %w", err)
		}
	}
	return m.Put(r.Key, value)
}

// value returns what the entry is in the map: where to, and the file descriptor of the program.
func (r *Redirect) value(collection *ebpf.Collection) ([]uint32, error) {
	value := []uint32{r.Queue, 0}
	if r.Interface != "" {
		target, err := nic.ByName(r.Interface)
		if err != nil {
			return nil, err
		}
		value[0] = uint32(target.Index)
	}
	if r.Program != "" {
		value[1] = uint32(collection.Programs[r.Program].FD())
	}
	return value, nil
}

// keepRedirect has the present entry put back if the load fails. If that has a program, it takes
// CAP_SYS_ADMIN: a map tells only the IDs of its programs.
func (l *load) keepRedirect(m *ebpf.Map, key uint32) error {
	before := make([]uint32, m.ValueSize()/4)
	err := m.Lookup(key, &before)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		l.undo.later(func() { _ = m.Delete(key) })
		return nil
	}
	if err != nil {
		return err
	}
	if len(before) > 1 && before[1] != 0 {
		program, err := ebpf.NewProgramFromID(ebpf.ProgramID(before[1]))
		if err != nil {
			return err
		}
		l.closeLater = append(l.closeLater, program)
		before[1] = uint32(program.FD())
	}
	l.undo.later(func() { _ = m.Put(key, before) })
	return nil
}

// PinnedProgram is a program for a cpumap or a devmap, which is pinned as long as the program is
// attached that redirects into that.
type PinnedProgram struct {
	Name string         `json:"name"`
	ID   ebpf.ProgramID `json:"id"`
	For  string         `json:"for"` // "cpumap" or "devmap"
	Path string         `json:"path"`
}

// pinForMaps pins the programs for cpumaps and devmaps, for other processes to put them there.
func (l *load) pinForMaps(id ebpf.ProgramID) error {
	dir := pinName(pinsForMaps, id)
	l.forMaps = nil // of an attachment before
	for _, name := range slices.Sorted(maps.Keys(l.spec.Programs)) {
		kind := mapOf[l.spec.Programs[name].AttachType]
		if kind == "" {
			continue
		}
		if len(l.forMaps) == 0 {
			if err := os.Mkdir(l.pins.path(linkPinsName, dir), 0o700); err != nil {
				return err
			}
		}
		if err := pinProgramAgain(l.collection.Programs[name], l.pins.path(linkPinsName, dir), name); err != nil {
			return err
		}
		programID, err := idOf(l.collection.Programs[name])
		if err != nil {
			return err
		}
		l.forMaps = append(l.forMaps, PinnedProgram{name, programID, kind, linkPins + "/" + dir + "/" + name})
	}
	return nil
}
