package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// nic is a device of QEMU with another one at its other end: what tests send through that
// one arrives. Of two addresses that differ by 1 the NIC has the first.
type nic struct {
	device string // and its properties
	wire   string // the other one

	// queues is how many QEMU has to be told of, 0 if the device has its own. It takes
	// the host's taps to do that; without, a hub of QEMU is between the two.
	queues int
}

// arguments are those for QEMU, for the NIC of a number.
func (n nic) arguments(number int) []string {
	return append(n.port("nic", number, n.device, 1), n.port("wire", number, n.wire, 2)...)
}

// port are the arguments for one end, which has an address that ends in a number.
func (n nic) port(end string, number int, device string, address int) []string {
	id := fmt.Sprint(end, number)
	netdev := fmt.Sprintf("hubport,id=%s,hubid=%d", id, number)
	if n.queues > 0 {
		netdev = fmt.Sprintf("tap,id=%[1]s,ifname=%[1]s,script=no,downscript=no", id)
	}
	if n.queues > 1 && end == "nic" {
		netdev += fmt.Sprintf(",queues=%d", n.queues)
	}
	return []string{
		"-netdev", netdev,
		"-device", fmt.Sprintf("%s,netdev=%s,mac=52:54:00:00:%02x:%02x", device, id, number, address),
	}
}

// connect makes what the arguments name, in a network namespace of the host:
//
//	wire tap - bridge - veth - veth - bridge - NIC's tap
//
// With GRO a veth checks sums, and the tap tells QEMU which are right.
func (n nic) connect(ns *netlab.Namespace, number int) error {
	name := func(of string) string { return fmt.Sprint(of, number) }
	tap := []string{"ip", "tuntap", "add", "dev", name("nic"), "mode", "tap"}
	if n.queues > 1 {
		tap = append(tap, "multi_queue")
	}
	commands := [][]string{
		tap,
		{"ip", "tuntap", "add", "dev", name("wire"), "mode", "tap"},
		{"ip", "link", "add", name("into"), "type", "veth", "peer", "name", name("from")},
		{"ethtool", "--features", name("into"), "tso", "off"}, // or GRO is left out, for senders with segments of their own
		{"ethtool", "--features", name("from"), "gro", "on"},
	}
	for _, bridged := range [][]string{{name("near"), name("wire"), name("into")}, {name("far"), name("from"), name("nic")}} {
		bridge, ports := bridged[0], bridged[1:]
		commands = append(commands, []string{"ip", "link", "add", bridge, "up", "type", "bridge", "mcast_snooping", "0"})
		for _, port := range ports {
			commands = append(commands, []string{"ip", "link", "set", port, "master", bridge, "up"})
		}
	}
	for _, command := range commands {
		if err := ns.Run(command[0], command[1:]...); err != nil {
			return err
		}
	}
	return ns.Do(passAll)
}

// passAll keeps a bridge from looking for itself whether a packet's sums are right, as it
// does for the host's firewall.
func passAll() error {
	for _, family := range []string{"ip", "ip6"} {
		err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+family+"tables", []byte("0"), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// start starts QEMU, where the NICs find their taps.
func (m *machine) start(run func() error) error {
	if !slices.ContainsFunc(m.nics, func(n nic) bool { return n.queues > 0 }) {
		return run()
	}
	ns, err := netlab.New()
	if err != nil {
		return err
	}
	defer ns.Close() // it stays as long as QEMU is in it
	for number, n := range m.nics {
		if n.queues == 0 {
			continue
		}
		if err := n.connect(ns, number); err != nil {
			return err
		}
	}
	return ns.Do(run)
}
