//go:build linux

package nic

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// ErrFeaturesUnknown is wrapped by the error of HasNativeXDP, HasOffload and HasFragments if
// the kernel does not tell. It does since Linux 6.3.
var ErrFeaturesUnknown = errors.New("features of drivers are unknown to this kernel")

// Of include/uapi/linux/netdev.h: a generic netlink family, its request for an
// interface, two attributes of the answer, and the flags of drivers that run XDP programs,
// whose NICs do, and that have packets in several buffers for them.
const (
	netdevFamily            = "netdev"
	netdevDevGet            = 1
	netdevIfindex           = 1
	netdevXDPFeatures       = 3
	netdevXDPMetadataKfuncs = 5
	netdevXDPBasic          = 1 << 0
	netdevXDPOffload        = 1 << 4
	netdevXDPRxSG           = 1 << 5
)

// xdpActs are what a driver does with XDP programs, by the bits of enum netdev_xdp_act and
// the names in Documentation/netlink/specs/netdev.yaml.
var xdpActs = []string{"basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"}

// rxMetadata are the same as netdev.yaml calls them.
var rxMetadata = []string{"timestamp", "hash", "vlan-tag"}

// Features are what a driver says that it does, in the words of the kernel's
// Documentation/netlink/specs/netdev.yaml.
type Features struct {
	XDP      []string `json:"xdp"`      // with XDP programs: none without "basic"
	Metadata []string `json:"metadata"` // that its metadata kfuncs tell of a packet
}

// Features returns those of the interface's driver. It needs no privileges. The error wraps
// ErrFeaturesUnknown if the kernel does not tell.
func (t *Target) Features() (Features, error) {
	answer, err := askNetdev(t.Index)
	if err != nil {
		return Features{}, fmt.Errorf("%s: ask for its features: %w", t.Interface, err)
	}
	return Features{
		XDP:      bitNames(answer[netdevXDPFeatures], xdpActs),
		Metadata: bitNames(answer[netdevXDPMetadataKfuncs], rxMetadata),
	}, nil
}

// bitNames returns the names of the bits that are set; of those without, "bit 12".
func bitNames(set uint64, names []string) []string {
	list := []string{}
	for bit := range 64 {
		switch {
		case set>>bit&1 == 0:
		case bit < len(names):
			list = append(list, names[bit])
		default:
			list = append(list, fmt.Sprintf("bit %d", bit))
		}
	}
	return list
}

// Kfuncs returns the names of the metadata kfuncs that the interface's driver has. The
// kernel tells since Linux 6.7; before that there are none. It needs no privileges.
func (t *Target) Kfuncs() ([]string, error) {
	answer, err := askNetdev(t.Index)
	if errors.Is(err, ErrFeaturesUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: ask for its metadata kfuncs: %w", t.Interface, err)
	}
	known := uint64(1)<<len(metadataKfuncs) - 1
	return bitNames(answer[netdevXDPMetadataKfuncs]&known, metadataKfuncs), nil
}

// HasNativeXDP reports whether the interface's driver says that it runs XDP programs,
// as those of the kernel do that can. It needs no privileges.
func (t *Target) HasNativeXDP() (bool, error) { return t.hasXDPFeature(netdevXDPBasic) }

// HasFragments reports whether the interface's driver says that it runs XDP programs on
// packets in several buffers, which is what SEC("xdp.frags") is for. It needs no
// privileges.
func (t *Target) HasFragments() (bool, error) { return t.hasXDPFeature(netdevXDPRxSG) }

// HasOffload reports whether the interface's driver says that its NIC runs XDP programs itself.
// It needs no privileges.
func (t *Target) HasOffload() (bool, error) { return t.hasXDPFeature(netdevXDPOffload) }

func (t *Target) hasXDPFeature(feature uint64) (bool, error) {
	answer, err := askNetdev(t.Index)
	if err != nil {
		return false, fmt.Errorf("%s: ask for its XDP features: %w", t.Interface, err)
	}
	return answer[netdevXDPFeatures]&feature != 0, nil
}

// askNetdev returns the flags in the kernel's answer about an interface, by their
// attributes.
func askNetdev(ifindex int) (map[uint16]uint64, error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	family, err := conn.GetFamily(netdevFamily)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrFeaturesUnknown
	}
	if err != nil {
		return nil, err
	}

	request := netlink.NewAttributeEncoder()
	request.Uint32(netdevIfindex, uint32(ifindex))
	data, err := request.Encode()
	if err != nil {
		return nil, err
	}
	answers, err := conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: netdevDevGet, Version: family.Version},
		Data:   data,
	}, family.ID, netlink.Request)
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("%d answers instead of one", len(answers))
	}
	attributes, err := netlink.NewAttributeDecoder(answers[0].Data)
	if err != nil {
		return nil, err
	}
	flags := make(map[uint16]uint64)
	for attributes.Next() {
		if of := attributes.Type(); of == netdevXDPFeatures || of == netdevXDPMetadataKfuncs {
			flags[of] = attributes.Uint64()
		}
	}
	return flags, attributes.Err()
}
