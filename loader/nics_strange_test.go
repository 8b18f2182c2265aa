package loader_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

// testGeneric wants no descriptor in generic mode, where the stack makes up a buff of the
// skb.
func (n *nicLab) testGeneric(t *testing.T) {
	programs := n.load(t, "")
	n.attach(t, programs, link.XDPGenericMode)
	n.send(t, programs)
	for i, seen := range readNICRun(t, programs).byXDP {
		if seen.Times != 1 || seen.Found != 0 {
			t.Fatalf("Packet %d was seen %d times, and has had %d descriptors", i, seen.Times, seen.Found)
		}
	}
}

// testTestRun wants none of a buff that claims to be the NIC's.
func (n *nicLab) testTestRun(t *testing.T) {
	const packets = 10_000
	programs := n.load(t, "")
	n.attach(t, programs, link.XDPDriverMode) // registers the queues
	packet := newNICPacket(0, n.nic.HardwareAddr).frame
	for queue := range uint32(n.test.queues) {
		ctx := struct{ Data, DataEnd, DataMeta, IngressIfindex, RXQueueIndex, EgressIfindex uint32 }{
			DataEnd: uint32(len(packet)), IngressIfindex: uint32(n.nic.Index), RXQueueIndex: queue,
		}
		if _, err := programs.Programs["received"].Run(&ebpf.RunOptions{Data: packet, Repeat: packets, Context: ctx}); err != nil {
			t.Fatal(err)
		}
	}
	if seen := readNICSeen(t, programs.Maps["by_xdp"], 0); seen.Times != uint32(n.test.queues)*packets || seen.Found != 0 {
		t.Errorf("%d packets have had %d descriptors", seen.Times, seen.Found)
	}
}

// testChanged changes the number of queues, the size of the rings and the name of the NIC
// under traffic: a packet that arrives all the same has its own descriptor, or none.
func (n *nicLab) testChanged(t *testing.T) {
	if n.test.attached != nil {
		netlab.Need(t, *n.test.metadata) // or the number of queues takes back the same
	}
	programs := n.load(t, "")
	n.attach(t, programs, link.XDPDriverMode)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		n.flood(stop)
	}()
	for _, setting := range []string{
		"--set-channels NIC combined 1", "--set-channels NIC combined 2", "--set-ring NIC rx 512", "--set-ring NIC rx 256",
	} {
		n.set(setting)
		n.awaitCarrier(t)
		time.Sleep(time.Second)
	}
	before := n.nic.Name
	n.rename(t, "renamed")
	time.Sleep(time.Second)
	n.rename(t, before)
	close(stop)
	<-stopped
	time.Sleep(time.Second) // what is on its way
	n.checkFlooded(t, programs)
}

func (n *nicLab) rename(t *testing.T, name string) {
	t.Helper()
	for _, state := range []string{"down", "up"} { // before 6.2 it has to be down
		if state == "up" {
			runOrFail(t, "ip", "link", "set", n.nic.Name, "name", name)
			n.nic.Name = name
		}
		runOrFail(t, "ip", "link", "set", n.nic.Name, state)
	}
	n.awaitCarrier(t)
}

// flood sends packets, each over and over again, until it is told to stop.
func (n *nicLab) flood(stop <-chan struct{}) {
	destination := n.nic.HardwareAddr
	for number := uint32(0); ; number = (number + 1) % nicPackets {
		select {
		case <-stop:
			return
		default:
			unix.Write(n.socket, newNICPacket(number, destination).frame) // or it is lost
		}
		if number%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// awaitAll waits until all packets were sent, some of which are lost.
func (n *nicLab) awaitAll(t *testing.T, programs *ebpf.Collection) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); readNICSeen(t, programs.Maps["by_xdp"], nicPackets-1).Times == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("Packet %d has not arrived, the first one %d times", nicPackets-1, readNICSeen(t, programs.Maps["by_xdp"], 0).Times)
			return
		}
	}
}

