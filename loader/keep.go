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
	w := &keeper{KeepOptions: opts, last: make(map[seat]Attachment), said: make(map[seat]string), refused: make(map[ebpf.ProgramID]string)}
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
			w.say(w.Log.Error, seat{}, "can't look", "error", err)
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
	last    map[seat]Attachment       // what was attached
	said    map[seat]string           // the last that was said
	refused map[ebpf.ProgramID]string // the changes for which a program could not be replaced
}

func (a *Attachment) seat() seat { return seat{a.Interface, a.Hook} }

// look compares each program with what there is now. Without an event, what was refused
// is not tried again.
func (w *keeper) look(isEvent bool) error {
	attachments, skipped, err := pinnedStatus()
	if err != nil {
		return err
	}
	unclear := errors.Join(uncertain(skipped)...)
	watched := w.named(attachments, unclear)
	present := make(map[seat]bool)
	done := make(map[ebpf.ProgramID]bool) // replaced together with another
	for _, a := range attachments {
		if len(w.Interfaces) > 0 && !watched[a.Index] && !w.hasWatched(a.Interface) {
			continue
		}
		present[a.seat()] = true
		if done[a.ProgramID] {
			continue
		}
		for _, replaced := range w.keep(&a, a.group(attachments), isEvent) {
			done[replaced.ProgramID] = true
		}
	}
	gone := make(map[string][]Attachment)
	for at, before := range w.last {
		if present[at] {
			continue
		}
		if found := slices.IndexFunc(attachments, before.isSame); found >= 0 {
			w.say(w.Log.Info, at, "the interface has another name now", "name", attachments[found].Interface)
			delete(w.last, at)
			continue
		}
		gone[at.iface] = append(gone[at.iface], before)
	}
	for name, before := range gone {
		for _, group := range groups(before) {
			w.restore(name, group, unclear)
		}
	}
	return unclear
}

// hasWatched reports whether there was a program on an interface.
func (w *keeper) hasWatched(name string) bool {
	for at := range w.last {
		if at.iface == name {
			return true
		}
	}
	return false
}

// group returns those of some attachments whose programs share their maps: the attachment, and
// those that were loaded with it.
func (a *Attachment) group(all []Attachment) []Attachment {
	return slices.DeleteFunc(slices.Clone(all), func(other Attachment) bool {
		return other.ProgramID != a.ProgramID && !a.isWith(&other)
	})
}

// groups returns attachments in those that were loaded together.
func groups(all []Attachment) (each [][]Attachment) {
	for len(all) > 0 {
		group := all[0].group(all)
		each = append(each, group)
		all = slices.DeleteFunc(all, func(a Attachment) bool {
			return slices.ContainsFunc(group, func(other Attachment) bool { return other.seat() == a.seat() })
		})
	}
	return each
}

func (a *Attachment) isWith(other *Attachment) bool {
	return a.Index == other.Index && a.Record != nil && other.Record != nil &&
		a.Record.Digest == other.Record.Digest && slices.Contains(a.Record.With, other.Program)
}

// isSame reports whether an attachment is what another was, under another name.
func (a *Attachment) isSame(other Attachment) bool {
	return a.LinkID != 0 && a.LinkID == other.LinkID || a.ProgramID == other.ProgramID
}

// named returns the numbers of the interfaces to watch, and tells of those that have no program,
// unless that is unclear. What has become of a program that was there is told by restore.
func (w *keeper) named(attachments []Attachment, unclear error) map[int]bool {
	watched := make(map[int]bool)
	for _, name := range w.Interfaces {
		if w.hasWatched(name) {
			continue
		}
		target, err := nic.ByName(name)
		if errors.Is(err, nic.ErrNoInterface) {
			w.say(w.Log.Warn, seat{iface: name}, "no such interface")
			continue
		}
		if err != nil {
			w.say(w.Log.Warn, seat{iface: name}, "can't look", "error", err)
			continue
		}
		watched[target.Index] = true
		if unclear == nil && !slices.ContainsFunc(attachments, func(a Attachment) bool { return a.Index == target.Index }) {
			w.say(w.Log.Warn, seat{iface: name}, ErrNotAttached.Error())
		}
	}
	return watched
}

