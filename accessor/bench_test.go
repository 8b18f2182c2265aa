package accessor_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
)

// What a field costs in line is what it costs here beyond one that loads nothing: both are
// called.
func BenchmarkLowering(b *testing.B) {
	kernel := newKernel(b, withTypes(b))
	file := readFile(b, compile(b, "19-v3", "bpfel", include("hops.c")))
	for _, lowering := range lowerings {
		accessors, err := file.Resolve(kernel, accessor.Options{Lowering: lowering})
		if err != nil {
			b.Fatal(err)
		}
		for _, field := range []string{"mark", "hash", "hash_type", "csum", "rx_timestamp"} {
			b.Run(accessors.Fields[field].From+"/"+string(lowering), func(b *testing.B) {
				r := newRunner(b, accessors, []string{field}, calls, nil)
				memory, _ := layOut(binary.LittleEndian, r.start)
				r.fill(b, memory)
				r.run(b, r.start)
				best := time.Duration(1 << 62)
				for b.Loop() {
					best = min(best, r.time(b))
				}
				b.ReportMetric(float64(best.Nanoseconds())/calls, "ns/access")
			})
		}
	}
}

// calls is how often the program calls the accessor.
const calls = 32

// time returns how long the program takes.
func (r *runner) time(tb testing.TB) time.Duration {
	tb.Helper()
	for {
		_, duration, err := r.collection.Programs["program"].Benchmark(make([]byte, 64), 100_000, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		return duration
	}
}

func BenchmarkResolve(b *testing.B) {
	kernel := newKernel(b, withTypes(b))
	file := readFile(b, compile(b, "19-v3", "bpfel", include("nic.c")))
	for b.Loop() {
		if _, err := file.Resolve(kernel, accessor.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
