//go:build linux

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// ErrNotAttached is wrapped by Unload's error about an interface that has no
// program that was attached by this package.
var ErrNotAttached = errors.New("no program attached by xdp-load")

// Attachment is a program on an interface.
type Attachment struct {
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	Driver    string `json:"driver,omitempty"`
	Hook      Hook   `json:"hook,omitempty"`
	Mode      Mode   `json:"mode,omitempty"`

	Program   string         `json:"program"`
	ProgramID ebpf.ProgramID `json:"programID"`
	Tag       string         `json:"tag"`             // the kernel's hash of its instructions
	Loaded    time.Time      `json:"loaded,omitzero"` // to the second

	// StandIn is the program that a Watch has put in its place for a while, 0 if it runs itself.
	StandIn ebpf.ProgramID `json:"standIn,omitempty"`

	LinkID link.ID `json:"linkID,omitempty"` // 0 if it is attached without one
	Pin    string  `json:"pin"`              // path of the pinned link, or of what stands for it, empty if there is none

	// MountsOf is a process in whose mount namespace Pin is: nsenter(1) -t MountsOf -m
	// leads there. It is 0 if that is the caller's.
	MountsOf int `json:"mountsOf,omitempty"`

	// Record is what the program was rewritten for, nil if that is not known.
	Record *Record `json:"record,omitempty"`
}

// Status returns what is attached in the network namespace of the calling thread, by
// interface number, and why something that is pinned among it was skipped: what this
// package has pinned, and what a process has attached itself that was loaded by Load, or given
// its record by BindRecord. The latter has no Pin; to see it takes CAP_SYS_ADMIN.
//
// Returns an error wrapping ErrPrivileges if it may not look.
func Status() (attachments []Attachment, skipped []error, err error) {
	if attachments, skipped, err = pinnedStatus(); err != nil {
		return nil, nil, err
	}
	attachments, err = withOwned(attachments)
	return attachments, skipped, explainPermission(err)
}

// pinnedStatus is Status of what this package has pinned.
func pinnedStatus() (attachments []Attachment, skipped []error, err error) {
	pid, err := inLastingMounts(func() error {
		return withPins(func(pins *pinDir) (err error) {
			attachments, skipped, err = status(pins)
			return err
		})
	})
	for i := range attachments {
		attachments[i].MountsOf = pid
	}
	return attachments, skipped, explainPermission(err)
}

func status(pins *pinDir) (attachments []Attachment, skipped []error, err error) {
	links, skipped, err := pins.attachments()
	if err != nil {
		return nil, nil, err
	}
	hooks, err := allHooks()
	if err != nil {
		return nil, nil, err
	}
	for _, hook := range hooks {
		if err := hook.checkSeen(links); err != nil {
			skipped = append(skipped, err)
		}
		at := slices.IndexFunc(links, hook.runs)
		if at < 0 {
			continue
		}
		target, err := nic.ByName(hook.name)
		if errors.Is(err, nic.ErrNoInterface) { // it has gone, or has another name, since
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		attachment, err := describe(&links[at], target, hook.modeOf(links[at].program))
		if errors.Is(err, fs.ErrPermission) {
			return nil, nil, err
		}
		if err != nil {
			skipped = append(skipped, err)
			continue
		}
		attachments = append(attachments, *attachment)
	}
	return attachments, skipped, nil
}

// describe returns the attachment that a pinned link makes.
func describe(pin *pinnedAttachment, target *nic.Target, mode Mode) (*Attachment, error) {
	program, name, err := pin.openProgram()
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed it
		return nil, fmt.Errorf("%s: program %d: %w: unload it", target.Interface, pin.program, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: program %d: %w", target.Interface, pin.program, err)
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return nil, fmt.Errorf("%s: program %d: %w", target.Interface, pin.program, err)
	}
	record, err := pin.record()
	if err != nil {
		record = nil // of another version of xdp-load, or somebody has taken it away
	}
	return newAttachment(pin, target, mode, info, name, record), nil
}

func newAttachment(pin *pinnedAttachment, target *nic.Target, mode Mode, info *ebpf.ProgramInfo, name string, record *Record) *Attachment {
	attachment := &Attachment{
		Interface: target.Interface,
		Index:     target.Index,
		Driver:    target.Driver,
		Hook:      pin.at,
		Mode:      mode,
		Program:   name,
		ProgramID: pin.home,
		Tag:       info.Tag,
		Loaded:    loadTime(info),
		LinkID:    pin.link,
		Pin:       pin.path(),
		Record:    record,
	}
	if pin.isAway() {
		attachment.StandIn = pin.program
	}
	return attachment
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
