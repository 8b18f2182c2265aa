//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// checkPinPath wants maps to be pinned in a directory that is there, of a bpffs. The
// default one may still have to be mounted.
func (l *load) checkPinPath() error {
	dir := l.Collection.Maps.PinPath
	if dir == bpffs || isBPFFS(dir) {
		return nil
	}
	switch _, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("pin maps in %s: %w: make the directory first, in a bpffs", dir, errors.Unwrap(err))
	case err != nil:
		return fmt.Errorf("pin maps in %s: %w", dir, errors.Unwrap(err))
	}
	return fmt.Errorf("pin maps in %s: it is in no bpffs: give a directory of one, as %s", dir, bpffs)
}

// explainNoMap says why what is pinned at a path, which messages call shown, can't be
// opened as a map.
func explainNoMap(err error, path, shown string) error {
	info, statErr := os.Lstat(path)
	kind := pinnedKind(path)
	switch {
	case statErr == nil && info.IsDir():
		return fmt.Errorf("%s, where it is to be pinned, is a directory: remove that, or give the map another name", shown)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("what is pinned at %s was on a NIC that is gone: rm %[1]s: %w", shown, err)
	case kind == "" || kind == "map": // this process may not, or there is no memory
		return fmt.Errorf("open %s: %w", shown, err)
	}
	return fmt.Errorf("what is pinned at %s can't be opened as a map (%w): if nothing needs it, rm %[1]s; else give the map another name", shown, err)
}

// checkLike wants a map that is pinned by the name of one of the object's to be like it.
// It wraps ebpf.ErrMapIncompatible, and says in what they differ, and what to do about
// it.
func checkLike(spec *ebpf.MapSpec, pinned *ebpf.Map, shown string) error {
	err := spec.Compatible(pinned)
	if err == nil {
		return nil
	}
	differences, isKnown := strings.CutSuffix(err.Error(), ": "+ebpf.ErrMapIncompatible.Error())
	if !isKnown {
		return fmt.Errorf("%s: %w", shown, err)
	}
	// "Type: Hash changed to Array", where Hash is what is pinned.
	return fmt.Errorf("%w, which is pinned at %s (%s): if nothing needs what it holds, rm %[2]s; else declare the map like it",
		ebpf.ErrMapIncompatible, shown, strings.ReplaceAll(differences, " changed to ", " instead of "))
}
