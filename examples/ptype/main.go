// Command ptype counts the packets of an interface by the headers that the NIC's parser has
// found in them.
//
//	ptype --iface eth0
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/meta"
)

func main() { example.Main(run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	if err := target.Flags("ptype").Parse(args); err != nil {
		return err
	}
	program, err := target.Attach("ptype", nil)
	if err != nil {
		return err
	}
	defer program.Close()
	return example.Show(ctx, out, func() (string, error) { return draw(program) })
}

// headers are the bits of enum md_ptype, in the order in which they are spelled.
var headers = []struct {
	bit  uint32
	name string
}{
	{meta.PtypeTunnelled, "tunnel"}, {meta.PtypeIPv4, "IPv4"}, {meta.PtypeIPv6, "IPv6"}, {meta.PtypeFragment, "fragment"},
	{meta.PtypeTCP, "TCP"}, {meta.PtypeUDP, "UDP"}, {meta.PtypeSCTP, "SCTP"}, {meta.PtypeICMP, "ICMP"}, {meta.PtypeOtherL4, "other"},
}

func spell(ptype uint32) string {
	var names []string
	for _, header := range headers {
		if ptype&header.bit != 0 {
			names = append(names, header.name)
		}
	}
	if names == nil {
		return "not told"
	}
	return strings.Join(names, " ")
}

// traffic is struct traffic of bpf/examples/ptype.c.
type traffic struct{ Packets, Bytes uint64 }

func draw(program *example.Program) (string, error) {
	type line struct {
		headers string
		traffic
	}
	var lines []line
	var all traffic
	entries := program.Maps["headers"].Iterate()
	var ptype uint32
	var t traffic
	for entries.Next(&ptype, &t) {
		if t.Packets > 0 {
			lines = append(lines, line{spell(ptype), t})
			all.Packets, all.Bytes = all.Packets+t.Packets, all.Bytes+t.Bytes
		}
	}
	if err := entries.Err(); err != nil {
		return "", err
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(b.Packets, a.Packets) })

	var b strings.Builder
	if why := program.Lacks("ptype"); why != "" {
		fmt.Fprintf(&b, "the NIC does not tell what it has found: %s\n\n", why)
	}
	fmt.Fprintf(&b, "%-24s %10s %12s %7s\n", "HEADERS", "PACKETS", "BYTES", "SHARE")
	for _, line := range lines {
		fmt.Fprintf(&b, "%-24s %10d %12d %6.1f%%\n", line.headers, line.Packets, line.Bytes, 100*float64(line.Packets)/float64(all.Packets))
	}
	return b.String(), nil
}
