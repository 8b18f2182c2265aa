// Command vlan lets packets of some VLANs into an interface, and drops all others, those
// too of which the NIC has taken the tag off and tells it.
//
//	vlan --iface eth0 --allow 100,200
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/example"
)

func main() { example.Main(run) }

// untagged is the element of packets without a tag.
const untagged = 4096

// rule is struct rule of bpf/examples/vlan.c.
type rule struct {
	Allowed, Reserved uint32
	Passed, Dropped   uint64
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	flags := target.Flags("vlan")
	allowed := flags.UintSlice("allow", nil, "let in these `VLANS`, by their IDs")
	allowUntagged := flags.Bool("allow-untagged", false, "let in packets without a tag")
	if err := flags.Parse(args); err != nil {
		return err
	}
	program, err := target.Attach("vlan", func(spec *ebpf.CollectionSpec) error {
		for _, vlan := range *allowed {
			if vlan >= untagged {
				return fmt.Errorf("VLAN %d: there are those up to %d", vlan, untagged-1)
			}
			spec.Maps["vlans"].Contents = append(spec.Maps["vlans"].Contents, ebpf.MapKV{Key: uint32(vlan), Value: rule{Allowed: 1}})
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer program.Close()
	if *allowUntagged {
		if err := letInUntagged(program); err != nil {
			return err
		}
	}
	return example.Show(ctx, out, func() (string, error) { return draw(program) })
}

// letInUntagged lets in packets without a tag, if the NIC tells which ones have had one.
func letInUntagged(program *example.Program) error {
	if why := cmp.Or(program.Lacks("vlan_tci"), program.Lacks("vlan_proto")); why != "" {
		return fmt.Errorf("--allow-untagged: packets without a tag can't be told from those whose tag the NIC has taken off: %s", why)
	}
	return program.Maps["vlans"].Put(uint32(untagged), rule{Allowed: 1})
}

func draw(program *example.Program) (string, error) {
	var b strings.Builder
	if why := cmp.Or(program.Lacks("vlan_tci"), program.Lacks("vlan_proto")); why != "" {
		fmt.Fprintf(&b, "the NIC does not tell the tags that it takes off, \"ethtool -K %s rxvlan off\" leaves them in the packets: %s\n\n", program.Target.Interface, why)
	}
	fmt.Fprintf(&b, "%-8s %10s %10s\n", "VLAN", "PASSED", "DROPPED")
	for vlan := range uint32(untagged + 1) {
		var r rule
		if err := program.Maps["vlans"].Lookup(vlan, &r); err != nil {
			return "", err
		}
		if r.Passed+r.Dropped == 0 {
			continue
		}
		name := fmt.Sprint(vlan)
		if vlan == untagged {
			name = "none"
		}
		fmt.Fprintf(&b, "%-8s %10d %10d\n", name, r.Passed, r.Dropped)
	}
	return b.String(), nil
}
