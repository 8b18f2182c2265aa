package loader_test

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// bondPackets is how many packets arrive at each slave of a bond.
const bondPackets = 2000

// A program on a bond reads what the driver of its slaves keeps, of those that are there and
// of one that comes later. A later one of another driver gives its packets no descriptor.
func TestBond(t *testing.T) {
	lab := newSenderLab(t)
	netlab.NeedBonds(t)
	netlab.Need(t, netlab.BondXDP)
	netlab.Need(t, netlab.VethBuff)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	runOrFail(t, "ip", "link", "add", "bond0", "type", "bond", "mode", "balance-rr")
	lab.enslave("nic0")
	runOrFail(t, "ip", "link", "set", "bond0", "up")

	target, err := nic.ByName("bond0")
	if err != nil {
		t.Fatal(err)
	}
	name, err := target.XDPDriver()
	if err != nil {
		t.Fatal(err)
	}
	driver := loader.Driver{Name: name}
	accessors, err := driver.Accessors(nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loader.LoadRewritten(ownProgram("driver"), loader.Options{Accessors: accessors, Interface: "bond0", Program: "received"})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	defer loader.Unload("bond0")
	byXDP := loaded.Maps["by_xdp"]

	lab.send(bondPackets, lab.seenIn(byXDP))
	lab.checkBonded(producerLookupAll[driverFields](t, byXDP, bondPackets), 1)

	lab.enslave("nic1")
	runOrFail(t, "ip", "address", "del", "192.0.2.1/24", "dev", "nic0-wire")
	runOrFail(t, "ip", "address", "add", "192.0.2.1/24", "dev", "nic1-wire")
	runOrFail(t, "ip", "neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "nic1-wire")
	lab.send(bondPackets, func(i int) bool { return producerLookup[driverFields](t, byXDP, i).Seen > 1 })
	lab.checkBonded(producerLookupAll[driverFields](t, byXDP, bondPackets), 2)

	tap := lab.addTap("tap0")
	defer unix.Close(tap)
	lab.enslave("tap0")
	for i := range bondPackets {
		if _, err := unix.Write(tap, bondFrame(i)); err != nil {
			t.Fatal(err)
		}
	}
	lab.await(bondPackets-1, func(i int) bool { return producerLookup[driverFields](t, byXDP, i).Seen > 2 })
	for i, read := range producerLookupAll[driverFields](t, byXDP, bondPackets) {
		if read.Seen != 3 || read.Found != 2 {
			t.Fatalf("Packet %d was seen %d times, and has had %d descriptors", i, read.Seen, read.Found)
		}
	}
}

// enslave adds a slave to bond0, which takes it down first, and waits for its link.
func (l *driverLab) enslave(name string) {
	l.Helper()

	runOrFail(l.T, "ip", "link", "set", name, "down")
	runOrFail(l.T, "ip", "link", "set", name, "master", "bond0")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		i, err := net.InterfaceByName(name)
		if err != nil {
			l.Fatal(err)
		}
		if i.Flags&net.FlagRunning != 0 {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s is not up", name)
		}
	}
}

// checkBonded compares what was read of packets that were sent so many times.
func (l *driverLab) checkBonded(read []driverFields, times uint32) {
	l.Helper()

	hashes := make(map[uint32]bool)
	for i := range read {
		want := driverSent(i)
		want.VlanTCI, want.VlanProto = 0, [2]byte{} // nobody tags them
		want.Hash, want.HashType = read[i].Hash, rssL4
		want.Seen, want.Found = times, times
		if read[i] != want || want.Hash == 0 {
			l.Fatalf("Packet %d: read\n%+v instead of\n%+v", i, read[i], want)
		}
		hashes[want.Hash] = true
	}
	if len(hashes) != driverSockets {
		l.Errorf("%d hashes of %d sockets", len(hashes), driverSockets)
	}
}

// addTap makes an interface that receives what is written to a file. Only what is written
// without waiting does XDP see in front of an skb (tun_can_build_skb of drivers/net/tun.c).
func (l *driverLab) addTap(name string) (tap int) {
	l.Helper()

	tap, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		l.Fatal(err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		l.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tap, unix.TUNSETIFF, request); err != nil {
		l.Fatal(err)
	}
	return tap
}

// bondFrame returns a UDP packet that says its number.
func bondFrame(number int) []byte {
	const ethernet, ip, udp, payload = 14, 20, 8, 18
	frame := make([]byte, ethernet+ip+udp+payload)
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0})
	copy(frame[ethernet:], []byte{0x45, 0, 0, ip + udp + payload, 0, 0, 0, 0, 64, unix.IPPROTO_UDP})
	binary.BigEndian.PutUint32(frame[ethernet+ip+udp:], uint32(number))
	return frame
}
