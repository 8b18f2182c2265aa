// Command bench compares what this project does with other ways to do the same, in one run:
// what it takes to read a field of a packet, to load an object, and how that grows. It
// prints tables, and with -write writes docs/performance.md and docs/performance.json.
//
// It is run by make bench, as root, from the top of the repository. What it makes lives in
// network namespaces of its own, and vanishes with them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/xdp-load/xdp-load/internal/performance"
)

func main() {
	write := flag.Bool("write", false, "write docs/performance.md and docs/performance.json")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	dir, err := os.MkdirTemp("", "xdp-load-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	rows, err := testBenchmarks(filepath.Join(dir, "rows.json"))
	if err != nil {
		return err
	}
	loads, err := compareLoads(dir)
	if err != nil {
		return err
	}
	rows = append(rows, loads...)
	fmt.Println()
	if err := performance.Print(os.Stdout, rows); err != nil {
		return err
	}
	if !write {
		return nil
	}
	return errors.Join(
		performance.WriteRows("docs/performance.json", rows),
		performance.WritePage("docs/performance.md", rows),
	)
}

// testBenchmarks runs the benchmarks of two packages, which print tables of their own, and
// returns what they compared.
func testBenchmarks(rowsFile string) ([]performance.Row, error) {
	for _, pkg := range []string{"./rewrite", "./loader"} {
		test := exec.Command("go", "test", pkg, "-run", "^$", "-bench", "^Benchmark(Packet|Wire|Growth|Fleet)$", "-benchtime", "1x",
			"-timeout", "30m", "-performance.rows", rowsFile)
		test.Stdout, test.Stderr = os.Stdout, os.Stderr
		if err := test.Run(); err != nil {
			return nil, fmt.Errorf("%v: %w", test, err)
		}
	}
	return performance.ReadRows(rowsFile)
}
