package loader_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/afxdp"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// ownNICs is set in the machines of make test-kernels. On another machine a NIC is in use.
var ownNICs = flag.Bool("nics", false, "test NICs, which have to be there, and nothing else may use them")

// nicPackets is how many packets each NIC is sent in each way. Its rings have to wrap.
const (
	nicPackets = 1500
	nicRing    = 256 // descriptors
)

// nicTest is what is true of a driver's NIC.
type nicTest struct {
	driver   string
	number   byte // the machine's
	queues   int
	older    int      // those that packets come by on kernels without the driver's metadata, if fewer
	settings []string // arguments for ethtool, with NIC for its name

	// attached are more of them, for what attaching XDP takes back on kernels without
	// the driver's metadata.
	attached []string

	// off are the fields that are 0 without a feature, by what ethtool calls it, and
	// offQueues the queues that packets come by then.
	off       map[string][]string
	offQueues int

	// forgets says that the driver runs no XDP program once the NIC was down, though it
	// is attached.
	forgets bool

	// byStack are fields in which XDP and the stack have to agree, with what the kernel
	// needs for that.
	byStack map[string]*netlab.Feature

	// sent are numbers that the sender knows.
	sent func(*nicPacket) nicFields

	// least is how many numbers each field has had at least.
	least map[string]int

	// What the driver needs, each nil if it has none: for XDP but in generic mode, for
	// the metadata kfunc of the hash, and for AF_XDP without copying.
	native, metadata, zeroCopy *netlab.Feature
}

// always needs nothing.
var always *netlab.Feature

var nicTests = []nicTest{
	{
		driver: "igb",
		number: 0,
		queues: 2,
		settings: []string{
			"--set-channels NIC combined 2",
			"--set-ring NIC rx 256",
			"--config-ntuple NIC rx-flow-hash udp4 sdfn",
			"--config-ntuple NIC rx-flow-hash udp6 sdfn",
			"--features NIC gro off rxhash on rxvlan on rx on",
		},
		off:       map[string][]string{"rxhash": {"hash", "hash_type"}, "rxvlan": {"vlan_tci", "vlan_proto"}, "rx": {"csum_status"}},
		offQueues: 2,
		byStack:   map[string]*netlab.Feature{"hash": always, "vlan_tci": always, "vlan_proto": always, "csum_status": always},
		sent:      igbSent,
		least:     map[string]int{"hash": 500, "vlan_tci": 100, "csum_status": 3, "ptype": 6, "hash_type": 6},
		zeroCopy:  &netlab.IgbZeroCopy,
	},
	{
		// The tag stays in the packet, and the skb has no hash under XDP.
		driver: "virtio_net",
		number: 1,
		queues: 2,
		older:  1, // or as many as there were CPUs when the driver found the device
		settings: []string{
			"--set-channels NIC combined 2",
			"--set-rxfh-indir NIC default",
			"--set-rxfh-indir NIC hkey " + strings.ReplaceAll(fmt.Sprintf("% x", toeplitzKey), " ", ":"),
			"--features NIC gro off rxhash on",
		},
		attached:  []string{"--features NIC rxhash off", "--features NIC rxhash on"},
		off:       map[string][]string{"rxhash": {"hash", "hash_type", "ptype"}},
		offQueues: 1,
		byStack:   map[string]*netlab.Feature{"csum_status": &netlab.VirtioMetadata},
		sent:      virtioSent,
		least:     map[string]int{"hash": 500, "csum_status": 2, "ptype": 7, "hash_type": 7},
		metadata:  &netlab.VirtioMetadata,
		zeroCopy:  &netlab.VirtioZeroCopy,
	},
	{
		// QEMU's has one queue for receiving, and makes no hash.
		driver:    "vmxnet3",
		number:    2,
		queues:    1,
		settings:  []string{"--set-ring NIC rx 256", "--features NIC gro off rxhash on rxvlan on rx on"},
		off:       map[string][]string{"rxvlan": {"vlan_tci", "vlan_proto"}, "rx": {"csum_status"}},
		offQueues: 1,
		byStack:   map[string]*netlab.Feature{"hash": always, "vlan_tci": always, "vlan_proto": always, "csum_status": always},
		sent:      vmxnet3Sent,
		least:     map[string]int{"vlan_tci": 100, "csum_status": 2, "ptype": 5},
		forgets:   true,
		native:    &netlab.Vmxnet3XDP,
	},
}

