package loader

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Options says what to do with an object.
type Options struct {
	// Layout is that of the NIC that the programs are loaded for. It is read
	// with nic.OpenLayout. Accessors, which Driver.Accessors returns, read what the
	// driver keeps of a packet instead. One of the two is given.
	Layout    *reloc.Layout
	Accessors []*rewrite.Accessors

	// Types are globs of the root types to resolve against the layout
	// (optional, reloc.Descriptor if empty).
	Types []string

	// Object is what is in the object's file, for who has read it (optional: what is given a
	// path reads it).
	Object []byte

	// Interface is the name of the interface, in the network namespace of the
	// calling thread, to attach to (optional: nothing is attached without it). Load
	// leaves that to Loaded.Attach.
	Interface string

	// Program is the name of the program to attach (optional if the object
	// has only one). Only it and what it reaches is loaded: the programs that its
	// program arrays start with, those for its cpumaps and devmaps, what these reach, and
	// their maps.
	Program string

	// Mode is where an XDP program runs: Native, in the driver, which it is if it is empty;
	// Generic, in the network stack, with any driver; or Offload, on the NIC, if that runs
	// programs, which can't have maps then. In generic mode the metadata area is empty, so
	// md_desc(ctx) is NULL for every packet; in both Accessors are refused, as nothing of the
	// driver's is there. A program of TC is attached by TCX, or as a filter, Clsact: if it is
	// empty, by the first one that the kernel has.
	Mode Mode

	// Replace has the program take the place of the one that this package has attached
	// to the interface, if there is one, in one step: every packet is seen by the one or
	// by the other. It does so only if what is there then is what was there at the start.
	Replace bool

	// Force has Replace replace the program of somebody else, too. If that is attached by
	// a link, the link becomes this package's: it stays when its owner is done with it.
	Force bool

	// Redirects are put into cpumaps and devmaps before the program is attached (optional).
	Redirects []Redirect

	// Unpinned has nothing of the attachment pinned. It lasts until Loaded.Close, or until
	// the process ends, rather than outliving both. Replace is for what is pinned: see
	// Loaded.Replace.
	Unpinned bool

	// Variables are values for global variables, constants among them, by name (optional).
	// They are there when the verifier looks at the programs. A value is what
	// ebpf.VariableSpec.Set takes, of the size of the variable.
	Variables map[string]any

	// Origin goes into the record of the program on the interface (optional).
	Origin Origin

	// Log is told of each step, and, if it takes what is of level Debug, of what the verifier
	// says (optional).
	Log *slog.Logger

	// Collection is for ebpf.NewCollectionWithOptions (optional). Maps that
	// are declared with LIBBPF_PIN_BY_NAME are pinned in its Maps.PinPath, or
	// in /sys/fs/bpf if that is empty.
	Collection ebpf.CollectionOptions
}

// Mode is where a program on an interface runs.
type Mode string

// Redirect is an entry of a cpumap or a devmap: where packets go that a program redirects into
// the map.
type Redirect struct {
	Map string `json:"map"`
	Key uint32 `json:"key"` // of a cpumap, the CPU

	// Queue is how many packets wait for the CPU at most; Interface is the name of the one that
	// a devmap sends them out of.
	Queue     uint32 `json:"queue,omitempty"`
	Interface string `json:"interface,omitempty"`

	// Program is the name of the program, in SEC("xdp/cpumap") or SEC("xdp/devmap"), that sees
	// the packets there (optional).
	Program string `json:"program,omitempty"`
}

// Origin is how the layout or the accessors were looked for, for who does that again. To
// this package it means nothing.
type Origin struct {
	Layout    string   `json:"layout,omitempty"`    // absolute path, or prog: and a number or a name
	Base      string   `json:"base,omitempty"`      // absolute path of what Layout is split from
	Accessors string   `json:"accessors,omitempty"` // absolute path
	Lowering  string   `json:"lowering,omitempty"`
	NoKfuncs  bool     `json:"noKfuncs,omitempty"` // none were to be asked
	Software  []string `json:"software,omitempty"` // fields that were to be computed
}

// Rewrite rewrites an object for the layout of the options, or for the driver that the
// accessors are of. It uses nothing else of the options but the Types.
//
// Returns the errors of rewrite.Rewrite. For a driver, programs that could not read the
// fields where they run are refused, too.
func Rewrite(object []byte, opts Options) ([]byte, *rewrite.Report, error) {
	return rewriteFor(object, opts, nil)
}

func rewriteFor(object []byte, opts Options, isLoaded func(function string) bool) ([]byte, *rewrite.Report, error) {
	what := rewrite.Options{Types: opts.Types, Functions: isLoaded}
	switch {
	case opts.Layout != nil && len(opts.Accessors) > 0:
		return nil, nil, errors.New("a layout and accessors to rewrite the object for: give one of them")
	case opts.Layout != nil:
		return rewrite.Rewrite(object, opts.Layout, what)
	case len(opts.Accessors) == 0:
		return nil, nil, errors.New("no layout, and no accessors, to rewrite the object for")
	}
	if slices.ContainsFunc(opts.Accessors, (*rewrite.Accessors).AskKfuncs) {
		what.Unbound = unboundIn(object)
	}
	rewritten, report, err := rewrite.RewriteForDriver(object, opts.Accessors, what)
	if err == nil {
		err = checkPrograms(rewritten, opts.Accessors, report, isLoaded)
	}
	if err != nil {
		return nil, nil, err
	}
	return rewritten, report, nil
}
