package verify

import (
	"slices"

	"github.com/xdp-load/xdp-load/loader"
)

// limit is something that a driver keeps from the stack, or tells it otherwise, so that the
// skb can't be compared.
type limit struct {
	drivers []string
	fields  []string
	applies func(o *observation) bool
	without string // the kfunc whose absence tells the kernels that have the limit, empty for all
	why     string
}

var hashes = []string{"hash", "hash_type"}

func hasNoHash(o *observation) bool { return o.Skb.Hash == 0 && o.Skb.HashType == 0 }
func hasNoSum(o *observation) bool  { return o.Skb.CsumStatus == csumNone }

// findsNoHash reports whether there is none for the program, while the skb has one.
func findsNoHash(o *observation) bool { return o.XDP.Hash == 0 && o.XDP.HashType == 0 }

// isMadeL4 reports whether the skb alone says of a hash that it is one of ports.
func isMadeL4(o *observation) bool {
	return o.XDP.HashType&hashL4 == 0 && o.Skb.HashType&hashL4 != 0
}

func isIP(o *observation) bool { return o.packet.ptype&(ptypeIPv4|ptypeIPv6) != 0 }

// hasPorts reports whether the packet is one that NICs hash the ports of, and find them in.
func hasPorts(o *observation) bool {
	return o.packet.ptype&(ptypeTCP|ptypeUDP) != 0 && o.packet.ptype&ptypeFragment == 0
}

// isWrong and isUnknown report whether the skb's sum is right, of which the program is told
// that it is wrong, or nothing.
func isWrong(o *observation) bool {
	return o.XDP.CsumStatus == csumBad && o.Skb.CsumStatus == csumUnnecessary
}
func isUnknown(o *observation) bool {
	return o.XDP.CsumStatus == csumNone && o.Skb.CsumStatus == csumUnnecessary
}

// hasNoRightSum reports whether the skb has the sum of all that is behind Ethernet, and that
// does not prove the packet right. It does if it comes to that of the headers in front of TCP
// or UDP: these, and the pseudo-header, add up to 0xffff then, which is a zero.
func hasNoRightSum(o *observation) bool {
	p := o.packet
	isRight := p.pseudo != 0 && !p.wrongHeader && fold(uint32(fold(o.Skb.Csum))+uint32(p.pseudo)) == p.headers
	return o.Skb.CsumStatus == csumComplete && (!isRight || p.mayTunnel)
}