// igbSent is what the NIC that QEMU has, an 82576, says of a packet by its data sheet. It
// parses no header behind that of a fragment, and calls an SCTP packet's sum right or
// wrong only if it is told to.
func igbSent(p *nicPacket) nicFields {
	fields := nicFields{"ptype": p.types(), "hash_type": p.hashed()}
	if !p.fragment && p.l4 == "sctp" {
		fields["ptype"] |= 32
	}
	switch {
	case p.wrongIP, p.wrongL4 && p.hasPorts():
		fields["csum_status"] = 4
	case p.hasPorts():
		fields["csum_status"] = 1
	}
	return fields
}

// virtioSent is what QEMU says: the hash of RSS, and of sums what the host has found out,
// right ones.
func virtioSent(p *nicPacket) nicFields {
	fields := nicFields{"ptype": p.types(), "hash_type": p.hashed(), "csum_status": p.rightSum(), "hash": 0}
	if p.ip != 0 {
		octets := slices.Clone(p.addresses)
		if p.hasPorts() {
			octets = append(octets, p.ports...)
		}
		fields["hash"] = uint64(toeplitz(octets))
	}
	return fields
}

// vmxnet3Sent is what QEMU says. It looks at no packet whose sums the host has not found
// right.
func vmxnet3Sent(p *nicPacket) nicFields {
	fields := nicFields{"ptype": 0, "hash": 0, "hash_type": 0, "csum_status": p.rightSum()}
	if p.rightSum() != 0 {
		fields["ptype"] = p.types()
	}
	return fields
}

// What XDP reads of each packet is what the stack and the sender know of it, on NICs whose
// fields come from their driver.
func TestNICs(t *testing.T) {
	if !*ownNICs {
		t.Skip("needs NICs that nothing else uses: make test-kernels has some")
	}
	netlab.Need(t, netlab.ModuleTypes)
	for i := range nicTests {
		test := &nicTests[i]
		t.Run(test.driver, func(t *testing.T) {
			test.needXDP(t)
			n := newNICLab(t, test)
			for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
				t.Run(string(lowering), func(t *testing.T) {
					if lowering == accessor.Zero {
						netlab.Need(t, netlab.VoidCasts)
					}
					if lowering != accessor.Probe {
						netlab.Need(t, netlab.Casts)
					}
					n.run(t, lowering).check(t, n)
				})
			}
			if test.metadata != nil {
				t.Run("kfunc", n.testKfunc)
			}
			if test.zeroCopy != nil {
				t.Run("zero-copy", n.testZeroCopy)
			}
			t.Run("verify", n.testVerify)
			t.Run("generic mode", n.testGeneric)
			t.Run("test run", n.testTestRun)
			t.Run("changed", n.testChanged)
			t.Run("moved", n.testMoved)
			t.Run("bonded", n.testBonded)
			t.Run("loaded again", n.testLoadedAgain)
			t.Run("off", n.testOff)
		})
	}
}

// needXDP skips what cannot be had of a driver without XDP, which is refused by name.
func (n *nicTest) needXDP(t *testing.T) {
	if n.native == nil {
		return
	}
	if !netlab.Has(*n.native) {
		driver := loader.Driver{Name: n.driver}
		object, err := os.ReadFile(ownProgram("nics"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = driver.Accessors(object); err == nil || !strings.Contains(err.Error(), "driver "+n.driver) {
			t.Errorf("driver %s, which has no XDP: %v", n.driver, err)
		}
	}
	netlab.Need(t, *n.native)
}

// nicLab is a NIC, and the one that its packets are sent by.
type nicLab struct {
	test      *nicTest
	nic, wire *net.Interface
	socket    int
}

func newNICLab(t *testing.T, test *nicTest) *nicLab {
	t.Helper()
	n := &nicLab{test: test}
	n.start(t)
	var err error
	if n.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(n.socket) })
	if err := unix.Bind(n.socket, &unix.SockaddrLinklayer{Ifindex: n.wire.Index}); err != nil {
		t.Fatal(err)
	}
	return n
}

// start finds the NIC, and sets it up.
func (n *nicLab) start(t *testing.T) {
	t.Helper()
	n.nic, n.wire = findPort(t, n.test.number, 1), findPort(t, n.test.number, 2)
	for _, i := range []*net.Interface{n.nic, n.wire} {
		runOrFail(t, "ip", "link", "set", i.Name, "promisc", "on", "up") // whatever the tag
	}
	runOrFail(t, "tc", "qdisc", "add", "dev", n.nic.Name, "clsact")
	n.set(n.test.settings...)
}

