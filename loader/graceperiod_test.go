package loader

import (
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Both ways to wait for packets work.
func TestAwaitPackets(t *testing.T) {
	netlab.NeedRoot(t)
	for name, wait := range map[string]func() error{"membarrier": synchronize, "map of maps": synchronizeByMap} {
		if err := wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
