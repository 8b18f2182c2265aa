//go:build linux

package loader

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// ErrWatched is wrapped by the error about an interface whose program another process has
// taken off for a while.
var ErrWatched = errors.New("another process has its own programs there for a while")

// Watch is two programs that are on an interface for a while, by links that nothing pins: they go
// when the process does. Before Linux 6.6 the one of TC is a filter, which stays if the process is
// killed: the next Watch on the interface takes its place.
type Watch struct {
	*ebpf.Collection

	// Report says what was rewritten.
	Report *rewrite.Report

	// Replaced is the program, as messages name it, that Close puts back: one that this
	// package has attached. It is empty if there was none.
	Replaced string

	load    *load
	restore func() error // nil if there is nothing to put back
}

// NewWatch rewrites an object and attaches two of its programs to the interface of the
// options: the one of Options.Program in native mode, and in front of all others there the
// one of TC. Other programs of the object are not loaded.
//
// The driver may give the XDP program packets in several buffers, if it has some.
//
// A program that this package has attached to the interface is replaced in one step, and put
// back in one by Close. If the process is killed before that, whoever looks next at what this
// package has attached puts it back. Any other makes it fail with ErrOccupied. The other errors are those of
// LoadRewritten, and ErrWatched.
func NewWatch(object []byte, opts Options, tc string) (*Watch, error) {
	spec, report, err := RewrittenSpec(bytes.NewReader(object), opts)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{opts.Program, tc} {
		if spec.Programs[name] == nil {
			return nil, fmt.Errorf("no program of the name %q to watch with", name)
		}
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return name != opts.Program && name != tc })
	w := &Watch{Report: report, load: &load{Options: opts, at: XDP, spec: spec, report: report}}
	_, err = inLastingMounts(func() error { return w.start(tc) })
	if err != nil {
		return nil, errors.Join(explainPermission(err), w.Close())
	}
	return w, nil
}

func (w *Watch) start(tc string) error {
	l := w.load
	target, err := nic.ByName(l.Interface)
	if err != nil {
		return err
	}
	ours, err := oursOn(target.Interface)
	if err != nil {
		return err
	}
	if err := cmp.Or(l.mayRead(), l.checkLockdown(lockdownFile)); err != nil {
		return err
	}
	if fragments, err := target.HasFragments(); err == nil && fragments {
		l.spec.Programs[l.Program].Flags |= unix.BPF_F_XDP_HAS_FRAGS
	}
	linkKfuncs(l.spec)
	liftMemlock()
	if w.Collection, err = ebpf.NewCollection(l.spec); err != nil {
		return ExplainRefusal(err, l.spec, l.report)
	}
	l.undo.later(w.Collection.Close)
	if err := w.attachXDP(target, ours); err != nil {
		return err
	}
	// Last, so that the other has seen all that it sees.
	if err := w.attachTC(target, w.Programs[tc]); err != nil {
		return fmt.Errorf("%s: attach in TC: %w", target.Interface, err)
	}
	return nil
}

func (w *Watch) attachXDP(target *nic.Target, ours *pinnedAttachment) error {
	program := w.Programs[w.load.Program]
	if ours != nil {
		return w.replace(ours, program)
	}
	attached, err := w.load.link(target, program)
	if err != nil {
		return w.load.explainNoLink(target, program, err)
	}
	w.load.undo.later(func() { attached.Close() })
	return nil
}

func (w *Watch) attachTC(target *nic.Target, program *ebpf.Program) error {
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: target.Index, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	if errors.Is(err, ebpf.ErrNotSupported) { // before Linux 6.6
		return w.addFilter(target, program)
	}
	if err != nil {
		return err
	}
	w.load.undo.later(func() { attached.Close() })
	return nil
}

// watchHandle is that of the filter of a Watch, of which an interface has one.
const watchHandle = 0x78647031

// addFilter adds a filter in front of those of other priorities. One that a killed process has
// left gives way.
func (w *Watch) addFilter(target *nic.Target, program *ebpf.Program) error {
	kinds, err := clsactInterfaces()
	if err != nil {
		return err
	}
	if kinds[target.Index] == "" {
		if err := addClsact(target.Index); err != nil {
			return withReason(err)
		}
		w.load.undo.later(func() { removeEmptyClsact(target.Index) })
	}
	f := &filter{ifindex: target.Index, at: Ingress, priority: 1, handle: watchHandle}
	if err := f.add(program); err != nil {
		return withReason(err)
	}
	w.load.undo.later(func() { _ = f.remove() })
	return nil
}