// checkFlooded compares those packets that both programs have seen: each time that one is
// sent it is the same.
func (n *nicLab) checkFlooded(t *testing.T, programs *ebpf.Collection) {
	t.Helper()
	r := readNICRun(t, programs)
	compared := 0
	for i := range r.byXDP {
		if r.byXDP[i].Found > 0 && r.byTC[i].Found > 0 {
			r.compare(t, n, i, newNICPacket(uint32(i), n.nic.HardwareAddr))
			compared++
		}
	}
	if compared < nicPackets/2 {
		t.Errorf("Of %d packets, %d were seen", nicPackets, compared)
	}
}

// testMoved moves the NIC to another network namespace under traffic, which takes TC's
// program away and leaves that of XDP.
func (n *nicLab) testMoved(t *testing.T) {
	programs := n.load(t, "")
	n.attach(t, programs, link.XDPDriverMode)
	away := exec.Command("unshare", "--net", "sleep", "1000")
	if err := away.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // until it is there
	pid := fmt.Sprint(away.Process.Pid)
	runOrFail(t, "ip", "link", "set", n.nic.Name, "netns", pid)
	runOrFail(t, "nsenter", "--net", "--target", pid, "ip", "link", "set", n.nic.Name, "promisc", "on", "up")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		n.flood(stop)
	}()
	if n.test.forgets {
		time.Sleep(time.Second)
	} else {
		n.awaitAll(t, programs)
	}
	close(stop)
	<-stopped
	r := readNICRun(t, programs)

	// It comes back when nobody is left there.
	away.Process.Kill()
	away.Wait()
	time.Sleep(2 * time.Second)
	n.start(t)

	compared := 0
	for i := range r.byXDP {
		if r.byXDP[i].Found > 0 {
			r.compareWithSent(t, n, i, newNICPacket(uint32(i), n.nic.HardwareAddr))
			compared++
		}
	}
	if compared < nicPackets/2 && !n.test.forgets {
		t.Errorf("Of %d packets, %d were seen", nicPackets, compared)
	}
}

// testBonded makes the NIC the slave of a bond, on which the programs are.
func (n *nicLab) testBonded(t *testing.T) {
	netlab.NeedBonds(t)
	netlab.Need(t, netlab.BondXDP)
	runOrFail(t, "ip", "link", "add", "bonded", "type", "bond", "mode", "active-backup")
	t.Cleanup(func() {
		runOrFail(t, "ip", "link", "del", "bonded")
		runOrFail(t, "ip", "link", "set", n.nic.Name, "up")
		n.awaitCarrier(t)
	})
	runOrFail(t, "ip", "link", "set", n.nic.Name, "down")
	runOrFail(t, "ip", "link", "set", n.nic.Name, "master", "bonded")
	runOrFail(t, "ip", "link", "set", "bonded", "up")
	bond, err := nic.ByName("bonded")
	if err != nil {
		t.Fatal(err)
	}
	if driver, err := bond.XDPDriver(); driver != n.test.driver || err != nil {
		t.Fatalf("The bond is of driver %q, %v", driver, err)
	}
	programs := n.load(t, "")
	n.attachTo(t, bond.Index, programs, link.XDPDriverMode)
	n.send(t, programs)
	readNICRun(t, programs).check(t, n)
}

// testLoadedAgain unloads the driver under traffic, and loads it again: another device
// with other rings, which a program that is loaded then reads.
func (n *nicLab) testLoadedAgain(t *testing.T) {
	t.Run("under traffic", func(t *testing.T) {
		programs := n.load(t, "")
		n.attach(t, programs, link.XDPDriverMode)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			n.flood(stop)
		}()
		n.awaitAll(t, programs)
		if err := unix.DeleteModule(n.test.driver, 0); err != nil {
			t.Fatal(err)
		}
		close(stop)
		<-stopped
		n.checkFlooded(t, programs)
	})
	loadDriver(t, n.test.driver)
	n.start(t)
	n.run(t, "").check(t, n)
}

// loadDriver loads a module that came with the machine.
func loadDriver(t *testing.T, name string) {
	t.Helper()
	files, err := filepath.Glob("/modules/*-" + name + ".ko*")
	if err != nil || len(files) != 1 {
		t.Fatalf("There are %d modules of driver %s", len(files), name)
	}
	file, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	flags := 0
	if filepath.Ext(files[0]) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(file.Fd()), "", flags); err != nil {
		t.Fatal(err)
	}
}
