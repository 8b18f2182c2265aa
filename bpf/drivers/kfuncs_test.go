package drivers_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

// What drivers have for the metadata kfuncs, their modules' BTF tells, however they call it:
// what struct xdp_metadata_ops is filled in with in their source.
func TestImplements(t *testing.T) {
	const stamp, hash, tag = "bpf_xdp_metadata_rx_timestamp", "bpf_xdp_metadata_rx_hash", "bpf_xdp_metadata_rx_vlan_tag"
	for driver, want := range map[string]map[string]string{
		"mlx5_core-6.12.117":  {stamp: "mlx5e_xdp_rx_timestamp", hash: "mlx5e_xdp_rx_hash", tag: "mlx5e_xdp_rx_vlan_tag"},
		"ice-7.3.4":           {stamp: "ice_xdp_rx_hw_ts", hash: "ice_xdp_rx_hash", tag: "ice_xdp_rx_vlan_tag"},
		"veth-6.18.15":        {stamp: "veth_xdp_rx_timestamp", hash: "veth_xdp_rx_hash", tag: "veth_xdp_rx_vlan_tag"},
		"virtio_net-7.3.4":    {hash: "virtnet_xdp_rx_hash"},
		"bnxt_en-7.3.4":       {hash: "bnxt_xdp_rx_hash"},
		"bnxt_en-6.18.15":     {},
		"gve-7.3.4":           {stamp: "gve_xdp_rx_timestamp"},
		"igc-6.12.117":        {stamp: "igc_xdp_rx_timestamp", hash: "igc_xdp_rx_hash"},
		"igb-7.3.4":           {},
		"mlx5_core-6.1.0-56":  {}, // before there were any
		"virtio_net-6.1.0-56": {},
	} {
		raw, err := os.ReadFile(filepath.Join("testdata", driver+".btf"))
		if err != nil {
			t.Fatal(err)
		}
		kernel, err := reloc.NewLayout(driver, raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(driver, "-")
		got, err := read(t, name).Implements(kernel, nic.Kfuncs())
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v instead of %v, %v", driver, got, want, err)
		}
	}
}
