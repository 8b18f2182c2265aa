//go:build linux

package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
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
	var unfit []string
	for name := range l.needed.maps {
		if !fitsNIC(l.spec.Maps[name]) {
			unfit = append(unfit, name)
		}
	}
	if len(unfit) > 0 {
		slices.Sort(unfit)
		return fmt.Errorf("mode %s: program %s uses maps that no NIC has, which are arrays and hashes without flags, and not global variables: %s",
			Offload, l.Program, strings.Join(unfit, ", "))
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

// fitsNIC reports whether the kernel makes a map on NICs (bpf_map_offload_map_alloc in
// kernel/bpf/offload.c), whose drivers take no flags. Maps of global variables have some, as
// cilium/ebpf makes them.
func fitsNIC(spec *ebpf.MapSpec) bool {
	return (spec.Type == ebpf.Array || spec.Type == ebpf.Hash) && spec.Flags == 0 && !strings.HasPrefix(spec.Name, ".")
}

// makeMaps makes on the NIC those maps of the object that are not there, if the mode is Offload:
// cilium/ebpf makes all in the kernel.
func (l *load) makeMaps(there map[string]*ebpf.Map) (made map[string]*ebpf.Map, err error) {
	if l.at != XDP || l.mode() != Offload {
		return nil, nil
	}
	made = make(map[string]*ebpf.Map)
	for name, spec := range l.spec.Maps {
		if there[name] != nil {
			continue
		}
		made[name], err = makeMapOnNIC(spec, l.spec.Programs[l.Program].Ifindex)
		if err == nil {
			continue
		}
		delete(made, name)
		if errors.Is(err, unix.EINVAL) {
			return made, l.noOffload("map "+name, err)
		}
		return made, fmt.Errorf("%s: map %s: the NIC's driver makes none like it (%s, %d entries of %d and %d bytes): %w",
			l.Interface, name, spec.Type, spec.MaxEntries, spec.KeySize, spec.ValueSize, err)
	}
	return made, nil
}

// mapCreateAttr is the part of union bpf_attr (include/uapi/linux/bpf.h) that is for
// BPF_MAP_CREATE, as far as it is of use here. Maps on NICs have no types.
type mapCreateAttr struct {
	mapType, keySize, valueSize, maxEntries uint32
	flags, innerMap, numaNode               uint32
	name                                    [unix.BPF_OBJ_NAME_LEN]byte
	ifindex                                 uint32
}

func makeMapOnNIC(spec *ebpf.MapSpec, ifindex uint32) (*ebpf.Map, error) {
	attr := mapCreateAttr{
		mapType:    uint32(spec.Type),
		keySize:    spec.KeySize,
		valueSize:  spec.ValueSize,
		maxEntries: spec.MaxEntries,
		ifindex:    ifindex,
	}
	copy(attr.name[:len(attr.name)-1], spec.Name)
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return nil, errno
	}
	return ebpf.NewMapFromFD(int(fd))
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
	case errors.Is(err, unix.EINVAL):
		return l.noOffload(l.Program, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: the NIC's driver does not take program %s for it, and does not say why: attach it in native mode: %w", l.Interface, l.Program, err)
	}
	return nil
}

// noOffload says what it means that the kernel calls it invalid to load something for the NIC: its
// driver may not have told before whether it takes anything.
func (l *load) noOffload(what string, err error) error {
	return fmt.Errorf("%s: %w, or none like %s: attach it in native mode: %w", l.Interface, ErrNoOffload, what, err)
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
