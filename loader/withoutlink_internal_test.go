package loader

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Without a link only that program is replaced, or taken off, that is thought to be there, and
// none is attached over another.
func TestInPlaceOfAnother(t *testing.T) {
	ns := netlab.Enter(t)
	nic0, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at   Hook
		mode Mode
		kind ebpf.ProgramType
	}{
		{XDP, Native, ebpf.XDP}, {XDP, Generic, ebpf.XDP}, {Ingress, Clsact, ebpf.SchedCLS}, {Egress, Clsact, ebpf.SchedCLS},
	} {
		first, second, absent := returning(t, test.kind, 2), returning(t, test.kind, 2), returning(t, test.kind, 2)
		at := func(program *ebpf.Program) *pinnedAttachment {
			id, err := idOf(program)
			if err != nil {
				t.Fatal(err)
			}
			return &pinnedAttachment{program: id, at: test.at, ifindex: nic0.Index, mode: test.mode, qdisc: test.at != XDP}
		}
		wantThere := func(after string, want *ebpf.Program) {
			t.Helper()
			there, err := hookByName("nic0", test.at)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil && len(there.programs) > 0 || want != nil && (len(there.programs) != 1 || there.programs[0].id != at(want).program) {
				t.Errorf("%s %s: after %s there is %+v", test.at, test.mode, after, there.programs)
			}
		}
		if err := at(first).putOn(first); err != nil {
			t.Fatal(err)
		}
		wantThere("attaching", first)
		if test.at == XDP { // in TC there is room for both
			if err := at(second).putOn(second); err == nil {
				t.Errorf("%s: attached over another", test.mode)
			}
			wantThere("attaching a second", first)
		}
		if err := at(second).putInPlaceOf(absent, second); err == nil || test.at != XDP && !errors.Is(err, ErrChanged) {
			t.Errorf("%s %s: in place of what is not there: %v", test.at, test.mode, err)
		}
		wantThere("not replacing", first)
		if err := at(absent).takeOff(absent); err != nil {
			t.Errorf("%s %s: take off what is not there: %v", test.at, test.mode, err)
		}
		wantThere("taking off another", first)
		if err := at(second).putInPlaceOf(first, second); err != nil {
			t.Errorf("%s %s: %v", test.at, test.mode, err)
		}
		wantThere("replacing", second)
		if err := at(second).takeOff(second); err != nil {
			t.Errorf("%s %s: %v", test.at, test.mode, err)
		}
		wantThere("taking off", nil)
	}
}
