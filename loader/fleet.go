package loader

import (
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Fit is what rewriting an object for one driver on one kernel comes to: a report or an
// error.
type Fit struct {
	Report *rewrite.Report
	Err    error
}

// Why says in short why the object does not fit: of what is refused the first.
func (f *Fit) Why() string {
	var unfit *unfitError
	var refused *rewrite.RefusedError
	switch {
	case errors.As(f.Err, &unfit):
		return unfit.why
	case errors.As(f.Err, &refused):
		return refused.Short()
	}
	return f.Err.Error()
}

// Fits rewrites an object for each of some drivers, several at a time. It returns the errors
// of Driver.Accessors and of Rewrite. Drivers on the same kernel should share its
// nic.Kernel, so that its types are read once.
func Fits(object []byte, drivers []*Driver) []Fit {
	fits := make([]Fit, len(drivers))
	inParallel(len(drivers), func(i int) { fits[i] = drivers[i].fit(object) })
	return fits
}

func (d *Driver) fit(object []byte) Fit {
	accessors, err := d.Accessors(object)
	if err != nil {
		return Fit{Err: err}
	}
	_, report, err := Rewrite(object, Options{Accessors: accessors})
	return Fit{report, err}
}

// inParallel does something for each number below n, on all processors.
func inParallel(n int, do func(int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait()
}
