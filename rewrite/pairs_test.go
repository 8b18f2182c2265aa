package rewrite_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

var (
	pairsSeed    = flag.Uint64("pairs.seed", 0, "seed of the first batch of random pairs, to repeat a failure (default: another one each time)")
	pairsCount   = flag.Int("pairs.count", 400, "how many random pairs of a program and a layout to check")
	pairsWithout = flag.String("pairs.without", "", "what to leave out of programs, separated by commas: own copies, static programs, another order of records, edits that are made shorter (own, static, order, shortening)")
)

// without reports whether pairs are to do without something.
func without(what string) bool {
	return slices.Contains(strings.Split(*pairsWithout, ","), what)
}

// pairsTogether is how many pairs are compiled, rewritten and loaded together:
// enough to make starting clang cheap, few enough that its list of BTF's strings,
// which it searches from the front for each, stays short.
const pairsTogether = 20

// pairsShown is how many sorts of failures are made small and printed, one of
// each.
const pairsShown = 5

// Random structs as programs see them, each with a random layout of the same
// fields: what a rewritten program reads on the kernel is what the layout has
// there, converted to the program's types; what it stores is there afterwards,
// converted to the layout's, and nothing else has changed.
func TestPairs(t *testing.T) { checkPairs(t, *pairsCount, false) }

// So it is if code that calls computes what is loaded, and needs registers of its own.
func TestPairsComputed(t *testing.T) { checkPairs(t, *pairsCount/10, true) }

func checkPairs(t *testing.T, count int, computed bool) {
	if *pairsWrite == "" {
		netlab.NeedRoot(t)
	}
	start := time.Now()
	run := pairsRun{tally: newPairTally(), seen: make(map[string]int)}
	t.Run("batches", func(t *testing.T) {
		for _, seed := range pairsSeeds(t, count) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				run.batch(t, seed, computed)
			})
		}
	})
	t.Logf("%d pairs in %v. Accepted/refused:\n%s", run.tally.pairs, time.Since(start).Round(time.Second), run.tally)
	for _, sort := range slices.Sorted(maps.Keys(run.seen)) {
		t.Errorf("%d failures: %s", run.seen[sort], sort)
	}
}

// pairsSeeds returns a seed for each batch.
func pairsSeeds(t *testing.T, count int) []uint64 {
	t.Helper()
	if *pairsRead != "" {
		return pairsWritten(t)
	}
	seed := *pairsSeed
	if seed == 0 {
		seed = rand.Uint64() >> 16
	}
	t.Logf("To repeat: -pairs.seed %d -pairs.count %d", seed, count)
	seeds := make([]uint64, (count+pairsTogether-1)/pairsTogether)
	for i := range seeds {
		seeds[i] = seed + uint64(i)
	}
	return seeds
}

// pairsRun is what the batches of a run share.
type pairsRun struct {
	sync.Mutex
	tally *pairTally
	seen  map[string]int // how many failures there were of a sort
}

// newPairBatch makes a batch from its seed.
func newPairBatch(seed uint64) *pairBatch {
	random := rand.New(rand.NewPCG(seed, 0))
	b := &pairBatch{compiler: pairCompilers[random.IntN(len(pairCompilers))]}
	g := pairGenerator{Rand: random, compiler: b.compiler}
	for number := range pairsTogether {
		b.pairs = append(b.pairs, g.pair(number))
	}
	return b
}

func (r *pairsRun) batch(t *testing.T, seed uint64, computed bool) {
	b, dir := newPairBatch(seed), pairsDir(t, seed)
	b.computed = computed
	failures, err := b.check(dir)
	if err != nil {
		t.Fatal(err)
	}
	r.tally.add(b.pairs)
	for _, failure := range failures {
		if !r.shows(failure) {
			t.Fail()
			continue
		}
		if *pairsRead == "" { // it takes a compiler
			if failure, err = b.minimise(dir, failure); err != nil {
				t.Error(err)
			}
		}
		t.Errorf("To repeat: -pairs.seed %d -pairs.count %d\n%s", seed, pairsTogether, b.describe(failure))
	}
}

// shows counts a failure and reports whether to print it: one of each sort.
func (r *pairsRun) shows(failure pairFailure) bool {
	r.Lock()
	defer r.Unlock()
	sort := failure.sort()
	r.seen[sort]++
	return r.seen[sort] == 1 && len(r.seen) <= pairsShown
}

// sort tells failures apart that may have different causes.
func (f *pairFailure) sort() string {
	sort := fmt.Sprint(f.kind, " ", f.program().kind)
	if f.program().hidden {
		sort += " static"
	}
	if f.use != nil {
		sort += fmt.Sprint(" ", f.use.way, " ", f.pair.shape(f.use))
	}
	if f.kind == "refused" {
		sort = "refused " + string(f.use.way) + " " + f.pair.shape(f.use).target + ": " + f.reason()
	}
	return sort
}

// reason is why a use was refused, without what is its own; empty for other
// failures.
func (f *pairFailure) reason() string {
	if f.kind != "refused" {
		return ""
	}
	reason, _, _ := strings.Cut(f.use.refused, ":")
	return quoted.ReplaceAllString(reason, "...")
}

// quoted matches what differs between refusals for one reason: instructions, names
// and numbers.
var quoted = regexp.MustCompile(`"[^"]*"|has no field.*|field .*? at \d+|\d+`)
