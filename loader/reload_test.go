package loader_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// layoutIn finds a layout by the path in the record.
func layoutIn(record *loader.Record) (opts loader.Options, err error) {
	opts.Origin = record.Origin
	opts.Layout, err = nic.OpenLayout(record.Origin.Layout, "")
	return opts, err
}

// loadFrom loads an object for a layout file that may change, which it returns.
func (l *lab) loadFrom(object, layoutName string) (*loader.Attachment, string) {
	l.Helper()

	file := filepath.Join(l.TempDir(), "nic.o")
	writeLayout(l.T, file, layoutName)
	opened, err := nic.OpenLayout(file, "")
	if err != nil {
		l.Fatal(err)
	}
	loaded, err := loader.LoadRewritten(object, loader.Options{Layout: opened, Interface: "nic0", Origin: loader.Origin{Layout: file}})
	if err != nil {
		l.Fatal(err)
	}
	loaded.Close()
	return loaded.Attachment, file
}

func writeLayout(t *testing.T, file, name string) {
	t.Helper()

	data, err := os.ReadFile(layoutFile(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A program says what it was rewritten for, to who knows nothing but its number, and has
// the object with it. With the program that is gone.
func TestRecord(t *testing.T) {
	netlab.Need(t, netlab.BoundMaps)
	lab := newLab(t)
	object, err := os.ReadFile(program("fields"))
	if err != nil {
		t.Fatal(err)
	}
	attachment, file := lab.loadFrom(program("fields"), "sparse")

	attached, err := ebpf.NewProgramFromID(attachment.ProgramID)
	if err != nil {
		t.Fatal(err)
	}
	record, err := loader.RecordOf(attached)
	attached.Close()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(object)
	path, err := filepath.Abs(program("fields"))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !reflect.DeepEqual(record, attachment.Record):
		t.Errorf("%+v\ninstead of\n%+v", record, attachment.Record)
	case record.Object != path || record.Digest != hex.EncodeToString(digest[:]) || !bytes.Equal(record.OriginalObject(), object):
		t.Errorf("Object %s, digest %s, %d bytes", record.Object, record.Digest, len(record.OriginalObject()))
	case record.Program != "fields" || record.Layout != file || record.Driver != "veth" || record.Kernel == "" || len(record.Rewritten) != 64:
		t.Errorf("%+v", record)
	case !slices.Contains(record.Fields, loader.RecordedField{Field: "md->hash", From: "__u32 at 12"}):
		t.Errorf("Fields: %+v", record.Fields)
	}

	id := lab.recordMap(attachment)
	lab.unload("nic0")
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		m.Close()
		if time.Now().After(deadline) {
			t.Fatal("the record outlives the program")
		}
	}
	foreign := foreignProgram(t)
	defer foreign.Close()
	if _, err := loader.RecordOf(foreign); !errors.Is(err, loader.ErrNoRecord) {
		t.Errorf("Of a program that has none: %v", err)
	}
}

// recordMap returns the map with the record of an attachment.
func (l *lab) recordMap(a *loader.Attachment) ebpf.MapID {
	l.Helper()

	m, err := ebpf.LoadPinnedMap(fmt.Sprintf("%s/record-%d", pinDir, a.ProgramID), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		l.Fatal(err)
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		l.Fatal(err)
	}
	id, _ := info.ID()
	return id
}

// When the layout has changed, that is said, and a reload is for the new one, from the
// object that was loaded, whatever has become of its file.
func TestReload(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	object := filepath.Join(t.TempDir(), "counted.o")
	data, err := os.ReadFile(ownProgram("counted"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, data, 0o644); err != nil {
		t.Fatal(err)
	}
	attachment, file := lab.loadFrom(object, "exact")
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	lab.wantChanges(attachment, false)

	// Only the place that the program is not rewritten for has the hash now.
	writeLayout(t, file, "sparse")
	lab.wantChanges(attachment, true, "md->hash was __u32 at 8, is __u32 at 12")
	traffic := startTraffic(lab.nic, cafe())
	reloaded, err := loader.Reload("nic0", layoutIn)
	if err != nil {
		t.Fatal(err)
	}
	reloaded.Close()
	wantAllCounted(t, traffic.end(t))
	now := reloaded.Attachment
	if got := lab.status(); reloaded.Replaced != attachment.ProgramID || len(got) != 1 || differ(got[0], *now) {
		t.Errorf("Replaced %d, status %+v instead of %+v", reloaded.Replaced, got, now)
	}
	if now.Record.Object != object || now.Record.Digest != attachment.Record.Digest {
		t.Errorf("Record: %+v", now.Record)
	}
	lab.wantChanges(now, false)
	lab.unload("nic0")
	remove(t, bpffs+"/counts")
}

func (l *lab) wantChanges(a *loader.Attachment, outdated bool, differences ...string) {
	l.Helper()

	changes, err := a.Changes(layoutIn)
	if err != nil {
		l.Fatal(err)
	}
	if changes.Outdated != outdated || !slices.Equal(changes.Differences, differences) {
		l.Errorf("%+v", changes)
	}
}

// What can't be reloaded stays.
func TestReloadFails(t *testing.T) {
	lab := newLab(t)
	if _, err := loader.Reload("nic0", layoutIn); !errors.Is(err, loader.ErrNotAttached) {
		t.Errorf("With nothing there: %v", err)
	}
	attachment, file := lab.loadFrom(program("unguarded"), "exact")
	for name, test := range map[string]struct {
		change func()
		want   string
	}{
		"a field is gone":    {func() { writeLayout(t, file, "sparse") }, "md->rx_timestamp: struct md_desc has no field rx_timestamp"},
		"the layout is gone": {func() { remove(t, file) }, "no such file"},
	} {
		test.change()
		for what, try := range map[string]func() error{
			"Reload":  func() error { _, err := loader.Reload("nic0", layoutIn); return err },
			"Changes": func() error { _, err := attachment.Changes(layoutIn); return err },
		} {
			if err := try(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %s: %v\nlacks %q", name, what, err, test.want)
			}
		}
		if got := lab.status(); len(got) != 1 || differ(got[0], *attachment) {
			t.Errorf("%s: status %+v", name, got)
		}
		writeLayout(t, file, "exact")
	}

	// Somebody else is faster.
	_, err := loader.Reload("nic0", func(record *loader.Record) (loader.Options, error) {
		lab.replaced(program("fields"), "exact", attachment)
		return layoutIn(record)
	})
	if !errors.Is(err, loader.ErrChanged) {
		t.Errorf("Replaced in the meantime: %v", err)
	}
	_, err = loader.Reload("nic0", func(record *loader.Record) (loader.Options, error) {
		lab.unload("nic0")
		return loader.Options{Layout: layout(t, "exact")}, nil
	})
	if !errors.Is(err, loader.ErrChanged) || !strings.Contains(err.Error(), "another program has come in the meantime: to be replaced was id ") || !strings.Contains(err.Error(), ", there is none now: try again") {
		t.Errorf("Unloaded in the meantime: %v", err)
	}
}

// A map that the caller had given can only be given again by the caller.
func TestReloadGivenMap(t *testing.T) {
	lab := newLab(t)
	given, err := ebpf.NewMap(&ebpf.MapSpec{Name: "counts", Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0"}
	opts.Collection.MapReplacements = map[string]*ebpf.Map{"counts": given}
	loaded, err := loader.LoadRewritten(ownProgram("counted"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	for _, isGiven := range []bool{false, true} {
		reloaded, err := loader.Reload("nic0", func(*loader.Record) (loader.Options, error) {
			again := loader.Options{Layout: opts.Layout}
			if isGiven {
				again.Collection = opts.Collection
			}
			return again, nil
		})
		if isGiven != (err == nil) || err != nil && !strings.Contains(err.Error(), "nic0: map counts was given by who has loaded the program") {
			t.Errorf("given %t: %v", isGiven, err)
		}
		if reloaded != nil {
			reloaded.Close()
		}
	}
	lab.unload("nic0")
}
