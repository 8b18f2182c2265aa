//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// Programs that a process attaches itself, by links of its own, have the record of what they
// were rewritten for, too. It says whose they are: nobody else replaces or detaches them.

// BindRecord has a program that was loaded from RewrittenSpec hold the record of what it was
// rewritten for, so that Status and xdp-load status tell it, whoever attaches the program. The
// object and the options are those that RewrittenSpec was given. Load needs no such call.
//
// It takes Linux 5.10: on earlier kernels a program can't hold a map that it does not
// use, and nothing is told.
//
// Returns the errors of Rewrite, and one wrapping ErrNoProgram if the object has no
// program of this name that an interface takes.
func BindRecord(program *ebpf.Program, object io.ReaderAt, opts Options) error {
	raw, err := readAll(object)
	if err != nil {
		return err
	}
	info, err := program.Info()
	if err != nil {
		return err
	}
	opts.Program = programName(info)
	l, err := newLoadPart("", raw, opts, anyHook)
	if err != nil {
		return err
	}
	target, err := l.target()
	if err != nil {
		return err
	}
	record, err := l.newOwnRecord(target)
	if err != nil {
		return err
	}
	return explainPermission(bind(program, record))
}

// bindRecords has each program that an interface takes hold its record.
func (l *load) bindRecords() error {
	target, err := l.target()
	if err != nil {
		return err
	}
	for name, spec := range l.spec.Programs {
		if HookOf(spec) == "" {
			continue
		}
		one := *l
		one.Program = name
		if one.needed == nil {
			one.report = l.report.Of(reachOf(l.spec, name).functions())
		}
		record, err := one.newOwnRecord(target)
		if err != nil {
			return err
		}
		if err := bind(l.collection.Programs[name], record); err != nil {
			return err
		}
		if name == l.Program {
			l.record = record
		}
	}
	return nil
}

// bindOwn has the program hold the record again that says that it is this process's to attach.
func (l *load) bindOwn() error {
	if l.record == nil {
		return l.bindRecords()
	}
	return bind(l.collection.Programs[l.Program], l.record)
}

// target returns the interface of the options, nil if there is none.
func (l *load) target() (*nic.Target, error) {
	if l.Interface == "" {
		return nil, nil
	}
	return nic.ByName(l.Interface)
}

// newOwnRecord returns the record of a program that this process attaches itself.
func (l *load) newOwnRecord(target *nic.Target) (*Record, error) {
	if target == nil {
		target = new(nic.Target)
	}
	record, err := l.newRecord(target)
	if err == nil {
		record.Owner = fmt.Sprintf("%s, process %d", filepath.Base(os.Args[0]), os.Getpid())
	}
	return record, err
}

// bind has a program hold a record, if the kernel can: see pinDir.bindRecord.
func bind(program *ebpf.Program, record *Record) error {
	m, err := record.store()
	if err != nil {
		return err
	}
	defer m.Close()
	return bindMap(program, m)
}

func bindMap(program *ebpf.Program, m *ebpf.Map) error {
	err := program.BindMap(m)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("bind the map of the record: %w", err)
	}
	return nil
}

// newOwnAttachment returns the attachment of a program by a link of this process's.
func newOwnAttachment(target *nic.Target, at Hook, mode Mode, id ebpf.ProgramID, info *ebpf.ProgramInfo, name string, record *Record) *Attachment {
	pin := pinnedAttachment{program: id, home: id, at: at, ifindex: target.Index}
	attachment := newAttachment(&pin, target, mode, info, name, record)
	attachment.Pin = ""
	return attachment
}

// withOwned adds the programs on interfaces that a process has attached itself, and that say
// what they were rewritten for, as far as this process may look at them.
func withOwned(attachments []Attachment) ([]Attachment, error) {
	hooks, err := allHooks()
	if err != nil {
		return nil, err
	}
	for i := range hooks {
		h := &hooks[i]
		for _, hooked := range h.programs {
			if slices.ContainsFunc(attachments, func(a Attachment) bool {
				return a.Index == h.index && (a.ProgramID == hooked.id || a.StandIn == hooked.id)
			}) {
				continue
			}
			attachment, err := h.owned(hooked)
			if err != nil {
				return nil, err
			}
			if attachment != nil {
				attachments = append(attachments, *attachment)
			}
		}
	}
	slices.SortStableFunc(attachments, func(a, b Attachment) int { return cmp.Compare(a.Index, b.Index) })
	return attachments, nil
}

// owned returns the attachment of a program whose record says whose it is, nil if it does not.
func (h *hook) owned(hooked hookedProgram) (*Attachment, error) {
	program, err := ebpf.NewProgramFromID(hooked.id)
	if err != nil {
		return nil, nil // it has gone, or others may look at it
	}
	defer program.Close()
	record, err := RecordOf(program)
	if err != nil || record.Owner == "" {
		return nil, nil
	}
	info, err := program.Info()
	if err != nil {
		return nil, err
	}
	target, err := nic.ByName(h.name)
	if errors.Is(err, nic.ErrNoInterface) { // it has gone, or has another name, since
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	attachment := newOwnAttachment(target, h.at, hooked.mode, hooked.id, info, record.Program, record)
	if id, err := h.linkOf(hooked.id); err == nil {
		attachment.LinkID = id
	}
	return attachment, nil
}
