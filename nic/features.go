package nic

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// ErrFeaturesUnknown is wrapped by the error of HasNativeXDP and HasFragments if the
// kernel does not tell. It does since Linux 6.3.
var ErrFeaturesUnknown = errors.New("features of drivers are unknown to this kernel")

// Of include/uapi/linux/netdev.h: a generic netlink family, its request for an
// interface, and the flags of drivers that run XDP programs, and that have packets in
// several buffers for them.
const (
	netdevFamily      = "netdev"
	netdevDevGet      = 1
	netdevIfindex     = 1
	netdevXDPFeatures = 3
	netdevXDPBasic    = 1 << 0
	netdevXDPRxSG     = 1 << 5
)

// HasNativeXDP reports whether the interface's driver says that it runs XDP programs,
// as those of the kernel do that can. It needs no privileges.
func (t *Target) HasNativeXDP() (bool, error) { return t.hasXDPFeature(netdevXDPBasic) }

// HasFragments reports whether the interface's driver says that it runs XDP programs on
// packets in several buffers, which is what SEC("xdp.frags") is for. It needs no
// privileges.
func (t *Target) HasFragments() (bool, error) { return t.hasXDPFeature(netdevXDPRxSG) }

func (t *Target) hasXDPFeature(feature uint64) (bool, error) {
	features, err := xdpFeatures(t.Index)
	if err != nil {
		return false, fmt.Errorf("%s: ask for its XDP features: %w", t.Interface, err)
	}
	return features&feature != 0, nil
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
