package loader_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// survey returns which programs there are on interfaces.
func (l *lab) survey(opts loader.SurveyOptions) *loader.Overview {
	l.Helper()

	overview, err := loader.Survey(opts)
	if err != nil {
		l.Fatal(err)
	}
	if len(overview.Skipped) > 0 {
		l.Errorf("Skipped %v", overview.Skipped)
	}
	return overview
}

// Everything is told of a program, and of one of somebody else what can be.
func TestSurvey(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	other, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	foreign := foreignLink(t, other.Index, link.XDPGenericMode)
	defer foreign.Close()
	attachment := lab.load(ownProgram("counted"))
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	if err := lab.nic.Deliver(slices.Repeat([]netlab.Frame{cafe()}, 10)); err != nil {
		t.Fatal(err)
	}

	programs := lab.survey(loader.SurveyOptions{}).Programs
	if len(programs) != 2 {
		t.Fatalf("%+v", programs)
	}
	ours, theirs := programs[0], programs[1]
	if differ(ours.Attachment, *attachment) || ours.Foreign != "" || ours.Mode != "native" {
		t.Errorf("%+v", ours)
	}
	// A tail call is no run: the kernel counts where it calls a program.
	if ours.Runs == nil || ours.Runs.Count != 10 || ours.Runs.Time <= 0 {
		t.Errorf("Runs: %+v", ours.Runs)
	}
	pins := map[string][]string{}
	for _, m := range ours.Maps {
		pins[m.Name] = m.Pins
	}
	if want := []string{mapPins(*attachment) + "/counts", bpffs + "/counts"}; len(pins) != 2 || !slices.Equal(pins["counts"], want) || len(pins["chain"]) != 1 {
		t.Errorf("Maps: %+v", ours.Maps)
	}
	if theirs.Interface != "nic1" || theirs.Program != "foreign" || theirs.Foreign != "foreign" || theirs.Mode != "generic" || theirs.LinkID == 0 || theirs.Pin != "" || theirs.Record != nil {
		t.Errorf("%+v", theirs)
	}
	if only := lab.survey(loader.SurveyOptions{Interface: "nic1"}).Programs; len(only) != 1 || only[0].Interface != "nic1" {
		t.Errorf("Of nic1: %+v", only)
	}
	lab.unload("nic0")
	remove(t, bpffs+"/counts")
}

// From another mount namespace, as of a container, what is attached is known by the record
// that the program holds, and can be unloaded.
func TestSurveyOtherMounts(t *testing.T) {
	netlab.Need(t, netlab.BoundMaps)
	lab := newLab(t)
	attachment := lab.load(program("fields"))
	err := lab.ns.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"); err != nil {
			return err
		}
		programs := lab.survey(loader.SurveyOptions{}).Programs
		if len(programs) != 1 || programs[0].Foreign != "xdp-load, with its pins in another mount namespace" || programs[0].LinkID != attachment.LinkID {
			t.Errorf("%+v", programs)
		} else if !reflect.DeepEqual(programs[0].Record, attachment.Record) {
			t.Errorf("%+v\ninstead of\n%+v", programs[0].Record, attachment.Record)
		}
		_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true})
		if !errors.Is(err, loader.ErrOccupied) {
			t.Errorf("Replaced from there: %v", err)
		}
		return loader.Unload("nic0")
	})
	if err != nil {
		t.Error(err)
	}
	if overview := lab.survey(loader.SurveyOptions{}); len(overview.Programs) > 0 || len(overview.Gone) != 1 {
		t.Errorf("%+v", overview)
	}
}

// startSleeper starts a process, by another command if one is given, that does nothing until it
// is ended.
func startSleeper(t *testing.T, by ...string) (pid int, end func()) {
	t.Helper()

	line := append(by, "sh", "-c", "echo && exec sleep 60")
	cmd := exec.Command(line[0], line[1:]...)
	started, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	if _, err := started.Read(make([]byte, 1)); err != nil {
		end()
		t.Fatal(err)
	}
	return cmd.Process.Pid, end
}

