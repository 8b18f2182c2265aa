package loader

import (
	"fmt"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Plan is what LoadRewritten would do.
type Plan struct {
	Report  *rewrite.Report
	Target  *nic.Target // nil if nothing would be attached
	Program string      // that would be attached to it
}

// Preview returns what LoadRewritten would do with the same arguments, as far
// as can be said without loading anything into the kernel. It needs privileges
// only to find out whose program is in the way.
//
// It fails where LoadRewritten would fail before the verifier has its say.
func Preview(path string, opts Options) (*Plan, error) {
	l, err := newLoad(path, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	plan := &Plan{Report: l.report, Program: l.Program}
	if opts.Interface == "" {
		return plan, nil
	}
	if plan.Target, err = nic.ByName(opts.Interface); err != nil {
		return nil, err
	}
	plan.Target.Layout = opts.Layout

	present, err := hookByName(opts.Interface)
	if err != nil {
		return nil, err
	}
	if len(present.programs) > 0 {
		_, err = inLastingMounts(func() error { return checkVacant(opts.Interface) })
	}
	if err != nil {
		return nil, explainPermission(err)
	}
	return plan, nil
}
