package rewrite_test

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// kernelRefused lists, by program, the layouts that it can't be rewritten for.
var kernelRefused = map[string][]string{
	"fields":    {"none", "two"},
	"baked":     {"flavour", "nested", "none", "two"},
	"doubtful":  {"none"},
	"flavour":   {"none", "two"},
	"kinds":     {"none", "swapped", "two"},
	"merged":    {"none", "two"},
	"mixed":     {"none", "two"},
	"oneload":   {"none", "sparse", "twins", "two"},
	"store":     {"none", "two"},
	"subprog":   {"none", "two"},
	"tc":        {"none", "two"},
	"unguarded": {"none", "sparse", "two"},
}

// kernelUnloadable lists, by program, the layouts that lack a field which it can
// reach for all that the verifier knows.
var kernelUnloadable = map[string][]string{
	"doubtful": {"sparse", "two"},
}

// kernelObject is a program rewritten for a layout.
type kernelObject struct {
	program string // as its source is called, "fields"
	name    string // of its object, "fields-clang14-v2-el"
	layout  string // "narrow"
	object  []byte
}

// kernelNeeds says what objects need of the kernel, by name.
var kernelNeeds = []struct {
	names   *regexp.Regexp
	feature netlab.Feature
}{
	{regexp.MustCompile(`-v4-`), netlab.InstructionsV4},
	{regexp.MustCompile(`^(entries|follow|follow_tc|own)-`), netlab.Loop},
	{regexp.MustCompile(`^entries-`), netlab.Fragments},
}

// need skips a test of an object that the running kernel is too old for.
func (o *kernelObject) need(t *testing.T) {
	t.Helper()
	for _, need := range kernelNeeds {
		if need.names.MatchString(o.name) {
			netlab.Need(t, need.feature)
		}
	}
}

// kernelPrograms lists the objects that this machine can run, by name.
func kernelPrograms(t *testing.T) []string {
	return slices.DeleteFunc(named(t, "programs"), func(name string) bool {
		return !strings.HasSuffix(name, kernelEndian)
	})
}

// kernelSource returns what the source of an object is called.
func kernelSource(name string) string {
	source, _, _ := strings.Cut(name, "-")
	return source
}

// kernelLayouts lists the layouts of this machine's byte order.
func kernelLayouts(t *testing.T) []string {
	var layouts []string
	for _, name := range named(t, "layouts") {
		if layout, ok := strings.CutSuffix(name, kernelEndian); ok {
			layouts = append(layouts, layout)
		}
	}
	return layouts
}

// kernelAccepting lists the layouts that a program can be rewritten for, and
// then be loaded.
func kernelAccepting(t *testing.T, program string) []string {
	return slices.DeleteFunc(kernelLayouts(t), func(layout string) bool {
		return !madeForEachOther(program, layout) ||
			slices.Contains(kernelRefused[program], layout) || slices.Contains(kernelUnloadable[program], layout)
	})
}

// kernelRewrite rewrites an object, given by name, for a layout.
func kernelRewrite(t *testing.T, name, layout string) kernelObject {
	t.Helper()
	object, err := kernelTryRewrite(t, name, layout)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// kernelEach rewrites each object of a source for the layout of the same name, and
// has its programs checked in several areas of random metadata, for some rounds.
func kernelEach(t *testing.T, source string, rounds int, check func(*testing.T, *kernelPair, *ebpf.Collection, []byte, *rand.ChaCha8)) {
	t.Parallel()
	netlab.NeedRoot(t)
	random := kernelRandom(t)
	for _, name := range kernelPrograms(t) {
		if kernelSource(name) != source {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := newKernelPair(t, kernelRewrite(t, name, source))
			loaded := kernelLoad(t, p.object)
			for range rounds {
				for _, area := range kernelAreas(t, random, p.size, 0) {
					check(t, p, loaded, area, random)
				}
			}
		})
	}
}

func kernelTryRewrite(t *testing.T, name, layout string) (kernelObject, error) {
	o := pair{name, layout + kernelEndian}.rewrite(t)
	return kernelObject{kernelSource(name), name, layout, o.out}, o.err
}

// What can't be rewritten truthfully is refused, and nothing else is.
func TestKernelRefusals(t *testing.T) {
	t.Parallel()
	for _, name := range kernelPrograms(t) {
		for _, layout := range kernelLayouts(t) {
			source := kernelSource(name)
			if !madeForEachOther(source, layout) {
				continue // lacks the fields
			}
			_, err := kernelTryRewrite(t, name, layout)
			expected := slices.Contains(kernelRefused[source], layout)
			if (err != nil) != expected {
				t.Errorf("%s for %s: refused: %v, expected: %v: %v", name, layout, err != nil, expected, err)
			}
		}
	}
}

// A read of a missing field is refused by the verifier if that can't be said
// before, at the call that stands in its place.
func TestKernelMissingField(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	for program, layouts := range kernelUnloadable {
		for _, layout := range layouts {
			t.Run(program+"/"+layout, func(t *testing.T) {
				object := kernelRewrite(t, program+kernelEndian, layout)
				loaded, err := ebpf.NewCollection(kernelSpec(t, object.object))
				if err == nil {
					loaded.Close()
					t.Fatal("Loaded")
				}
				var refused *ebpf.VerifierError
				if !errors.As(err, &refused) {
					t.Fatalf("Not refused by the verifier: %v", err)
				}
				if log := strings.Join(refused.Log, "\n"); !strings.Contains(log, "call unknown#195896080") {
					t.Errorf("Refused for another reason:\n%s", log)
				}
			})
		}
	}
}
