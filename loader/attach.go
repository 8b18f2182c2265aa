package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

var (
	// ErrNoProgram is wrapped by the error about an object that has no XDP
	// program to attach.
	ErrNoProgram = errors.New("no XDP program to attach")

	// ErrSeveralPrograms is wrapped by the error about an object of which
	// Options.Program has to name one.
	ErrSeveralPrograms = errors.New("several XDP programs, of which only one can be attached")

	// ErrOccupied is wrapped by the error about an interface that has an XDP
	// program already.
	ErrOccupied = errors.New("already has an XDP program")

	// ErrNoNative is wrapped by the error about an interface whose driver
	// can't run XDP programs itself.
	ErrNoNative = errors.New("no native XDP")
)

// chooseProgram returns the name of the program to attach: wanted, or the only
// one there is if that is empty.
func chooseProgram(spec *ebpf.CollectionSpec, wanted string) (string, error) {
	var names []string
	for name, program := range spec.Programs {
		if program.Type == ebpf.XDP && program.AttachType == ebpf.AttachXDP {
			names = append(names, name)
		}
	}
	slices.Sort(names)

	switch {
	case len(names) == 0:
		return "", fmt.Errorf(`%w: an interface takes one in SEC("xdp"), this object has %s`, ErrNoProgram, sections(spec))
	case slices.Contains(names, wanted):
		return wanted, nil
	case wanted != "":
		return "", fmt.Errorf("%w of the name %s: there is %s", ErrNoProgram, wanted, strings.Join(names, ", "))
	case len(names) > 1:
		return "", fmt.Errorf("%w: choose one of %s", ErrSeveralPrograms, strings.Join(names, ", "))
	}
	return names[0], nil
}

// sections lists the programs of an object with their sections.
func sections(spec *ebpf.CollectionSpec) string {
	if len(spec.Programs) == 0 {
		return "no programs"
	}
	var list []string
	for name, program := range spec.Programs {
		list = append(list, fmt.Sprintf("%s in SEC(%q)", name, program.SectionName))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// attach attaches a program to the interface by a link, and pins the link. The
// pin is the last step: until then the link goes away with the process.
func (l *load) attach(program *ebpf.Program) (*Attachment, error) {
	target, err := nic.ByName(l.Interface)
	if err != nil {
		return nil, err
	}
	if err := l.mountBPFFS(); err != nil {
		return nil, err
	}

	attached, err := link.AttachXDP(link.XDPOptions{
		Program:   program,
		Interface: target.Index,
		Flags:     link.XDPDriverMode,
	})
	if err != nil {
		return nil, explainAttach(target, err)
	}
	// Once it is pinned, the link does not need this process any more.
	defer attached.Close()

	pin, err := pinLink(attached)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Interface, err)
	}
	l.undo.later(func() { unpinLink(pin.path) })
	return describe(pin, target)
}

// explainAttach says why the kernel did not attach a program. Its reasons are
// those of dev_xdp_attach in net/core/dev.c.
func explainAttach(target *nic.Target, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		// Somebody else was faster.
		if occupied := checkVacant(target.Interface); occupied != nil {
			return occupied
		}
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: %w in %s, and generic mode is no way out: it starts with an empty metadata area: %w",
			target.Interface, ErrNoNative, driverName(target), err)
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s: attach in native mode: %s refuses, maybe for an MTU or a number of queues that it can't do XDP with: %w",
			target.Interface, driverName(target), err)
	}
	return fmt.Errorf("%s: %w", target.Interface, err)
}

func driverName(target *nic.Target) string {
	if target.Driver == "" {
		return "its driver"
	}
	return "driver " + target.Driver
}

// checkVacant reports an XDP program on the interface.
func checkVacant(iface string) error {
	present, err := hookByName(iface)
	if err != nil {
		return err
	}
	if len(present.programs) == 0 {
		return nil
	}
	return present.occupied()
}

// occupied says which program is there, whose it is, and how to take it off.
func (h *hook) occupied() error {
	ours, err := pinnedLinks()
	if err != nil {
		return err
	}
	program := h.programs[0]
	if slices.ContainsFunc(ours, h.runs) {
		return fmt.Errorf("%s %w: %s, attached by xdp-load: to take it off, xdp-load unload --iface %s",
			h.name, ErrOccupied, programTitle(program), h.name)
	}
	return fmt.Errorf("%s %w: %s, not attached by xdp-load: to take it off, %s",
		h.name, ErrOccupied, programTitle(program), howToDetach(h.name, program))
}

// programTitle names a program for messages.
func programTitle(id ebpf.ProgramID) string {
	if info, err := programInfo(id); err == nil {
		return fmt.Sprintf("id %d %q", id, programName(info))
	}
	return fmt.Sprintf("id %d", id)
}

// howToDetach returns the command that detaches a foreign program: one attached
// by a link can't be detached by anything but that link.
func howToDetach(iface string, program ebpf.ProgramID) string {
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err == nil && info.Type == link.XDPType && info.Program == program {
			return fmt.Sprintf("bpftool link detach id %d", links.ID)
		}
	}
	return fmt.Sprintf("ip link set dev %s xdp off", iface)
}

// pinLink pins a link under a name that no other link has.
func pinLink(attached link.Link) (*pinnedLink, error) {
	info, err := attached.Info()
	if err != nil {
		return nil, err
	}
	pin := &pinnedLink{
		path:    filepath.Join(linkPins, fmt.Sprintf("link-%d", info.ID)),
		id:      info.ID,
		program: info.Program,
		ifindex: int(info.XDP().Ifindex),
	}

	// Another process may take the directory away while it is empty.
	for range 3 {
		if err = os.MkdirAll(linkPins, 0o700); err != nil {
			return nil, err
		}
		if err = attached.Pin(pin.path); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err != nil {
		removeIfEmpty(linkPins)
		return nil, fmt.Errorf("pin link: %w", err)
	}
	return pin, nil
}