// findPort returns one end of a NIC of the machine: 1 is the NIC, 2 what it is connected to.
func findPort(t *testing.T, number, end byte) *net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	address := net.HardwareAddr{0x52, 0x54, 0, 0, number, end}
	i := slices.IndexFunc(all, func(i net.Interface) bool { return bytes.Equal(i.HardwareAddr, address) })
	if i < 0 {
		t.Fatalf("No NIC has the address %s", address)
	}
	return &all[i]
}

func runOrFail(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, output)
	}
}

// set has ethtool set what the NIC does.
func (n *nicLab) set(settings ...string) {
	for _, setting := range settings {
		args := strings.Fields(strings.ReplaceAll(setting, "NIC", n.nic.Name))
		// What is so already is an error, of some versions.
		exec.Command("ethtool", args...).Run()
	}
}

// run sends packets through programs that read the NIC's fields in a way, and returns
// what was seen of them.
func (n *nicLab) run(t *testing.T, lowering accessor.Lowering) *nicRun {
	t.Helper()
	programs := n.load(t, lowering)
	n.attach(t, programs, link.XDPDriverMode)
	n.send(t, programs)
	return readNICRun(t, programs)
}

// testKfunc wants the hash that the driver's kfunc says, of the same packet.
func (n *nicLab) testKfunc(t *testing.T) {
	netlab.Need(t, *n.test.metadata)
	programs := n.loadXDP(t, "", "asked")
	n.attach(t, programs, link.XDPDriverMode)
	n.send(t, programs)
	r := readNICRun(t, programs)
	r.check(t, n)
	for i := range r.byXDP {
		if x := &r.byXDP[i]; x.Hash != x.RawHash || x.HashType != x.RawHashType {
			t.Fatalf("Packet %d: hash %#x of type %#x, and %#x of type %#x by the kfunc", i, x.Hash, x.HashType, x.RawHash, x.RawHashType)
		}
	}
}

func (n *nicLab) testZeroCopy(t *testing.T) {
	netlab.Need(t, *n.test.zeroCopy)
	programs := n.load(t, "")
	n.attach(t, programs, link.XDPDriverMode)
	for queue := range n.test.queues {
		bindZeroCopy(t, n.nic.Index, queue)
	}
	n.awaitCarrier(t)
	n.send(t, programs)
	readNICRun(t, programs).check(t, n)
}

// bindZeroCopy binds a socket to a queue in zero-copy mode, for the rest of the test. What
// an XDP program passes on there becomes an skb as on any queue, and the frame is the
// driver's again.
func bindZeroCopy(t *testing.T, ifindex, queue int) {
	t.Helper()
	socket, err := afxdp.Open(ifindex, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	options, err := unix.GetsockoptInt(socket.FD(), unix.SOL_XDP, unix.XDP_OPTIONS)
	if err != nil {
		t.Fatal(err)
	}
	if options&unix.XDP_OPTIONS_ZEROCOPY == 0 {
		t.Fatalf("queue %d: the driver copies", queue)
	}
}

// testOff wants nothing of what is switched off. The stack takes a tag off by itself.
func (n *nicLab) testOff(t *testing.T) {
	programs := n.load(t, "")
	n.attach(t, programs, link.XDPDriverMode)
	for feature := range n.test.off {
		n.set("--features NIC " + feature + " off")
	}
	n.awaitCarrier(t)
	n.send(t, programs)
	r := readNICRun(t, programs)
	r.checkArrived(t, n)
	for i := range r.byXDP {
		got := r.byXDP[i].fields()
		for feature, fields := range n.test.off {
			for _, field := range fields {
				if r.byXDP[i].Found != 1 || got[field] != 0 {
					t.Fatalf("Packet %d, %s: %s is %#x with %s off, of %d descriptors", i, newNICPacket(uint32(i), n.nic.HardwareAddr), field, got[field], feature, r.byXDP[i].Found)
				}
			}
		}
	}
	r.checkQueues(t, n.test.offQueues)
}

func (n *nicLab) load(t *testing.T, lowering accessor.Lowering) *ebpf.Collection {
	t.Helper()
	return n.loadXDP(t, lowering, "received")
}

// loadXDP loads one of the programs of XDP, under the name of received, and that of TC.
func (n *nicLab) loadXDP(t *testing.T, lowering accessor.Lowering, name string) *ebpf.Collection {
	t.Helper()
	object, err := os.ReadFile(ownProgram("nics"))
	if err != nil {
		t.Fatal(err)
	}
	driver := loader.Driver{Name: n.test.driver, Lowering: lowering}
	accessors, err := driver.Accessors(object)
	if err != nil {
		t.Fatal(err)
	}
	spec, report, err := loader.RewrittenSpec(bytes.NewReader(object), loader.Options{Accessors: accessors})
	if err != nil {
		t.Fatal(err)
	}
	received := spec.Programs[name]
	if name == "asked" {
		received.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
		received.Ifindex = uint32(n.nic.Index)
	}
	delete(spec.Programs, "asked")
	spec.Programs["received"] = received
	programs, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(loader.ExplainRefusal(err, spec, report))
	}
	t.Cleanup(programs.Close)
	return programs
}

