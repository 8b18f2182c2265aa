package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// results is what the tests on one kernel come to.
type results struct {
	took   time.Duration
	wanted []suite
	suites map[string]*suiteResult // by name
}

// suiteResult is what the tests of a package come to.
type suiteResult struct {
	outcome string // "pass" or "fail", empty if they have not come to an end
	took    time.Duration
	output  string // outside of any test
	tests   map[string]*testResult
}

type testResult struct {
	outcome string // "pass", "fail" or "skip", empty if it has not come to an end
	output  string
}

// event is a line of what test2json prints: go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// readResults returns what the tests of some suites have said by the end of the
// machine.
func readResults(port io.Reader, wanted []suite) (*results, error) {
	r := &results{wanted: wanted, suites: make(map[string]*suiteResult)}
	for decoder := json.NewDecoder(port); ; {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("read results: %w", err)
		}
		r.add(&e)
	}
}

func (r *results) add(e *event) {
	outcome, output := r.suite(e.Package).at(e.Test)
	switch e.Action {
	case "output":
		*output += e.Output
	case "pass", "fail", "skip":
		*outcome = e.Action
		if e.Test == "" {
			r.suite(e.Package).took = time.Duration(e.Elapsed * float64(time.Second))
		}
	}
}

func (r *results) suite(pkg string) *suiteResult {
	if r.suites[pkg] == nil {
		r.suites[pkg] = &suiteResult{tests: make(map[string]*testResult)}
	}
	return r.suites[pkg]
}

// at returns where to keep what becomes of a test, or of the whole suite if test
// is empty.
func (s *suiteResult) at(test string) (outcome, output *string) {
	if test == "" {
		return &s.outcome, &s.output
	}
	if s.tests[test] == nil {
		s.tests[test] = new(testResult)
	}
	return &s.tests[test].outcome, &s.tests[test].output
}

// leaves returns the tests without those that consist of others, by name.
func (s *suiteResult) leaves() map[string]*testResult {
	leaves := maps.Clone(s.tests)
	for name := range s.tests {
		for at := range name {
			if name[at] == '/' {
				delete(leaves, name[:at])
			}
		}
	}
	return leaves
}

// passed returns how many tests have passed.
func (s *suiteResult) passed() int {
	n := 0
	for _, t := range s.leaves() {
		if t.outcome == "pass" {
			n++
		}
	}
	return n
}

// need is how a test says why it is skipped: netlab.Need and NeedSimNICs.
var need = regexp.MustCompile(`needs (Linux \d+\.\d+|a kernel that compiles programs|the driver netdevsim): .*`)

// skipped returns how many tests were skipped, by reason.
func (r *results) skipped() map[string]int {
	reasons := make(map[string]int)
	for _, s := range r.suites {
		for _, t := range s.leaves() {
			if reason := need.FindString(t.output); t.outcome == "skip" && reason != "" {
				reasons[reason]++
			}
		}
	}
	return reasons
}

// failures returns what went wrong, empty if nothing did: tests that failed, did
// not end or were skipped for no reason that has to do with the kernel, and
// suites of which nothing has passed.
func (r *results) failures() string {
	var b strings.Builder
	for _, suite := range r.wanted {
		s := r.suite(suite.name())
		leaves := s.leaves()
		for _, name := range slices.Sorted(maps.Keys(s.tests)) {
			t := s.tests[name]
			isExpected := t.outcome == "pass" || t.outcome == "skip" && need.MatchString(t.output)
			if t.outcome == "fail" || leaves[name] != nil && !isExpected {
				fmt.Fprintf(&b, "%s: %s: %s\n%s", suite.name(), name, cmp.Or(t.outcome, "no end"), t.output)
			}
		}
		if s.outcome != "pass" || s.passed() == 0 {
			fmt.Fprintf(&b, "%s: %s, %d tests passed\n%s", suite.name(), cmp.Or(s.outcome, "no end"), s.passed(), s.output)
		}
	}
	return b.String()
}

// summary returns a line with what passed, and one for each reason to skip tests.
func (r *results) summary() string {
	total, skipped := 0, 0
	var parts []string
	for _, suite := range r.wanted {
		s := r.suite(suite.name())
		n := s.passed()
		total += n
		parts = append(parts, fmt.Sprintf("%s %d in %.0f s", suite.name(), n, s.took.Seconds()))
	}
	reasons := r.skipped()
	for _, n := range reasons {
		skipped += n
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d passed, %d skipped in %.0f s: %s\n", total, skipped, r.took.Seconds(), strings.Join(parts, ", "))
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&b, "  %d skipped: %s\n", reasons[reason], reason)
	}
	return b.String()
}
