package rewrite

import (
	"math/bits"
	"strings"

	"github.com/xdp-load/xdp-load/internal/flow"
)

// regions is a set of regions.
type regions uint16

func regionsOf(pointees []flow.Pointee) regions {
	var set regions
	for n := range pointees {
		set |= 1 << pointees[n].Region
	}
	return set
}

func (r regions) has(region flow.Region) bool { return r&(1<<region) != 0 }

// first returns one of the regions: always the same.
func (r regions) first() flow.Region { return flow.Region(bits.TrailingZeros16(uint16(r))) }

// own returns those that are the program's own.
func (r regions) own() regions {
	var own regions
	for region := range whereabouts {
		if flow.Region(region).IsOwn() {
			own |= r & (1 << region)
		}
	}
	return own
}

func (r regions) hasOwn() bool { return r.own() != 0 }
func (r regions) allOwn() bool { return r != 0 && r.own() == r }

// whereabouts says where pointers point, by region.
var whereabouts = [...]string{
	flow.Unknown:    "at what came out of memory, or of a function that is not followed",
	flow.Area:       "at the descriptor",
	flow.Packet:     "into the packet",
	flow.Ctx:        "at the ctx",
	flow.Stack:      "at a copy on the stack",
	flow.MapValue:   "at a copy in a map",
	flow.Data:       "at a copy in the program's data",
	flow.RingBuffer: "at a copy in a ring buffer",
	flow.Heap:       "at a copy in memory that was allocated",
	flow.Code:       "at code",
	flow.Map:        "at a map",
	flow.User:       "at a copy that user space passes",
	flow.Driver:     "at the driver's descriptor",
}

func (r regions) String() string {
	var spelled []string
	for region, where := range whereabouts {
		if r.has(flow.Region(region)) {
			spelled = append(spelled, where)
		}
	}
	if len(spelled) == 0 {
		return "nowhere, as it is a number"
	}
	return strings.Join(spelled, " or ")
}