// attach attaches XDP and TC programs to the NIC.
func (n *nicLab) attach(t *testing.T, programs *ebpf.Collection, mode link.XDPAttachFlags) {
	t.Helper()
	n.attachTo(t, n.nic.Index, programs, mode)
}

// attachTo attaches XDP to an interface, and TC to the NIC, by the way that all kernels know.
func (n *nicLab) attachTo(t *testing.T, index int, programs *ebpf.Collection, mode link.XDPAttachFlags) {
	t.Helper()
	xdp, err := link.AttachXDP(link.XDPOptions{Program: programs.Programs["received"], Interface: index, Flags: mode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { xdp.Close() })

	pins := t.TempDir()
	if err := unix.Mount("bpf", pins, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(pins, 0) })
	pin := filepath.Join(pins, "stacked")
	if err := programs.Programs["stacked"].Pin(pin); err != nil {
		t.Fatal(err)
	}
	runOrFail(t, "tc", "filter", "add", "dev", n.nic.Name, "ingress", "bpf", "direct-action", "object-pinned", pin)
	name := n.nic.Name
	t.Cleanup(func() {
		exec.Command("tc", "filter", "del", "dev", name, "ingress").Run() // or it went with the NIC
	})
	n.set(n.test.attached...)
	n.awaitCarrier(t)
}

// awaitCarrier waits until a NIC that was reset has its link again.
func (n *nicLab) awaitCarrier(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		carrier, err := os.ReadFile("/sys/class/net/" + n.nic.Name + "/carrier")
		if err == nil && carrier[0] == '1' {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no carrier", n.nic.Name)
		}
	}
}

// send sends the packets, and waits for each few of them.
func (n *nicLab) send(t *testing.T, programs *ebpf.Collection) {
	t.Helper()
	const window = 64
	for i := range uint32(nicPackets) {
		if _, err := unix.Write(n.socket, newNICPacket(i, n.nic.HardwareAddr).frame); err != nil {
			t.Fatalf("Packet %d: %v", i, err)
		}
		if (i+1)%window != 0 && i != nicPackets-1 {
			continue
		}
		for deadline := time.Now().Add(20 * time.Second); readNICSeen(t, programs.Maps["by_tc"], i).Times == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("Packet %d has not arrived: by XDP %+v", i, readNICSeen(t, programs.Maps["by_xdp"], i))
			}
		}
	}
}

// nicSeen is struct seen of nics.c.
type nicSeen struct {
	RxTimestamp                      uint64
	Hash, HashType, Csum, CsumStatus uint32
	VlanTCI                          uint16
	VlanProto                        [2]byte
	Mark, Ptype, _                   uint32
	Times, Found, Queue              uint32
	RawHash, RawHashType, Tag        uint32
}

// nicFields are numbers by field of struct md_desc.
type nicFields map[string]uint64

func (s *nicSeen) fields() nicFields {
	return nicFields{
		"rx_timestamp": s.RxTimestamp,
		"hash":         uint64(s.Hash),
		"hash_type":    uint64(s.HashType),
		"csum_status":  uint64(s.CsumStatus),
		"vlan_tci":     uint64(s.VlanTCI),
		"vlan_proto":   uint64(binary.BigEndian.Uint16(s.VlanProto[:])),
		"ptype":        uint64(s.Ptype),
	}
}

func readNICSeen(t *testing.T, of *ebpf.Map, number uint32) (seen nicSeen) {
	t.Helper()
	if err := of.Lookup(number, &seen); err != nil {
		t.Fatal(err)
	}
	return seen
}

