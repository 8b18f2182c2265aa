package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/btf"
)

// headerEnums are the enumerations of md_desc.h. What they count is declared as
// __u32, so that no BTF of a driver's says what its numbers are: accessors return those
// of md_desc.h.
var headerEnums = []*btf.Enum{
	{Name: "md_csum_status", Size: 4, Values: []btf.EnumValue{
		{Name: "MD_CSUM_NONE", Value: 0},
		{Name: "MD_CSUM_UNNECESSARY", Value: 1},
		{Name: "MD_CSUM_COMPLETE", Value: 2},
		{Name: "MD_CSUM_BAD", Value: 4},
	}},
	{Name: "md_ptype", Size: 4, Values: []btf.EnumValue{
		{Name: "MD_PTYPE_IPV4", Value: 1 << 0},
		{Name: "MD_PTYPE_IPV6", Value: 1 << 1},
		{Name: "MD_PTYPE_FRAGMENT", Value: 1 << 2},
		{Name: "MD_PTYPE_TCP", Value: 1 << 3},
		{Name: "MD_PTYPE_UDP", Value: 1 << 4},
		{Name: "MD_PTYPE_SCTP", Value: 1 << 5},
		{Name: "MD_PTYPE_ICMP", Value: 1 << 6},
		{Name: "MD_PTYPE_TUNNELLED", Value: 1 << 7},
		{Name: "MD_PTYPE_OTHER_L4", Value: 1 << 8},
	}},
}

// isHeaderEnum reports whether a name is that of an enumeration of md_desc.h.
func isHeaderEnum(name string) bool {
	return slices.ContainsFunc(headerEnums, func(enum *btf.Enum) bool { return enum.Name == name })
}
