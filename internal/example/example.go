// Package example loads the programs of bpf/examples for those in examples, as any program
// that has xdp-load's packages would: for the NIC at hand, and for as long as it runs.
package example

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/spf13/pflag"

	"github.com/xdp-load/xdp-load/bpf"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Target is the interface that a program is loaded for, and where its fields come from.
type Target struct {
	Interface string
	Layout    string   // file with the layout of the metadata area (optional)
	Software  []string // fields to compute where the NIC does not tell them (optional)
}

// Flags returns the flags of the command of a name, with those that say which it is.
func (t *Target) Flags(command string) *pflag.FlagSet {
	flags := pflag.NewFlagSet(command, pflag.ContinueOnError)
	flags.StringVar(&t.Interface, "iface", "", "network `INTERFACE`")
	flags.StringVar(&t.Layout, "layout", "", "`FILE` with the layout of what the NIC writes in front of packets (default: looked for, then the driver is read)")
	flags.StringSliceVar(&t.Software, "software", nil, "compute these `FIELDS` where the driver does not tell them: hash, rx_timestamp")
	return flags
}

// Program is an example in the kernel, attached to an interface.
type Program struct {
	*ebpf.Collection
	Target *nic.Target // says where the fields come from

	report *rewrite.Report
	link   link.Link
}

// Attach loads the example of a name for an interface, and attaches its only program, in
// native mode, until Close or the end of the process. prepare may change what is loaded, its
// variables say (optional).
func (t *Target) Attach(name string, prepare func(*ebpf.CollectionSpec) error) (*Program, error) {
	object, err := bpf.Example(name)
	if err != nil {
		return nil, err
	}
	target, opts, err := t.source()
	if err != nil {
		return nil, err
	}
	spec, report, err := loader.RewrittenSpec(bytes.NewReader(object), opts)
	if err == nil && prepare != nil {
		err = prepare(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := rlimit.RemoveMemlock(); err != nil { // before Linux 5.11
		return nil, err
	}
	collection, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, loader.ExplainRefusal(err, spec, report))
	}
	attached, err := link.AttachXDP(link.XDPOptions{Program: collection.Programs[name], Interface: target.Index, Flags: link.XDPDriverMode})
	if err != nil {
		collection.Close()
		return nil, fmt.Errorf("attach %s to %s: %w", name, target.Interface, err)
	}
	return &Program{collection, target, report, attached}, nil
}

// NIC looks the interface up.
func (t *Target) NIC() (*nic.Target, error) {
	if t.Interface == "" {
		return nil, errors.New("no interface given: --iface INTERFACE")
	}
	return nic.ByName(t.Interface)
}

// source returns what the interface's fields come from.
func (t *Target) source() (*nic.Target, loader.Options, error) {
	target, err := t.NIC()
	if err != nil {
		return nil, loader.Options{}, err
	}
	if t.Layout != "" {
		layout, err := nic.OpenLayout(t.Layout, "")
		target.Layout, target.Source = layout, nic.LayoutSource(t.Layout)
		return target, loader.Options{Layout: layout, Interface: target.Interface}, err
	}
	kfuncs, err := target.Kfuncs()
	if err != nil {
		return nil, loader.Options{}, err
	}
	opts, err := loader.FindSource(target, nic.Search{}, &loader.Driver{Kfuncs: kfuncs, Software: t.Software})
	opts.Interface = target.Interface
	return target, opts, err
}

// Lacks returns why the NIC does not tell a field that the program asks for, empty if it does.
func (p *Program) Lacks(field string) string {
	for _, edit := range p.report.Edits {
		if edit.Access.Kind == reloc.FieldExists && edit.Access.FieldName() == field && !edit.Resolution.Exists {
			return edit.Resolution.Missing
		}
	}
	return ""
}

// Close detaches the program.
func (p *Program) Close() error {
	err := p.link.Close()
	p.Collection.Close()
	return err
}

// Layout returns the types of an example, which say where it puts what it writes.
func Layout(name string) (*reloc.Layout, error) {
	object, err := bpf.Example(name)
	if err != nil {
		return nil, err
	}
	return nic.ReadLayout(name, bytes.NewReader(object), nil)
}
