package loader_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// constantObject returns constant.c, which counts packets with a hash that the loader sets.
func constantObject(t *testing.T) *bytes.Reader {
	t.Helper()

	object, err := os.ReadFile(ownProgram("constant"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(object)
}

// forCafe are the options for constant.c to count frames that cafe returns, one by one.
func (l *lab) forCafe(layoutName string) loader.Options {
	l.Helper()
	return loader.Options{
		Layout:    layout(l.T, layoutName),
		Interface: l.nic.Name,
		Variables: map[string]any{"wanted": uint32(0xcafe), "step": uint64(1)},
	}
}

func (l *lab) mustLoad(opts loader.Options) *loader.Loaded {
	l.Helper()

	loaded, err := loader.Load(constantObject(l.T), opts)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(loaded.Close)
	return loaded
}

// wantCounted delivers frames and wants the program to have counted so many in all.
func (l *lab) wantCounted(counted *ebpf.Map, frames int, want uint64) {
	l.Helper()

	for range frames {
		if err := l.nic.Deliver([]netlab.Frame{cafe()}); err != nil {
			l.Fatal(err)
		}
	}
	var got uint64
	if err := counted.Lookup(uint32(0), &got); err != nil {
		l.Fatal(err)
	}
	if got != want {
		l.Errorf("Counted are %d packets instead of %d", got, want)
	}
}

func (l *lab) wantNothingAttached() {
	l.Helper()

	if got := l.survey(loader.SurveyOptions{}).Programs; len(got) > 0 {
		l.Errorf("Attached are %+v", got)
	}
}

// What is loaded from a reader, with constants of the caller's, is attached when the caller says
// so, its maps filled by then, and detached, pinned or not.
func TestLoadAttachDetach(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for _, unpinned := range []bool{false, true} {
		t.Run(fmt.Sprintf("unpinned %v", unpinned), func(t *testing.T) {
			lab := newLab(t)
			opts := lab.forCafe("exact")
			opts.Unpinned = unpinned
			loaded := lab.mustLoad(opts)
			defer loaded.Close()
			lab.wantNothingAttached()

			counted := loaded.Maps["counted"]
			if err := counted.Put(uint32(0), uint64(100)); err != nil {
				t.Fatal(err)
			}
			for round := range uint64(2) { // it can be attached again
				if err := loaded.Attach(); err != nil {
					t.Fatal(err)
				}
				if got := lab.status(); len(got) != 1 || differ(got[0], *loaded.Attachment) {
					t.Fatalf("Status: %+v\nloaded: %+v", got, loaded.Attachment)
				}
				if isPinned := len(lab.pins()) > 0; isPinned == unpinned || (loaded.Attachment.Pin == "") != unpinned {
					t.Errorf("Pinned are %v, the link at %q", lab.pins(), loaded.Attachment.Pin)
				}
				lab.wantCounted(counted, 3, 103+3*round)
				if err := loaded.Attach(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("program id %d is attached already", loaded.Attachment.ProgramID)) {
					t.Errorf("Attached twice: %v", err)
				}
				if err := loaded.Detach(); err != nil {
					t.Fatal(err)
				}
				lab.wantNothingAttached()
			}
			if err := loaded.Detach(); !errors.Is(err, loader.ErrNotAttached) {
				t.Errorf("Detached what is not attached: %v", err)
			}
		})
	}
}

// What is pinned stays when it is closed, what is not goes.
func TestCloseLoaded(t *testing.T) {
	for _, unpinned := range []bool{false, true} {
		t.Run(fmt.Sprintf("unpinned %v", unpinned), func(t *testing.T) {
			lab := newLab(t)
			opts := lab.forCafe("exact")
			opts.Unpinned = unpinned
			loaded := lab.mustLoad(opts)
			if err := loaded.Attach(); err != nil {
				t.Fatal(err)
			}
			loaded.Close()
			if unpinned {
				lab.wantNothingAttached()
				return
			}
			if got := lab.status(); len(got) != 1 {
				t.Errorf("Attached are %+v", got)
			}
			if err := loader.Unload(lab.nic.Name); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// An attachment that nothing pins goes with a process that is killed.
func TestUnpinnedGoesWithProcess(t *testing.T) {
	lab := newLab(t)
	cmd := command("attach-unpinned", ownProgram("constant"), layoutFile("exact"), lab.nic.Name)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := output.Read(line)
	if err != nil || string(line[:n]) != "attached\n" {
		t.Errorf("%q, %v", line[:n], err)
	}
	// Another process sees what it was rewritten for, and whose it is.
	got := lab.survey(loader.SurveyOptions{}).Programs
	owner := fmt.Sprintf("process %d", cmd.Process.Pid)
	if len(got) != 1 || got[0].Record == nil || !strings.HasSuffix(got[0].Foreign, owner) || got[0].LinkID == 0 || got[0].Pin != "" {
		t.Errorf("%+v is not of %s", got, owner)
	}
	if want, err := filepath.Abs(ownProgram("constant")); err != nil || len(got) == 1 && got[0].Record != nil && got[0].Record.Object != want {
		t.Errorf("From %s instead of %s, %v", got[0].Record.Object, want, err)
	}
	if err := loader.Unload(lab.nic.Name); !errors.Is(err, loader.ErrNotAttached) {
		t.Errorf("Unloaded what another process has attached itself: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	lab.wantNothingAttached()
}

// attachUnpinned OBJECT LAYOUT INTERFACE attaches, says so, and waits to be killed.
func attachUnpinned(args []string) error {
	layout, err := nic.OpenLayout(args[1], "")
	if err != nil {
		return err
	}
	object, err := os.Open(args[0])
	if err != nil {
		return err
	}
	loaded, err := loader.Load(object, loader.Options{Layout: layout, Interface: args[2], Unpinned: true})
	if err != nil {
		return err
	}
	if err := loaded.Attach(); err != nil {
		return err
	}
	fmt.Println("attached")
	time.Sleep(time.Hour) // without cgo, Go ends a process of which nothing will ever go on
	return nil
}

// While one program after the other takes the place of that before, rewritten for another layout
// and with the same map, every packet is counted once.
func TestReplaceLoaded(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for _, unpinned := range []bool{false, true} {
		t.Run(fmt.Sprintf("unpinned %v", unpinned), func(t *testing.T) {
			lab := newLab(t)
			opts := lab.forCafe("exact")
			opts.Unpinned = unpinned
			current := lab.mustLoad(opts)
			counted, err := current.Maps["counted"].Clone()
			if err != nil {
				t.Fatal(err)
			}
			defer counted.Close()
			if err := current.Attach(); err != nil {
				t.Fatal(err)
			}
			traffic := startTraffic(lab.nic, cafe())
			for i := range 20 {
				opts := lab.forCafe([]string{"sparse", "exact"}[i%2])
				opts.Unpinned = unpinned
				opts.Collection.MapReplacements = map[string]*ebpf.Map{"counted": counted}
				next := lab.mustLoad(opts)
				before := current.Attachment
				if err := next.Replace(current); err != nil {
					t.Fatal(err)
				}
				if next.Replaced != before.ProgramID || next.Attachment.LinkID != before.LinkID || current.Attachment != nil {
					t.Fatalf("Replaced %d: %+v by %+v", next.Replaced, before, next.Attachment)
				}
				current.Close()
				current = next
			}
			lab.wantCounted(counted, 0, traffic.end(t))
			if got := lab.status(); len(got) != 1 || differ(got[0], *current.Attachment) {
				t.Errorf("Status: %+v\nloaded: %+v", got, current.Attachment)
			}
			if err := current.Detach(); err != nil {
				t.Fatal(err)
			}
			lab.wantNothingAttached()
		})
	}
}

// What the caller takes out of the collection, as code by bpf2go does, can be attached.
func TestAttachAssigned(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for _, unpinned := range []bool{false, true} {
		t.Run(fmt.Sprintf("unpinned %v", unpinned), func(t *testing.T) {
			lab := newLab(t)
			opts := lab.forCafe("exact")
			opts.Unpinned = unpinned
			loaded := lab.mustLoad(opts)
			var objs struct {
				Constant *ebpf.Program `ebpf:"constant"`
				Counted  *ebpf.Map     `ebpf:"counted"`
			}
			if err := loaded.Assign(&objs); err != nil {
				t.Fatal(err)
			}
			defer objs.Constant.Close()
			defer objs.Counted.Close()
			if err := loaded.Attach(); err != nil {
				t.Fatal(err)
			}
			lab.wantCounted(objs.Counted, 2, 2)
			if err := loaded.Detach(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Programs that the caller attaches by its own link tell what they were rewritten for, whatever
// way they were loaded.
func TestStatusOfOwnLinks(t *testing.T) {
	netlab.Need(t, netlab.BoundMaps)
	loadedBy := map[string]func(*lab, loader.Options) *ebpf.Program{
		"Load": func(lab *lab, opts loader.Options) *ebpf.Program {
			return lab.mustLoad(opts).Programs["constant"]
		},
		"Load without an interface": func(lab *lab, opts loader.Options) *ebpf.Program {
			opts.Interface = ""
			return lab.mustLoad(opts).Programs["constant"]
		},
		"RewrittenSpec": func(lab *lab, opts loader.Options) *ebpf.Program {
			object := constantObject(lab.T)
			spec, _, err := loader.RewrittenSpec(object, opts)
			if err != nil {
				lab.Fatal(err)
			}
			var objs struct {
				Constant *ebpf.Program `ebpf:"constant"`
			}
			if err := spec.LoadAndAssign(&objs, nil); err != nil {
				lab.Fatal(err)
			}
			lab.Cleanup(func() { objs.Constant.Close() })
			if err := loader.BindRecord(objs.Constant, object, opts); err != nil {
				lab.Fatal(err)
			}
			return objs.Constant
		},
	}
	for name, load := range loadedBy {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			opts := lab.forCafe("exact")
			program := load(lab, opts)
			attached, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: lab.nic.Index, Flags: link.XDPDriverMode})
			if err != nil {
				t.Fatal(err)
			}
			defer attached.Close()

			got := lab.status()
			if len(got) != 1 || got[0].Interface != lab.nic.Name || got[0].Program != "constant" || got[0].Pin != "" || got[0].LinkID == 0 || got[0].Mode != loader.Native {
				t.Fatalf("Status: %+v", got)
			}
			record := got[0].Record
			if record.Layout != layoutFile("exact") || record.Object != "" || len(record.Fields) != 1 || record.Fields[0] != (loader.RecordedField{Field: "md->hash", From: "__u32 at 8"}) {
				t.Errorf("Record: %+v", record)
			}
			if want := fmt.Sprintf("loader.test, process %d", os.Getpid()); record.Owner != want {
				t.Errorf("Of %s instead of %s", record.Owner, want)
			}
			if !bytes.Equal(record.Variables["wanted"], binary.NativeEndian.AppendUint32(nil, 0xcafe)) {
				t.Errorf("Variables: %v", record.Variables)
			}
			if opts.Interface != "" && name != "Load without an interface" && record.Driver != "veth" {
				t.Errorf("For driver %q", record.Driver)
			}
			if _, err := loader.Reload(lab.nic.Name, nil); !errors.Is(err, loader.ErrNotAttached) {
				t.Errorf("Reloaded what is not pinned: %v", err)
			}
			if unloaded, _, err := loader.UnloadAll(); len(unloaded) > 0 || err != nil {
				t.Errorf("Unloaded %v, %v", unloaded, err)
			}
		})
	}
}

// A program that is not attached any more, or that could not be, is the caller's again, who may
// attach it by a link of its own.
func TestStatusOfOwnLinksLater(t *testing.T) {
	netlab.Need(t, netlab.BoundMaps)
	for name, leave := range map[string]func(*lab, *loader.Loaded){
		"Detach": func(lab *lab, loaded *loader.Loaded) {
			if err := errors.Join(loaded.Attach(), loaded.Detach()); err != nil {
				lab.Fatal(err)
			}
		},
		"Attach fails": func(lab *lab, loaded *loader.Loaded) {
			lab.output("ip", "link", "set", "nic0-wire", "mtu", "9000")
			if err := loaded.Attach(); err == nil {
				lab.Fatal("Attached in spite of the MTU")
			}
			lab.output("ip", "link", "set", "nic0-wire", "mtu", "1500")
		},
		"Replace": func(lab *lab, loaded *loader.Loaded) {
			other := lab.mustLoad(lab.forCafe("sparse"))
			if err := errors.Join(loaded.Attach(), other.Replace(loaded), other.Detach()); err != nil {
				lab.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			loaded := lab.mustLoad(lab.forCafe("exact"))
			leave(lab, loaded)
			attached, err := link.AttachXDP(link.XDPOptions{Program: loaded.Programs["constant"], Interface: lab.nic.Index, Flags: link.XDPDriverMode})
			if err != nil {
				t.Fatal(err)
			}
			defer attached.Close()
			if err := loader.Unload(lab.nic.Name); !errors.Is(err, loader.ErrNotAttached) {
				t.Errorf("Unloaded what the caller has attached: %v", err)
			}
			if got := lab.status(); len(got) != 1 || got[0].Pin != "" || got[0].Record.Owner == "" {
				t.Errorf("Status: %+v", got)
			}
		})
	}
}

// What can't be detached for want of file descriptors is still told to be attached.
func TestDetachFails(t *testing.T) {
	lab := newLab(t)
	loaded := lab.mustLoad(lab.forCafe("exact"))
	if err := loaded.Attach(); err != nil {
		t.Fatal(err)
	}
	var err error
	withFiles(t, 0, func() { err = loaded.Detach() })
	if !errors.Is(err, unix.EMFILE) || loaded.Attachment == nil {
		t.Errorf("Detach: %v, attached is %+v", err, loaded.Attachment)
	}
	if err := loaded.Detach(); err != nil {
		t.Error(err)
	}
	lab.wantNothingAttached()
}

// withFiles calls fn while no file descriptors can be had from a number on.
func withFiles(t *testing.T, limit uint64, fn func()) {
	t.Helper()

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	fn()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
}

// In a program array that the caller gives, the programs are those for the new layout as soon as
// the program is that calls through it.
func TestReplaceUnpinnedArray(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	object, err := os.Open(ownProgram("calls"))
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	load := func(opts loader.Options) *loader.Loaded {
		t.Helper()
		opts.Interface, opts.Unpinned = "nic0", true
		loaded, err := loader.Load(object, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(loaded.Close)
		return loaded
	}
	first := load(loader.Options{Layout: layout(t, "exact")})
	if err := first.Attach(); err != nil {
		t.Fatal(err)
	}
	opts := loader.Options{Layout: layout(t, "sparse")}
	opts.Collection.MapReplacements = map[string]*ebpf.Map{"jump": first.Maps["jump"]}
	second := load(opts)
	if err := second.Replace(first); err != nil {
		t.Fatal(err)
	}
	first.Close()
	const hashAt = 12 // in layout sparse
	metadata := make([]byte, 40)
	binary.NativeEndian.PutUint32(metadata[hashAt:], 0xcafe)
	deliver(t, lab.nic, metadata)
	var hash uint32
	if err := second.Variables["hash_called"].Get(&hash); err != nil || hash != 0xcafe {
		t.Errorf("The program that is called last read hash %#x, %v", hash, err)
	}
}

// The values of variables stay when a program is rewritten for another layout.
func TestReloadKeepsVariables(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	loaded := lab.mustLoad(lab.forCafe("exact"))
	if err := loaded.Attach(); err != nil {
		t.Fatal(err)
	}
	reloaded, err := loader.Reload(lab.nic.Name, func(*loader.Record) (loader.Options, error) {
		return loader.Options{Layout: layout(t, "sparse")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer reloaded.Close()
	lab.wantCounted(reloaded.Maps["counted"], 4, 4)
	if err := loaded.Detach(); !errors.Is(err, loader.ErrNotAttached) {
		t.Errorf("Detached what is replaced: %v", err)
	}
	if err := errors.Join(reloaded.Detach(), reloaded.Attach(), reloaded.Detach()); err != nil {
		t.Fatal(err)
	}
}

// What can't be is refused with what to do, and changes nothing.
func TestLoadedRefusals(t *testing.T) {
	lab := newLab(t)
	attached := lab.mustLoad(lab.forCafe("exact"))
	if err := attached.Attach(); err != nil {
		t.Fatal(err)
	}
	second, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*loader.Options)) func() error {
		return func() error {
			opts := lab.forCafe("exact")
			change(&opts)
			loaded, err := loader.Load(constantObject(t), opts)
			if err == nil {
				loaded.Close()
			}
			return err
		}
	}
	other := func(change func(*loader.Options), do func(*loader.Loaded) error) func() error {
		return func() error {
			opts := lab.forCafe("exact")
			change(&opts)
			loaded := lab.mustLoad(opts)
			defer loaded.Close()
			return do(loaded)
		}
	}
	asIs := func(*loader.Options) {}
	replace := func(l *loader.Loaded) error { return l.Replace(attached) }
	for name, c := range map[string]struct {
		do   func() error
		is   error
		says string
	}{
		"a variable that is none": {with(func(o *loader.Options) { o.Variables = map[string]any{"steps": uint64(1)} }),
			nil, "no variable of the name steps in the object: there is step, wanted"},
		"a value of another size": {with(func(o *loader.Options) { o.Variables = map[string]any{"step": uint32(1)} }),
			nil, "variable step, of 8 bytes"},
		"unpinned in place of what is pinned": {with(func(o *loader.Options) { o.Unpinned, o.Replace = true, true }),
			nil, "options Unpinned and Replace: what is attached by a pinned link is not replaced"},
		"an array that lasts":       {lab.loadUnpinnedArray, nil, "program array jump is to be pinned by its name, and lasts, and the attachment is Unpinned, and does not: take LIBBPF_PIN_BY_NAME off it"},
		"no interface":              {other(func(o *loader.Options) { o.Interface = "" }, (*loader.Loaded).Attach), nil, "attach: the object was loaded without an interface: name it in Options.Interface"},
		"an occupied one":           {other(asIs, (*loader.Loaded).Attach), loader.ErrOccupied, "attached by xdp-load"},
		"an occupied one, unpinned": {other(func(o *loader.Options) { o.Unpinned = true }, (*loader.Loaded).Attach), loader.ErrOccupied, "attached by xdp-load"},
		"not detached":              {other(asIs, (*loader.Loaded).Detach), loader.ErrNotAttached, "no program attached"},
		"pinned by unpinned":        {other(func(o *loader.Options) { o.Unpinned = true }, replace), nil, "the one is pinned, the other is Unpinned: both have to be the same"},
		"of another interface":      {other(func(o *loader.Options) { o.Interface = second.Name }, replace), nil, ": that is on another interface, nic0"},
		"of none":                   {other(asIs, func(l *loader.Loaded) error { return l.Replace(new(loader.Loaded)) }), loader.ErrNotAttached, "nic0: replace"},
	} {
		err := c.do()
		if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v\ninstead of %v, and %q", name, err, c.is, c.says)
		}
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], *attached.Attachment) {
		t.Errorf("Status: %+v", got)
	}
	if err := attached.Detach(); err != nil {
		t.Fatal(err)
	}
}

// A link that somebody else has given another program is not the caller's to replace.
func TestReplaceChangedLink(t *testing.T) {
	lab := newLab(t)
	opts := lab.forCafe("exact")
	opts.Unpinned = true
	first, second := lab.mustLoad(opts), lab.mustLoad(opts)
	if err := first.Attach(); err != nil {
		t.Fatal(err)
	}
	opts.Mode = loader.Generic
	if err := lab.mustLoad(opts).Replace(first); err == nil || !strings.Contains(err.Error(), "it is in native mode, and a program in generic mode can't replace it") {
		t.Errorf("Replaced in another mode: %v", err)
	}
	theirs, err := link.NewFromID(first.Attachment.LinkID)
	if err != nil {
		t.Fatal(err)
	}
	foreign := foreignProgram(t)
	err = theirs.Update(foreign)
	foreign.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Replace(first); !errors.Is(err, loader.ErrChanged) || !strings.Contains(err.Error(), "the link attaches another program") {
		t.Errorf("Replaced another's: %v", err)
	}
	err = theirs.Detach()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Replace(first); !errors.Is(err, loader.ErrNotAttached) || !strings.Contains(err.Error(), "any more: the link was detached, or its interface is gone") {
		t.Errorf("Replaced what is gone: %v", err)
	}
	if second.Attachment != nil || first.Attachment == nil {
		t.Errorf("%+v, %+v", first.Attachment, second.Attachment)
	}
	first.Close()
}

// loadUnpinnedArray loads a program array that is to be pinned for what is not.
func (l *lab) loadUnpinnedArray() error {
	object, err := os.Open(ownProgram("calls_pinned"))
	if err != nil {
		return err
	}
	defer object.Close()
	_, err = loader.Load(object, loader.Options{Layout: layout(l.T, "exact"), Interface: l.nic.Name, Unpinned: true})
	return err
}

// loadCalls loads calls_pinned.c, whose program array is pinned by name.
func (l *lab) loadCalls(layoutName, iface string) *loader.Loaded {
	l.Helper()

	object, err := os.Open(ownProgram("calls_pinned"))
	if err != nil {
		l.Fatal(err)
	}
	defer object.Close()
	loaded, err := loader.Load(object, loader.Options{Layout: layout(l.T, layoutName), Interface: iface})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(loaded.Close)
	return loaded
}

// Between the load and the attachment a program array that is pinned by name may become
// another's: it is left to that. Otherwise it has the right programs, whatever it had meanwhile.
func TestAttachSharesNoArray(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	other, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	object := ownProgram("calls_pinned")
	loaded := lab.loadCalls("exact", "nic0")
	elsewhere := lab.loadByCommand(object, "sparse", "nic1")
	if err := loaded.Attach(); !errors.Is(err, loader.ErrChanged) || !strings.Contains(err.Error(), "to which program array jump, which is pinned by name, belongs: when the object was loaded it was id 0, now there is id ") {
		t.Errorf("Attached with the array of another: %v", err)
	}
	lab.wantCalled(elsewhere, other, object, 12)
	lab.unload("nic1")

	if err := loaded.Attach(); err != nil {
		t.Fatal(err)
	}
	lab.wantCalled(*loaded.Attachment, lab.nic, object, 8)

	// The next program has an array of its own, which takes over the name.
	next := lab.loadCalls("sparse", "nic0")
	before := lab.programsIn(bpffs + "/jump")
	if err := next.Replace(loaded); err != nil {
		t.Fatal(err)
	}
	for slot, id := range lab.programsIn(bpffs + "/jump") {
		if id == before[slot] {
			t.Errorf("Slot %d has program %d, as before", slot, id)
		}
	}
	lab.wantCalled(*next.Attachment, lab.nic, object, 12)

	// It has not if there is nothing to take over from.
	third := lab.loadCalls("exact", "nic0")
	if err := next.Detach(); err != nil {
		t.Fatal(err)
	}
	if err := third.Attach(); !errors.Is(err, loader.ErrChanged) {
		t.Errorf("Attached without what was there: %v", err)
	}
	if err := next.Attach(); err != nil { // as before
		t.Fatal(err)
	}
	if err := next.Detach(); err != nil {
		t.Fatal(err)
	}
	remove(t, bpffs+"/jump")
}

// Of several interfaces that go with the process, all get their program, or none.
func TestLoadOnAllUnpinned(t *testing.T) {
	lab := newLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	opts := func(iface string) loader.Options {
		return loader.Options{Layout: layout(t, "exact"), Interface: iface, Unpinned: true}
	}
	occupied, err := loader.LoadRewritten(program("fields"), opts("nic1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loader.LoadOnAll(program("fields"), []loader.Options{opts("nic0"), opts("nic1")}); !errors.Is(err, loader.ErrOccupied) {
		t.Errorf("On an interface that has a program: %v", err)
	}
	if got := lab.status(); len(got) != 1 || got[0].Interface != "nic1" {
		t.Errorf("Status: %+v", got)
	}
	occupied.Close()

	all, err := loader.LoadOnAll(program("fields"), []loader.Options{opts("nic0"), opts("nic1")})
	if err != nil {
		t.Fatal(err)
	}
	if got := lab.status(); len(got) != 2 {
		t.Errorf("Status: %+v", got)
	}
	// From then on each is by itself.
	if err := all[0].Detach(); err != nil {
		t.Fatal(err)
	}
	if err := all[0].Attach(); err != nil {
		t.Fatal(err)
	}
	for _, loaded := range all {
		loaded.Close()
	}
	lab.wantNothingAttached()
}