// nicRun is what was seen of each packet.
type nicRun struct{ byXDP, byTC [nicPackets]nicSeen }

func readNICRun(t *testing.T, programs *ebpf.Collection) *nicRun {
	t.Helper()
	run := new(nicRun)
	for i := range uint32(nicPackets) {
		run.byXDP[i] = readNICSeen(t, programs.Maps["by_xdp"], i)
		run.byTC[i] = readNICSeen(t, programs.Maps["by_tc"], i)
	}
	return run
}

// check wants a descriptor for each packet, whose fields are those that the stack and the
// sender know, and that there was something to see.
func (r *nicRun) check(t *testing.T, n *nicLab) {
	t.Helper()
	r.checkArrived(t, n)
	values := make(map[string]map[uint64]bool)
	for i := range r.byXDP {
		p := newNICPacket(uint32(i), n.nic.HardwareAddr)
		if r.byXDP[i].Found != 1 {
			t.Fatalf("Packet %d, %s: no descriptor", i, p)
		}
		r.compare(t, n, i, p)
		for field, number := range r.byXDP[i].fields() {
			if values[field] == nil {
				values[field] = make(map[uint64]bool)
			}
			values[field][number] = true
		}
	}
	queues := n.test.queues
	if n.test.older > 0 && !netlab.Has(*n.test.metadata) {
		queues = n.test.older
	}
	r.checkQueues(t, queues)
	t.Logf("%d packets, %d hashes, %d tags, types %d, checksums %d, of the hash %d",
		len(r.byXDP), len(values["hash"]), len(values["vlan_tci"]), len(values["ptype"]), len(values["csum_status"]), len(values["hash_type"]))
	for field, least := range n.test.least {
		if len(values[field]) < least {
			t.Errorf("%s has had %d values, which is less than %d", field, len(values[field]), least)
		}
	}
}

// checkArrived wants each packet once. Of one queue an skb need not know the number.
func (r *nicRun) checkArrived(t *testing.T, n *nicLab) {
	t.Helper()
	for i := range r.byXDP {
		if x, s := &r.byXDP[i], &r.byTC[i]; x.Times != 1 || s.Times != 1 || n.test.queues > 1 && x.Queue != s.Queue {
			t.Fatalf("Packet %d was seen %d times by XDP, on queue %d, and %d times by TC, on queue %d", i, x.Times, x.Queue, s.Times, s.Queue)
		}
	}
}

// compare compares a packet's fields with those of its skb, and with what was sent. What
// the NIC found wrong is not checked, to the stack.
func (r *nicRun) compare(t *testing.T, n *nicLab, i int, p *nicPacket) {
	t.Helper()
	got, want := r.byXDP[i].fields(), r.byTC[i].fields()
	if s := &r.byTC[i]; s.Hash != s.RawHash || s.Tag != uint32(s.VlanTCI)|uint32(binary.NativeEndian.Uint16(s.VlanProto[:]))<<16 {
		t.Fatalf("Packet %d, %s: hash %#x, tag %#x of the skb are read as %+v", i, p, s.RawHash, s.Tag, s)
	}
	r.compareWithSent(t, n, i, p)
	if got["csum_status"] == 4 {
		got["csum_status"] = 0
	}
	for field, needs := range n.test.byStack {
		if got[field] != want[field] && (needs == always || netlab.Has(*needs)) {
			t.Fatalf("Packet %d, %s: %s is %#x, and %#x in the stack", i, p, field, got[field], want[field])
		}
	}
}

func (r *nicRun) compareWithSent(t *testing.T, n *nicLab, i int, p *nicPacket) {
	t.Helper()
	got := r.byXDP[i].fields()
	for field, want := range n.test.sent(p) {
		if got[field] != want {
			t.Fatalf("Packet %d, %s: %s is %#x instead of %#x", i, p, field, got[field], want)
		}
	}
}

// checkQueues wants that the ring of each queue has wrapped.
func (r *nicRun) checkQueues(t *testing.T, queues int) {
	t.Helper()
	packets := make([]int, queues)
	for i := range r.byXDP {
		packets[r.byXDP[i].Queue]++
	}
	if slices.Min(packets) < 2*nicRing {
		t.Errorf("The queues had %d packets", packets)
	}
}

func (p *nicPacket) String() string {
	return fmt.Sprintf("IPv%d %s, fragment %t, tag %v, sums wrong %t %t", p.ip, p.l4, p.fragment, p.tag, p.wrongIP, p.wrongL4)
}
