package nic

import "slices"

// metadataKfuncs are the kernel's functions by which an XDP program asks the driver about a
// packet, by the bits of enum netdev_xdp_rx_metadata.
var metadataKfuncs = []string{"bpf_xdp_metadata_rx_timestamp", "bpf_xdp_metadata_rx_hash", "bpf_xdp_metadata_rx_vlan_tag"}

// Kfuncs returns the names of all metadata kfuncs: those that some driver has.
func Kfuncs() []string { return slices.Clone(metadataKfuncs) }
