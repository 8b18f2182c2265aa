package nic

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// ErrFeaturesUnknown is wrapped by HasNativeXDP's error if the kernel does not tell. It
// does since Linux 6.3.
var ErrFeaturesUnknown = errors.New("features of drivers are unknown to this kernel")

// Of include/uapi/linux/netdev.h: a generic netlink family, its request for an
// interface, and the flag of drivers that run XDP programs.
const (
	netdevFamily      = "netdev"
	netdevDevGet      = 1
	netdevIfindex     = 1
	netdevXDPFeatures = 3
	netdevXDPBasic    = 1 << 0
)

// HasNativeXDP reports whether the interface's driver says that it runs XDP programs,
// as those of the kernel do that can. It needs no privileges.
func (t *Target) HasNativeXDP() (bool, error) {
	features, err := xdpFeatures(t.Index)
	if err != nil {
		return false, fmt.Errorf("%s: ask for its XDP features: %w", t.Interface, err)
	}
	return features&netdevXDPBasic != 0, nil
}

func xdpFeatures(ifindex int) (features uint64, err error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	family, err := conn.GetFamily(netdevFamily)
	if errors.Is(err, os.ErrNotExist) {
		return 0, ErrFeaturesUnknown
	}
	if err != nil {
		return 0, err
	}

	request := netlink.NewAttributeEncoder()
	request.Uint32(netdevIfindex, uint32(ifindex))
	data, err := request.Encode()
	if err != nil {
		return 0, err
	}
	answers, err := conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: netdevDevGet, Version: family.Version},
		Data:   data,
	}, family.ID, netlink.Request)
	if err != nil {
		return 0, err
	}
	if len(answers) != 1 {
		return 0, fmt.Errorf("%d answers instead of one", len(answers))
	}
	attributes, err := netlink.NewAttributeDecoder(answers[0].Data)
	if err != nil {
		return 0, err
	}
	for attributes.Next() {
		if attributes.Type() == netdevXDPFeatures {
			features = attributes.Uint64()
		}
	}
	return features, attributes.Err()
}
