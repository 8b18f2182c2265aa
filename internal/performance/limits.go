package performance

import "testing"

// limits are what must not be exceeded, by what is counted: instructions, allocations, bytes
// and calls of the kernel, and how they grow, but no times. Each leaves a tenth or so to what
// is counted today, for other versions of Go.
var limits = map[string]float64{
	// What a process allocates before main, and which is all that --version needs.
	"start/allocations": 700,
	"start/bytes":       110 << 10,

	// Calls of bpf(2) to load an object with a map on a veth, and to unload it again.
	"load/bpf":   33,
	"unload/bpf": 8,

	// For an access, in an object with 10,000 of them, each of which takes a sequence; and
	// how much more than among 1,000.
	// The live bytes are those that are in use at the same time, at most.
	"rewrite/allocations": 21,
	"rewrite/bytes":       3300,
	"rewrite/live":        1450,
	"rewrite/growth":      1.1,

	// By which reading a field of the metadata area comes to more than with the NIC's offsets
	// compiled in: instructions, and bytes of machine code.
	"area/instructions": 1,
	"area/bytes":        4,
}

// Limit fails a test if there is more of something than its limit, which has to be known.
func Limit(tb testing.TB, name string, count float64) {
	tb.Helper()
	limit, ok := limits[name]
	if !ok {
		tb.Fatalf("%s has no limit", name)
	}
	if count > limit {
		tb.Errorf("%s: %.4g, and the limit is %.4g", name, count, limit)
	}
	tb.Logf("%s: %.4g of %.4g", name, count, limit)
}