// oursOn returns the attachment by which this package has attached a program to an interface, nil
// if there is no program. If there is another it wraps ErrOccupied.
func oursOn(iface string) (*pinnedAttachment, error) {
	var ours *pinnedAttachment
	err := withPins(func(pins *pinDir) error {
		there, found, skipped, err := pins.lookAt(iface, XDP)
		if err != nil || len(there.programs) == 0 {
			return err
		}
		if err := there.unclear(found, skipped); err != nil {
			return err
		}
		if found == nil || found.link == 0 { // which no link can replace
			return there.occupied(found)
		}
		if mode := there.modeOf(found.program); mode != Native {
			return fmt.Errorf("%s %w: %s, in %s mode, in which nothing of the driver's can be read: xdp-load unload %[1]s first",
				there.name, there.occupiedError(), found.title(), mode)
		}
		ours = found
		return nil
	})
	return ours, err
}

// replace puts a program in the place of one that this package has attached.
func (w *Watch) replace(ours *pinnedAttachment, program *ebpf.Program) error {
	lock, err := ours.take()
	if err != nil {
		return fmt.Errorf("%s: %w", w.load.Interface, err)
	}
	w.load.undo.later(func() { lock.Close() })
	replaced, name, err := ours.openProgram()
	if err != nil {
		return err
	}
	w.load.undo.later(func() { replaced.Close() })
	attached, err := openLink(ours.link)
	if err != nil {
		return err
	}
	w.load.undo.later(func() { attached.Close() })
	// Who looks at the pins sees both, the note and the other program, or none.
	err = withPins(func(*pinDir) error {
		if err := ours.lend(); err != nil {
			return err
		}
		if err := attached.Update(program); err != nil {
			return errors.Join(fmt.Errorf("%s: replace %s: %w", w.load.Interface, ours.title(), err), ours.returned())
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.Replaced = fmt.Sprintf("id %d %q", ours.home, name)
	w.restore = func() error {
		return withPins(func(*pinDir) error {
			err := ours.putBack(attached, replaced)
			if errors.Is(err, unix.ENOLINK) {
				return nil // it was unloaded meanwhile
			}
			return err
		})
	}
	return nil
}

// lend notes which program is going to come back to a link, whose pins are to stay.
func (p *pinnedAttachment) lend() error {
	return os.Symlink(strconv.FormatUint(uint64(p.home), 10), linkPins+"/"+pinName(pinOfLent, p.link))
}

// returned takes the note away.
func (p *pinnedAttachment) returned() error {
	return os.Remove(linkPins + "/" + pinName(pinOfLent, p.link))
}

// putBack has a link attach the program again that another is in the place of.
func (p *pinnedAttachment) putBack(attached link.Link, program *ebpf.Program) error {
	if err := attached.Update(program); err != nil {
		return err
	}
	p.program = p.home
	return p.returned()
}

// takeBack is putBack if the process is gone that has put another program there. Else it
// wraps ErrWatched.
func (p *pinnedAttachment) takeBack(attached link.Link) error {
	lock, err := p.take()
	if err != nil {
		return err
	}
	defer lock.Close()
	program, _, err := p.openProgram()
	if err != nil {
		return err
	}
	defer program.Close()
	return p.putBack(attached, program)
}

// take takes an attachment for this process until what it returns is closed. It wraps
// ErrWatched if another has it.
func (p *pinnedAttachment) take() (*os.File, error) {
	dir, err := os.Open(linkPins + "/" + pinName(pinsOfPrograms, p.home))
	if err != nil {
		return nil, err
	}
	locked, err := tryLock(dir, nil)
	if err == nil && !locked {
		err = ErrWatched
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// Close takes the programs off, and puts back the one that was there.
func (w *Watch) Close() (err error) {
	if w.restore != nil {
		if _, err = inLastingMounts(w.restore); err != nil {
			err = fmt.Errorf("%s: put back program %s: %w: xdp-load unload --iface %[1]s, and load it again", w.load.Interface, w.Replaced, err)
		}
		w.restore = nil
	}
	w.load.undo.run()
	return err
}
