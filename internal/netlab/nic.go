package netlab

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// NIC is an emulated network card: a veth pair of which one end is the
// interface to attach a program to, and the other the wire that its packets
// come from.
//
// Unlike a veth in ordinary use, packets arrive with metadata in front of them.
type NIC struct {
	Name  string
	Index int

	ns   *Namespace
	wire int // interface index of the other end
}

// AddNIC makes a NIC in the namespace and sets it up. Its name is at most ten
// characters long, and no other NIC of the namespace has it.
func (ns *Namespace) AddNIC(name string) (*NIC, error) {
	nic := &NIC{Name: name, ns: ns}
	if err := ns.Do(nic.create); err != nil {
		return nil, fmt.Errorf("add NIC %s: %w", name, err)
	}
	return nic, nil
}

func (nic *NIC) create() error {
	wire := nic.Name + "-wire"
	if err := run("ip", "link", "add", nic.Name, "type", "veth", "peer", "name", wire); err != nil {
		return err
	}
	for _, name := range []string{nic.Name, wire} {
		if err := run("ip", "link", "set", name, "arp", "off", "up"); err != nil {
			return err
		}
	}

	near, err := net.InterfaceByName(nic.Name)
	if err != nil {
		return err
	}
	far, err := net.InterfaceByName(wire)
	if err != nil {
		return err
	}
	nic.Index, nic.wire = near.Index, far.Index
	return nil
}

// Remove unplugs the NIC: both ends of the veth pair are deleted.
func (nic *NIC) Remove() error {
	return nic.ns.Run("ip", "link", "del", nic.Name)
}

// awaitReceived returns once the interface has received so many packets since
// it was made. The calling thread must be in the NIC's namespace.
func (nic *NIC) awaitReceived(packets uint64) error {
	const patience = 3 * time.Second

	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		received, err := nic.received()
		if err != nil {
			return err
		}
		if received == packets {
			return nil
		}
		if received > packets || time.Now().After(deadline) {
			return fmt.Errorf("%s has received %d packets instead of %d", nic.Name, received, packets)
		}
	}
}

// received returns how many packets the interface has received since it was
// made, whatever a program did with them.
func (nic *NIC) received() (uint64, error) {
	stats, err := os.Open("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	defer stats.Close()

	for lines := bufio.NewScanner(stats); lines.Scan(); {
		name, counters, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if name != nic.Name {
			continue
		}
		var bytes, packets uint64
		_, err := fmt.Sscan(counters, &bytes, &packets)
		return packets, err
	}
	return 0, fmt.Errorf("no interface %s", nic.Name)
}
