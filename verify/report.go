package verify

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Report is what a run comes to. Its JSON is what a user attaches to a report.
type Report struct {
	Interface string `json:"interface"`
	Driver    string `json:"driver"`
	Firmware  string `json:"firmware,omitempty"`
	Kernel    string `json:"kernel"`  // its release, as uname -r has it
	Machine   string `json:"machine"` // as uname -m has it

	Accessors string `json:"accessors,omitempty"` // the file that was given instead of xdp-load's
	Lowering  string `json:"lowering,omitempty"`  // how the kernel's memory is read

	Packets Packets  `json:"packets"`
	Fields  []*Field `json:"fields"`

	limits, kfuncLimits map[string][]limit
}

// Packets are counted by what became of them.
type Packets struct {
	Received uint64 `json:"received"` // by XDP
	Stacked  uint64 `json:"stacked"`  // by TC
	Observed int    `json:"observed"` // by both, and found to be the same

	// Of those that are observed:
	Compared  int `json:"compared"`
	NoneFound int `json:"withoutDescriptor"`

	// Of those that got to TC and were not observed:
	Unmatched uint64 `json:"unmatched"` // XDP has not seen them, or not as they are now
	Ambiguous uint64 `json:"ambiguous"` // like others, with no metadata area to tell them apart
	Lost      uint64 `json:"lost"`      // there was no room for more at the time
}

// count takes over what the programs have counted.
func (p *Packets) count(counters *ebpf.Map) error {
	for i, into := range []*uint64{&p.Received, &p.Stacked, &p.Unmatched, &p.Ambiguous, &p.Lost} {
		if err := counters.Lookup(uint32(i), into); err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
	}
	return nil
}

// Field is what comparing a field comes to.
type Field struct {
	Name string `json:"field"`

	// From is where the accessor has it from, and Missing why there is none: one of the two.
	From    string `json:"from,omitempty"`
	Missing string `json:"notProvided,omitempty"`

	// Agree, Differ and Uncompared are packets. They are 0 if there is no accessor.
	Agree      int `json:"agree"`
	Differ     int `json:"differ"`
	Uncompared int `json:"notCompared"`

	// Values is how many numbers it has had that are not 0, and InSkb, if there is no
	// accessor, in how many packets the skb had one.
	Values int `json:"values"`
	InSkb  int `json:"inSkb,omitempty"`

	// Kfunc is what the driver's metadata kfunc says of it, nil if there is none, or if the
	// accessor is what asks it.
	Kfunc *Kfunc `json:"kfunc,omitempty"`

	// Limits are the reasons why packets are not compared, and Examples are of differences.
	Limits   []Limit   `json:"limits,omitempty"`
	Examples []Example `json:"examples,omitempty"`

	comparison *comparison
	byKfunc    bool
	seen       map[uint64]bool
}

// Kfunc counts packets by whether a kfunc says what the accessor reads.
type Kfunc struct {
	Agree  int `json:"agree"`
	Differ int `json:"differ"`
}

// Limit is why packets are not compared.
type Limit struct {
	Why     string `json:"why"`
	Packets int    `json:"packets"`
}

// Example is a packet in which a field differs.
type Example struct {
	Why     string  `json:"why"`
	XDP     Numbers `json:"xdp"` // all fields, as the accessors have them
	Skb     Numbers `json:"skb"` // all fields, of the skb
	Queue   uint32  `json:"queue"`
	Length  uint32  `json:"length"`
	Headers string  `json:"headers"`

	Descriptor string `json:"descriptor"` // its bytes, in hexadecimal digits, from a multiple of 8 on
	LowBits    uint32 `json:"lowBits"`    // of its address: where in that it starts, or what the accessors keep there
	Features   string `json:"features"`   // of the device: net_device.features
	Packet     string `json:"packet"`     // its head, as the stack has it
}

// maxExamples is how many a field has, and maxHead of how many bytes of a packet.
const (
	maxExamples = 3
	maxHead     = 96
	maxValues   = 1 << 16
)

func newReport(opts *Options, accessors *rewrite.Accessors) *Report {
	r := &Report{
		Interface: opts.Target.Interface,
		Driver:    accessors.Name,
		Firmware:  opts.Target.Firmware,
		Accessors: opts.Driver.File,
		Lowering:  accessors.Lowering,

		limits:      limitsOf(opts.Driver, limits),
		kfuncLimits: limitsOf(opts.Driver, kfuncLimits),
	}
	r.Kernel, r.Machine = kernelRelease()
	for i := range comparisons {
		c := &comparisons[i]
		f := &Field{Name: c.field, comparison: c, seen: make(map[uint64]bool)}
		if accessor, ok := accessors.Fields[c.field]; ok {
			f.From, f.byKfunc = accessor.From, accessor.Kfunc != ""
		} else if f.Missing = accessors.Missing[c.field]; f.Missing == "" {
			f.Missing = "the driver's accessors have no such field"
		}
		r.Fields = append(r.Fields, f)
	}
	return r
}

