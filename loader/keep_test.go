package loader_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// watched is a log of a watch.
type watched struct {
	sync.Mutex
	bytes.Buffer
}

func (w *watched) Write(data []byte) (int, error) {
	w.Lock()
	defer w.Unlock()
	return w.Buffer.Write(data)
}

func (w *watched) text() string {
	w.Lock()
	defer w.Unlock()
	return w.String()
}

// await returns once the log has a text so many times.
func (w *watched) await(t *testing.T, text string, times int) {
	t.Helper()

	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		log := w.text()
		if strings.Count(log, text) >= times {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log lacks %q %d times:\n%s", text, times, log)
		}
	}
}

// keep keeps interfaces of the lab up to date until it is ended, all if none is named.
func (l *lab) keep(interfaces ...string) (log *watched, end func()) {
	return l.keepEvery(time.Hour, interfaces...)
}

func (l *lab) keepEvery(interval time.Duration, interfaces ...string) (log *watched, end func()) {
	log = new(watched)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- l.ns.Do(func() error {
			return loader.KeepUpToDate(ctx, loader.KeepOptions{
				Interfaces: interfaces,
				Find:       func(string) loader.Find { return layoutIn },
				Log:        slog.New(slog.NewTextHandler(log, nil)), Interval: interval,
			})
		})
	}()
	return log, func() {
		cancel()
		if err := <-done; err != nil {
			l.Error(err)
		}
	}
}

// When its layout changes, a program is replaced under traffic; when it can't be rewritten
// for the new one, it stays.
func TestKeep(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	_, file := lab.loadFrom(ownProgram("counted"), "exact")
	log, end := lab.keep()
	log.await(t, `"up to date"`, 1)
	traffic := startTraffic(lab.nic, cafe())
	for i, name := range []string{"sparse", "exact"} {
		writeLayout(t, file, name)
		log.await(t, "msg=replaced", i+1)
	}
	log.await(t, "md->hash was __u32 at 8, is __u32 at 12", 1)
	remove(t, file)
	log.await(t, "kept: for what is there now it can't be rewritten", 1)
	writeLayout(t, file, "sparse")
	log.await(t, "msg=replaced", 3)
	wantAllCounted(t, traffic.end(t))
	end()

	if got := lab.status(); len(got) != 1 || strings.Count(log.String(), "msg=replaced") != 3 {
		t.Errorf("%+v\n%s", got, log)
	}
	lab.unload("nic0")
	remove(t, bpffs+"/counts")
}

// An interface that goes and comes again gets its program again; one that is unloaded does
// not.
func TestKeepInterfaces(t *testing.T) {
	lab := newLab(t)
	lab.loadFrom(program("fields"), "exact")
	log, end := lab.keep()
	defer end()
	log.await(t, `"up to date"`, 1)
	if err := lab.nic.Remove(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "the interface is gone", 1)
	if _, err := lab.ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	log.await(t, "loaded again on the new interface", 1)
	if got := lab.status(); len(got) != 1 || got[0].Program != "fields" {
		t.Errorf("Status: %+v", got)
	}
	lab.unload("nic0")
	log.await(t, "left alone: somebody has unloaded it", 1)
	time.Sleep(200 * time.Millisecond)
	if got := lab.status(); len(got) != 0 {
		t.Errorf("Status: %+v", got)
	}
}

// Programs that were not loaded together come back each by itself: one that is refused keeps no
// other off.
func TestKeepRestoresEach(t *testing.T) {
	lab := newLab(t)
	_, file := lab.loadFrom(program("fields"), "exact")
	lab.loadFrom(program("tc"), "exact")
	log, end := lab.keep()
	defer end()
	log.await(t, `"up to date"`, 2)
	if err := lab.nic.Remove(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "the interface is gone", 2)
	remove(t, file)
	if _, err := lab.ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	log.await(t, `"loaded again on the new interface" interface=nic0 hook=ingress`, 1)
	log.await(t, `"the interface is there again, without its program" interface=nic0 reason=`, 1)
	if got := lab.status(); len(got) != 1 || got[0].Hook != loader.Ingress {
		t.Errorf("Status: %+v", got)
	}
	lab.unload("nic0")
}

