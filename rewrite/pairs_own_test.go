package rewrite_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/xdp-load/xdp-load/internal/interpret"
)

// Copies of the descriptor that a program keeps: of its own type, laid out as
// the program has it, whatever the layout.

// pairSide is which memory a use accesses, and by which variable.
type pairSide uint8

const (
	pairDescriptor pairSide = iota // md
	pairAgain                      // another variable for the same
	pairOwnCopy                    // own
	pairEitherSide                 // one of both, by the lowest bit of the use's input
)

// at returns the memory that is accessed: pairDescriptor or pairOwnCopy.
func (s pairSide) at(input uint64) pairSide {
	if s == pairOwnCopy || s == pairEitherSide && input&1 == 1 {
		return pairOwnCopy
	}
	return pairDescriptor
}

// base names the variable, which of pairEitherSide is the use's own.
func (s pairSide) base() string { return []string{"md", "again", "own", "either"}[s] }

func (u *pairUse) base() string {
	if u.side == pairEitherSide {
		return fmt.Sprintf("either%d", u.slot)
	}
	return u.side.base()
}

// on returns the pair that an access to a side is an access of: an own copy is
// as if the layout were the program's struct.
func (p *accessPair) on(side pairSide) *accessPair {
	if side != pairOwnCopy {
		return p
	}
	return &accessPair{number: p.number, local: p.local, target: p.local}
}

// pairBytes is the memory that programs access.
type pairBytes struct {
	metadata []byte
	kept     []byte // an own copy and what is around it
}

// pairsBefore is how many bytes are in front of an own copy, and behind it.
const pairsBefore = 16

// on returns the memory of a side, from where the struct starts.
func (b *pairBytes) on(side pairSide) []byte {
	if side != pairOwnCopy {
		return b.metadata
	}
	return b.kept[pairsBefore:]
}

// ownSize returns how many bytes an own copy takes with what is around it.
func (p *accessPair) ownSize() int { return roundUp(pairsBefore+p.local.size, 8) + pairsBefore }

// around returns an own copy and what is around it, from random bytes.
func (p *accessPair) around(random []byte) []byte {
	if len(random) < p.ownSize() {
		return nil // of a program without one
	}
	kept := bytes.Clone(random[:p.ownSize()])
	p.on(pairOwnCopy).settle(kept[pairsBefore:])
	return kept
}

// pairMemory is where an own copy is.
type pairMemory string

const (
	pairStack  pairMemory = "stack"
	pairGlobal pairMemory = "global"
	pairValue  pairMemory = "ARRAY"        // of a map of this type
	pairPerCPU pairMemory = "PERCPU_ARRAY" // as well
	pairRecord pairMemory = "record"       // of a ring buffer
)

// maxStacked is how large an own copy in the stack may be.
const maxStacked = 160

// memory chooses where an own copy is. In the stack the kernel wants accesses to
// be aligned.
func (g *pairGenerator) memory(p *accessPair) pairMemory {
	if g.chance(0.4) && p.ownSize() <= maxStacked && !holdsPacked(p.local) {
		return pairStack
	}
	return []pairMemory{pairGlobal, pairValue, pairPerCPU, pairRecord}[g.IntN(4)]
}

// maxKept is how large the struct of an own copy may be: clang calls a function
// that does not exist to copy more.
const maxKept = 400

// keeps makes uses of an own copy and of the descriptor in turns.
func (g *pairGenerator) keeps(p *accessPair, paths []pairPath) []pairUse {
	if len(paths) == 0 || p.local.size > maxKept {
		return nil
	}
	var uses []pairUse
	onlyLoads := g.chance(0.15)
	for range 2 + g.IntN(10) {
		use := pairUse{path: paths[g.IntN(len(paths))], side: pairOwnCopy, stores: !onlyLoads && g.chance(0.5)}
		switch {
		case g.chance(0.35):
			use.side = pairDescriptor
		case g.chance(0.05) && p.exists(use.path):
			use.side = pairEitherSide
		}
		uses = append(uses, use)
	}
	return uses
}

