//go:build linux

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Input is what a program is run on.
type Input struct {
	// Metadata is the metadata area: a multiple of 4 bytes, at most 216, or 32 before
	// Linux 6.8.
	Metadata []byte

	// Packet starts with an Ethernet header, of 14 bytes.
	Packet []byte

	// Repeat is how often it is run (optional, once). The metadata area, the packet and
	// what the program returns are those of the last time.
	Repeat int
}

// Outcome is what a run of a program leaves.
type Outcome struct {
	Report  *rewrite.Report
	Program string

	// Action is enum xdp_action of include/uapi/linux/bpf.h, and ActionName what that
	// calls it, empty if it has no such value.
	Action     uint32
	ActionName string

	Metadata []byte
	Packet   []byte

	// Duration is how long one run takes on average, the system call included: it says
	// something if there are many.
	Duration time.Duration

	// Variables are the global variables that have changed, by name.
	Variables []ChangedVariable
}

// ChangedVariable is a global variable of a program before and after it has run, in the
// byte order of the machine.
type ChangedVariable struct {
	Name   string
	Before []byte
	After  []byte
}

var actionNames = []string{"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"}

// ErrNoDriverHere is wrapped by the error about a program that is to be run without a NIC, or in
// generic mode, and to read what a NIC's driver keeps.
var ErrNoDriverHere = errors.New("no driver has the packet")

// Run rewrites an object file for the layout of the options and runs one of its programs in
// the kernel, without an interface, on a packet with a metadata area: see
// BPF_PROG_TEST_RUN in Documentation/bpf/bpf_prog_run.rst. Nothing is attached or pinned, and
// maps that are pinned by name are left alone. It takes Linux 5.15.
//
// Returns an error wrapping ErrNoDriverHere if the options have accessors, and those of
// LoadRewritten that are about the program.
func Run(path string, opts Options, input Input) (*Outcome, error) {
	if len(opts.Accessors) > 0 {
		return nil, fmt.Errorf("%w in a run without a NIC: give the layout of the metadata area", ErrNoDriverHere)
	}
	if err := input.check(); err != nil {
		return nil, err
	}
	opts.Interface = ""
	object, err := opts.object(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l, err := newLoadPart(path, object, opts, []Hook{XDP})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l.named = nil // they are nobody's but the run's
	if err := l.load(); err != nil {
		return nil, explainPermission(err)
	}
	defer l.collection.Close()
	return l.outcome(input)
}

// maxArea is how much fits in front of a packet, behind what the kernel keeps there:
// XDP_PACKET_HEADROOM without struct xdp_frame (bpf_prog_test_run_xdp in net/bpf/test_run.c).
const maxArea = 216

func (in *Input) check() error {
	switch {
	case len(in.Metadata)%4 != 0:
		return fmt.Errorf("a metadata area of %d bytes: the kernel takes multiples of 4", len(in.Metadata))
	case len(in.Metadata) > maxArea:
		return fmt.Errorf("a metadata area of %d bytes: the kernel leaves room for %d in a test run", len(in.Metadata), maxArea)
	case in.Repeat > math.MaxInt32:
		return fmt.Errorf("%d times: at most %d", in.Repeat, math.MaxInt32)
	case len(in.Packet) < 14:
		return fmt.Errorf("a packet of %d bytes: an Ethernet header has 14", len(in.Packet))
	}
	return nil
}

func (l *load) outcome(input Input) (*Outcome, error) {
	before, err := valuesOf(l.collection)
	if err != nil {
		return nil, err
	}
	outcome := &Outcome{Report: l.report, Program: l.Program}
	if err := outcome.run(l.collection.Programs[l.Program], input); err != nil {
		return nil, explainPermission(fmt.Errorf("run %s: %w", l.Program, err))
	}
	after, err := valuesOf(l.collection)
	if err != nil {
		return nil, err
	}
	outcome.Variables = changed(before, after)
	return outcome, nil
}

// maxHeadroom is what programs can put in front of a packet: XDP_PACKET_HEADROOM.
const maxHeadroom = 256

// run runs a program. struct xdp_md has lengths here instead of addresses: data is that of
// the metadata area (bpf_prog_test_run_xdp in net/bpf/test_run.c).
func (o *Outcome) run(program *ebpf.Program, input Input) (err error) {
	type xdpMD struct {
		Data, DataEnd, DataMeta, IngressIfindex, RxQueueIndex, EgressIfindex uint32
	}
	after := new(xdpMD)
	area := uint32(len(input.Metadata))
	run := &ebpf.RunOptions{
		Data:       slices.Concat(input.Metadata, input.Packet),
		DataOut:    make([]byte, maxHeadroom+len(input.Packet)+maxHeadroom),
		Context:    xdpMD{Data: area, DataEnd: area + uint32(len(input.Packet))},
		ContextOut: after,
		Repeat:     uint32(max(1, input.Repeat)),
	}
	start := time.Now()
	if o.Action, err = program.Run(run); err != nil {
		return err
	}
	o.Duration = time.Since(start) / time.Duration(run.Repeat)
	if int(o.Action) < len(actionNames) {
		o.ActionName = actionNames[o.Action]
	}
	area = after.Data - after.DataMeta
	if int(area) > len(run.DataOut) {
		return fmt.Errorf("a metadata area of %d bytes comes back, in front of %d", area, len(run.DataOut))
	}
	o.Metadata, o.Packet = run.DataOut[:area], run.DataOut[area:]
	return nil
}

// valuesOf returns the values of the global variables that a program may change.
func valuesOf(collection *ebpf.Collection) (map[string][]byte, error) {
	values := make(map[string][]byte)
	for name, variable := range collection.Variables {
		if variable.ReadOnly() {
			continue
		}
		value := make([]byte, variable.Size())
		if err := variable.Get(value); err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
		values[name] = value
	}
	return values, nil
}

func changed(before, after map[string][]byte) []ChangedVariable {
	variables := []ChangedVariable{}
	for name, value := range after {
		if !bytes.Equal(before[name], value) {
			variables = append(variables, ChangedVariable{name, before[name], value})
		}
	}
	slices.SortFunc(variables, func(a, b ChangedVariable) int { return strings.Compare(a.Name, b.Name) })
	return variables
}
