package loader_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
	"github.com/xdp-load/xdp-load/verify"
)

// How many packets are compared, and within how many what is wrong has to be found out.
const (
	verifiedPackets = 1000
	wrongPackets    = 300
)

// testVerify compares what is read with what the driver tells the stack, by the accessors
// that come with xdp-load, and by wrong ones.
func (n *nicLab) testVerify(t *testing.T) {
	target, err := nic.ByName(n.nic.Name)
	if err != nil {
		t.Fatal(err)
	}
	kfuncs, err := target.Kfuncs()
	if err != nil {
		t.Fatal(err)
	}
	driver := &loader.Driver{Name: n.test.driver, Kfuncs: kfuncs}
	accessors, err := verify.Accessors(driver)
	if err != nil {
		t.Fatal(err)
	}
	report := n.verify(t, target, driver, accessors, verifiedPackets)
	if err := report.Err(); err != nil {
		t.Errorf("%v: %+v", err, report.Packets)
	}
	for _, f := range report.Fields {
		t.Logf("%+v", *f)
	}
	for _, wrong := range wrongAccessors(t, driver) {
		report := n.verify(t, target, driver, wrong.accessors, wrongPackets)
		t.Logf("%s: %v", wrong.name, report.Err())
		if !errors.Is(report.Err(), verify.ErrDiffer) {
			t.Errorf("%s: not found out: %v, %+v", wrong.name, report.Err(), report.Packets)
		}
		for _, f := range report.Fields {
			if wrong.how[f.Name] != "" && f.Differ == 0 {
				t.Errorf("%s %s: not found out: %+v", f.Name, wrong.how[f.Name], f)
			}
		}
	}
}

// verify sends packets until enough are compared.
func (n *nicLab) verify(t *testing.T, target *nic.Target, driver *loader.Driver, accessors []*rewrite.Accessors, packets int) *verify.Report {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	report, err := verify.Run(ctx, verify.Options{
		Target: target, Driver: driver, Accessors: accessors, Packets: packets, Timeout: time.Minute,
		Started: func(string) {
			n.set(n.test.attached...)
			n.awaitCarrier(t)
			go func() {
				defer close(sent)
				n.sendUntil(ctx)
			}()
		},
	})
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	<-sent
	if report.Packets.Compared != packets {
		t.Errorf("%+v", report.Packets)
	}
	return report
}

// sendUntil sends packets, no more at a time than a NIC has descriptors.
func (n *nicLab) sendUntil(ctx context.Context) {
	const burst = 16
	for i := uint32(0); ctx.Err() == nil; i++ {
		unix.Write(n.socket, newNICPacket(i, n.nic.HardwareAddr).frame)
		if i%burst == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// wrongDriver is accessors of which some are wrong.
type wrongDriver struct {
	name      string
	how       map[string]string // by field, empty if it is the descriptor
	accessors []*rewrite.Accessors
}

// wrongAccessors returns the driver's accessors with something that is wrong, each time
// something else: functions that verify/testdata/broken_*.c names field__how, of as many
// fields at a time as there are, or the descriptor function of another file there.
func wrongAccessors(t *testing.T, driver *loader.Driver) (all []wrongDriver) {
	t.Helper()
	files, err := filepath.Glob("../verify/testdata/*_" + driver.Name + "-el.o")
	if err != nil || len(files) == 0 {
		t.Fatal("no wrong accessors", err)
	}
	for _, file := range files {
		from := *driver
		from.File = file
		accessors, err := verify.Accessors(&from)
		if err != nil {
			t.Fatal(err)
		}
		if how, _, _ := strings.Cut(filepath.Base(file), "_"); how != "broken" {
			all = append(all, wrongDriver{"descriptor " + how, nil, accessors})
			continue
		}
		hows := make(map[string][]string)
		for _, name := range slices.Sorted(maps.Keys(accessors[0].Fields)) {
			if field, how, isWrong := strings.Cut(name, "__"); isWrong {
				hows[field] = append(hows[field], how)
			}
		}
		for len(hows) > 0 {
			all = append(all, nextWrong(accessors, hows))
		}
	}
	return all
}

// nextWrong returns accessors that are wrong in the first of the ways of each field, and takes
// that away.
func nextWrong(accessors []*rewrite.Accessors, hows map[string][]string) wrongDriver {
	one := *accessors[0]
	one.Fields = maps.Clone(one.Fields)
	wrong := wrongDriver{how: make(map[string]string), accessors: []*rewrite.Accessors{&one, accessors[1]}}
	for _, field := range slices.Sorted(maps.Keys(hows)) {
		how := hows[field][0]
		one.Fields[field] = one.Fields[field+"__"+how]
		wrong.how[field] = how
		wrong.name += field + " " + how + ", "
		if hows[field] = hows[field][1:]; len(hows[field]) == 0 {
			delete(hows, field)
		}
	}
	wrong.name = strings.TrimSuffix(wrong.name, ", ")
	return wrong
}
