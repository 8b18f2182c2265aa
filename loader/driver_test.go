package loader_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

var driverPackets = flag.Int("driver.packets", 20000, "how many packets are sent for each way to read the kernel's memory")

// driverFields is struct fields of driver.h.
type driverFields struct {
	RxTimestamp                            uint64
	Hash, Mark, HashType, Csum, CsumStatus uint32
	VlanTCI                                uint16
	VlanProto                              [2]byte
	Seen, Found                            uint32
}

// What XDP and TC programs read of each packet, of the driver and of its skb, is what the
// sender gave it and what the stack knows of it, however the kernel's memory is read.
func TestDriver(t *testing.T) {
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		t.Run(string(lowering), func(t *testing.T) {
			switch lowering {
			case accessor.Zero:
				netlab.Need(t, netlab.VoidCasts)
			case accessor.Carrier:
				netlab.Need(t, netlab.Casts)
			}
			lab := newDriverLab(t)
			programs := lab.load(lab.rewritten("driver", &loader.Driver{Name: "veth", Lowering: lowering}))
			lab.attachXDP(programs.Programs["received"])
			lab.attachTC(programs.Programs["stacked"])
			lab.tag()
			lab.send(*driverPackets, lab.seenIn(programs.Maps["by_stack"]))

			fields := func(by string) []driverFields {
				return producerLookupAll[driverFields](t, programs.Maps[by], *driverPackets)
			}
			byXDP, byTC, byStack := fields("by_xdp"), fields("by_tc"), fields("by_stack")
			hashes := make(map[uint32]bool)
			for i := range *driverPackets {
				lab.checkSent(i, byXDP[i], byStack[i])
				if byTC[i] != byXDP[i] {
					t.Fatalf("Packet %d: TC reads\n%+v, and XDP\n%+v", i, byTC[i], byXDP[i])
				}
				hashes[byXDP[i].Hash] = true
			}
			if len(hashes) != driverSockets {
				t.Errorf("%d hashes of %d sockets", len(hashes), driverSockets)
			}
		})
	}
}

// driverLab is a lab in which UDP packets arrive at the NIC that were sent in the same
// namespace: on their way from another the kernel clears the mark.
type driverLab struct {
	*lab
	wire    int
	sockets []int // that send, in turns
}

// driverSockets is how many sockets there are of a kind. Those that are connected have a
// hash each, which is that of what they send.
const driverSockets = 50

// driverPeer is whom packets are sent to.
var driverPeer = &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 2}, Port: 9}

func newDriverLab(t *testing.T) *driverLab {
	t.Helper()

	netlab.Need(t, netlab.VethBuff)
	netlab.Need(t, netlab.TCX)
	return newSenderLab(t)
}

// newSenderLab returns one for all kernels: it has no TC programs that are attached by links.
func newSenderLab(t *testing.T) *driverLab {
	t.Helper()

	lab := &driverLab{lab: newLab(t)}
	wire, err := net.InterfaceByName("nic0-wire")
	if err != nil {
		t.Fatal(err)
	}
	lab.wire = wire.Index
	for _, command := range [][]string{
		{"ip", "address", "add", "192.0.2.1/24", "dev", "nic0-wire"},
		{"ip", "neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "nic0-wire"},
	} {
		if err := lab.ns.Run(command[0], command[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(lab.close)
	lab.addSockets()
	for _, socket := range lab.sockets {
		if err := unix.Connect(socket, driverPeer); err != nil {
			t.Fatal(err)
		}
	}
	return lab
}

// addSockets adds sockets that are not connected.
func (l *driverLab) addSockets() {
	l.Helper()

	for range driverSockets {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			l.Fatal(err)
		}
		l.sockets = append(l.sockets, socket)
	}
}

func (l *driverLab) close() {
	for _, socket := range l.sockets {
		unix.Close(socket)
	}
}

// rewritten returns a program of testdata that is rewritten for a driver.
func (l *driverLab) rewritten(name string, driver *loader.Driver) (*ebpf.CollectionSpec, *rewrite.Report) {
	l.Helper()

	object, err := os.ReadFile(ownProgram(name))
	if err != nil {
		l.Fatal(err)
	}
	accessors, err := driver.Accessors(object)
	if err != nil {
		l.Fatal(err)
	}
	spec, report, err := loader.RewrittenSpec(bytes.NewReader(object), loader.Options{Accessors: accessors})
	if err != nil {
		l.Fatal(err)
	}
	drivers := "veth"
	if len(accessors) > 1 {
		drivers = "veth, skb"
	}
	if report.Driver != drivers || report.Layout != "" || report.Lowering != string(driver.Lowering) {
		l.Errorf("The report is of driver %q, layout %q, lowering %q", report.Driver, report.Layout, report.Lowering)
	}
	return spec, report
}

// load loads programs.
func (l *driverLab) load(spec *ebpf.CollectionSpec, report *rewrite.Report) *ebpf.Collection {
	l.Helper()

	programs, err := ebpf.NewCollection(spec)
	if err != nil {
		l.Fatal(loader.ExplainRefusal(err, spec, report))
	}
	l.Cleanup(programs.Close)
	return programs
}

func (l *driverLab) attachXDP(program *ebpf.Program) {
	l.Helper()

	xdp, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: l.nic.Index, Flags: link.XDPDriverMode})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { xdp.Close() })
}

func (l *driverLab) attachTC(program *ebpf.Program) {
	l.Helper()

	tc, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: l.nic.Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { tc.Close() })
}

// tag has packets tagged on their way.
func (l *driverLab) tag() {
	l.Helper()

	tagger := producerTagger(l.T, l.wire)
	l.Cleanup(func() { tagger.Close() })
}

