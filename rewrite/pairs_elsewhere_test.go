package rewrite_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// Random pairs for a machine that is big-endian and has no compilers: they are
// compiled and rewritten here, and rewritten again and run there. Both make the same
// pairs from the same seeds; what has to be brought along is what the compilers say.
var (
	pairsWrite = flag.String("pairs.write", "", "compile random pairs for big-endian machines, without running them, and leave in this `directory` what -pairs.read needs")
	pairsRead  = flag.String("pairs.read", "", "check the random pairs of a `directory` that -pairs.write has left, without compilers")
)

// pairsBigEndian reports whether the pairs are for a big-endian machine.
func pairsBigEndian() bool { return bigEndian || *pairsWrite != "" }

// pairsDir returns the directory for what the compilers make of a batch.
func pairsDir(t *testing.T, seed uint64) string {
	t.Helper()
	switch {
	case *pairsRead != "":
		return filepath.Join(*pairsRead, fmt.Sprint(seed))
	case *pairsWrite == "":
		return t.TempDir()
	}
	dir := filepath.Join(*pairsWrite, fmt.Sprint(seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pairsWritten lists the seeds that -pairs.write has made batches from.
func pairsWritten(t *testing.T) []uint64 {
	t.Helper()
	entries, err := os.ReadDir(*pairsRead)
	if err != nil || len(entries) == 0 {
		t.Fatalf("no pairs in %s: %v", *pairsRead, err)
	}
	var seeds []uint64
	for _, entry := range entries {
		seed, err := strconv.ParseUint(entry.Name(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	}
	return slices.Sorted(slices.Values(seeds))
}