// A program stays with its interface when that gets another name, and is not loaded on the next
// one of the old name.
func TestKeepRenamed(t *testing.T) {
	lab := newLab(t)
	attachment, file := lab.loadFrom(program("fields"), "exact")
	log, end := lab.keep()
	defer end()
	log.await(t, `"up to date" interface=nic0`, 1)
	// Before Linux 6.2 one that is up keeps its name.
	for _, command := range []string{"ip link set nic0 down", "ip link set nic0 name renamed", "ip link set renamed up"} {
		if _, err := run(command); err != nil {
			t.Fatal(err)
		}
	}
	log.await(t, `msg="the interface has another name now" interface=nic0 name=renamed`, 1)
	if _, err := run("ip link add nic0 type veth peer name other"); err != nil {
		t.Fatal(err)
	}
	writeLayout(t, file, "sparse")
	log.await(t, "msg=replaced interface=renamed", 1)
	if got := lab.status(); len(got) != 1 || got[0].Interface != "renamed" || got[0].LinkID != attachment.LinkID {
		t.Errorf("Status: %+v", got)
	}
	lab.unload("renamed")
}

// An interface is watched by any of its names. Of a name without a program it is told why
// nothing happens, once.
func TestKeepByName(t *testing.T) {
	lab := newLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	_, file := lab.loadFrom(program("fields"), "exact")
	if _, err := run("ip link property add dev nic0 altname other"); err != nil {
		t.Fatal(err)
	}
	log, end := lab.keep("other", "nowhere", "nic1")
	defer end()
	log.await(t, `"up to date" interface=nic0`, 1)
	log.await(t, `level=WARN msg="no such interface" interface=nowhere`, 1)
	log.await(t, `level=WARN msg="no program attached by xdp-load" interface=nic1`, 1)
	writeLayout(t, file, "sparse")
	log.await(t, "msg=replaced interface=nic0", 1)
	if err := lab.nic.Remove(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "the interface is gone", 1)
	if _, err := lab.ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	log.await(t, "loaded again on the new interface", 1)
	writeLayout(t, file, "exact")
	log.await(t, "msg=replaced interface=nic0", 2)
	log.await(t, "interface=nowhere", 1)
	lab.unload("nic0")
	log.await(t, "left alone: somebody has unloaded it", 1)
	if strings.Count(log.text(), "interface=nowhere") != 1 || strings.Count(log.text(), "interface=nic1") != 1 {
		t.Error(log.text())
	}
}

// What was refused is tried again when something has changed, and not every now and then.
func TestKeepRefused(t *testing.T) {
	lab := newLab(t)
	_, file := lab.loadFrom(program("fields"), "exact")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", bpffs, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	log, end := lab.keepEvery(50 * time.Millisecond)
	defer end()
	log.await(t, `"up to date"`, 1)
	writeLayout(t, file, "sparse")
	log.await(t, "kept: its replacement is refused", 1)
	time.Sleep(500 * time.Millisecond) // until all that has changed is seen
	remount(0)
	time.Sleep(300 * time.Millisecond)
	if strings.Contains(log.text(), "msg=replaced") {
		t.Error(log.text())
	}
	if _, err := run("ip link set nic0 alias other"); err != nil {
		t.Fatal(err)
	}
	log.await(t, "msg=replaced", 1)
	lab.unload("nic0")
}

// Where it is unclear whether a program is there, it is not taken for unloaded.
func TestKeepUnclear(t *testing.T) {
	lab := newLab(t)
	attachment, file := lab.loadFrom(program("fields"), "exact")
	log, end := lab.keepEvery(50*time.Millisecond, "nic0")
	defer end()
	log.await(t, `"up to date"`, 1)
	pin, away := programPins(*attachment)+"/fields", bpffs+"/away"
	if err := os.Rename(pin, away); err != nil {
		t.Fatal(err)
	}
	log.await(t, `level=ERROR msg="can't look" error=`, 1)
	if err := os.Rename(away, pin); err != nil {
		t.Fatal(err)
	}
	writeLayout(t, file, "sparse")
	log.await(t, "msg=replaced", 1)
	if strings.Contains(log.text(), "unloaded") || strings.Contains(log.text(), "no program attached") {
		t.Error(log.text())
	}
	lab.unload("nic0")

	needTCX(t, loader.TCX)
	lab.loadAs(lab.onSkb("in", loader.TCX))
	output, err := command("with", "CAP_BPF CAP_PERFMON", "keep", "nic0").CombinedOutput()
	if want := `msg="can't look" error="nic0: tc ingress: programs in tcx: to ask for them takes CAP_NET_ADMIN"`; err == nil || !strings.Contains(string(output), want) || strings.Count(string(output), "level=") != 1 {
		t.Errorf("%v: %s\ninstead of %s alone", err, output, want)
	}
	lab.unload("nic0")
}

// keep INTERFACE keeps it up to date for a moment, and fails with what there is to complain of.
func keep(args []string) error {
	log := new(watched)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := loader.KeepUpToDate(ctx, loader.KeepOptions{
		Interfaces: args,
		Find:       func(string) loader.Find { return layoutIn },
		Log:        slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if log.Len() > 0 {
		err = errors.Join(err, errors.New(log.String()))
	}
	return err
}
