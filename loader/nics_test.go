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
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// ownNICs is set in the machines of make test-kernels. On another machine a NIC is in use.
var ownNICs = flag.Bool("nics", false, "test NICs, which have to be there, and nothing else may use them")

// nicPackets is how many packets each NIC is sent in each way. Its rings have to wrap.
const (
	nicPackets = 2500
	nicQueues  = 2
	nicRing    = 256 // descriptors
)

// nicTest is what is true of a driver's NIC.
type nicTest struct {
	driver   string
	settings []string // arguments for ethtool, with NIC for its name
	off      []string // to switch off what can be
	byStack  []string // fields in which XDP and the stack have to agree

	// sent are numbers that the sender knows, of fields that the stack has not.
	sent func(*nicPacket) nicFields

	// zeroCopy is what the driver's AF_XDP needs, nil if it has none.
	zeroCopy *netlab.Feature
}

var nicTests = []nicTest{
	{
		driver: "igb",
		settings: []string{
			"--set-channels NIC combined 2",
			"--set-ring NIC rx 256",
			"--config-ntuple NIC rx-flow-hash udp4 sdfn",
			"--config-ntuple NIC rx-flow-hash udp6 sdfn",
			"--features NIC gro off rxhash on rxvlan on rx on",
		},
		off:      []string{"--features NIC rxhash off rxvlan off rx off"},
		byStack:  []string{"hash", "vlan_tci", "vlan_proto", "csum_status"},
		sent:     igbSent,
		zeroCopy: &netlab.IgbZeroCopy,
	},
}

// igbSent is what the NIC that QEMU has, an 82576, says of a packet by its data sheet. It
// parses no header behind that of a fragment, and calls an SCTP packet's sum right or
// wrong only if it is told to.
func igbSent(p *nicPacket) nicFields {
	l4 := p.l4
	if p.fragment {
		l4 = ""
	}
	fields := nicFields{
		"ptype":     map[int]uint64{4: 1, 6: 2}[p.ip] | map[string]uint64{"tcp": 8, "udp": 16, "sctp": 32}[l4],
		"hash_type": map[int]uint64{4: 1, 6: 2}[p.ip] | map[string]uint64{"tcp": 0x18, "udp": 0x28}[l4],
	}
	isSummed := l4 == "tcp" || l4 == "udp"
	switch {
	case p.wrongIP, p.wrongL4 && isSummed:
		fields["csum_status"] = 4
	case isSummed:
		fields["csum_status"] = 1
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
			t.Run("zero-copy", func(t *testing.T) {
				netlab.Need(t, *test.zeroCopy)
				programs := n.load(t, "")
				n.attach(t, programs, link.XDPDriverMode)
				for queue := range uint32(nicQueues) {
					bindZeroCopy(t, n.nic.Index, queue)
				}
				n.awaitCarrier(t)
				n.send(t, programs)
				readNICRun(t, programs).check(t, n)
			})
			t.Run("generic mode", n.testGeneric)
			t.Run("test run", n.testTestRun)
			t.Run("changed", n.testChanged)
			t.Run("moved", n.testMoved)
			t.Run("bonded", n.testBonded)
			t.Run("loaded again", n.testLoadedAgain)
			t.Run("off", func(t *testing.T) {
				n.set(test.off...)
				n.run(t, "").checkOff(t, n)
			})
		})
	}
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
	n.nic, n.wire = findNIC(t, n.test.driver)
	for _, i := range []*net.Interface{n.nic, n.wire} {
		runOrFail(t, "ip", "link", "set", i.Name, "promisc", "on", "up") // whatever the tag
	}
	runOrFail(t, "tc", "qdisc", "add", "dev", n.nic.Name, "clsact")
	n.set(n.test.settings...)
}

// findNIC returns the NIC of a driver that has another one at its other end: the one with
// the next address.
func findNIC(t *testing.T, driver string) (nic, wire *net.Interface) {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if link, err := os.Readlink("/sys/class/net/" + all[i].Name + "/device/driver"); err != nil || filepath.Base(link) != driver {
			continue
		}
		next := slices.Clone(all[i].HardwareAddr)
		next[len(next)-1]++
		for j := range all {
			if bytes.Equal(all[j].HardwareAddr, next) {
				return &all[i], &all[j]
			}
		}
	}
	t.Fatalf("No NIC of driver %s with another at its other end", driver)
	return nil, nil
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

func (n *nicLab) load(t *testing.T, lowering accessor.Lowering) *ebpf.Collection {
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
	RxTimestamp                       uint64
	Hash, HashType, Csum, CsumStatus  uint32
	VlanTCI                           uint16
	VlanProto                         [2]byte
	Mark, Ptype, _                    uint32
	Times, Found, Queue, RawHash, Tag uint32
	_                                 uint32
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
	r.checkArrived(t)
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
	r.checkQueues(t)
	t.Logf("%d packets, %d hashes, %d tags, types %d, checksums %d, of the hash %d",
		len(r.byXDP), len(values["hash"]), len(values["vlan_tci"]), len(values["ptype"]), len(values["csum_status"]), len(values["hash_type"]))
	for field, least := range map[string]int{"hash": 500, "vlan_tci": 100, "csum_status": 3, "ptype": 6, "hash_type": 6} {
		if len(values[field]) < least {
			t.Errorf("%s has had %d values, which is less than %d", field, len(values[field]), least)
		}
	}
}

// checkOff wants nothing of what is switched off. The stack takes a tag off by itself.
func (r *nicRun) checkOff(t *testing.T, n *nicLab) {
	t.Helper()
	r.checkArrived(t)
	for i := range r.byXDP {
		p := newNICPacket(uint32(i), n.nic.HardwareAddr)
		got := r.byXDP[i].fields()
		for _, field := range []string{"hash", "hash_type", "csum_status", "vlan_tci", "vlan_proto"} {
			if r.byXDP[i].Found != 1 || got[field] != 0 {
				t.Fatalf("Packet %d, %s: %s is %#x with the feature off, of %d descriptors", i, p, field, got[field], r.byXDP[i].Found)
			}
		}
	}
	r.checkQueues(t)
}

func (r *nicRun) checkArrived(t *testing.T) {
	t.Helper()
	for i := range r.byXDP {
		if x, s := &r.byXDP[i], &r.byTC[i]; x.Times != 1 || s.Times != 1 || x.Queue != s.Queue {
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
	for _, field := range n.test.byStack {
		if got[field] != want[field] {
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
func (r *nicRun) checkQueues(t *testing.T) {
	t.Helper()
	var packets [nicQueues]int
	for i := range r.byXDP {
		packets[r.byXDP[i].Queue]++
	}
	if slices.Min(packets[:]) < 2*nicRing {
		t.Errorf("The queues had %d packets", packets)
	}
}

func (p *nicPacket) String() string {
	return fmt.Sprintf("IPv%d %s, fragment %t, tag %v, sums wrong %t %t", p.ip, p.l4, p.fragment, p.tag, p.wrongIP, p.wrongL4)
}
