package flow

import (
	"encoding/binary"
	"slices"
)

// Region is a kind of memory.
type Region uint8

// The regions that a pointer can point at.
const (
	Unknown    Region = iota // what came out of memory, or from a function, of which nothing is known
	Area                     // the metadata area
	Packet                   // the packet
	Ctx                      // the program's ctx
	Stack                    // of the function itself, or of one that called it
	MapValue                 // a value of a map
	Data                     // the object's own variables
	RingBuffer               // a record of a ring buffer
	Heap                     // what the program allocated: an object, or in an arena
	Code                     // a function of the object
	Map                      // a map itself
	User                     // what user space passes to a program
	Driver                   // what a driver keeps of a packet: the address is a number to the kernel

	recordedOffset // a number, no address: a recorded offset
	recordedSize   // the same: a recorded size of the descriptor
	otherSize      // the same: a recorded size of another type
	pending        // what a function returns of which nobody knows yet whether it does
)

// IsOwn reports whether a region is memory of the program's own, which is laid out
// as the program declares it.
func (r Region) IsOwn() bool {
	switch r {
	case Stack, MapValue, Data, RingBuffer, Heap, User:
		return true
	}
	return false
}

// String returns the region in words.
func (r Region) String() string {
	return [...]string{"unknown", "metadata area", "packet", "ctx", "stack", "map value", "data", "ring buffer", "heap", "code", "map", "user space", "driver", "offset", "size", "other size", "pending"}[r]
}

// Pointee is what a pointer may point at.
type Pointee struct {
	Region Region

	// Subprogram and Slot say which instruction of which function made an address in the
	// metadata area, of what a driver keeps, or of a map, or holds a recorded number. Stack and Ctx are those of a function,
	// Code is one. They are zero for other regions; and where there are too many, or then
	// Slot is anySlot.
	Subprogram *Subprogram
	Slot       int

	// Offset is what constants have added since then, or since Field was added.
	// Indexed says that something was added that is not constant.
	Offset  int64
	Indexed bool

	// High says of a recorded number that it is in the upper half of the register, on its
	// way to be extended.
	High bool

	// Part says of a recorded offset that it is not that but something computed from it,
	// and of an address, that such a thing was added to it.
	Part bool

	// Field is set if a recorded offset was added: to an address Base bytes from
	// the start, or further if BaseIndexed.
	Field       RecordedAt
	Base        int64
	BaseIndexed bool

	// OfRoot says that a recorded offset from the start of a descriptor was added, and
	// OfNested, one from the start of what is nested in it. Of a recorded number they
	// say what it is.
	OfRoot, OfNested bool

	// Past says that a recorded size of the descriptor was added: this is what
	// comes behind it.
	Past bool
}

// RecordedAt is where an instruction is that holds a recorded offset.
type RecordedAt struct {
	Subprogram *Subprogram // nil if there is none
	Slot       int
}

// anySlot stands for the slots of a function that are not told apart, as a value can
// have too many of them.
const anySlot = -1

// isNumber reports whether it is no address.
func (p *Pointee) isNumber() bool { return p.Region >= recordedOffset }

// isKnown reports whether it is known to be an address.
func (p *Pointee) isKnown() bool { return p.Region != Unknown && !p.isNumber() }

// made returns the pointee as it was made, before anything was added.
func (p Pointee) made() Pointee {
	return Pointee{Region: p.Region, Subprogram: p.Subprogram, Slot: p.Slot}
}

// From returns how many bytes from the start of what it points into an address is,
// leaving out the field, and whether that is known.
func (p *Pointee) From() (int64, bool) {
	if p.Field.Subprogram != nil {
		return p.Base, !p.BaseIndexed
	}
	return p.Offset, !p.Indexed
}

func (p Pointee) moved(by int64) Pointee {
	p.Offset += by
	return p
}

func (p Pointee) indexed() Pointee {
	p.Indexed = true
	return p
}

