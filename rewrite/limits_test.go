package rewrite_test

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"testing"

	"github.com/xdp-load/xdp-load/internal/performance"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What an access takes of memory is bounded, and it is no more the more accesses there are.
func TestRewriteLimits(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	fewAllocations, fewBytes := allocatedByAccess(t, 1_000)
	for _, accesses := range []int{2_000, 10_000} {
		allocations, bytes := allocatedByAccess(t, accesses)
		performance.Limit(t, "rewrite/allocations", allocations)
		performance.Limit(t, "rewrite/bytes", bytes)
		performance.Limit(t, "rewrite/growth", allocations/fewAllocations)
		performance.Limit(t, "rewrite/growth", bytes/fewBytes)
	}
	performance.Limit(t, "rewrite/live", liveByAccess(t, 10_000))
}

// allocatedByAccess returns how many times, and how many bytes, rewriting allocates for each
// of so many accesses.
func allocatedByAccess(t *testing.T, accesses int) (allocations, bytes float64) {
	t.Helper()
	o := newBenchObject(t, accesses)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, report, err := rewrite.Rewrite(o.object, o.converted, rewrite.Options{Types: []string{"md_*"}})
	runtime.ReadMemStats(&after)
	if err != nil || len(report.Edits) != accesses {
		t.Fatalf("%d edits: %v", len(report.Edits), err)
	}
	return float64(after.Mallocs-before.Mallocs) / float64(accesses), float64(after.TotalAlloc-before.TotalAlloc) / float64(accesses)
}

// liveByAccess returns how many bytes are in use at the same time, at most, for each of so
// many accesses.
func liveByAccess(t *testing.T, accesses int) float64 {
	t.Helper()
	o := newBenchObject(t, accesses)
	before := live(true)
	most := mostLive(t, func() {
		if _, _, err := rewrite.Rewrite(o.object, o.converted, rewrite.Options{Types: []string{"md_*"}}); err != nil {
			t.Error(err)
		}
	})
	return float64(most-before) / float64(accesses)
}

// mostLive runs fn, with a collection of garbage whenever the heap has grown by some
// percent, and returns the most bytes that one of them left.
func mostLive(t *testing.T, fn func()) uint64 {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(2))
	var most atomic.Uint64
	var done atomic.Bool
	var watch func()
	watch = func() { // with each collection, which finds the object that it is attached to
		most.Store(max(most.Load(), live(false)))
		if !done.Load() {
			runtime.AddCleanup(new([16]byte), func(struct{}) { watch() }, struct{}{})
		}
	}
	watch()
	fn()
	done.Store(true)
	return most.Load()
}

// live returns how many bytes the last collection of garbage left, or another one now.
func live(now bool) uint64 {
	if now {
		runtime.GC()
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
