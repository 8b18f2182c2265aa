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
// interface, two attributes of the answer, and the flags of drivers that run XDP programs,
// and that have packets in several buffers for them.
const (
	netdevFamily            = "netdev"
	netdevDevGet            = 1
	netdevIfindex           = 1
	netdevXDPFeatures       = 3
	netdevXDPMetadataKfuncs = 5
	netdevXDPBasic          = 1 << 0
	netdevXDPRxSG           = 1 << 5
)

// metadataKfuncs are the kernel's functions by which an XDP program asks the driver about a
// packet, by their flags in enum netdev_xdp_rx_metadata.
var metadataKfuncs = []struct {
	flag uint64
	name string
}{
	{1 << 0, "bpf_xdp_metadata_rx_timestamp"},
	{1 << 1, "bpf_xdp_metadata_rx_hash"},
	{1 << 2, "bpf_xdp_metadata_rx_vlan_tag"},
}

// Kfuncs returns the names of all metadata kfuncs: those that some driver has.
func Kfuncs() (names []string) {
	for _, kfunc := range metadataKfuncs {
		names = append(names, kfunc.name)
	}
	return names
}

// Kfuncs returns the names of the metadata kfuncs that the interface's driver has. The
// kernel tells since Linux 6.7; before that there are none. It needs no privileges.
func (t *Target) Kfuncs() ([]string, error) {
	features, err := xdpFeatures(t.Index, netdevXDPMetadataKfuncs)
	if errors.Is(err, ErrFeaturesUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: ask for its metadata kfuncs: %w", t.Interface, err)
	}
	var names []string
	for _, kfunc := range metadataKfuncs {
		if features&kfunc.flag != 0 {
			names = append(names, kfunc.name)
		}
	}
	return names, nil
}

// HasNativeXDP reports whether the interface's driver says that it runs XDP programs,
// as those of the kernel do that can. It needs no privileges.
func (t *Target) HasNativeXDP() (bool, error) { return t.hasXDPFeature(netdevXDPBasic) }

// HasFragments reports whether the interface's driver says that it runs XDP programs on
// packets in several buffers, which is what SEC("xdp.frags") is for. It needs no
// privileges.
func (t *Target) HasFragments() (bool, error) { return t.hasXDPFeature(netdevXDPRxSG) }

func (t *Target) hasXDPFeature(feature uint64) (bool, error) {
	features, err := xdpFeatures(t.Index, netdevXDPFeatures)
	if err != nil {
		return false, fmt.Errorf("%s: ask for its XDP features: %w", t.Interface, err)
	}
	return features&feature != 0, nil
}

// xdpFeatures returns the flags that an attribute of the kernel's answer about an interface
// has, 0 if it lacks the attribute.
func xdpFeatures(ifindex int, attribute uint16) (features uint64, err error) {
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
		if attributes.Type() == attribute {
			features = attributes.Uint64()
		}
	}
	return features, attributes.Err()
}
