package verify_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
	"github.com/xdp-load/xdp-load/verify"
)

// vethLab is a veth, whose packets are sent in the same network namespace: on their way from
// another the kernel clears the mark.
type vethLab struct {
	*testing.T
	target *nic.Target
	wire   *net.Interface
	driver *loader.Driver
}

func newVethLab(t *testing.T) *vethLab {
	t.Helper()
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.VethBuff)
	netlab.Need(t, netlab.TCX)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"ip", "address", "add", "192.0.2.1/24", "dev", "nic0-wire"},
		{"ip", "neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "nic0-wire"},
	} {
		if err := ns.Run(command[0], command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	wire, err := net.InterfaceByName("nic0-wire")
	if err != nil {
		t.Fatal(err)
	}
	tagger, err := netlab.AttachTagger(wire.Index)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tagger.Close() })
	target, err := nic.ByName("nic0")
	if err != nil {
		t.Fatal(err)
	}
	kfuncs, err := target.Kfuncs()
	if err != nil {
		t.Fatal(err)
	}
	return &vethLab{t, target, wire, &loader.Driver{Name: "veth", Kfuncs: kfuncs}}
}

// send sends packets of all kinds until what it returns is called.
func (l *vethLab) send() (stop func()) {
	l.Helper()
	s := &sender{}
	for range 16 { // as many hashes
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		if err := unix.Connect(socket, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 2}, Port: 9}); err != nil {
			l.Fatal(err)
		}
		s.sockets = append(s.sockets, socket)
	}
	var err error
	if s.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); err != nil {
		l.Fatal(err)
	}
	if err := unix.Bind(s.raw, &unix.SockaddrLinklayer{Ifindex: l.wire.Index}); err != nil {
		l.Fatal(err)
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.run(done)
	}()
	return func() {
		close(done)
		<-stopped
		for _, socket := range append(s.sockets, s.raw) {
			unix.Close(socket)
		}
	}
}

type sender struct {
	sockets []int // connected ones
	raw     int
}

func (s *sender) run(done <-chan struct{}) {
	for i := uint32(1); ; i++ {
		if i%16 == 0 { // of the 256 that a veth has room for
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
		if i%4 == 0 {
			unix.Write(s.raw, frame(i))
			continue
		}
		socket := s.sockets[int(i)%len(s.sockets)]
		unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_MARK, int(markOf(i)))
		unix.Write(socket, binary.BigEndian.AppendUint32(nil, i))
	}
}

// markOf returns a mark, which is the tag that the packet gets on its way: for each third
// none, then one of each kind.
func markOf(i uint32) uint32 {
	protocol := [][]byte{{0, 0}, {0x81, 0x00}, {0x88, 0xa8}}[i%3]
	return i*0x6f35<<16 | uint32(binary.NativeEndian.Uint16(protocol))
}

// frame returns one whose sums are not known, and which has a tag now and then.
func frame(i uint32) []byte {
	f := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	if i%3 == 0 {
		f = append(f, 0x81, 0x00, 0x20, byte(i))
	}
	f = append(f, 0x88, 0xb5) // ETH_P_802_EX1
	f = binary.BigEndian.AppendUint32(f, i)
	return append(f, make([]byte, 42)...)
}

// run compares packets by accessors, or by those of the driver if they are nil.
func (l *vethLab) run(packets int, accessors []*rewrite.Accessors) (*verify.Report, error) {
	l.Helper()
	stop := l.send()
	defer stop()
	return verify.Run(context.Background(), verify.Options{
		Target: l.target, Driver: l.driver, Accessors: accessors, Packets: packets, Timeout: 20 * time.Second,
	})
}

// On a veth all agrees, whichever way the kernel's memory is read, and nothing is left.
func TestVeth(t *testing.T) {
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		t.Run(string(lowering), func(t *testing.T) {
			if lowering == accessor.Zero {
				netlab.Need(t, netlab.VoidCasts)
			}
			testVeth(t, lowering)
		})
	}
}

