//go:build linux

package nic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/rtnetlink"
)

// netInterface is a network interface with all its names.
type netInterface struct {
	index    int
	master   int // number of the one that it is a part of, as of a bond; 0 if there is none
	name     string
	altNames []string

	bus, device string // that it is of, empty if there is none, or before Linux 5.14
}

// Of enum in include/uapi/linux/if_link.h: the device that an interface is of, and its bus.
const (
	iflaParentDevName    = 56
	iflaParentDevBusName = 57
)

// interfaces returns the interfaces in the network namespace of the calling
// thread.
func interfaces() ([]netInterface, error) {
	var all []netInterface
	err := rtnetlink.EachLink(func(index int, attributes *netlink.AttributeDecoder) error {
		all = append(all, parseInterface(index, attributes))
		return nil
	})
	return all, err
}

// interfaceByName is interfaces for one of a name, also an alternative one. It fails as
// rtnetlink.Link does.
func interfaceByName(name string) (found netInterface, err error) {
	err = rtnetlink.Link(name, func(index int, attributes *netlink.AttributeDecoder) error {
		found = parseInterface(index, attributes)
		return nil
	})
	return found, err
}

func parseInterface(index int, attributes *netlink.AttributeDecoder) netInterface {
	i := netInterface{index: index}
	for attributes.Next() {
		switch attributes.Type() {
		case unix.IFLA_IFNAME:
			i.name = attributes.String()
		case unix.IFLA_MASTER:
			i.master = int(attributes.Uint32())
		case iflaParentDevName:
			i.device = attributes.String()
		case iflaParentDevBusName:
			i.bus = attributes.String()
		case unix.IFLA_PROP_LIST:
			attributes.Nested(i.parseProperties)
		}
	}
	return i
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
