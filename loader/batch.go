//go:build linux

package loader

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/nic"
)

// LoadOnAll is LoadRewritten for several interfaces at once, one for each of the options:
// the program is on all of them afterwards, or on none on which it was not before. For each it
// is rewritten and loaded by itself. They share the maps that are pinned by name, but for
// program arrays.
//
// Returns the errors of LoadRewritten, with the interface in front. Close each of what is
// returned.
func LoadOnAll(path string, each []Options) ([]*Loaded, error) {
	b, err := newBatch(path, each)
	if err != nil {
		return nil, err
	}
	return b.run()
}

// PreviewOnAll is Preview of what LoadOnAll would do with the same arguments.
func PreviewOnAll(path string, each []Options) ([]*Plan, error) {
	b, err := newBatch(path, each)
	if err != nil {
		return nil, err
	}
	plans := make([]*Plan, len(each))
	for i, l := range b.loads {
		if plans[i], err = l.plan(); err != nil {
			return nil, b.named(l, err)
		}
	}
	return plans, nil
}

// newBatch returns loads of an object for several interfaces, each as newLoad leaves it.
func newBatch(path string, each []Options) (*batch, error) {
	object, err := readObject(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	b := new(batch)
	given := make(map[int]string)
	for _, opts := range each {
		if opts.Interface == "" {
			return nil, fmt.Errorf("%s: no interface to attach it to", path)
		}
		target, err := nic.ByName(opts.Interface)
		if err != nil {
			return nil, err
		}
		if before, ok := given[target.Index]; ok {
			return nil, fmt.Errorf("%s: given twice, as %s before", opts.Interface, before)
		}
		given[target.Index] = opts.Interface
		l, err := newLoadOf(path, object, opts)
		if err != nil {
			return nil, named(opts.Interface, fmt.Errorf("%s: %w", path, err))
		}
		b.add(l)
	}
	return b, nil
}

// named puts the name of an interface in front of an error that does not start with it.
func named(iface string, err error) error {
	if strings.HasPrefix(err.Error(), iface+" ") || strings.HasPrefix(err.Error(), iface+":") {
		return err
	}
	return fmt.Errorf("%s: %w", iface, err)
}

// batch is loads that happen together or not at all.
type batch struct {
	loads []*load
	pins  *pinDir // nil until something is to be pinned
}

func (b *batch) add(l *load) {
	l.batch = b
	b.loads = append(b.loads, l)
}

// run takes the loads from where newLoad leaves them.
func (b *batch) run() ([]*Loaded, error) {
	return b.take(wholeLoad...)
}

// wholeLoad are the steps of LoadRewritten.
var wholeLoad = []func(*load) error{(*load).noteRewritten, (*load).look, (*load).notePresent, (*load).mayLoad, (*load).load, (*load).attachIt}

// take takes steps with all loads, or none.
func (b *batch) take(steps ...func(*load) error) (all []*Loaded, err error) {
	pid, err := b.where(func() error {
		all, err = b.do(steps)
		return err
	})
	if err != nil {
		return nil, explainPermission(err)
	}
	for _, loaded := range all {
		if loaded.Attachment != nil {
			loaded.Attachment.MountsOf = pid
		}
	}
	return all, nil
}

// where calls fn where what is pinned will last, see inLastingMounts.
func (b *batch) where(fn func() error) (pid int, err error) {
	if !slices.ContainsFunc(b.loads, (*load).pinsSomething) {
		return 0, fn()
	}
	return inLastingMounts(fn)
}

// do takes each step with all loads before the next: looks at all interfaces, say, has all
// programs verified, and only then attaches them.
func (b *batch) do(steps []func(*load) error) (all []*Loaded, err error) {
	defer func() {
		for _, l := range slices.Backward(b.loads) {
			if err != nil {
				l.undo.run()
			}
			l.close()
			l.pins = nil
		}
		b.pins.close()
		b.pins = nil
	}()
	for _, step := range steps {
		for _, l := range b.loads {
			if err := step(l); err != nil {
				l.note("taken back", "steps", len(l.undo))
				return nil, b.named(l, err)
			}
		}
	}
	if err := b.publish(); err != nil {
		return nil, err
	}
	for _, l := range b.loads {
		all = append(all, l.finish())
	}
	return all, nil
}

// publish makes visible what was pinned.
func (b *batch) publish() error {
	if b.pins == nil {
		return nil
	}
	return b.pins.publish()
}

// named tells which of several interfaces an error is about.
func (b *batch) named(l *load, err error) error {
	if len(b.loads) == 1 {
		return err
	}
	return named(l.Interface, err)
}

// lockPins locks the pins, and makes their directory if something of the load goes
// into /sys/fs/bpf.
func (l *load) lockPins() (err error) {
	b := l.batch
	switch {
	case b.pins != nil:
	case !l.pinsInBPFFS():
		b.pins, err = lockPins()
	default:
		b.pins, err = makePins()
	}
	if b.pins != nil {
		b.pins.loading = true
	}
	l.pins = b.pins
	return err
}

// sharesArray reports whether a program array is that of another load of the batch.
func (b *batch) sharesArray(with *load, id ebpf.MapID) bool {
	for _, l := range b.loads {
		if l == with || l.collection == nil {
			continue
		}
		for _, m := range l.collection.Maps {
			info, err := m.Info()
			if err != nil {
				continue
			}
			if other, ok := info.ID(); ok && other == id {
				return true
			}
		}
	}
	return false
}

// mayLoad reports what this process, or this kernel, lacks.
func (l *load) mayLoad() error { return cmp.Or(l.mayRead(), l.checkLockdown(lockdownFile)) }

// attachIt attaches the program, if there is an interface.
func (l *load) attachIt() (err error) {
	switch {
	case l.Interface == "":
		return l.leaveUnattached()
	case l.Unpinned:
		l.attachment, err = l.attachUnpinned(l.collection)
	default:
		l.attachment, err = l.attach(l.collection)
	}
	return err
}

// finish lets go of what was replaced, and returns what there is now.
func (l *load) finish() *Loaded {
	if l.attachment != nil && l.present != nil && !l.Unpinned {
		l.retire(l.collection)
		l.renewed = nil
	}
	loaded := &Loaded{Collection: l.collection, Report: l.report, Bound: isBound(l.spec), load: l}
	loaded.note()
	// The caller may take things out of the one: see ebpf.Collection.Assign.
	l.collection = &ebpf.Collection{Programs: maps.Clone(l.collection.Programs), Maps: maps.Clone(l.collection.Maps)}
	return loaded
}