// move has a use store what is in the other memory.
func (g *pairGenerator) move(p *accessPair, use *pairUse, uses []pairUse) {
	other, moved := uses[g.IntN(len(uses))].path, pairOwnCopy
	if use.side == pairOwnCopy && g.chance(0.8) {
		moved = pairDescriptor
	}
	if p.on(moved).exists(other) {
		use.form, use.other, use.moved = pairMoved, other, moved
	}
}

// pairWord is a number that a program puts into an own copy without a record, over
// whatever members are there.
type pairWord struct {
	slot     int // of the use that it comes before
	at, size int // bytes of the struct
	value    uint64
	mask     uint64 // of the bits of the use's input that are in it, too
}

// words makes numbers that tell compilers and us much of what is in their bytes: often
// those that clang records for a bit-field, which may be in others.
func (g *pairGenerator) words(p *accessPair, use *pairUse) (words []pairWord) {
	path := use.path
	if use.form == pairMoved && use.moved == pairOwnCopy {
		path = use.other
	}
	leaf, _ := p.local.find(path)
	for g.chance(0.2) || leaf.bits > 0 && len(words) == 0 && g.chance(0.6) {
		w := pairWord{slot: use.slot, size: 1 << g.IntN(4), value: g.Uint64() >> g.IntN(64)}
		w.at = g.IntN(p.local.size/w.size+1) * w.size
		if leaf.bits > 0 && g.chance(0.8) {
			unit := plainAlignment(leaf.record)
			w.at, w.size = (leaf.bit-leaf.within)/8+leaf.within/8/unit*unit, min(unit, leaf.size)
		}
		if g.chance(0.5) {
			w.value = -w.value
		}
		if g.chance(0.3) {
			w.mask = 1<<g.IntN(33) - 1
		}
		words = append(words, w)
	}
	return words
}

// mayPut reports whether bytes are in an own copy, and have no bool, of which C leaves
// open what it is if it is neither 0 nor 1.
func (p *accessPair) mayPut(w *pairWord) bool {
	for _, path := range pairLeaves(p.local) {
		if leaf, _ := p.local.find(path); leaf.kind == pairBool && leaf.bit/8 < w.at+w.size && w.at*8 < leaf.bit+leaf.width() {
			return false
		}
	}
	return w.at+w.size <= p.local.size
}

// put writes how a program puts the words into its own copy that come before a use.
func (c *cWriter) put(p *accessPair, program *pairProgram, use *pairUse, input string) {
	for i := range program.words {
		if w := &program.words[i]; w.slot == use.slot && p.mayPut(w) {
			c.line("barrier();")
			c.linef("RAW(own, %d, __u%d) = %#xULL | %s & %#xULL;", w.at, w.size*8, w.value, input, w.mask)
			c.line("barrier();")
		}
	}
}

// expectWords puts the words into memory that come before a use.
func (p *accessPair) expectWords(program *pairProgram, use *pairUse, input uint64, after *pairBytes) {
	for i := range program.words {
		if w := &program.words[i]; w.slot == use.slot && p.mayPut(w) {
			word := numberIn{order: machineOrder, first: w.at * 8, bits: w.size * 8}
			word.write(after.on(pairOwnCopy), w.value|input&w.mask)
		}
	}
}

// calls chooses where the second half of a program is. No callback is for a big-endian
// machine: there the kernel has to compile programs for that, and Debian's for s390x
// can't, as it is for processors that BPF's compiler is not for.
func (g *pairGenerator) calls(program *pairProgram) {
	switch choice := g.Float64(); {
	case choice < 0.15:
		program.calling = pairCalled
	case choice < 0.25 && !pairsBigEndian():
		program.calling = pairCallback
	}
	program.params = []string{"md", "again", "ctx"}
	if program.kind == pairOwns {
		program.params = append(program.params, "own")
	}
	if g.chance(0.5) {
		program.params = append(program.params, "unread")
	}
	g.Shuffle(len(program.params), func(i, j int) {
		program.params[i], program.params[j] = program.params[j], program.params[i]
	})
}