// keep replaces a program if it is to be another, with its group. It returns what it has
// replaced.
func (w *keeper) keep(a *Attachment, group []Attachment, isEvent bool) []Attachment {
	at := a.seat()
	w.last[at] = *a
	if a.StandIn != 0 {
		w.say(w.Log.Info, at, "left alone: another program is in its place for a while", "id", a.ProgramID, "standIn", a.StandIn)
		return nil
	}
	if a.Record == nil {
		w.say(w.Log.Warn, at, "left alone", "id", a.ProgramID, "reason", ErrNoRecord)
		return nil
	}
	w.events.watchFiles(a.Record.Layout, a.Record.Origin.Base, a.Record.Origin.Accessors)
	changes, err := a.Changes(w.Find(a.Interface))
	if err != nil {
		w.say(w.Log.Warn, at, "kept: for what is there now it can't be rewritten", "id", a.ProgramID, "reason", err)
		return nil
	}
	differences := strings.Join(changes.Differences, "; ")
	switch {
	case !changes.Outdated && differences == "":
		w.say(w.Log.Info, at, "up to date", "program", a.Program, "id", a.ProgramID)
	case !changes.Outdated:
		w.say(w.Log.Info, at, "kept: the program would be the same", "id", a.ProgramID, "changes", differences)
	case !isEvent && w.refused[a.ProgramID] == differences:
	case w.replace(a, group, differences):
		return group
	}
	return nil
}

// replace replaces a group of programs, of which one is to be another.
func (w *keeper) replace(a *Attachment, group []Attachment, differences string) bool {
	loaded, err := reload(group, w.Find(a.Interface))
	switch {
	case errors.Is(err, ErrChanged), errors.Is(err, ErrNotAttached):
		w.say(w.Log.Info, a.seat(), "somebody else has replaced it", "id", a.ProgramID)
	case err != nil:
		w.refused[a.ProgramID] = differences
		w.say(w.Log.Warn, a.seat(), "kept: its replacement is refused", "id", a.ProgramID, "changes", differences, "reason", err)
	default:
		loaded.Close()
		delete(w.refused, a.ProgramID)
		for _, one := range loaded.all() {
			w.last[one.Attachment.seat()] = *one.Attachment
			w.say(w.Log.Info, one.Attachment.seat(), "replaced", "program", one.Attachment.Program, "id", one.Attachment.ProgramID, "before", one.Replaced, "changes", differences)
		}
	}
	return err == nil
}

const isThereAgain = "the interface is there again, without its program"

// restore loads a group of programs of an interface that is there again, under another number.
// On the same interface somebody has unloaded them, unless it is unclear what is there.
func (w *keeper) restore(name string, before []Attachment, unclear error) {
	target, err := nic.ByName(name)
	if err == nil && unclear != nil && target.Index == before[0].Index {
		return
	}
	if err == nil {
		before = slices.DeleteFunc(before, func(a Attachment) bool {
			switch {
			case target.Index == a.Index:
				w.say(w.Log.Info, a.seat(), "left alone: somebody has unloaded it", "id", a.ProgramID)
			case a.Record == nil:
				w.say(w.Log.Warn, a.seat(), isThereAgain, "reason", ErrNoRecord)
			default:
				return false
			}
			delete(w.last, a.seat())
			return true
		})
	}
	if err == nil && len(before) > 0 {
		err = w.loadAgain(before)
	}
	for _, a := range before {
		switch {
		case errors.Is(err, nic.ErrNoInterface):
			w.say(w.Log.Info, a.seat(), "the interface is gone", "id", a.ProgramID)
		case target == nil:
			w.say(w.Log.Warn, a.seat(), "can't look", "error", err)
		case err != nil:
			w.say(w.Log.Warn, a.seat(), isThereAgain, "reason", err)
		}
	}
}

func (w *keeper) loadAgain(before []Attachment) error {
	loaded, err := again(before, w.Find(before[0].Interface), func(l *load, _ *Attachment) { l.Replace = false })
	if err != nil {
		return err
	}
	loaded.Close()
	for _, one := range loaded.all() {
		w.last[one.Attachment.seat()] = *one.Attachment
		w.say(w.Log.Info, one.Attachment.seat(), "loaded again on the new interface", "program", one.Attachment.Program, "id", one.Attachment.ProgramID)
	}
	return nil
}

// say logs what has not just been said of an attachment, or of an interface.
func (w *keeper) say(log func(string, ...any), at seat, what string, more ...any) {
	text := fmt.Sprint(what, more)
	if w.said[at] == text {
		return
	}
	w.said[at] = text
	if at.at == Ingress || at.at == Egress {
		more = append([]any{"hook", at.at}, more...)
	}
	if at.iface != "" {
		more = append([]any{"interface", at.iface}, more...)
	}
	log(what, more...)
}
