//go:build linux

package nic

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/xdp-load/xdp-load/reloc"
)

// Search says where to look for layouts. The zero value is useful.
type Search struct {
	// Dirs are the directories with layouts (optional: LayoutDir, and those that the environment
	// variable LayoutDirsVariable names).
	Dirs []string

	// Kernel is the one whose modules are looked at (optional: the kernel that runs).
	Kernel *Kernel

	// Log is told of each place where a source was looked for, and of the one that was found
	// (optional).
	Log *slog.Logger
}

// note tells the log of the places where an interface has no layout.
func (s *Search) note(iface string, places []Place) {
	for _, place := range places {
		s.say("no layout", iface, "place", place.Place, "why", place.Why)
	}
}

// found tells the log what the source of an interface is.
func (s *Search) found(t *Target) {
	s.say("source", t.Interface, "kind", t.Source.Kind, "name", t.Source.Name)
}

func (s *Search) say(what, iface string, args ...any) {
	if s.Log != nil {
		s.Log.Info(what, append([]any{"interface", iface}, args...)...)
	}
}

// FindLayout looks for the layout of an interface, and sets Layout and Source if there is
// one. The places are those where there was none. In their order they are:
//
//   - the directories, for a file that is named by the interface, and then, of the driver
//     that XDP programs get their packets from, for <driver>@<firmware>, with as much of the
//     firmware's version as a file has, and for <driver>. A bond's slaves have to agree.
//   - the BTF of the driver's module, for struct md_desc___<driver>, or md_desc
//
// A file, or a struct, that is found and can't be used is an error, not passed over.
func (t *Target) FindLayout(search Search) ([]Place, error) {
	var places []Place
	if search.Dirs == nil {
		search.Dirs = layoutDirectories()
		if len(search.Dirs) == 1 {
			places = append(places, Place{"$" + LayoutDirsVariable, "not set"})
		}
	}
	if search.Kernel == nil {
		search.Kernel = NewKernel("")
	}
	receivers, err := t.receivers()
	if err != nil {
		return nil, err
	}
	inDirs, err := t.findFile(search.Dirs, receivers)
	if err != nil {
		return nil, err
	}
	if t.Layout == nil {
		search.note(t.Interface, slices.Concat(inDirs, places))
		var inBTF []Place
		if inBTF, err = t.findInModule(search.Kernel, receivers); err != nil || t.Layout == nil {
			search.note(t.Interface, inBTF)
			return slices.Concat(inDirs, places, inBTF), err
		}
	}
	search.found(t)
	return nil, nil
}

// findFile looks for a file in the directories.
func (t *Target) findFile(dirs []string, receivers []receiver) ([]Place, error) {
	files, err := readLayoutDirs(dirs)
	if err != nil {
		return nil, err
	}
	path, err := files.named(t.Interface)
	if err == nil && path == "" {
		path, err = files.forReceivers(receivers)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Interface, err)
	}
	if path == "" {
		return files.places(t.Interface, receivers), nil
	}
	layout, err := OpenLayout(path, "")
	if err != nil {
		return nil, err
	}
	t.Layout, t.Source = layout, Source{LayoutFile, path}
	return nil, t.wantDescriptor()
}

// wantDescriptor refuses a layout that was found by its file's name and has none.
func (t *Target) wantDescriptor() error {
	size, err := t.Layout.SizeOf(reloc.Descriptor)
	if err == nil && size == 0 {
		err = fmt.Errorf("layout %s: %w, and the file is named for %s: compile it with a variable of the struct in it, or take it away",
			t.Layout.Name(), ErrNoDescriptor, t.Interface)
	}
	return err
}

// findInModule looks for a struct in the BTF of the driver's module.
func (t *Target) findInModule(kernel *Kernel, receivers []receiver) ([]Place, error) {
	if len(receivers) == 0 || !sameDriver(receivers) || receivers[0].driver == "" {
		return []Place{{"BTF of the driver's module", "there is not one driver whose it would be"}}, nil
	}
	layout, place, err := moduleLayout(kernel, receivers[0])
	if err != nil || layout == nil {
		return []Place{place}, err
	}
	t.Layout, t.Source = layout, Source{ModuleBTF, layout.Name()}
	return nil, nil
}

// errSlavesDiffer is about a bond.
var errSlavesDiffer = errors.New("its slaves have different layouts")
