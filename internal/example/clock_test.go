package example

import (
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// A time that the driver tells is not computed, even if it was asked for.
func TestComputesTime(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.VethBuff)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	if err := ns.Run("ip", "tuntap", "add", "tap0", "mode", "tap"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		target Target
		want   bool
	}{
		{Target{Interface: "nic0"}, false},
		{Target{Interface: "nic0", Software: []string{"rx_timestamp"}}, false},
		{Target{Interface: "tap0", Software: []string{"hash"}}, false},
		{Target{Interface: "tap0", Software: []string{"hash", "rx_timestamp"}}, true},
	} {
		if got, err := test.target.computesTime(); err != nil || got != test.want {
			t.Errorf("%+v: %t, %v", test.target, got, err)
		}
	}
}