// addField returns the sum of an address and a recorded offset.
func (p Pointee) addField(offset *Pointee) Pointee {
	if p.Field.Subprogram == nil { // what comes first tells where the root type starts
		p.Base, p.BaseIndexed = p.Offset, p.Indexed
	}
	p.Field = RecordedAt{offset.Subprogram, offset.Slot}
	p.OfRoot, p.OfNested = p.OfRoot || offset.OfRoot, p.OfNested || offset.OfNested
	p.Offset, p.Indexed, p.Part = offset.Offset, offset.Indexed, p.Part || offset.Part
	return p
}

// pointer is a set of pointees, by number: each set is kept once. 0 is the empty
// set, that of a plain number.
type pointer int32

// pointeeSets numbers sets of pointees.
type pointeeSets struct {
	subs     map[*Subprogram]int // so that they have an order
	pointees []Pointee
	known    map[Pointee]int32
	single   []pointer   // by pointee, the set of it alone; 0 as long as nobody has asked
	rougher  []int32     // by pointee, what stands for it where there are too many; itself if nothing does
	isRough  []bool      // by pointee, whether it stands for others
	sets     [][]int32   // indices of pointees, ascending
	lists    [][]Pointee // the same sets, of those that somebody has asked for
	numbers  map[string]pointer
	unions   map[[2]pointer]pointer
	merged   map[RecordedAt]bool // recorded numbers that anySlot stands for
}

// maxPointees is how many pointees a value can have until they lose what tells
// them apart within a region.
const maxPointees = 32

func newPointeeSets(subs []*Subprogram) *pointeeSets {
	s := &pointeeSets{
		subs:    make(map[*Subprogram]int, len(subs)),
		known:   make(map[Pointee]int32),
		sets:    [][]int32{nil},
		lists:   [][]Pointee{nil},
		numbers: map[string]pointer{"": 0},
		unions:  make(map[[2]pointer]pointer),
		merged:  make(map[RecordedAt]bool),
	}
	for n, sub := range subs {
		s.subs[sub] = n + 1
	}
	return s
}

// of returns the set of some pointees.
func (s *pointeeSets) of(pointees ...Pointee) pointer {
	if len(pointees) == 1 {
		return s.only(s.pointee(pointees[0]))
	}
	set := make([]int32, len(pointees))
	for n, p := range pointees {
		set[n] = s.pointee(p)
	}
	return s.number(set)
}

func (s *pointeeSets) pointee(p Pointee) int32 {
	number, ok := s.known[p]
	if ok {
		return number
	}
	number = int32(len(s.pointees))
	s.known[p] = number
	s.pointees = append(s.pointees, p)
	s.single = append(s.single, 0)
	s.isRough = append(s.isRough, false)
	s.rougher = append(s.rougher, number)
	if rough := p.rough(); rough != p {
		at := s.pointee(rough)
		s.rougher[number], s.isRough[at] = at, true
	}
	return number
}

// rough returns what stands for a pointee where there are too many. Whose stack it is
// stays known, and so does the function of a recorded number: what is stored in that
// stack, and what that number is added to, is not lost.
func (p Pointee) rough() Pointee {
	if p.Field.Subprogram != nil {
		p.Field.Slot = anySlot
	}
	switch p.Region {
	case Ctx, Code:
		return p
	case Map:
		return Pointee{Region: Map, Indexed: true}
	case Stack:
		return Pointee{Region: Stack, Subprogram: p.Subprogram, Slot: p.Slot, Indexed: true}
	case Area, Driver:
		p.Subprogram, p.Slot = nil, 0
		return p
	case recordedOffset, recordedSize, otherSize:
		p.Slot = anySlot
		return p
	case Unknown:
		return Pointee{Indexed: true, Field: p.Field}
	}
	return Pointee{Region: p.Region, Indexed: true}
}

// only returns the set of one pointee.
func (s *pointeeSets) only(pointee int32) pointer {
	if s.single[pointee] == 0 {
		s.single[pointee] = s.number([]int32{pointee})
	}
	return s.single[pointee]
}

