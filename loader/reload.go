//go:build linux

package loader

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/nic"
)

// Find returns the Options' Layout or Accessors for what a program is to be rewritten for
// now, and the Types, from the Origin and the Types in its record, say. Interface, Program
// and where maps are pinned by name are those of the record.
type Find func(*Record) (Options, error)

// Reload rewrites the objects that the programs on an interface were rewritten from once more,
// for the target as it is now, and replaces the programs, all or none: see Options.Replace.
// Nothing is read of the objects' files. Maps that are pinned by name are taken over. If there
// are several programs, the others are in the With of the one that is returned.
//
// Returns an error wrapping ErrNotAttached, ErrNoRecord, ErrChanged, those of find, or those
// of LoadRewritten. What was attached stays then.
func Reload(iface string, find Find) (*Loaded, error) {
	attachments, err := attachmentsOn(iface)
	if err != nil {
		return nil, err
	}
	return reload(attachments, find)
}

// reload is Reload of some of the programs on an interface.
func reload(attachments []Attachment, find Find) (*Loaded, error) {
	return again(attachments, find, func(l *load, a *Attachment) { l.expected = a.ProgramID })
}

// again loads the objects of attachments to an interface once more, with what each load is told
// besides.
func again(attachments []Attachment, find Find, tell func(*load, *Attachment)) (*Loaded, error) {
	b := new(batch)
	for i := range attachments {
		l, err := attachments[i].anew(find)
		if err != nil {
			return nil, err
		}
		tell(l, &attachments[i])
		b.add(l)
	}
	all, err := b.run()
	if err != nil {
		return nil, err
	}
	all[0].With = all[1:]
	return all[0], nil
}

// attachmentsOn returns what this package has attached to an interface.
func attachmentsOn(iface string) ([]Attachment, error) {
	target, err := nic.ByName(iface)
	if err != nil {
		return nil, err
	}
	attachments, skipped, err := pinnedStatus()
	if err != nil {
		return nil, err
	}
	attachments = slices.DeleteFunc(attachments, func(a Attachment) bool { return a.Index != target.Index })
	if len(attachments) > 0 {
		return attachments, nil
	}
	there, err := hooksByName(iface)
	if err != nil {
		return nil, err
	}
	return nil, notOurs(there, skipped)
}

// anew returns a load of the object of an attachment for the target as it is now.
func (a *Attachment) anew(find Find) (*load, error) {
	if a.Record == nil {
		return nil, fmt.Errorf("%s: program id %d: %w: to have another in its place, load with --replace", a.Interface, a.ProgramID, ErrNoRecord)
	}
	record := a.Record
	opts, err := find(record)
	if err != nil {
		return nil, err
	}
	opts.Interface, opts.Program, opts.Replace, opts.Force = a.Interface, record.Program, true, false
	opts.Mode, opts.Redirects = a.Mode, record.Redirects
	opts.Collection.Maps.PinPath = record.PinPath
	for _, name := range record.MapReplacements {
		if opts.Collection.MapReplacements[name] == nil {
			return nil, fmt.Errorf("%s: map %s was given by who has loaded the program, and is not now: reload it there", a.Interface, name)
		}
	}
	opts.Variables = record.variablesOr(opts.Variables)
	l, err := newLoadOf(record.Object, record.object, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", record.Object, err)
	}
	l.with = record.With
	return l, nil
}

// variablesOr returns the values of variables that the program was loaded with, but for
// those that are given now.
func (r *Record) variablesOr(given map[string]any) map[string]any {
	values := make(map[string]any)
	for name, value := range r.Variables {
		values[name] = value
	}
	maps.Copy(values, given)
	return values
}

// Changes are what is different now from what a program was rewritten for.
type Changes struct {
	// Differences are in words, such as "firmware was 1.1, is 1.2" or "md->hash was __u32
	// at 8, is __u32 at 12".
	Differences []string `json:"differences"`

	// Outdated is set if the program, rewritten for what is there now, would be another.
	Outdated bool `json:"outdated"`
}

// Changes compares what the program of the attachment was rewritten for with the target as
// it is now, by rewriting its object once more. It loads nothing, and needs no privileges.
//
// Returns an error wrapping ErrNoRecord, those of find, or those of Rewrite, if the program
// could not be rewritten now.
func (a *Attachment) Changes(find Find) (*Changes, error) {
	l, err := a.anew(find)
	if err != nil {
		return nil, err
	}
	target, err := nic.ByName(a.Interface)
	if err != nil {
		return nil, err
	}
	now, err := l.newRecord(target)
	if err != nil {
		return nil, err
	}
	return a.Record.changesTo(now), nil
}

func (r *Record) changesTo(now *Record) *Changes {
	changes := &Changes{Differences: []string{}, Outdated: r.Rewritten != now.Rewritten}
	note := func(what, before, after string) {
		if before != after {
			changes.Differences = append(changes.Differences, fmt.Sprintf("%s was %s, is %s", what, orNone(before), orNone(after)))
		}
	}
	note("driver", r.Driver, now.Driver)
	note("firmware", r.Firmware, now.Firmware)
	note("kernel", r.Kernel, now.Kernel)
	note("layout", r.Layout, now.Layout)
	note("source", r.Source, now.Source)
	before, after := byField(r.Fields), byField(now.Fields)
	for _, field := range r.Fields {
		note(field.Field, before[field.Field], after[field.Field])
		after[field.Field] = before[field.Field] // each once
	}
	if changes.Outdated && len(changes.Differences) == 0 {
		changes.Differences = append(changes.Differences, "the code that reads the fields is another")
	}
	return changes
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// byField says where each field comes from.
func byField(fields []RecordedField) map[string]string {
	from := make(map[string]string)
	for _, field := range fields {
		if from[field.Field] != "" {
			field.From = strings.Join([]string{from[field.Field], field.From}, " and ")
		}
		from[field.Field] = field.From
	}
	return from
}

// checkExpected wants the program that is to be replaced to be the one that was reloaded.
func (l *load) checkExpected(there *hook, present ebpf.ProgramID) error {
	if l.expected == 0 || l.expected == present {
		return nil
	}
	return there.changed(l.expected)
}
