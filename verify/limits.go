package verify

import (
	"slices"

	"github.com/xdp-load/xdp-load/loader"
)

// limit is something that a driver keeps from the stack, so that the skb can't be compared.
type limit struct {
	driver  string
	fields  []string
	applies func(o *observation) bool
	without string // the kfunc whose absence tells the kernels that have the limit, empty for all
	why     string
}

func hasNoHash(o *observation) bool { return o.Skb.Hash == 0 && o.Skb.HashType == 0 }
func hasNoSum(o *observation) bool  { return o.Skb.CsumStatus == csumNone }

var limits = []limit{
	{
		// receive_buf() of drivers/net/virtio_net.c: the header that has it is gone by then.
		driver: "virtio_net", fields: []string{"hash", "hash_type"}, applies: hasNoHash,
		why: "virtio_net gives the skb no hash while an XDP program is attached",
	},
	{
		driver: "virtio_net", fields: []string{"csum_status"}, applies: hasNoSum, without: "bpf_xdp_metadata_rx_hash",
		why: "virtio_net forgets, before Linux 6.10, what it knows of sums while an XDP program is attached",
	},
}

// limitsOf returns those of a driver, by field.
func limitsOf(driver *loader.Driver, limits []limit) map[string][]limit {
	of := make(map[string][]limit)
	for _, l := range limits {
		if l.driver != driver.Name || l.without != "" && slices.Contains(driver.Kfuncs, l.without) {
			continue
		}
		for _, field := range l.fields {
			of[field] = append(of[field], l)
		}
	}
	return of
}

// kfuncLimits are what kfuncs say of a packet that its driver has not been told.
var kfuncLimits = []limit{
	{
		// veth_xdp_rx_hash() of drivers/net/veth.c calls skb_get_hash().
		driver: "veth", fields: []string{"hash", "hash_type"}, applies: func(o *observation) bool { return o.SwHash != 0 && o.XDP.Hash == 0 },
		why: "the kfunc of veth has the stack compute a hash of what came without",
	},
}

// excused returns a verdict, uncompared instead of differ where a limit applies.
func excused(v verdict, o *observation, limits []limit) verdict {
	for _, l := range limits {
		if v.outcome == differ && l.applies(o) {
			return leaves(l.why)
		}
	}
	return v
}