// kept declares the memory of an own copy, and variables for what is in it before
// and after.
func (c *cWriter) kept(p *accessPair, program *pairProgram) {
	name := program.name(p.number)
	c.linef("struct %s_memory {\n\t__u64 before[2];\n\tstruct %s own;\n\t__u64 after[2];\n} %s_before, %s_after;", name, p.local.tag, name, name)
	switch program.memory {
	case pairGlobal:
		c.linef("static struct %s_memory %s_kept;", name, name)
	case pairValue, pairPerCPU:
		c.linef("struct {\n\t__uint(type, BPF_MAP_TYPE_%s);\n\t__uint(max_entries, 1);\n\t__type(key, __u32);\n\t__type(value, struct %s_memory);\n} %s_values SEC(\".maps\");",
			program.memory, name, name)
	}
}

// keep writes how a program gets at its own copy.
func (c *cWriter) keep(p *accessPair, program *pairProgram) {
	name, kept := program.name(p.number), ""
	switch program.memory {
	case pairStack:
		c.linef("\tstruct %s_memory memory;", name)
		kept = "&memory"
	case pairGlobal:
		kept = fmt.Sprintf("&%s_kept", name)
	case pairRecord:
		kept = fmt.Sprintf("bpf_ringbuf_reserve(&records, sizeof(struct %s_memory), 0)", name)
	default:
		kept = fmt.Sprintf("bpf_map_lookup_elem(&%s_values, &(__u32){ 0 })", name)
	}
	c.linef("\tstruct %s_memory *kept = %s;", name, kept)
	c.line("\tif (!kept)\n\t\treturn XDP_PASS;")
	c.linef("\t__builtin_memcpy(kept, &%s_before, sizeof(*kept));", name)
	c.linef("\tstruct %s *own = &kept->own;\n\tOPAQUE(own);", p.local.tag)
}

// tell writes how a program tells what is in its own copy in the end.
func (c *cWriter) tell(program *pairProgram) {
	c.line("\tOPAQUE(none);")
	c.linef("\t__builtin_memcpy(&%s_after, kept, sizeof(*kept));", program.name(c.number))
	if program.memory == pairRecord {
		c.line("\tbpf_ringbuf_discard(kept, 0);")
	}
}

// setOwn gives an own copy its contents.
func (p *accessPair) setOwn(loaded *ebpf.Collection, program *pairProgram, area pairArea) error {
	variable := loaded.Variables[program.name(p.number)+"_before"]
	if variable == nil {
		return nil
	}
	return variable.Set(p.around(area.own))
}

// compareOwn compares an own copy and what is around it with what the program was
// to make of it.
func (p *accessPair) compareOwn(loaded *ebpf.Collection, index int, area pairArea, expected pairBytes) ([]pairFailure, error) {
	program, q := &p.programs[index], p.on(pairOwnCopy)
	after := make([]byte, p.ownSize())
	if err := loaded.Variables[program.name(p.number)+"_after"].Get(after); err != nil {
		return nil, err
	}
	q.leavePadding(program, pairOwnCopy, expected.on(pairOwnCopy), after[pairsBefore:])
	if bytes.Equal(after, expected.kept) {
		return nil, nil
	}
	failure := pairFailure{pair: p, index: index, kind: "own",
		detail: fmt.Sprintf("own copy\n\t%x instead of\n\t%x, before\n\t%x", after, expected.kept, p.around(area.own))}
	for i := range program.uses {
		use := &program.uses[i]
		leaf, _ := p.local.find(p.accessed(use))
		got, want := leaf.read(after[pairsBefore:]), leaf.read(expected.on(pairOwnCopy))
		if use.refused == "" && use.stores && use.side.at(area.inputs[use.slot]) == pairOwnCopy && got != want {
			failure.use = use
			failure.detail = fmt.Sprintf("%s holds %#x instead of %#x, input %#x: %s", use.path, got, want, area.inputs[use.slot], failure.detail)
			break
		}
	}
	return []pairFailure{failure}, nil
}

// besides reports whether one field comes right behind another one.
func (p *accessPair) besides(root *pairStruct, path, other pairPath) bool {
	first, _ := root.find(path)
	second, _ := root.find(other)
	return first.pairScalar != nil && second.pairScalar != nil && first.bits == 0 && second.bits == 0 &&
		first.bit+first.size*8 == second.bit
}