// What is in other network namespaces is found, and so is where nothing leads any more.
func TestSurveyNamespaces(t *testing.T) {
	lab := newLab(t)
	attachment := lab.load(program("fields"))
	pid, end := startSleeper(t, "unshare", "--net")
	defer end()
	if _, err := run("ip link set nic0 netns " + strconv.Itoa(pid)); err != nil {
		t.Fatal(err)
	}

	if here := lab.survey(loader.SurveyOptions{}).Programs; len(here) != 0 {
		t.Errorf("Here: %+v", here)
	}
	found := lab.ours(attachment.ProgramID)
	if found == nil || found.Namespace != "of process "+strconv.Itoa(pid) || found.Interface != "nic0" || found.Foreign != "" {
		t.Errorf("Everywhere: %+v", found)
	}

	end()
	// The namespace goes in the kernel's own time, and the interface with it.
	for range 500 {
		overview := lab.survey(loader.SurveyOptions{AllNamespaces: true})
		if len(overview.Gone) == 1 && strings.Contains(overview.Gone[0], `"fields": the interface is gone`) {
			return
		}
		if len(overview.Gone) > 0 {
			t.Fatalf("Gone: %v", overview.Gone)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it is not said to be gone")
}

// An attachment without a link is no more if its interface, wherever it is, does not run it.
func TestSurveyHookGone(t *testing.T) {
	lab := newLab(t)
	_, end := startSleeper(t) // which leads to the namespace
	defer end()
	foreignWithoutLink(lab, "xdp")
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	fromElsewhere := func() (found []loader.ProgramStatus) {
		err := lab.ns.Do(func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			found = lab.survey(loader.SurveyOptions{AllNamespaces: true}).Programs
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(found, func(p loader.ProgramStatus) bool { return p.ProgramID != loaded.Attachment.ProgramID })
	}
	if got := fromElsewhere(); len(got) != 1 || !strings.HasPrefix(got[0].Namespace, "of process ") || got[0].Foreign != "" {
		t.Errorf("%+v", got)
	}
	if _, err := run("ip link set dev nic0 xdp off"); err != nil {
		t.Fatal(err)
	}
	if got := fromElsewhere(); len(got) > 0 {
		t.Errorf("After all: %+v", got)
	}
	lab.status() // sweeps
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned: %v", pins)
	}
}

// An attachment without a link goes with its interface to another network namespace, whoever
// looks first: it keeps its pins, is found, and can be unloaded from where it is or by its number.
func TestHookMoved(t *testing.T) {
	for name, unload := range map[string]func(lab *lab, there func(args ...string) string){
		"seen from there": func(lab *lab, there func(...string) string) {
			if output := there("status"); !strings.HasPrefix(output, "nic0 calls "+pinDir+"/hook-") {
				lab.Errorf("Status there: %s", output)
			}
			if got := lab.status(); len(got) > 0 {
				lab.Errorf("Status here: %+v", got)
			}
			there("unload", "nic0")
		},
		"seen from here": func(lab *lab, there func(...string) string) {
			if got := lab.status(); len(got) > 0 {
				lab.Errorf("Status here: %+v", got)
			}
			if output := there("status"); !strings.HasPrefix(output, "nic0 calls ") {
				lab.Errorf("Status there: %s", output)
			}
			there("unload", "nic0")
		},
		"unloaded by its number": func(lab *lab, _ func(...string) string) {
			programs := lab.survey(loader.SurveyOptions{AllNamespaces: true}).Programs
			at := slices.IndexFunc(programs, func(p loader.ProgramStatus) bool { return p.Program == "calls" && p.Foreign == "" })
			if at < 0 || !strings.HasPrefix(programs[at].Namespace, "of process ") || len(programs[at].Maps) == 0 {
				lab.Fatalf("Everywhere: %+v", programs)
			}
			if err := loader.UnloadProgram(programs[at].ProgramID); err != nil {
				lab.Error(err)
			}
		},
		"moved back": func(lab *lab, there func(...string) string) {
			here, end := startSleeper(lab.T)
			defer end()
			there("status")
			there("move", "nic0", strconv.Itoa(here))
			if got := lab.status(); len(got) != 1 || got[0].Program != "calls" {
				lab.Errorf("Status here: %+v", got)
			}
			lab.unload("nic0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			foreignWithoutLink(lab, "xdp")
			loaded, err := loader.LoadRewritten(ownProgram("calls"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
			if err != nil {
				t.Fatal(err)
			}
			loaded.Close()
			there, end := startSleeper(t, "unshare", "--net")
			defer end()
			if _, err := run("ip link set nic0 netns " + strconv.Itoa(there)); err != nil {
				t.Fatal(err)
			}
			unload(lab, func(args ...string) string {
				t.Helper()
				return inNetworkOf(t, there, args...)
			})
			if programs := inNetworkOf(t, there, "hooks"); programs != "" {
				t.Errorf("Still there: %s", programs)
			}
			lab.status() // sweeps
			if pins := lab.pins(); len(pins) > 0 {
				t.Errorf("Pinned: %v", pins)
			}
		})
	}
}

// inNetworkOf runs this test binary as a command in the network namespace of a process, and
// returns what it prints.
func inNetworkOf(t *testing.T, pid int, args ...string) string {
	t.Helper()

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", pid), self, asCommand}, args...)
	output, err := exec.Command("nsenter", line...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v: %s", args, err, output)
	}
	return string(output)
}

// ours returns a program of all network namespaces.
func (l *lab) ours(id ebpf.ProgramID) *loader.ProgramStatus {
	l.Helper()

	programs := l.survey(loader.SurveyOptions{AllNamespaces: true}).Programs
	at := slices.IndexFunc(programs, func(p loader.ProgramStatus) bool { return p.ProgramID == id })
	if at < 0 {
		return nil
	}
	return &programs[at]
}

// A program is unloaded by its number wherever it is, and whatever attaches it; all are only
// those of this package.
func TestUnloadOthers(t *testing.T) {
	lab := newLab(t)
	other, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	foreignWithoutLink(lab, "xdp") // which is unloaded as this package's
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	for _, elsewhere := range []bool{true, false} {
		unload := func() error { return loader.UnloadProgram(loaded.Attachment.ProgramID) }
		if elsewhere {
			unload = func() error { return loader.UnloadProgram(1 << 31) }
		}
		if err := unload(); elsewhere != errors.Is(err, loader.ErrNotAttached) {
			t.Errorf("%v", err)
		}
	}
	if links, _ := run("ip link show nic0"); strings.Contains(links, "xdp") {
		t.Errorf("Still there: %s", links)
	}

	lab.load(program("fields"))
	foreign := foreignLink(t, other.Index, link.XDPDriverMode)
	defer foreign.Close()
	unloaded, skipped, err := loader.UnloadAll()
	if err != nil || len(skipped) > 0 || !slices.Equal(unloaded, []string{"nic0"}) {
		t.Errorf("%v, %v, %v", unloaded, skipped, err)
	}
	if links, _ := run("ip link show nic1"); !strings.Contains(links, "xdp") {
		t.Errorf("The program of somebody else: %s", links)
	}
}

// Where nothing leads any more, an attachment without a link is told of, and unloading it is
// to forget it.
func TestUnloadUnreachable(t *testing.T) {
	lab := newLab(t)
	foreignWithoutLink(lab, "xdp")
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	hook := loaded.Attachment.Pin
	if _, err := run("ip link set dev nic0 xdp off"); err != nil { // else that is where it is found
		t.Fatal(err)
	}
	remove(t, hook)
	if err := os.Symlink("net:[1]:2", hook); err != nil {
		t.Fatal(err)
	}
	programs := lab.survey(loader.SurveyOptions{AllNamespaces: true}).Programs
	if !slices.ContainsFunc(programs, func(p loader.ProgramStatus) bool {
		return p.ProgramID == loaded.Attachment.ProgramID && p.Index == 2 && p.Namespace == "one that no process and no name leads to"
	}) {
		t.Errorf("%+v", programs)
	}
	if err := loader.UnloadProgram(loaded.Attachment.ProgramID); err != nil {
		t.Error(err)
	}
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned: %v", pins)
	}
}
