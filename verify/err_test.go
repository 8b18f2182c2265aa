package verify_test

import (
	"errors"
	"testing"

	"github.com/xdp-load/xdp-load/verify"
)

// Why no packet was compared, from what was counted.
func TestNothingCompared(t *testing.T) {
	for want, packets := range map[string]verify.Packets{
		"eth0: no packet was compared: none has arrived":                                           {},
		"eth0: no packet was compared: 7 have arrived, and none has got to the stack":              {Received: 7},
		"eth0: no packet was compared: the accessors have found no descriptor of any of 7 packets": {Received: 7, NoneFound: 7},
		"eth0: no packet was compared: of 7 that got to the stack 5 have not been seen by XDP as they are there, and 2 are like others: where packets are merged, ethtool --features eth0 gro off lro off": {Received: 9, Stacked: 7, Unmatched: 5, Ambiguous: 2},
	} {
		report := verify.Report{Interface: "eth0", Packets: packets}
		if err := report.Err(); !errors.Is(err, verify.ErrNothingCompared) || err.Error() != want {
			t.Errorf("%v instead of %q", err, want)
		}
	}
}
