// Package verify compares, on live traffic, what XDP programs read of a packet by a driver's
// accessors with what the driver makes of the same packet for the stack.
package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/observe"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

var (
	// ErrDiffer is wrapped by the error about fields that differ.
	ErrDiffer = errors.New("not what the driver says")

	// ErrNothingCompared is wrapped by the error about a run in which no packet could be
	// compared.
	ErrNothingCompared = errors.New("no packet was compared")
)

// Options says what to compare, and for how long.
type Options struct {
	// Target is the interface, of the network namespace of the calling thread, and Driver
	// what its fields are read by.
	Target *nic.Target
	Driver *loader.Driver

	// Accessors are what Accessors has made of the driver's (optional: Run does).
	Accessors []*rewrite.Accessors

	// Packets is how many are compared at most, and Timeout how long to wait for them. Both
	// are more than zero.
	Packets int
	Timeout time.Duration

	// Started is called once the programs are attached, with the program of xdp-load's that
	// is off until they go, empty if there is none (optional).
	Started func(replaced string)
}

// Run attaches programs to the interface, compares packets as they come, and takes the
// programs off again, also when ctx is done, which ends the comparison early. It sends
// nothing, and lets all packets pass.
//
// A report that has differences is no error: see Report.Err. The errors are those of
// loader.Driver.Accessors and loader.NewWatch.
func Run(ctx context.Context, opts Options) (*Report, error) {
	accessors, err := opts.Accessors, error(nil)
	if accessors == nil {
		accessors, err = Accessors(opts.Driver)
	}
	if err != nil {
		return nil, err
	}
	xdp := "received"
	if len(opts.Driver.Kfuncs) > 0 {
		xdp = "asked"
	}
	watch, err := loader.NewWatch(observe.Programs(), loader.Options{
		Accessors: accessors,
		Interface: opts.Target.Interface,
		Program:   xdp,
	}, "stacked")
	if err != nil {
		return nil, err
	}
	if opts.Started != nil {
		opts.Started(watch.Replaced)
	}
	report := newReport(&opts, accessors[0])
	err = observeAll(ctx, watch.Maps, report, &opts)
	return report, errors.Join(err, watch.Close())
}

// Accessors returns what reads a driver's fields in XDP, those of the skb in TC, and what
// the programs of Run want to know besides. The errors are those of
// loader.Driver.Accessors.
func Accessors(driver *loader.Driver) ([]*rewrite.Accessors, error) {
	with := *driver
	for name, object := range observe.Accessors() {
		file, err := accessor.Read(name, object)
		if err != nil {
			return nil, err
		}
		with.More = append(with.More, file)
	}
	return with.Accessors(observe.Programs())
}

// observeAll adds packets to the report until there are enough, or it is time.
func observeAll(ctx context.Context, maps map[string]*ebpf.Map, report *Report, opts *Options) error {
	const heed = 100 * time.Millisecond // how often ctx is asked

	observations, err := ringbuf.NewReader(maps["observations"])
	if err != nil {
		return fmt.Errorf("read observations: %w", err)
	}
	defer observations.Close()
	end := time.Now().Add(opts.Timeout)
	for ctx.Err() == nil && report.Packets.Observed < opts.Packets && time.Now().Before(end) {
		observations.SetDeadline(time.Now().Add(heed))
		record, err := observations.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read observations: %w", err)
		}
		o, err := parseObservation(record.RawSample)
		if err != nil {
			return err
		}
		report.add(o)
	}
	return report.Packets.count(maps["counters"])
}

// kernelRelease returns the release of the running kernel and the machine's architecture, as
// uname(1) has them.
func kernelRelease() (release, machine string) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", ""
	}
	return unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Machine[:])
}
