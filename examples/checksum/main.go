// Command checksum drops the packets of an interface whose checksum the NIC has found wrong,
// and counts packets by what it has found.
//
//	checksum --iface eth0
package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/meta"
)

func main() { example.Main(run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	if err := target.Flags("checksum").Parse(args); err != nil {
		return err
	}
	program, err := target.Attach("checksum", nil)
	if err != nil {
		return err
	}
	defer program.Close()
	return example.Show(ctx, out, func() (string, error) { return draw(program) })
}

// lines are what the NIC finds, by enum md_csum_status.
var lines = []struct {
	status uint32
	text   string
}{
	{meta.CsumUnnecessary, "right"},
	{meta.CsumComplete, "summed up"},
	{meta.CsumNone, "not looked at"},
	{meta.CsumBad, "wrong, dropped"},
}

func draw(program *example.Program) (string, error) {
	var b strings.Builder
	if why := program.Lacks("csum_status"); why != "" {
		fmt.Fprintf(&b, "the NIC tells nothing of checksums: %s\n\n", why)
	}
	fmt.Fprintf(&b, "%-16s %10s\n", "CHECKSUM", "PACKETS")
	for _, line := range lines {
		var packets uint64
		if err := program.Maps["found"].Lookup(line.status, &packets); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%-16s %10d\n", line.text, packets)
	}
	return b.String(), nil
}
