package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// linkPins holds the pins of the links that attach programs, each named after
// the ID of its link. An ID is unique on the machine. Interfaces are not:
// their names and numbers repeat across network namespaces, and both they and
// the namespace they are in can change while a program is attached.
const linkPins = bpffs + "/xdp-load"

// ErrNotAttached is wrapped by Unload's error about an interface that has no
// program that was attached by this package.
var ErrNotAttached = errors.New("no program attached by xdp-load")

// Attachment is a program on an interface.
type Attachment struct {
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	Driver    string `json:"driver,omitempty"`

	Program   string         `json:"program"`
	ProgramID ebpf.ProgramID `json:"programID"`
	Tag       string         `json:"tag"`    // the kernel's hash of its instructions
	Loaded    time.Time      `json:"loaded"` // to the second

	LinkID link.ID `json:"linkID"`
	Pin    string  `json:"pin"` // path of the pinned link
}

// Status returns what this package has attached in the network namespace of
// the calling thread, by interface number.
//
// Returns an error wrapping ErrPrivileges if it may not look.
func Status() ([]Attachment, error) {
	var attachments []Attachment
	err := inLastingMounts(func() (err error) {
		attachments, err = status()
		return err
	})
	return attachments, explainPermission(err)
}

func status() ([]Attachment, error) {
	hooks, err := xdpHooks()
	if err != nil {
		return nil, err
	}
	pins, err := pinnedLinks()
	if err != nil {
		return nil, err
	}

	var attachments []Attachment
	for _, hook := range hooks {
		at := slices.IndexFunc(pins, hook.runs)
		if at < 0 {
			continue
		}
		target, err := nic.ByName(hook.name)
		if err != nil {
			return nil, err
		}
		attachment, err := describe(&pins[at], target)
		if err != nil {
			return nil, err
		}
		attachments = append(attachments, *attachment)
	}
	return attachments, nil
}

// Unload detaches what this package has attached to an interface in the network
// namespace of the calling thread. Maps that were pinned by name stay, as with
// other loaders.
//
// Returns an error wrapping ErrNotAttached if there is nothing, ErrPrivileges,
// or nic.ErrNoInterface.
func Unload(iface string) error {
	return explainPermission(inLastingMounts(func() error { return unload(iface) }))
}

func unload(iface string) error {
	present, err := hookByName(iface)
	if err != nil {
		return err
	}
	pins, err := pinnedLinks()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(pins, present.runs)
	if at < 0 {
		return present.notOurs()
	}
	if err := unpinLink(pins[at].path); err != nil {
		return fmt.Errorf("%s: %w", iface, err)
	}
	return nil
}

// notOurs says that there is nothing to unload, and what is there instead.
func (h *hook) notOurs() error {
	if len(h.programs) == 0 {
		return fmt.Errorf("%s: %w, nor any other XDP program", h.name, ErrNotAttached)
	}
	return fmt.Errorf("%s: %w: to take off %s, which is there, %s",
		h.name, ErrNotAttached, programTitle(h.programs[0]), howToDetach(h.name, h.programs[0]))
}

// pinnedLink is a link that this package has pinned.
type pinnedLink struct {
	path    string
	id      link.ID
	program ebpf.ProgramID
	ifindex int // in the network namespace that the interface is in
}

// pinnedLinks returns the links that this package has pinned, in whatever
// network namespace they are attached, and sweeps away the pins of those whose
// interface is gone.
func pinnedLinks() ([]pinnedLink, error) {
	files, err := os.ReadDir(linkPins)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}

	var pins []pinnedLink
	for _, file := range files {
		pin, err := openPin(filepath.Join(linkPins, file.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // unloaded in the meantime
		}
		if err != nil {
			return nil, err
		}
		if pin.ifindex == 0 {
			os.Remove(pin.path)
			continue
		}
		pins = append(pins, *pin)
	}
	if len(pins) == 0 {
		removeIfEmpty(linkPins)
	}
	return pins, nil
}

func openPin(path string) (*pinnedLink, error) {
	pinned, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer pinned.Close()

	info, err := pinned.Info()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if info.Type != link.XDPType {
		return nil, fmt.Errorf("%s: not a link of an XDP program, and not made by xdp-load: remove it", path)
	}
	return &pinnedLink{path, info.ID, info.Program, int(info.XDP().Ifindex)}, nil
}

// unpinLink detaches a pinned link and removes its pin. The link is detached
// even if another process holds it open. Killed in between, the pin is swept
// away later.
func unpinLink(path string) error {
	pinned, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return err
	}
	defer pinned.Close()

	if err := pinned.Detach(); err != nil {
		return fmt.Errorf("detach link: %w", err)
	}
	if err := pinned.Unpin(); err != nil {
		return fmt.Errorf("unpin link: %w", err)
	}
	removeIfEmpty(linkPins)
	return nil
}

// removeIfEmpty removes a directory unless there is something in it.
func removeIfEmpty(dir string) {
	_ = os.Remove(dir)
}

// describe returns the attachment that a pinned link makes.
func describe(pin *pinnedLink, target *nic.Target) (*Attachment, error) {
	info, err := programInfo(pin.program)
	if err != nil {
		return nil, fmt.Errorf("%s: program %d: %w", target.Interface, pin.program, err)
	}
	return &Attachment{
		Interface: target.Interface,
		Index:     target.Index,
		Driver:    target.Driver,
		Program:   programName(info),
		ProgramID: pin.program,
		Tag:       info.Tag,
		Loaded:    loadTime(info),
		LinkID:    pin.id,
		Pin:       pin.path,
	}, nil
}

func programInfo(id ebpf.ProgramID) (*ebpf.ProgramInfo, error) {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	return program.Info()
}

// programName returns the name of the program's function. The kernel's own
// record of it is cut off after 15 characters.
func programName(info *ebpf.ProgramInfo) string {
	functions, err := info.FuncInfos()
	if err != nil || len(functions) == 0 {
		return info.Name
	}
	return functions[0].Func.Name
}

// loadTime returns when a program was loaded. The kernel counts from boot.
func loadTime(info *ebpf.ProgramInfo) time.Time {
	sinceBoot, ok := info.LoadTime()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil || !ok {
		return time.Time{}
	}
	age := time.Duration(now.Nano()) - sinceBoot
	return time.Now().Add(-age).Round(time.Second)
}
