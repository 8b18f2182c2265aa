package loader_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// needDispatcher skips a test on a kernel on which libxdp makes no dispatcher, as some are
// built. Of those that make test-kernels runs it is the one that only interprets programs.
func needDispatcher(t *testing.T) {
	t.Helper()

	if !*ownNICs && netlab.Compiles() && !netlab.Has(netlab.Extensions) {
		t.Skip("needs programs that extend others: make test-kernels has kernels with them")
	}
	netlab.Need(t, netlab.Extensions)
	netlab.NeedTools(t, "xdp-loader")
}

// dispatch has xdp-loader load programs on nic0, which makes a dispatcher.
func (l *lab) dispatch(names ...string) {
	l.Helper()

	for _, name := range names {
		object, err := os.ReadFile(program(name))
		if err != nil {
			l.Fatal(err)
		}
		rewritten, _, err := loader.Rewrite(object, loader.Options{Layout: layout(l.T, "exact")})
		if err != nil {
			l.Fatal(err)
		}
		file := filepath.Join(l.TempDir(), name+".o")
		if err := os.WriteFile(file, rewritten, 0o644); err != nil {
			l.Fatal(err)
		}
		if _, err := run("xdp-loader load nic0 " + file); err != nil {
			l.Fatal(err)
		}
	}
}

// A dispatcher of libxdp's is told as such, with the programs that it runs, and is libxdp's to
// take off.
func TestDispatcher(t *testing.T) {
	needDispatcher(t)
	lab := newLab(t)
	lab.dispatch("fields", "unguarded")
	programs := lab.survey(loader.SurveyOptions{}).Programs
	if len(programs) != 1 || programs[0].Program != "xdp_dispatcher" || programs[0].Foreign != "libxdp dispatcher of 2 programs" || len(programs[0].Dispatched) != 2 {
		t.Fatalf("%+v", programs)
	}
	if output, err := run("xdp-loader status nic0"); err != nil {
		t.Error(err)
	} else {
		for i, d := range programs[0].Dispatched {
			if line := fmt.Sprintf("%s %d %s", d.Program, d.ProgramID, d.Tag); !strings.Contains(strings.Join(strings.Fields(output), " "), line) {
				t.Errorf("Program %d is %q, xdp-loader says\n%s", i, line, output)
			}
		}
	}

	for _, replace := range []bool{false, true} {
		_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: replace})
		want := `"xdp_dispatcher", not attached by xdp-load: `
		if remedy := "to take it off, xdp-loader unload nic0 --all"; !errors.Is(err, loader.ErrOccupied) || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), remedy) {
			t.Errorf("%v\nlacks %q or %q", err, want, remedy)
		}
	}
	if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) || !strings.HasSuffix(err.Error(), "xdp-loader unload nic0 --all") {
		t.Errorf("%v", err)
	}
	if _, err := run("xdp-loader unload nic0 --all"); err != nil || lab.attached() != 0 {
		t.Errorf("%v, attached is %d", err, lab.attached())
	}
	os.Remove(bpffs + "/xdp")
}

// By force it is replaced with all programs that it runs. What libxdp has pinned of them, it
// takes away when it is told to; it can be loaded again then.
func TestReplaceDispatcher(t *testing.T) {
	needDispatcher(t)
	lab := newLab(t)
	lab.dispatch("fields")
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	if got := lab.status(); loaded.Replaced == 0 || len(got) != 1 || differ(got[0], *loaded.Attachment) {
		t.Errorf("Replaced %d, status %+v", loaded.Replaced, got)
	}
	if _, err := run("xdp-loader clean nic0"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(bpffs + "/xdp/dispatch-*"); len(left) > 0 {
		t.Errorf("Left: %v", left)
	}
	lab.unload("nic0")
	lab.dispatch("fields")
	if programs := lab.survey(loader.SurveyOptions{}).Programs; len(programs) != 1 || len(programs[0].Dispatched) != 1 {
		t.Errorf("%+v", programs)
	}
	if _, err := run("xdp-loader unload nic0 --all"); err != nil {
		t.Error(err)
	}
	os.Remove(bpffs + "/xdp")
}
