package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a run of all suites prints if each test but those given passes.
func say(extra ...string) string {
	var b strings.Builder
	for _, s := range amd64.suites {
		fmt.Fprintf(&b, `{"Action":"pass","Package":%q,"Test":"TestPasses"}`, s.name())
		if s.pkg == "loader" {
			b.WriteString(strings.Join(extra, ""))
		}
		fmt.Fprintf(&b, "\r\n{\"Action\":\"pass\",\"Package\":%q,\"Elapsed\":1.5}\n", s.name())
	}
	return b.String()
}

func TestResults(t *testing.T) {
	const (
		skipped = `{"Action":"output","Package":"loader","Test":"TestA/old","Output":"    a_test.go:1: needs Linux 6.8: large areas\n"}` +
			`{"Action":"skip","Package":"loader","Test":"TestA/old"}`
		passedPart  = `{"Action":"pass","Package":"loader","Test":"TestC/part"}`
		interpreted = `{"Action":"output","Package":"loader","Test":"TestA/kfunc","Output":"    a_test.go:1: needs a kernel that compiles programs: kfuncs\n"}` +
			`{"Action":"skip","Package":"loader","Test":"TestA/kfunc"}`
		parent = `{"Action":"pass","Package":"loader","Test":"TestA"}`
	)
	for name, test := range map[string]struct {
		output   string
		failures []string // parts of what is said to have failed, none if nothing has
	}{
		"pass":          {say(), nil},
		"skipped":       {say(skipped, parent), nil},
		"interpreted":   {say(interpreted, parent), nil},
		"failed":        {say(`{"Action":"output","Package":"loader","Test":"TestB","Output":"oops\n"}{"Action":"fail","Package":"loader","Test":"TestB"}`), []string{"loader: TestB: fail\noops"}},
		"failed itself": {say(passedPart, `{"Action":"output","Package":"loader","Test":"TestC","Output":"in sum\n"}{"Action":"fail","Package":"loader","Test":"TestC"}`), []string{"loader: TestC: fail\nin sum"}},
		"no driver":     {say(strings.ReplaceAll(skipped, "Linux 6.8", "the driver netdevsim"), parent), nil},
		"other need":    {say(strings.ReplaceAll(skipped, "Linux 6.8", "a kernel with bonds"), parent), []string{"loader: TestA/old: skip"}},
		"without need":  {say(`{"Action":"skip","Package":"loader","Test":"TestB"}`), []string{"loader: TestB: skip"}},
		"no end":        {say(`{"Action":"run","Package":"loader","Test":"TestB"}`), []string{"loader: TestB: no end"}},
		"crash":         {say(`{"Action":"output","Package":"loader","Output":"panic: x\n"}{"Action":"fail","Package":"loader"}`)[:len(say())-30], []string{"loader (locked down): no end"}},
		"nothing":       {"", []string{"loader: no end, 0 tests passed", "rewrite: no end, 0 tests passed"}},
		"no tests":      {strings.ReplaceAll(say(), `"Action":"pass","Package":"loader","Test"`, `"Action":"run","Package":"loader","Test"`), []string{"loader: pass, 0 tests passed"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := readResults(strings.NewReader(test.output), amd64.suites)
			if err != nil && name != "crash" {
				t.Fatal(err)
			}
			failures := r.failures()
			if (failures == "") != (test.failures == nil) {
				t.Errorf("Failures: %q", failures)
			}
			for _, part := range test.failures {
				if !strings.Contains(failures, part) {
					t.Errorf("%q\nlacks %q", failures, part)
				}
			}
		})
	}
}

// Tests that consist of others don't count.
func TestSummary(t *testing.T) {
	r, err := readResults(strings.NewReader(say(
		`{"Action":"pass","Package":"loader","Test":"TestA/b/c"}`,
		`{"Action":"pass","Package":"loader","Test":"TestA/b"}`,
		`{"Action":"output","Package":"loader","Test":"TestA/old","Output":"    a_test.go:1: needs Linux 6.8: large areas\n"}`,
		`{"Action":"skip","Package":"loader","Test":"TestA/old"}`,
		`{"Action":"pass","Package":"loader","Test":"TestA"}`,
	)), amd64.suites)
	if err != nil {
		t.Fatal(err)
	}
	r.took = 12 * time.Second
	var suites []string
	for _, s := range amd64.suites {
		passed := 1
		if s.pkg == "loader" && s.of == "" {
			passed = 2
		}
		suites = append(suites, fmt.Sprintf("%s %d in 2 s", s.name(), passed))
	}
	want := fmt.Sprintf("%d passed, 1 skipped in 12 s: %s\n", len(suites)+1, strings.Join(suites, ", ")) +
		"  1 skipped: needs Linux 6.8: large areas\n"
	if got := r.summary(); got != want {
		t.Errorf("%q instead of\n%q", got, want)
	}
}

// Of what does not start there are no results, but the reason.
func TestBootWithout(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	bare := *amd64
	bare.nics = nil // which take root
	m := &machine{architecture: &bare, release: "6.1.0-50-amd64", command: []string{"qemu-system-x86_64"}, console: filepath.Join(t.TempDir(), "console")}
	err := m.test(t.Context())
	if err == nil || !strings.Contains(err.Error(), "6.1.0-50-amd64: ") || !strings.Contains(err.Error(), "qemu-system-x86_64") {
		t.Errorf("Error: %v", err)
	}
}

// Each suite of Debian's is named once for a kind of machine, whatever the order of the
// kernels.
func TestSourcesOf(t *testing.T) {
	wanted, err := choose([]string{"6.18", "6.12", "7.3", "6.12-s390x"})
	if err != nil {
		t.Fatal(err)
	}
	want := []source{{"amd64", "trixie-backports"}, {"amd64", "trixie"}, {"s390x", "trixie"}}
	if sources := sourcesOf(wanted, []*tree{newEmulator.tree}); !slices.Equal(sources, want) {
		t.Errorf("Sources: %v", sources)
	}
}
