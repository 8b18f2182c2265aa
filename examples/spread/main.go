// Command spread hands the packets of an interface to several CPUs, each flow to one, by the
// hash that the NIC has made of it.
//
//	spread --iface eth0 --cpus 2,3
package main

import (
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

// queueLength is how many packets wait for a CPU, at most.
const queueLength = 2048

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	flags := target.Flags("spread")
	cpus := flags.UintSlice("cpus", nil, "hand packets to these `CPUS`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if len(*cpus) == 0 {
		return errors.New("no CPUs given: --cpus 2,3")
	}
	program, err := target.Attach("spread", func(spec *ebpf.CollectionSpec) error {
		for _, byCPU := range []string{"cpus", "given"} { // of cpus the kernel refuses more than it can have
			spec.Maps[byCPU].MaxEntries = uint32(slices.Max(*cpus)) + 1
		}
		type cpumapValue struct{ QueueSize, ProgramFD uint32 }
		for _, cpu := range *cpus {
			spec.Maps["cpus"].Contents = append(spec.Maps["cpus"].Contents, ebpf.MapKV{Key: uint32(cpu), Value: cpumapValue{QueueSize: queueLength}})
		}
		var table [256]uint32
		for i := range table {
			table[i] = uint32((*cpus)[i%len(*cpus)])
		}
		return spec.Variables["table"].Set(table)
	})
	if err != nil {
		return err
	}
	defer program.Close()
	return example.Show(ctx, out, func() (string, error) { return draw(program, *cpus) })
}

func draw(program *example.Program, cpus []uint) (string, error) {
	var b strings.Builder
	if why := program.Lacks("hash"); why != "" {
		fmt.Fprintf(&b, "the NIC tells no hash, --software hash computes one: %s\n\n", why)
	}
	fmt.Fprintf(&b, "%-8s %10s\n", "CPU", "PACKETS")
	for _, cpu := range cpus {
		var packets uint64
		if err := program.Maps["given"].Lookup(uint32(cpu), &packets); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%-8d %10d\n", cpu, packets)
	}
	var stayed uint64
	if err := program.Variables["stayed"].Get(&stayed); err != nil {
		return "", err
	}
	if stayed > 0 {
		fmt.Fprintf(&b, "%-8s %10d\n", "any", stayed)
	}
	return b.String(), nil
}