// add compares a packet.
func (r *Report) add(o *observation) {
	r.Packets.Observed++
	if o.Found == 0 {
		r.Packets.NoneFound++
		return
	}
	r.Packets.Compared++
	for _, f := range r.Fields {
		if f.From == "" {
			if o.skb[f.Name] != 0 {
				f.InSkb++
			}
			continue
		}
		f.add(o, r.limits[f.Name], r.kfuncLimits[f.Name])
	}
}

// add compares the field of a packet with all that it can be compared with: it differs if one
// of them does, and agrees if one of the others does.
func (f *Field) add(o *observation, limits, kfuncLimits []limit) {
	if value := o.xdp[f.Name]; value != 0 && len(f.seen) < maxValues {
		f.seen[value] = true
		f.Values = len(f.seen)
	}
	verdicts := []verdict{f.compareSkb(o, limits), leaves(""), f.addKfunc(o, kfuncLimits)}
	if f.comparison.packet != nil {
		verdicts[1] = f.comparison.packet(o)
	}
	var why []string
	compared := false
	for _, v := range verdicts {
		compared = compared || v.outcome == agree
		if v.outcome == differ {
			why = append(why, v.why)
		}
	}
	switch {
	case why != nil:
		f.Differ++
		f.addExample(o, strings.Join(why, "; "))
	case compared:
		f.Agree++
	default:
		f.Uncompared++
	}
	for _, v := range verdicts {
		if v.outcome == uncompared && v.why != "" {
			f.addLimit(v.why)
		}
	}
}

func (f *Field) compareSkb(o *observation, limits []limit) verdict {
	if f.comparison.skb == nil {
		return leaves("")
	}
	return excused(f.comparison.skb(o), o, limits)
}

// addKfunc compares with what the kfunc says. If the accessor asks it, there is nothing to
// compare.
func (f *Field) addKfunc(o *observation, limits []limit) verdict {
	if f.byKfunc {
		return leaves("")
	}
	v := excused(f.comparison.compareKfunc(o), o, limits)
	if v.outcome == uncompared {
		return v
	}
	if f.Kfunc == nil {
		f.Kfunc = new(Kfunc)
	}
	if v.outcome == agree {
		f.Kfunc.Agree++
	} else {
		f.Kfunc.Differ++
	}
	return v
}

func (f *Field) addLimit(why string) {
	for i := range f.Limits {
		if f.Limits[i].Why == why {
			f.Limits[i].Packets++
			return
		}
	}
	f.Limits = append(f.Limits, Limit{why, 1})
}

func (f *Field) addExample(o *observation, why string) {
	if len(f.Examples) == maxExamples {
		return
	}
	f.Examples = append(f.Examples, Example{
		Why:        why,
		XDP:        o.xdp,
		Skb:        o.skb,
		Queue:      o.Queue,
		Length:     o.Length,
		Headers:    o.packet.String(),
		Descriptor: hex.EncodeToString(o.descriptor()),
		LowBits:    o.LowBits,
		Features:   fmt.Sprintf("%#x", o.Features),
		Packet:     hex.EncodeToString(o.Head[:min(o.Held, maxHead)]),
	})
}

// Err returns an error wrapping ErrDiffer if a field differs, or ErrNothingCompared if no
// packet tells.
func (r *Report) Err() error {
	var differ []string
	for _, f := range r.Fields {
		if f.Differ > 0 {
			differ = append(differ, fmt.Sprintf("%s in %d", f.Name, f.Differ))
		}
	}
	p := &r.Packets
	switch {
	case len(differ) > 0:
		return fmt.Errorf("%s: %w: %s of %d packets", r.Interface, ErrDiffer, strings.Join(differ, ", "), p.Compared)
	case p.Compared > 0:
		return nil
	case p.NoneFound > 0:
		return fmt.Errorf("%s: %w: the accessors have found no descriptor of any of %d packets", r.Interface, ErrNothingCompared, p.NoneFound)
	case p.Received == 0:
		return fmt.Errorf("%s: %w: none has arrived", r.Interface, ErrNothingCompared)
	case p.Stacked == 0:
		return fmt.Errorf("%s: %w: %d have arrived, and none has got to the stack", r.Interface, ErrNothingCompared, p.Received)
	}
	return fmt.Errorf("%s: %w: of %d that got to the stack %d have not been seen by XDP as they are there, and %d are like others: where packets are merged, ethtool --features %[1]s gro off lro off",
		r.Interface, ErrNothingCompared, p.Stacked, p.Unmatched, p.Ambiguous)
}