// driverMark is what a packet is marked with: the tag that producerTagger gives it then.
func driverMark(i int) uint32 {
	tag := producerTags[i%len(producerTags)]
	return uint32(tag.tci)<<16 | uint32(binary.NativeEndian.Uint16(tag.proto[:]))
}

// send sends packets, and waits for each few of them until the last one has arrived.
func (l *driverLab) send(packets int, arrived func(i int) bool) {
	l.Helper()

	const window = 64 // of the 256 that a veth has room for
	payload := make([]byte, 18)
	for i := range packets {
		socket := l.sockets[i%len(l.sockets)]
		if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_MARK, int(driverMark(i))); err != nil {
			l.Fatal(err)
		}
		binary.BigEndian.PutUint32(payload, uint32(i))
		if err := unix.Sendto(socket, payload, 0, driverPeer); err != nil {
			l.Fatal(err)
		}
		if (i+1)%window == 0 || i == packets-1 {
			l.await(i, arrived)
		}
	}
}

// seenIn returns what tells whether an array has something of a packet.
func (l *driverLab) seenIn(array *ebpf.Map) func(i int) bool {
	return func(i int) bool { return producerLookup[driverFields](l.T, array, i).Seen > 0 }
}

func (l *driverLab) await(i int, arrived func(int) bool) {
	l.Helper()

	for deadline := time.Now().Add(3 * time.Second); !arrived(i); runtime.Gosched() {
		if time.Now().After(deadline) {
			l.Fatalf("Packet %d is lost", i)
		}
	}
}

// Of include/linux/skbuff.h and include/net/xdp.h.
const (
	checksumUnnecessary = 1
	rssL4               = 1 << 3
)

// checkSent compares what was read of a packet with what was sent, and with what the stack
// has of it.
func (l *driverLab) checkSent(i int, read, stack driverFields) {
	l.Helper()

	want := driverSent(i)
	want.Hash, want.HashType = stack.Hash, rssL4
	if read != want || stack.Hash == 0 || stack.Mark != want.Mark {
		l.Fatalf("Packet %d: read\n%+v instead of\n%+v; the stack has\n%+v", i, read, want, stack)
	}
}

// driverSent is what the sender gave a packet: all but the hash.
func driverSent(i int) driverFields {
	tag := producerTags[i%len(producerTags)]
	return driverFields{
		Mark:       driverMark(i),
		CsumStatus: checksumUnnecessary, // the sender left the sum to the NIC
		VlanTCI:    tag.tci,
		VlanProto:  tag.proto,
		Seen:       1,
		Found:      1,
	}
}

// On a veth with no layout anywhere, an object is loaded for what its driver keeps.
func TestLoadForDriver(t *testing.T) {
	lab := newDriverLab(t)
	driver := loader.Driver{Name: "veth"}
	accessors, err := driver.Accessors(nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := loader.Options{Accessors: accessors, Interface: "nic0", Program: "received"}
	plan, err := loader.Preview(ownProgram("driver"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loader.LoadRewritten(ownProgram("driver"), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	for _, report := range []*rewrite.Report{plan.Report, loaded.Report} {
		from := make(map[string]string)
		for _, edit := range report.Edits {
			from[edit.Access.Path] = edit.Driver + ": " + edit.From
		}
		if report.Driver != "veth" || from["md->mark"] != "veth: sk_buff.mark" {
			t.Errorf("The report is of driver %q, and has md->mark from %q", report.Driver, from["md->mark"])
		}
	}

	lab.send(100, lab.seenIn(loaded.Maps["by_xdp"]))
	var read driverFields
	if err := loaded.Maps["by_xdp"].Lookup(uint32(7), &read); err != nil {
		t.Fatal(err)
	}
	if read.Mark != driverMark(7) || read.Hash == 0 {
		t.Errorf("Packet 7 has mark %#x, hash %#x", read.Mark, read.Hash)
	}
	if err := loader.Unload("nic0"); err != nil {
		t.Fatal(err)
	}
}

// The source of fields is one.
func TestSources(t *testing.T) {
	object, err := os.ReadFile(ownProgram("driver"))
	if err != nil {
		t.Fatal(err)
	}
	accessors := []*rewrite.Accessors{{Name: "veth"}}
	for want, opts := range map[string]loader.Options{
		"give one of them": {Layout: layout(t, "exact"), Accessors: accessors},
		"no layout":        {},
	} {
		if _, _, err := loader.Rewrite(object, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %q", err, want)
		}
	}
}

// What is tried for a driver is told.
func TestDriverNotThere(t *testing.T) {
	elsewhere := t.TempDir()
	object, err := os.ReadFile(layoutFile("exact"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		driver loader.Driver
		is     error
		want   string
	}{
		"driver":    {loader.Driver{Name: "toy"}, loader.ErrNoAccessors, "driver toy: no accessors, there are some for "},
		"types":     {loader.Driver{Name: "veth", Kernel: nic.NewKernel(elsewhere)}, os.ErrNotExist, elsewhere + "/vmlinux"},
		"file":      {loader.Driver{Name: "veth", File: "nowhere.o"}, os.ErrNotExist, "accessors nowhere.o: "},
		"no file":   {loader.Driver{File: ownProgram("driver")}, nil, "MD_DRIVER"},
		"of others": {loader.Driver{Name: "toy", File: accessorFile("veth")}, loader.ErrNoAccessors, "driver toy: no accessors in " + accessorFile("veth") + ": they are for veth"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.driver.Accessors(object)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v instead of %q, %v", err, test.want, test.is)
			}
		})
	}
}

// accessorFile returns the path of one that comes with xdp-load.
func accessorFile(name string) string { return fmt.Sprintf("../bpf/drivers/%s%s", name, endian) }
