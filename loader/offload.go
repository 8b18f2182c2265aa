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

// explainLoad says why the kernel does not load a program.
func (l *load) explainLoad(err error) error {
	if reason := l.explainOffload(err); reason != nil {
		return reason
	}
	return ExplainRefusal(err, l.spec, l.report)
}

// explainOffload says what the kernel means that refuses to load a program for the NIC before the
// verifier has looked at it. It returns nil if it does not.
func (l *load) explainOffload(err error) error {
	if l.at != XDP || l.mode() != Offload || l.isVerdict(err) {
		return nil
	}
	switch {
	case errors.Is(err, unix.EINVAL): // the driver may not have told before whether it takes any
		return fmt.Errorf("%s: %w, or none like %s: attach it in native mode: %w", l.Interface, ErrNoOffload, l.Program, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: the NIC's driver does not take program %s for it, and does not say why: attach it in native mode: %w", l.Interface, l.Program, err)
	}
	return nil
}

// isVerdict reports whether the verifier, or what a driver has it ask about each instruction, says
// something about a program.
func (l *load) isVerdict(err error) bool {
	verifier := verdictOn(err, l.spec)
	if verifier == nil {
		return false
	}
	log := splitLog(verifier.Log)
	return len(log.trace) > 0 || len(log.verdict) > 0
}
