//go:build linux

package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/nic"
)

// KeepOptions say what KeepUpToDate keeps so.
type KeepOptions struct {
	// Interfaces are the names of the interfaces to watch, altnames included (optional: all that
	// have a program of this package's).
	Interfaces []string

	// Find returns how to look for what the program on an interface is rewritten for.
	Find func(iface string) Find

	// Log is told of each decision (optional, slog.Default if nil).
	Log *slog.Logger

	// Interval is how often to look without being told of a change (optional, 10 seconds): a
	// driver tells nobody of other firmware.
	Interval time.Duration
}

// settled is how long after a change there has to be none for KeepUpToDate to look: they come in
// groups.
const settled = 50 * time.Millisecond

// KeepUpToDate keeps the programs that this package has attached in the network namespace of the
// calling thread as they would be if they were loaded now, until the context is done. It
// looks when an interface changes, or the file of a layout or of accessors, and every now and
// then. Where a program has become another by that, it is replaced: see Reload. If the new one
// is refused, the old one stays. An interface that has gone and comes again gets its program
// again; one that somebody has unloaded does not.
//
// The error is nil when the context is done.
func KeepUpToDate(ctx context.Context, opts KeepOptions) error {
	w := &keeper{KeepOptions: opts, last: make(map[string]Attachment), said: make(map[string]string), refused: make(map[ebpf.ProgramID]string)}
	if w.Log == nil {
		w.Log = slog.Default()
	}
	if w.Interval <= 0 {
		w.Interval = 10 * time.Second
	}
	events, err := newEvents()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer events.close()
	w.events = events

	w.Log.Info("watching", "interfaces", w.Interfaces, "interval", w.Interval)
	tick := time.NewTicker(w.Interval)
	defer tick.Stop()
	for isEvent := true; ctx.Err() == nil; {
		if err := w.look(isEvent); err != nil {
			w.say(w.Log.Error, "", "can't look", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			isEvent = false
		case <-events.changed:
			events.settle(ctx)
			isEvent = true
		}
	}
	return nil
}

// keeper is one run of KeepUpToDate.
type keeper struct {
	KeepOptions
	events  *events
	last    map[string]Attachment     // what was on an interface
	said    map[string]string         // the last that was said of an interface
	refused map[ebpf.ProgramID]string // the changes for which a program could not be replaced
}

// look compares each program with what there is now. Without an event, what was refused
// is not tried again.
func (w *keeper) look(isEvent bool) error {
	attachments, _, err := pinnedStatus()
	if err != nil {
		return err
	}
	watched := w.named(attachments)
	present := make(map[string]Attachment)
	for _, a := range attachments {
		_, wasWatched := w.last[a.Interface]
		if len(w.Interfaces) == 0 || watched[a.Index] || wasWatched {
			present[a.Interface] = a
			w.keep(&a, isEvent)
		}
	}
	for name, before := range w.last {
		if _, isThere := present[name]; isThere {
			continue
		}
		if at := slices.IndexFunc(attachments, before.isSame); at >= 0 {
			w.say(w.Log.Info, name, "the interface has another name now", "name", attachments[at].Interface)
			delete(w.last, name)
			continue
		}
		w.restore(&before)
	}
	return nil
}

// isSame reports whether an attachment is what another was, under another name.
func (a *Attachment) isSame(other Attachment) bool {
	return a.LinkID != 0 && a.LinkID == other.LinkID || a.ProgramID == other.ProgramID
}

// named returns the numbers of the interfaces to watch, and tells of those that have no program.
// What has become of a program that was there is told by restore.
func (w *keeper) named(attachments []Attachment) map[int]bool {
	watched := make(map[int]bool)
	for _, name := range w.Interfaces {
		if _, wasWatched := w.last[name]; wasWatched {
			continue
		}
		target, err := nic.ByName(name)
		if errors.Is(err, nic.ErrNoInterface) {
			w.say(w.Log.Warn, name, "no such interface")
			continue
		}
		if err != nil {
			w.say(w.Log.Warn, name, "can't look", "error", err)
			continue
		}
		watched[target.Index] = true
		if !slices.ContainsFunc(attachments, func(a Attachment) bool { return a.Index == target.Index }) {
			w.say(w.Log.Warn, name, ErrNotAttached.Error())
		}
	}
	return watched
}

// keep replaces a program if it is to be another.
func (w *keeper) keep(a *Attachment, isEvent bool) {
	w.last[a.Interface] = *a
	if a.StandIn != 0 {
		w.say(w.Log.Info, a.Interface, "left alone: another program is in its place for a while", "id", a.ProgramID, "standIn", a.StandIn)
		return
	}
	if a.Record == nil {
		w.say(w.Log.Warn, a.Interface, "left alone", "id", a.ProgramID, "reason", ErrNoRecord)
		return
	}
	w.events.watchFiles(a.Record.Layout, a.Record.Origin.Base, a.Record.Origin.Accessors)
	changes, err := a.Changes(w.Find(a.Interface))
	if err != nil {
		w.say(w.Log.Warn, a.Interface, "kept: for what is there now it can't be rewritten", "id", a.ProgramID, "reason", err)
		return
	}
	differences := strings.Join(changes.Differences, "; ")
	switch {
	case !changes.Outdated && differences == "":
		w.say(w.Log.Info, a.Interface, "up to date", "program", a.Program, "id", a.ProgramID)
	case !changes.Outdated:
		w.say(w.Log.Info, a.Interface, "kept: the program would be the same", "id", a.ProgramID, "changes", differences)
	case !isEvent && w.refused[a.ProgramID] == differences:
	default:
		w.replace(a, differences)
	}
}

func (w *keeper) replace(a *Attachment, differences string) {
	loaded, err := Reload(a.Interface, w.Find(a.Interface))
	switch {
	case errors.Is(err, ErrChanged), errors.Is(err, ErrNotAttached):
		w.say(w.Log.Info, a.Interface, "somebody else has replaced it", "id", a.ProgramID)
	case err != nil:
		w.refused[a.ProgramID] = differences
		w.say(w.Log.Warn, a.Interface, "kept: its replacement is refused", "id", a.ProgramID, "changes", differences, "reason", err)
	default:
		loaded.Close()
		delete(w.refused, a.ProgramID)
		w.last[a.Interface] = *loaded.Attachment
		w.say(w.Log.Info, a.Interface, "replaced", "program", loaded.Attachment.Program, "id", loaded.Attachment.ProgramID, "before", loaded.Replaced, "changes", differences)
	}
}

// restore loads the program of an interface that is there again, under another number. On
// the same interface somebody has unloaded it.
func (w *keeper) restore(before *Attachment) {
	target, err := nic.ByName(before.Interface)
	if errors.Is(err, nic.ErrNoInterface) {
		w.say(w.Log.Info, before.Interface, "the interface is gone", "id", before.ProgramID)
		return
	}
	if err != nil {
		w.say(w.Log.Warn, before.Interface, "can't look", "error", err)
		return
	}
	if target.Index == before.Index || before.Record == nil {
		w.say(w.Log.Info, before.Interface, "left alone: somebody has unloaded it", "id", before.ProgramID)
		delete(w.last, before.Interface)
		return
	}
	loaded, err := w.loadAgain(before)
	if err != nil {
		w.say(w.Log.Warn, before.Interface, "the interface is there again, without its program", "reason", err)
		return
	}
	loaded.Close()
	w.last[before.Interface] = *loaded.Attachment
	w.say(w.Log.Info, before.Interface, "loaded again on the new interface", "program", loaded.Attachment.Program, "id", loaded.Attachment.ProgramID)
}

func (w *keeper) loadAgain(before *Attachment) (*Loaded, error) {
	l, err := before.anew(w.Find(before.Interface))
	if err != nil {
		return nil, err
	}
	l.Replace = false
	return l.run()
}

// say logs what has not just been said of an interface.
func (w *keeper) say(log func(string, ...any), iface, what string, more ...any) {
	text := fmt.Sprint(what, more)
	if w.said[iface] == text {
		return
	}
	w.said[iface] = text
	if iface != "" {
		more = append([]any{"interface", iface}, more...)
	}
	log(what, more...)
}
