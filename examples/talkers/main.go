// Command talkers lists the marks of the NIC's rules that the most bytes of an interface have
// matched.
//
//	talkers --iface eth0
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/example"
)

func main() { example.Main(run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	flags := target.Flags("talkers")
	top := flags.Int("top", 10, "list this `NUMBER` of marks")
	if err := flags.Parse(args); err != nil {
		return err
	}
	program, err := target.Attach("talkers", nil)
	if err != nil {
		return err
	}
	defer program.Close()
	return example.Show(ctx, out, func() (string, error) { return draw(program, *top) })
}

// traffic is struct traffic of bpf/examples/talkers.c.
type traffic struct{ Packets, Bytes uint64 }

type talker struct {
	mark uint32
	traffic
}

func draw(program *example.Program, top int) (string, error) {
	talkers, err := read(program.Maps["marks"])
	if err != nil {
		return "", err
	}
	slices.SortFunc(talkers, func(a, b talker) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.mark, b.mark)) })
	var all uint64
	for _, t := range talkers {
		all += t.Bytes
	}

	var b strings.Builder
	if why := program.Lacks("mark"); why != "" {
		fmt.Fprintf(&b, "the NIC marks no packets: %s\n\n", why)
	}
	fmt.Fprintf(&b, "%-12s %10s %12s %7s\n", "MARK", "PACKETS", "BYTES", "SHARE")
	for _, t := range talkers[:min(top, len(talkers))] {
		name := "none"
		if t.mark != 0 {
			name = fmt.Sprintf("%#x", t.mark)
		}
		fmt.Fprintf(&b, "%-12s %10d %12d %6.1f%%\n", name, t.Packets, t.Bytes, 100*float64(t.Bytes)/float64(all))
	}
	return b.String(), nil
}

func read(marks *ebpf.Map) (talkers []talker, err error) {
	byMark := make(map[uint32]traffic) // one may come up twice
	entries := marks.Iterate()
	var t talker
	for entries.Next(&t.mark, &t.traffic) {
		byMark[t.mark] = t.traffic
	}
	for mark, traffic := range byMark {
		talkers = append(talkers, talker{mark, traffic})
	}
	err = entries.Err()
	if errors.Is(err, ebpf.ErrIterationAborted) { // marks come and go: these are most
		err = nil
	}
	return talkers, err
}
