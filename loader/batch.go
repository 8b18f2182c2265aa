//go:build linux

package loader

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/nic"
)

// LoadOnAll is LoadRewritten for several interfaces at once, or several programs of the object,
// one for each of the options: all are attached afterwards, or none that was not before. Each
// is rewritten and loaded by itself. Programs on the same interface share their maps, those on
// others the maps that are pinned by name, but for program arrays.
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
	if len(each) == 0 {
		return nil, fmt.Errorf("%s: no interface to attach it to", path)
	}
	object, err := each[0].object(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all, err := withKernelsNames(path, each)
	if err != nil {
		return nil, err
	}
	b := new(batch)
	given := make(map[seat]int)
	for i, opts := range all {
		l, err := newLoadBeside(path, object, opts, all)
		if err != nil {
			return nil, named(opts.Interface, fmt.Errorf("%s: %w", path, err))
		}
		at := seat{l.Interface, l.at}
		if before, ok := given[at]; ok {
			return nil, l.twice(b.loads[before], each[i].Interface, each[before].Interface)
		}
		given[at] = i
		b.add(l)
	}
	if err := b.checkRedirects(path, all); err != nil {
		return nil, err
	}
	for _, l := range b.loads {
		for _, other := range b.loads {
			if other.Interface == l.Interface && other != l {
				l.with = append(l.with, other.Program)
			}
		}
		slices.Sort(l.with)
	}
	return b, nil
}

// withKernelsNames returns options with the interfaces called as the kernel does: each may have
// several names.
func withKernelsNames(path string, each []Options) ([]Options, error) {
	all := slices.Clone(each)
	for i := range all {
		if all[i].Interface == "" {
			return nil, fmt.Errorf("%s: no interface to attach it to", path)
		}
		target, err := nic.ByName(all[i].Interface)
		if err != nil {
			return nil, err
		}
		all[i].Interface = target.Interface
	}
	return all, nil
}

// newLoadBeside is newLoadOf of one of several loads. If there is another for the interface,
// entries of cpumaps and devmaps are for that of the XDP program.
func newLoadBeside(path string, object []byte, opts Options, each []Options) (*load, error) {
	redirects, beside := opts.Redirects, 0
	for _, other := range each {
		if other.Interface == opts.Interface {
			beside++
		}
	}
	opts.Redirects = nil
	l, err := newLoadOf(path, object, opts)
	if err != nil || beside > 1 && l.at != XDP {
		return l, err
	}
	l.Redirects = redirects
	return l, l.checkRedirects()
}

// checkRedirects wants entries of cpumaps and devmaps to be for an XDP program.
func (b *batch) checkRedirects(path string, each []Options) error {
	for _, opts := range each {
		hasThem := func(l *load) bool { return l.Interface == opts.Interface && len(l.Redirects) > 0 }
		if len(opts.Redirects) > 0 && !slices.ContainsFunc(b.loads, hasThem) {
			return named(opts.Interface, fmt.Errorf("%s: entries for map %s: they go with an XDP program, and none of those that are given has them", path, opts.Redirects[0].Map))
		}
	}
	return nil
}

// twice is the error about a load for the place of another, of an interface that was given by
// two names, or by one twice.
func (l *load) twice(before *load, name, nameBefore string) error {
	if l.Program == before.Program {
		return fmt.Errorf("%s: given twice, as %s before", name, nameBefore)
	}
	return fmt.Errorf("%s: programs %s and %s are both for %s: an interface takes one there", name, before.Program, l.Program, l.at)
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
		if err != nil {
			b.pins.unpublish()
		}
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
	if err := b.pins.publish(); err != nil {
		return nil, err
	}
	for _, l := range b.loads {
		all = append(all, l.finish())
	}
	return all, nil
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

// sharing returns the loads of the batch before this one whose programs share its maps, for the
// same interface.
func (l *load) sharing() []*load {
	var others []*load
	if l.batch == nil {
		return nil
	}
	for _, other := range l.batch.loads {
		if other == l {
			break
		}
		if slices.Contains(l.with, other.Program) && bytes.Equal(l.object, other.object) && l.Interface == other.Interface {
			others = append(others, other)
		}
	}
	return others
}

// shared returns the maps that are taken from other loads. What is in program arrays is for one
// kind of programs only.
func (l *load) shared() map[string]*ebpf.Map {
	maps := make(map[string]*ebpf.Map)
	for _, other := range l.sharing() {
		for name, m := range other.collection.Maps {
			if l.spec.Maps[name] != nil && m.Type() != ebpf.ProgramArray {
				maps[name] = m
			}
		}
	}
	return maps
}

// takeShared has maps that are taken from other loads not be pinned by name once more.
func (l *load) takeShared() {
	shared := l.shared()
	for _, other := range l.sharing() {
		for _, m := range other.pinned {
			if shared[m.Name] != nil && slices.Contains(l.named, m.Name) {
				l.notByName(m.Name)
				l.pinned = append(l.pinned, m)
			}
		}
	}
}

// mayLoad reports what this process, or this kernel, lacks.
func (l *load) mayLoad() error { return cmp.Or(l.mayRead(), l.checkLockdown(lockdownFile)) }

// attachIt attaches the program, if there is an interface.
func (l *load) attachIt() (err error) {
	switch {
	case l.Interface == "":
		return l.leaveUnattached()
	case l.Unpinned:
		l.attachment, err = l.attachUnpinned()
	default:
		l.attachment, err = l.attach()
	}
	return err
}

// finish lets go of what was replaced, and returns what there is now.
func (l *load) finish() *Loaded {
	if l.attachment != nil && l.present != nil && !l.Unpinned {
		l.retire()
		l.renewed = nil
	}
	l.expected = 0 // by a next attachment
	loaded := &Loaded{Collection: l.collection, Report: l.report, Bound: isBound(l.spec), load: l}
	loaded.note()
	// The caller may take things out of the one: see ebpf.Collection.Assign.
	l.collection = &ebpf.Collection{Programs: maps.Clone(l.collection.Programs), Maps: maps.Clone(l.collection.Maps)}
	return loaded
}
