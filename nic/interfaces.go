package nic

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// netInterface is a network interface with all its names.
type netInterface struct {
	index    int
	name     string
	altNames []string
}

// interfaces returns the interfaces in the network namespace of the calling
// thread, as rtnetlink(7) lists them. The net package does not know alternative
// names.
func interfaces() ([]netInterface, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, unix.SizeofIfInfomsg),
	})
	if err != nil {
		return nil, err
	}
	all := make([]netInterface, len(messages))
	for i := range messages {
		if err := all[i].parse(messages[i].Data); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parse reads a struct ifinfomsg with its attributes.
func (i *netInterface) parse(message []byte) error {
	if len(message) < unix.SizeofIfInfomsg {
		return fmt.Errorf("message of %d bytes is no struct ifinfomsg", len(message))
	}
	i.index = int(int32(binary.NativeEndian.Uint32(message[4:])))

	attributes, err := netlink.NewAttributeDecoder(message[unix.SizeofIfInfomsg:])
	if err != nil {
		return err
	}
	for attributes.Next() {
		switch attributes.Type() {
		case unix.IFLA_IFNAME:
			i.name = attributes.String()
		case unix.IFLA_PROP_LIST:
			attributes.Nested(i.parseProperties)
		}
	}
	return attributes.Err()
}

func (i *netInterface) parseProperties(properties *netlink.AttributeDecoder) error {
	for properties.Next() {
		if properties.Type() == unix.IFLA_ALT_IFNAME {
			i.altNames = append(i.altNames, properties.String())
		}
	}
	return properties.Err()
}

// names returns the interface's name and its alternative ones.
func (i *netInterface) names() []string { return append([]string{i.name}, i.altNames...) }

// String returns the names as messages list them.
func (i *netInterface) String() string {
	if len(i.altNames) == 0 {
		return i.name
	}
	return fmt.Sprintf("%s (altname %s)", i.name, strings.Join(i.altNames, ", "))
}

// missingInterface lists the interfaces that there are, those with the most similar
// names first.
func missingInterface(name string, all []netInterface) error {
	if len(all) == 0 {
		return fmt.Errorf("%s: %w: this network namespace has none at all", name, ErrNoInterface)
	}
	slices.SortStableFunc(all, func(a, b netInterface) int {
		return cmp.Compare(b.similarity(name), a.similarity(name))
	})
	var list []string
	for i := range all {
		list = append(list, all[i].String())
	}
	return fmt.Errorf("%s: %w in this network namespace, which has %s", name, ErrNoInterface, strings.Join(list, ", "))
}

// similarity returns how many bytes a name has in common with one of the
// interface's at their start.
func (i *netInterface) similarity(name string) int {
	most := 0
	for _, own := range i.names() {
		most = max(most, commonPrefix(own, name))
	}
	return most
}

// commonPrefix returns how many bytes a and b have in common at their start.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
