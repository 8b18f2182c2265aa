//go:build linux

// Package rtnetlink asks the kernel for network interfaces with what the net package
// leaves out.
package rtnetlink

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// EachLink calls fn with the number and the attributes of each interface in the network
// namespace of the calling thread, as rtnetlink(7) lists them. It stops at the first
// error, of fn or of an attribute that fn has decoded. It needs no privileges.
func EachLink(fn func(index int, attributes *netlink.AttributeDecoder) error) error {
	if err := askLinks(netlink.Request|netlink.Dump, nil, fn); err != nil {
		return fmt.Errorf("list network interfaces: %w", err)
	}
	return nil
}

// Link is EachLink for the interface of a name only, which may be an alternative one. An
// error of any kind says nothing about whether there is one: before Linux 5.5 the kernel does
// not look for alternative names.
func Link(name string, fn func(index int, attributes *netlink.AttributeDecoder) error) error {
	wanted := netlink.NewAttributeEncoder()
	if len(name) < unix.IFNAMSIZ {
		wanted.String(unix.IFLA_IFNAME, name)
	} else {
		wanted.String(unix.IFLA_ALT_IFNAME, name)
	}
	attributes, err := wanted.Encode()
	if err != nil {
		return err
	}
	return askLinks(netlink.Request, attributes, fn)
}

// askLinks asks for the interfaces that flags and attributes are about.
func askLinks(flags netlink.HeaderFlags, wanted []byte, fn func(int, *netlink.AttributeDecoder) error) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: flags},
		Data:   append(make([]byte, unix.SizeofIfInfomsg), wanted...),
	})
	if err != nil {
		return err
	}

	for i := range messages {
		data := messages[i].Data
		if len(data) < unix.SizeofIfInfomsg {
			return fmt.Errorf("message of %d bytes is no struct ifinfomsg", len(data))
		}
		attributes, err := netlink.NewAttributeDecoder(data[unix.SizeofIfInfomsg:])
		if err != nil {
			return err
		}
		index := int(int32(binary.NativeEndian.Uint32(data[4:]))) // ifi_index
		if err := fn(index, attributes); err != nil {
			return err
		}
		if err := attributes.Err(); err != nil {
			return err
		}
	}
	return nil
}