func (s *pointeeSets) number(set []int32) pointer {
	slices.Sort(set)
	set = slices.Compact(set)
	if slices.ContainsFunc(set, func(n int32) bool { return s.isRough[n] }) {
		set = s.absorbed(set)
	}
	if len(set) > maxPointees {
		set = s.roughened(set)
	}
	key := make([]byte, 0, 4*len(set))
	for _, p := range set {
		key = binary.LittleEndian.AppendUint32(key, uint32(p))
	}
	number, ok := s.numbers[string(key)]
	if !ok {
		number = pointer(len(s.sets))
		s.numbers[string(key)] = number
		s.sets = append(s.sets, set)
		s.lists = append(s.lists, nil)
	}
	return number
}

// absorbed leaves out the pointees of a set that others in it stand for.
func (s *pointeeSets) absorbed(set []int32) []int32 {
	kept := make([]int32, 0, len(set))
	for _, n := range set {
		rough := s.rougher[n]
		if _, found := slices.BinarySearch(set, rough); found && rough != n {
			s.merge(n)
			continue
		}
		kept = append(kept, n)
	}
	return kept
}

// roughened returns a set of what stands for the pointees of a set.
func (s *pointeeSets) roughened(set []int32) []int32 {
	rough := make([]int32, len(set))
	for n, at := range set {
		s.merge(at)
		rough[n] = s.rougher[at]
	}
	slices.Sort(rough)
	return slices.Compact(rough)
}

// merge notes that a recorded number is not told apart any more.
func (s *pointeeSets) merge(pointee int32) {
	p := &s.pointees[pointee]
	if p.isNumber() {
		s.merged[RecordedAt{p.Subprogram, p.Slot}] = true
	}
	if p.Field.Subprogram != nil {
		s.merged[p.Field] = true
	}
}

func (s *pointeeSets) union(a, b pointer) pointer {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	key := [2]pointer{min(a, b), max(a, b)}
	number, ok := s.unions[key]
	if !ok {
		number = s.number(slices.Concat(s.sets[a], s.sets[b]))
		s.unions[key] = number
	}
	return number
}

// list returns the pointees of a set, for reading only.
func (s *pointeeSets) list(p pointer) []Pointee {
	if s.lists[p] == nil && p != 0 {
		list := make([]Pointee, len(s.sets[p]))
		for n, at := range s.sets[p] {
			list[n] = s.pointees[at]
		}
		s.lists[p] = list
	}
	return s.lists[p]
}

// where returns the subset of a set that something holds of.
func (s *pointeeSets) where(p pointer, holds func(*Pointee) bool) pointer {
	list := s.list(p)
	count := 0
	for n := range list {
		if holds(&list[n]) {
			count++
		}
	}
	if count == len(list) {
		return p
	}
	set := make([]int32, 0, count)
	for n := range list {
		if holds(&list[n]) {
			set = append(set, s.sets[p][n])
		}
	}
	return s.number(set)
}

// each returns what becomes of a set if each pointee becomes another one.
func (s *pointeeSets) each(p pointer, becomes func(Pointee) Pointee) pointer {
	if list := s.list(p); len(list) == 1 {
		return s.of(becomes(list[0]))
	}
	list := slices.Clone(s.list(p))
	for n := range list {
		list[n] = becomes(list[n])
	}
	return s.of(list...)
}

// coarse gives up the distance where there are several from one place: what is
// added each time around a loop counts as an index.
func (s *pointeeSets) coarse(p pointer) pointer {
	type place struct {
		Region
		*Subprogram
		slot  int
		field RecordedAt
		past  bool
	}
	at := func(p *Pointee) place { return place{p.Region, p.Subprogram, p.Slot, p.Field, p.Past} }
	if len(s.sets[p]) < 2 {
		return p
	}
	list := slices.Clone(s.list(p))
	counts := make(map[place]int, len(list))
	for n := range list {
		counts[at(&list[n])]++
	}
	if len(counts) == len(list) {
		return p
	}
	for n := range list {
		if counts[at(&list[n])] > 1 {
			list[n].Offset, list[n].Indexed = 0, true
			list[n].Base, list[n].BaseIndexed = 0, list[n].Field.Subprogram != nil
		}
	}
	return s.of(list...)
}
