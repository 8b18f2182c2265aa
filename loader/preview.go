//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Plan is what LoadRewritten would do.
type Plan struct {
	Report  *rewrite.Report
	Target  *nic.Target // nil if nothing would be attached
	Program string      // that would be attached to it

	// Replaces is the program that it would take the place of, 0 if there is none.
	Replaces ebpf.ProgramID

	// Bound is set if a program would be bound to it, as it calls metadata kfuncs.
	Bound bool

	// Conditions are what has to be true besides, each a clause such as "the verifier and
	// the driver accept it": what nobody knows before, or what this process may not ask.
	Conditions []string
}

// Preview returns what LoadRewritten would do with the same arguments, as far
// as can be said without loading anything into the kernel. It needs no privileges; with
// fewer than those to load the plan has more conditions.
//
// It fails where LoadRewritten would fail before the verifier has its say: it returns
// the same errors.
func Preview(path string, opts Options) (*Plan, error) {
	l, err := newLoad(path, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l.plan()
}

// plan returns what the load would do.
func (l *load) plan() (*Plan, error) {
	if err := l.checkLockdown(lockdownFile); err != nil {
		return nil, err
	}
	plan := &Plan{Report: l.report, Program: l.Program, Bound: isBound(l.spec), Conditions: []string{"the verifier accepts it"}}
	if l.Interface != "" {
		if l.at == XDP {
			plan.Conditions[0] = "the verifier and the driver accept it"
		}
		if err := plan.aim(l); err != nil {
			return nil, err
		}
	}
	if err := plan.checkPins(l); err != nil {
		return nil, err
	}
	return plan, nil
}

// aim finds the interface, and whether a program can be attached to it.
func (p *Plan) aim(l *load) (err error) {
	if p.Target, err = nic.ByName(l.Interface); err != nil {
		return err
	}
	p.Target.Layout = l.Layout

	native, err := p.Target.HasNativeXDP()
	switch {
	case l.at != XDP || l.mode() != Native:
	case errors.Is(err, nic.ErrFeaturesUnknown):
		p.Conditions = append(p.Conditions, driverName(p.Target)+" has native XDP")
	case err != nil:
		return err
	case !native:
		return fmt.Errorf("%s: %w in %s by all that the kernel tells (netlink family netdev), and generic mode is no way out: %s",
			p.Target.Interface, ErrNoNative, driverName(p.Target), l.inGenericMode())
	}
	if err := p.lookAtHook(l); err != nil || l.present == nil {
		return err
	}
	p.Replaces = l.present.id
	return checkBound(p.Target, l.spec.Programs[l.Program])
}

// lookAtHook is look for who may not be able to ask whose program is there.
func (p *Plan) lookAtHook(l *load) error {
	there, err := hookByName(p.Target.Interface, l.at)
	if err != nil || l.at == XDP && len(there.programs) == 0 {
		return err
	}
	_, err = inLastingMounts(l.look)
	if errors.Is(err, os.ErrPermission) {
		if l.at != XDP {
			p.Conditions = append(p.Conditions, fmt.Sprintf("xdp-load has no program at tc %s of %s yet", l.at, there.name))
			return nil
		}
		return fmt.Errorf("%s %w: id %d, and whose it is can't be told: %w", there.name, there.occupiedError(), there.programs[0].id, explainPermission(err))
	}
	return err
}

// checkPins looks at where things would be pinned, and at the maps that are.
func (p *Plan) checkPins(l *load) error {
	var err error
	if l.pinsSomething() {
		_, err = inLastingMounts(l.checkPins)
	}
	needed := []capability{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}
	if !isBPFFS(bpffs) { // to mount it
		needed = append(needed, unix.CAP_SYS_ADMIN)
	}
	missing := effective().without(needed)
	if len(missing) > 0 {
		p.Conditions = append(p.Conditions, fmt.Sprintf("it is loaded with %s, which this process lacks", namesOf(missing)))
	}
	if errors.Is(err, os.ErrPermission) && len(missing) > 0 {
		if len(l.named) > 0 {
			p.Conditions = append(p.Conditions, fmt.Sprintf("maps that are pinned by name in %s, where this process may not look, fit", l.Collection.Maps.PinPath))
		}
		return nil
	}
	return explainPermission(err)
}

func (l *load) checkPins() error {
	if l.pinsInBPFFS() {
		check := checkWritable
		if !isBPFFS(bpffs) {
			check = checkMountPoint
		}
		if err := check(); err != nil {
			return err
		}
	}
	return withPins(func(pins *pinDir) error {
		if pins != nil && pins.untrusted != nil && l.pinsInBPFFS() {
			return pins.untrusted
		}
		l.pins = pins
		pinned, err := l.openPinned()
		closeMaps(pinned)
		return err
	})
}
