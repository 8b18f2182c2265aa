package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// What would let in packets that nobody has allowed is refused.
func TestRunRefuses(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.VethBuff)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	layout := "../../testdata/layouts/sparse-el.o"
	for _, test := range []struct {
		args []string
		want string // empty: it runs
	}{
		{[]string{"--allow", "4095", "--allow-untagged"}, ""},
		{[]string{"--allow", "1,4096"}, "VLAN 4096: there are those up to 4095"},
		{[]string{"--allow-untagged", "--layout", layout}, "--allow-untagged: packets without a tag can't be told from those whose tag the NIC has taken off: "},
	} {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := run(ctx, append(test.args, "--iface", "nic0"), &out)
		cancel()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%v: %v", test.args, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%v: %v", test.args, err)
		}
	}
}
