package rewrite_test

import (
	"runtime"
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
