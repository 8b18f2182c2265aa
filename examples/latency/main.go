// Command latency draws how long the packets of an interface take from the NIC to its XDP
// program.
//
//	latency --iface eth0
package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/example"
)

func main() { example.Main(run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	if err := target.Flags("latency").Parse(args); err != nil {
		return err
	}
	clock, err := example.ClockOf(&target)
	if err != nil {
		return err
	}
	defer clock.Close()
	program, err := target.Attach("latency", func(spec *ebpf.CollectionSpec) error {
		return spec.Variables["ahead"].Set(clock.Ahead())
	})
	if err != nil {
		return err
	}
	defer program.Close()
	return example.Show(ctx, out, func() (string, error) {
		if err := program.Variables["ahead"].Set(clock.Ahead()); err != nil {
			return "", err
		}
		return draw(program, &clock)
	})
}

// width is that of the longest bar.
const width = 50

func draw(program *example.Program, clock *example.Clock) (string, error) {
	var buckets [64]uint64
	for n := range buckets {
		if err := program.Maps["histogram"].Lookup(uint32(n), &buckets[n]); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	if why := program.Lacks("rx_timestamp"); why != "" {
		fmt.Fprintf(&b, "the NIC stamps no packets, --software rx_timestamp takes the time in the program: %s\n\n", why)
	}
	fmt.Fprintf(&b, "from the NIC to XDP, by %s\n\n", clock.Name)
	b.WriteString(bars(buckets[:]))
	for _, other := range []struct{ variable, text string }{
		{"unstamped", "without a time"},
		{"early", "with a time that is yet to come: another clock"},
	} {
		var packets uint64
		if err := program.Variables[other.variable].Get(&packets); err != nil {
			return "", err
		}
		if packets > 0 {
			fmt.Fprintf(&b, "%d packets %s\n", packets, other.text)
		}
	}
	return b.String(), nil
}

// bars draws a histogram, from the first bucket that has packets to the last one.
func bars(buckets []uint64) string {
	first, last, most := -1, -1, uint64(0)
	for n, packets := range buckets {
		if packets == 0 {
			continue
		}
		if first < 0 {
			first = n
		}
		last, most = n, max(most, packets)
	}
	if first < 0 {
		return "no packets yet\n"
	}
	var b strings.Builder
	for n := first; n <= last; n++ {
		bar := strings.Repeat("█", int(buckets[n]*width/most))
		if bar == "" && buckets[n] > 0 {
			bar = "▏"
		}
		fmt.Fprintf(&b, "%9s %9d %s\n", from(n), buckets[n], bar)
	}
	return b.String()
}

// from is where a bucket starts.
func from(n int) string {
	start := time.Duration(uint64(1) << n)
	switch {
	case start < time.Microsecond:
		return fmt.Sprint(start)
	case start < time.Millisecond:
		return fmt.Sprintf("%.1fµs", start.Seconds()*1e6)
	case start < time.Second:
		return fmt.Sprintf("%.1fms", start.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1fs", start.Seconds())
}
