package loader_test

import (
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// A driver's reason is given in its own words, and what can be done about it.
func TestDriverRefuses(t *testing.T) {
	lab := newLab(t)
	for _, line := range []string{
		"ip link set nic0-wire mtu 9000",
		"ip link add few numrxqueues 1 numtxqueues 1 type veth peer numrxqueues 2 numtxqueues 2 name many",
		"ip link add both numrxqueues 1 numtxqueues 1 type veth peer numrxqueues 2 numtxqueues 2 mtu 9000 name both-wire",
	} {
		if _, err := run(line); err != nil {
			t.Fatal(err)
		}
	}

	both := "lower the MTU: " // no fragments with so few queues
	if !netlab.Has(netlab.DriverFeatures) {
		both = "lower the MTU, or "
	}
	const mtu, queues = "Peer MTU is too large to set XDP", "XDP expects number of rx queues not less than peer tx queues"
	for iface, want := range map[string]string{
		"nic0": mtu + `: lower the MTU, or give the program SEC("xdp.frags")`,
		"few":  queues + ": ethtool -L sets the numbers of queues: ",
		"both": mtu + ": " + both,
	} {
		_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: iface})
		if want := iface + ": attach in native mode: veth: " + want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v\ndoes not start with %q", err, want)
		}
		links, err := run("ip link show " + iface)
		if err != nil || strings.Contains(links, "xdp") {
			t.Errorf("%v: %s", err, links)
		}
	}
	if left := lab.status(); len(left) > 0 {
		t.Errorf("Attached: %+v", left)
	}
}