// limits are each by the function of the driver that makes them.
var limits = []limit{
	{
		// receive_buf() of drivers/net/virtio_net.c: the header that has it is gone by then.
		drivers: []string{"virtio_net"}, fields: hashes, applies: hasNoHash,
		why: "virtio_net gives the skb no hash while an XDP program is attached",
	},
	{
		drivers: []string{"virtio_net"}, fields: []string{"csum_status"}, applies: hasNoSum, without: "bpf_xdp_metadata_rx_hash",
		why: "virtio_net forgets, before Linux 6.10, what it knows of sums while an XDP program is attached",
	},

	// Hashes.
	{
		// bnxt_rx_pkt(), mlx4_en_process_rx_cq(), and gve_rx_skb_hash() of DQO queues.
		drivers: []string{"bnxt_en", "mlx4_en", "gve"}, fields: hashes,
		applies: func(o *observation) bool { return findsNoHash(o) && !isIP(o) },
		why:     "the driver gives the skb what is in the hash's place of packets that are no IP, too",
	},
	{
		// ena_set_rx_hash()
		drivers: []string{"ena"}, fields: hashes,
		applies: func(o *observation) bool { return findsNoHash(o) && !hasPorts(o) },
		why:     "ena gives the skb what is in the hash's place, and says of it that it is none",
	},
	{
		// otx2_set_rxhash()
		drivers: []string{"rvu-nicpf", "rvu-nicvf"}, fields: hashes,
		applies: func(o *observation) bool { return findsNoHash(o) && !hasPorts(o) },
		why:     "the driver gives the skb a hash of each packet, whether or not the NIC was to hash one with such headers",
	},
	{
		// otx2_set_rxhash() asks what the NIC hashes at all.
		drivers: []string{"rvu-nicpf", "rvu-nicvf"}, fields: []string{"hash_type"}, applies: isMadeL4,
		why: "the driver tells the stack of a hash of ports, whether or not the NIC was to hash those of such packets",
	},
	{
		// bnxt_rx_pkt() asks what a packet is, or what is in its tunnel.
		drivers: []string{"bnxt_en"}, fields: []string{"hash_type"},
		applies: func(o *observation) bool {
			return isMadeL4(o) && (o.packet.ptype&(ptypeTCP|ptypeUDP) != 0 || o.packet.mayTunnel)
		},
		why: "bnxt_en tells the stack of a hash of ports of TCP and UDP, whether or not the NIC was to hash those",
	},
	{
		// mlx4_en_process_rx_cq(); those of TCP are always hashed.
		drivers: []string{"mlx4_en"}, fields: []string{"hash_type"},
		applies: func(o *observation) bool { return isMadeL4(o) && o.packet.ptype&ptypeTCP == 0 },
		why:     "mlx4_en tells the stack of a hash of ports wherever a sum of UDP is right",
	},
	{
		// gve_rx_skb_hash() of DQO queues
		drivers: []string{"gve"}, fields: []string{"hash_type"},
		applies: func(o *observation) bool { return isMadeL4(o) && !hasPorts(o) },
		why:     "gve tells the stack of a hash of ports where there is a transport header of any kind",
	},

	// Sums.
	{
		// netvsc_alloc_recv_skb(), and RX_CMP_L4_CS_OK() of bnxt_en
		drivers: []string{"hv_netvsc", "bnxt_en"}, fields: []string{"csum_status"},
		applies: func(o *observation) bool { return isWrong(o) && (o.packet.wrongHeader || o.packet.mayTunnel) },
		why:     "the driver tells the stack that a sum of TCP or UDP is right, where that of the IP header is wrong, too",
	},
	{
		// ionic_rx_clean()
		drivers: []string{"ionic"}, fields: []string{"csum_status"},
		applies: func(o *observation) bool { return o.XDP.CsumStatus == csumBad && hasNoRightSum(o) },
		why:     "ionic leaves it to the stack to find in the sum that it is wrong",
	},
	{
		// check_csum()
		drivers: []string{"mlx4_en"}, fields: []string{"csum_status"},
		applies: func(o *observation) bool { return o.XDP.CsumStatus == csumNone && o.Skb.CsumStatus == csumComplete },
		why:     "mlx4_en makes a sum of the packet, with a look at its headers, for the stack only",
	},
	{
		// stmmac_rx()
		drivers: []string{"stmmac", "st_mac100", "st_gmac", "st_xgmac"}, fields: []string{"csum_status"}, applies: isUnknown,
		why: "stmmac tells the stack that a sum is right where the NIC says nothing of it, so that a status that is always unknown is not found out",
	},
	{
		// qede_check_tunn_csum()
		drivers: []string{"qede"}, fields: []string{"csum_status"},
		applies: func(o *observation) bool { return isUnknown(o) && o.packet.mayTunnel },
		why:     "qede tells the stack that a sum in a tunnel is right where the NIC says nothing of it",
	},

	// What the stack has in another place, or not at all.
	{
		// igc_construct_skb() and tsnep_build_skb(): SKBTX_HW_TSTAMP_NETDEV
		drivers: []string{"igc", "tsnep"}, fields: []string{"rx_timestamp"},
		applies: func(o *observation) bool { return o.Skb.RxTimestamp == 0 },
		why:     "the driver gives the skb no time, but a place where it has the times of several clocks",
	},
	{
		drivers: []string{"i40e"}, fields: []string{"mark"}, applies: func(o *observation) bool { return o.Skb.Mark == 0 },
		why: "i40e does not tell the stack which rule has matched",
	},
}

// limitsOf returns those of a driver, by field.
func limitsOf(driver *loader.Driver, limits []limit) map[string][]limit {
	of := make(map[string][]limit)
	for _, l := range limits {
		if !slices.Contains(l.drivers, driver.Name) || l.without != "" && slices.Contains(driver.Kfuncs, l.without) {
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
		drivers: []string{"veth"}, fields: hashes, applies: func(o *observation) bool { return o.SwHash != 0 && o.XDP.Hash == 0 },
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