func testVeth(t *testing.T, lowering accessor.Lowering) {
	lab := newVethLab(t)
	lab.driver.Lowering = lowering
	report, err := lab.run(1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Lowering != string(lowering) {
		t.Errorf("The kernel's memory is read by %q", report.Lowering)
	}
	if err := report.Err(); err != nil {
		t.Errorf("%v: %+v", err, report.Fields)
	}
	if p := report.Packets; p.Compared != 1000 || p.NoneFound != 0 || p.Unmatched != 0 {
		t.Errorf("%+v", p)
	}
	least := map[string]int{"hash": 12, "hash_type": 1, "csum_status": 1, "vlan_tci": 2, "vlan_proto": 2, "mark": 500}
	for _, f := range report.Fields {
		if f.Values < least[f.Name] {
			t.Errorf("%s has had %d values, which is less than %d", f.Name, f.Values, least[f.Name])
		}
		if f.From != "" && f.Agree < 700 {
			t.Errorf("%s agrees in %d packets: %+v", f.Name, f.Agree, f.Limits)
		}
	}
	lab.wantVacant()
}

// wantVacant wants no program on the interface.
func (l *vethLab) wantVacant() {
	l.Helper()
	attached, _, err := loader.Status()
	if err != nil || len(attached) > 0 {
		l.Errorf("%v %v", attached, err)
	}
	report, err := l.run(1, nil)
	if err != nil || report.Packets.Observed != 1 {
		l.Errorf("A second run: %v", err)
	}
}

// Accessors that are wrong are found out.
func TestBrokenVeth(t *testing.T) {
	lab := newVethLab(t)
	for _, accessors := range broken(t, lab.driver, "testdata/broken_veth-el.o") {
		testBroken(t, lab, accessors)
	}
	stale := *lab.driver
	stale.File = "testdata/stale_veth-el.o"
	accessors, err := verify.Accessors(&stale)
	if err != nil {
		t.Fatal(err)
	}
	testBroken(t, lab, wrong{"descriptor stale", "", accessors})
}

func testBroken(t *testing.T, lab *vethLab, w wrong) {
	report, err := lab.run(1000, w.accessors)
	if err != nil {
		t.Errorf("%s: %v", w.name, err)
		return
	}
	err = report.Err()
	t.Logf("%s: %v", w.name, err)
	if !errors.Is(err, verify.ErrDiffer) {
		t.Errorf("%s: not found out: %v", w.name, err)
	}
	for _, f := range report.Fields {
		if f.Name == w.field && (f.Differ == 0 || len(f.Examples) == 0) {
			t.Errorf("%s: %+v", w.name, f)
		}
	}
}

// wrong is accessors of which one is wrong.
type wrong struct {
	name, field string
	accessors   []*rewrite.Accessors
}

// broken returns, for each field of a file that is named "field__how", the accessors with
// that in the place of the right one.
func broken(t *testing.T, driver *loader.Driver, file string) (all []wrong) {
	t.Helper()
	from := *driver
	from.File = file
	accessors, err := verify.Accessors(&from)
	if err != nil {
		t.Fatal(err)
	}
	if len(accessors[0].Missing) > 0 {
		t.Errorf("%s: %v", file, accessors[0].Missing)
	}
	for name, accessor := range accessors[0].Fields {
		field, how, isWrong := strings.Cut(name, "__")
		if !isWrong {
			continue
		}
		one := *accessors[0]
		one.Fields = make(map[string]rewrite.Accessor)
		for name, right := range accessors[0].Fields {
			one.Fields[name] = right
		}
		one.Fields[field] = accessor
		all = append(all, wrong{field + " " + how, field, []*rewrite.Accessors{&one, accessors[1]}})
	}
	slices.SortFunc(all, func(a, b wrong) int { return strings.Compare(a.name, b.name) })
	return all
}

// What a run comes to is an error unless packets were compared and none differs.
func TestReportErr(t *testing.T) {
	for name, c := range map[string]struct {
		report verify.Report
		is     error
	}{
		"no packets":  {verify.Report{}, verify.ErrNothingCompared},
		"not found":   {verify.Report{Packets: verify.Packets{Received: 2, NoneFound: 2}}, verify.ErrNothingCompared},
		"not stacked": {verify.Report{Packets: verify.Packets{Received: 2}}, verify.ErrNothingCompared},
		"the same":    {verify.Report{Packets: verify.Packets{Received: 2, Stacked: 2, Compared: 2}}, nil},
		"differ":      {verify.Report{Packets: verify.Packets{Received: 2, Stacked: 2, Compared: 2}, Fields: []*verify.Field{{Name: "hash", Differ: 1}}}, verify.ErrDiffer},
	} {
		if err := c.report.Err(); !errors.Is(err, c.is) {
			t.Errorf("%s: %v instead of %v", name, err, c.is)
		}
	}
}
