package loader_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Each error that a caller can tell apart is what the functions return whose comments say so.
// What takes more than a call is tested elsewhere: ErrPrivileges, ErrLockdown, ErrWatched,
// ErrBoundElsewhere.
func TestSentinels(t *testing.T) {
	lab := newLab(t)
	loaded := lab.load(program("fields"))
	defer lab.unload(lab.nic.Name)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}

	load := func(object, layoutName, iface string) error {
		loaded, err := loader.LoadRewritten(object, loader.Options{Layout: layout(t, layoutName), Interface: iface})
		if err == nil {
			loaded.Close()
		}
		return err
	}
	findSource := func(name string) error {
		target, err := nic.ByName(name)
		if err != nil {
			return err
		}
		_, err = loader.FindSource(target, nic.Search{Dirs: []string{}}, new(loader.Driver))
		return err
	}
	reload := func(find func() error) error {
		_, err := loader.Reload(lab.nic.Name, func(*loader.Record) (loader.Options, error) {
			return loader.Options{Layout: layout(t, "exact")}, find()
		})
		return err
	}
	var refused *rewrite.RefusedError
	var refusal *loader.RefusalError
	var noSource *loader.NoSourceError
	for name, c := range map[string]struct {
		do func() error
		is error // for errors.Is
		as any   // for errors.As, nil if it is no type
	}{
		"no program of the name": {is: loader.ErrNoProgram, do: func() error {
			_, err := loader.Preview(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic1", Program: "other"})
			return err
		}},
		"several programs": {is: loader.ErrSeveralPrograms, do: func() error { return load(program("subprog"), "exact", "nic1") }},
		"occupied":         {is: loader.ErrOccupied, do: func() error { return load(program("fields"), "exact", lab.nic.Name) }},
		"no native XDP":    {is: loader.ErrNoNative, do: func() error { return load(program("fields"), "exact", "lo") }},
		"no interface":     {is: nic.ErrNoInterface, do: func() error { return load(program("fields"), "exact", "nic2") }},
		"no file":          {is: os.ErrNotExist, do: func() error { return load("no-such-file.o", "exact", "nic1") }},
		"changed": {is: loader.ErrChanged, do: func() error {
			// While it looks for the source, another takes the program's place.
			return reload(func() error {
				lab.unload(lab.nic.Name)
				lab.load(program("fields"))
				return nil
			})
		}},
		"not attached":  {is: loader.ErrNotAttached, do: func() error { return loader.Unload("nic1") }},
		"not this one":  {is: loader.ErrNotAttached, do: func() error { return loader.UnloadProgram(loaded.ProgramID + 1_000_000) }},
		"none reloaded": {is: loader.ErrNotAttached, do: func() error { _, err := loader.Reload("nic1", nil); return err }},
		"find's error":  {is: os.ErrDeadlineExceeded, do: func() error { return reload(func() error { return os.ErrDeadlineExceeded }) }},
		"no record": {is: loader.ErrNoRecord, do: func() error {
			foreign := foreignProgram(t)
			defer foreign.Close()
			_, err := loader.RecordOf(foreign)
			return err
		}},
		"nothing compared with": {is: loader.ErrNoRecord, do: func() error {
			_, err := new(loader.Attachment).Changes(nil)
			return err
		}},
		"no source":      {is: loader.ErrNoSource, as: &noSource, do: func() error { return findSource("lo") }},
		"unnamed driver": {is: loader.ErrUnnamedDriver, do: func() error { return findSource("lo") }},
		"no accessors":   {is: loader.ErrNoAccessors, do: func() error { _, err := (&loader.Driver{Name: "toy"}).Accessors(nil); return err }},
		"no driver there": {is: loader.ErrNoDriverHere, do: func() error {
			_, err := loader.Run(program("fields"), loader.Options{Accessors: []*rewrite.Accessors{{}}}, loader.Input{})
			return err
		}},
		"generic, of a driver": {is: loader.ErrNoDriverHere, do: func() error {
			_, err := loader.LoadRewritten(program("fields"), loader.Options{Accessors: []*rewrite.Accessors{{}}, Interface: "nic1", Mode: loader.Generic})
			return err
		}},
		"refused accesses": {is: rewrite.ErrRefused, as: &refused, do: func() error { return load("../testdata/invalid/refused"+endian, "exact", "") }},
		"no descriptor":    {is: rewrite.ErrNoDescriptor, do: func() error { return load(program("fields"), "none", "") }},
		"two layouts":      {is: reloc.ErrAmbiguous, do: func() error { return load(program("fields"), "two", "") }},
		"no BTF": {is: reloc.ErrNoBTF, do: func() error {
			_, _, err := loader.Rewrite(withoutBTF(t), loader.Options{Layout: layout(t, "exact")})
			return err
		}},
		"no such root type": {is: rewrite.ErrNoSuchRoot, do: func() error {
			object, err := os.ReadFile(program("fields"))
			if err != nil {
				return err
			}
			_, _, err = loader.Rewrite(object, loader.Options{Layout: layout(t, "exact"), Types: []string{"no_such"}})
			return err
		}},
		// One by name: of some others there the verifier needs long to see that they are wrong.
		"the verifier's refusal": {as: &refusal, do: func() error {
			_, err := loader.LoadRewritten(ownProgram("refused"), loader.Options{Layout: layout(t, "exact"), Interface: "nic1", Program: "unchecked"})
			return err
		}},
		"no record to bind": {is: loader.ErrNoProgram, do: func() error {
			foreign := foreignProgram(t)
			defer foreign.Close()
			return loader.BindRecord(foreign, constantObject(t), loader.Options{Layout: layout(t, "exact")})
		}},
	} {
		err := c.do()
		if err == nil || c.is != nil && !errors.Is(err, c.is) || c.as != nil && !errors.As(err, c.as) {
			t.Errorf("%s: %v is no %v, %T", name, err, c.is, c.as)
		}
	}
}

// withoutBTF is an object without BTF, as one that was compiled without -g.
func withoutBTF(t *testing.T) []byte {
	t.Helper()
	object, err := os.ReadFile(program("fields"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(object, []byte(".BTF"), []byte(".not")) // the names of its sections
}