// escape lets addresses of fields go mostly where that is right, and looks behind
// a field now and then.
func (g *pairGenerator) escape(q *accessPair, use *pairUse) {
	isEscape := use.way == pairTaken || use.way == pairProbed
	if isEscape && !q.alike(use.path) && g.chance(0.8) {
		use.way = pairPlain
	}
	if use.way != pairPlain || use.stores || !q.exists(use.path) || !g.chance(0.1) {
		return
	}
	for _, other := range pairLeaves(q.local) {
		if q.besides(q.local, use.path, other) && q.exists(other) && !slices.ContainsFunc(other, isUnused) {
			use.way, use.other = pairBeside, other
			return
		}
	}
}

func isUnused(step pairStep) bool { return strings.HasPrefix(step.name, "unused") }

// express has a use compute with the type that C gives its field.
func (g *pairGenerator) express(q *accessPair, use *pairUse, uses []pairUse) {
	local, _ := q.local.find(use.path)
	switch {
	case local.kind == pairEnum || use.way != pairPlain || use.other != nil:
	case use.stores:
		if g.chance(0.1) && !local.mayOverflow() && !local.isConst() {
			use.form = pairStepped
		}
	case g.chance(0.4):
		form := pairPlus + pairForm(g.IntN(int(pairConstant-pairPlus)))
		if form == pairSame || form == pairXor {
			other := uses[g.IntN(len(uses))].path
			leaf, _ := q.local.find(other)
			if !q.exists(other) || leaf.kind == pairEnum {
				return
			}
			use.other = other
		}
		if form != pairPlus || !local.mayOverflow() {
			use.form = form
		}
	}
}

// mayOverflow reports whether adding 1 may leave the type that C computes in,
// which is undefined if that is signed. An unsigned bit-field of 31 bits is computed
// with in int.
func (s *pairScalar) mayOverflow() bool {
	promoted, needed := s.promoted(), s.width()
	if !s.signed {
		needed++
	}
	return promoted.signed && s.kind != pairBool && needed >= promoted.width()
}

// promoted returns the type that C computes in: int where that holds all values.
// Bit-fields wider than int keep their declared type (isPromotableBitField of
// clang's ASTContext.cpp).
func (s *pairScalar) promoted() *pairScalar {
	switch {
	case s.kind == pairBool || s.width() < 32:
		return &pairScalar{size: 4, signed: true}
	case s.width() == 32:
		return &pairScalar{size: 4, signed: s.signed}
	}
	return &pairScalar{size: 8, signed: s.signed}
}

// common returns the type of an expression of two of these: the usual arithmetic
// conversions.
func (s *pairScalar) common(other *pairScalar) *pairScalar {
	a, b := s.promoted(), other.promoted()
	switch {
	case a.size > b.size:
		return a
	case a.size < b.size:
		return b
	}
	return &pairScalar{size: a.size, signed: a.signed && b.signed}
}

// expressed returns what a program makes of a value of a type, as 64 bits.
func (u *pairUse) expressed(local *pairScalar, value uint64) uint64 {
	value = interpret.Extended(value, local.width(), local.signed)
	typ := local.common(&pairScalar{size: 4, signed: true})
	if u.form == pairPlus {
		return typ.convert(value + 1)
	}
	return truth(typ.less(typ.convert(value), typ.convert(uint64(u.limit()))))
}

// limit is the operand of pairUnder.
func (u *pairUse) limit() int64 { return int64(u.operand%304) - 4 }

func (s *pairScalar) less(a, b uint64) bool {
	if s.signed {
		return int64(a) < int64(b)
	}
	return a < b
}

// expressedBoth is expressed for the values of two fields.
func (u *pairUse) expressedBoth(local *pairScalar, value uint64, other *pairScalar, second uint64) uint64 {
	typ := local.common(other)
	a := typ.convert(interpret.Extended(value, local.width(), local.signed))
	b := typ.convert(interpret.Extended(second, other.width(), other.signed))
	if u.form == pairSame {
		return truth(a == b)
	}
	return typ.convert(a ^ b)
}
