//go:build linux

package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// ErrNoOffload is wrapped by the error about an interface whose NIC runs no XDP programs.
var ErrNoOffload = errors.New("no XDP programs on the NIC")

// offload has the programs loaded for the NIC of the interface, if the mode is Offload.
func (l *load) offload() error {
	if l.at != XDP || l.mode() != Offload {
		return nil
	}
	if len(l.needed.maps) > 0 {
		return fmt.Errorf("mode %s: program %s uses maps, which would have to be on the NIC, too, and are made in the kernel: %s",
			Offload, l.Program, strings.Join(slices.Sorted(maps.Keys(l.needed.maps)), ", "))
	}
	target, err := nic.ByName(l.Interface)
	if err != nil {
		return err
	}
	has, err := target.HasOffload()
	switch {
	case errors.Is(err, nic.ErrFeaturesUnknown): // then the driver says it
	case err != nil:
		return err
	case !has:
		return fmt.Errorf("%s: %w by all that %s tells (netlink family netdev): attach it in native mode", l.Interface, ErrNoOffload, driverName(target))
	}
	for _, program := range l.spec.Programs {
		program.Ifindex = uint32(target.Index)
		program.Flags &^= unix.BPF_F_XDP_DEV_BOUND_ONLY
	}
	return nil
}

// explainOffload says what the kernel means that refuses to load a program for the NIC, if the
// driver has not told before whether it takes any.
func (l *load) explainOffload(err error) error {
	if l.mode() != Offload || !errors.Is(err, unix.EINVAL) {
		return err
	}
	return fmt.Errorf("%s: %w, or none like %s: attach it in native mode: %w", l.Interface, ErrNoOffload, l.Program, err)
}
