package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"

	"github.com/xdp-load/xdp-load/internal/interpret"
)

// The values that programs have to come to, worked out from the structs as
// they were generated: nothing here looks at BTF, or at what reloc and rewrite
// make of it.

// number returns how the scalar is kept, wherever it is.
func (s *pairScalar) number() numberIn {
	swapped := s.order() && (s.kind == pairBig) != bigEndian
	return numberIn{order: machineOrder, bits: s.width(), signed: s.signed, boolean: s.kind == pairBool, swapped: swapped}
}

// convert converts a number to the scalar's type, as C does in an assignment.
func (s *pairScalar) convert(value uint64) uint64 { return s.number().convert(value) }

// represent returns what a C expression of the scalar's type is for a number:
// of a __be16, the number whose bytes in the machine's order are those of the
// big-endian one.
func (s *pairScalar) represent(number uint64) uint64 { return s.number().swap(s.convert(number)) }

// mean is the reverse: the number that a C expression of the scalar's type
// stands for.
func (s *pairScalar) mean(expression uint64) uint64 { return s.number().swap(s.convert(expression)) }

// in returns how a leaf is kept in an area.
func (l pairLeaf) in() numberIn {
	n := l.number()
	n.first = l.bit
	return n
}

// read returns the number that a leaf holds.
func (l pairLeaf) read(area []byte) uint64 {
	return l.in().read(area)
}

// write stores a number in a leaf.
func (l pairLeaf) write(area []byte, number uint64) {
	l.in().write(area, number)
}

// settle gives every bool of the target that is used 0 or 1: C leaves open what
// others are.
func (p *accessPair) settle(area []byte) {
	for _, path := range pairLeaves(p.target) {
		if leaf, _ := p.target.find(path); leaf.kind == pairBool {
			leaf.write(area, leaf.read(area)&1)
		}
	}
}

// settleInputs does the same for the bools of a struct or array that is stored.
func (p *accessPair) settleInputs(use *pairUse, inputs []uint64) {
	if use.way != pairAll {
		return
	}
	all := use.all(inputs)
	for _, member := range p.members(use.path.whole()) {
		member.write(all, member.read(all))
	}
	for i := range inputs[use.slot:] {
		inputs[use.slot+i] = binary.NativeEndian.Uint64(all[8*i:])
	}
}

// all returns the bytes from which pairAll stores.
func (u *pairUse) all(inputs []uint64) []byte {
	var all []byte
	for _, input := range inputs[u.slot:] {
		all = binary.NativeEndian.AppendUint64(all, input)
	}
	return all
}

// resolve returns both sides of a path. It reports false if the target has no
// such field.
func (p *accessPair) resolve(path pairPath) (local, target pairLeaf, exists bool) {
	local, _ = p.local.find(path)
	target, exists = p.target.find(path)
	return local, target, exists
}

func (p *accessPair) exists(path pairPath) bool {
	_, _, exists := p.resolve(path)
	return exists
}

// existsWhole reports whether the target has all that a struct or array of the
// program consists of.
func (p *accessPair) existsWhole(whole pairPath) bool {
	for path := range p.members(whole) {
		if !p.exists(path) {
			return false
		}
	}
	return true
}

// sizeOf returns how many bytes a struct or array of the program has.
func (p *accessPair) sizeOf(whole pairPath) int {
	place, _ := p.local.find(whole)
	size, _ := pairSize(place.typ)
	return size
}

// members returns the scalars of a struct or array of the program, by path, as
// they are in bytes of that alone.
func (p *accessPair) members(whole pairPath) iter.Seq2[pairPath, pairLeaf] {
	return func(yield func(pairPath, pairLeaf) bool) {
		start, _ := p.local.find(whole)
		for _, path := range pairLeaves(p.local) {
			leaf, _ := p.local.find(path)
			leaf.bit -= start.bit
			if path.within(whole) && !yield(path, leaf) {
				return
			}
		}
	}
}

// accessed returns the path that a use comes to at run time.
func (p *accessPair) accessed(use *pairUse) pairPath {
	if use.way == pairEither && !p.exists(use.path) {
		return use.other
	}
	return use.path
}

// expect returns what a program leaves in its variables, and in memory.
func (p *accessPair) expect(program *pairProgram, area pairArea) (outputs []uint64, after pairBytes) {
	outputs, after = make([]uint64, len(area.inputs)), pairBytes{bytes.Clone(area.metadata), p.around(area.own)}
	first := program.firstHeld()
	copy(outputs[first:], area.inputs[first:first+program.held])
	for i := range program.uses {
		use := &program.uses[i]
		input := area.inputs[use.slot]
		if use.refused == "" {
			p.expectWords(program, use, input, &after)
		}
		side := use.side.at(input)
		q, bytes := p.on(side), after.on(side)
		switch {
		case use.refused != "":
		case use.stores && use.form == pairMoved && use.way != pairAll:
			moved := p.on(use.moved)
			q.expectValue(use, moved.loaded(use.other, after.on(use.moved)), bytes)
		case use.stores:
			q.expectStore(use, area.inputs, bytes)
		default:
			outputs[use.slot] = q.expectLoad(use, input, bytes)
		}
	}
	return outputs, after
}

// expectLoad returns the result of a use that loads.
func (p *accessPair) expectLoad(use *pairUse, input uint64, area []byte) uint64 {
	path := p.accessed(use)
	local, target, exists := p.resolve(path)
	if !exists {
		if use.guard == pairElse {
			return use.operand
		}
		return 0
	}
	if use.way == pairBeside {
		path = use.other
		local, target, _ = p.resolve(path)
	}
	number := target.read(area)
	if use.way == pairMacro {
		return number // it does without the local type
	}
	value := local.represent(number)
	switch use.form {
	case pairPlus, pairUnder:
		return use.expressed(local.pairScalar, value)
	case pairSame, pairXor:
		other, _, _ := p.resolve(use.other)
		return use.expressedBoth(local.pairScalar, value, other.pairScalar, p.loaded(use.other, area))
	}
	return use.formed(local.pairScalar, value, input)
}

// formed returns what a program makes of a value that it loaded.
func (u *pairUse) formed(local *pairScalar, value, input uint64) uint64 {
	value = interpret.Extended(value, local.width(), local.signed)
	switch u.form {
	case pairNarrowed:
		cast := pairCasts[u.operand%uint64(len(pairCasts))]
		return interpret.Extended(value, cast.width(), cast.signed)
	case pairPart:
		return value >> u.shift() & 0xff
	case pairLess:
		return truth(value < input)
	case pairLessSign:
		return truth(int64(value) < int64(input))
	case pairEqual:
		return truth(value == u.compared())
	case pairSwapped:
		return bits.ReverseBytes64(value) >> (64 - u.width)
	case pairIgnored:
		return uint64(uint32(value >> 7))
	}
	return value
}

// shift returns by how much pairPart shifts: beyond some types, which then leave
// nothing or their sign.
func (u *pairUse) shift() int { return int(u.operand % 40) }

// compared returns a number that random fields equal now and then.
func (u *pairUse) compared() uint64 { return u.operand % 4 }

func truth(condition bool) uint64 {
	if condition {
		return 1
	}
	return 0
}

// expectStore does what a use does that stores.
func (p *accessPair) expectStore(use *pairUse, inputs []uint64, area []byte) {
	if !p.exists(p.accessed(use)) {
		return
	}
	if use.way == pairAll {
		p.expectAll(use, inputs, area)
		return
	}
	p.expectValue(use, p.stored(use, inputs, area), area)
}

// expectValue stores a value, before it is converted, if the field is there.
func (p *accessPair) expectValue(use *pairUse, value uint64, area []byte) {
	local, target, exists := p.resolve(p.accessed(use))
	if !exists {
		return
	}
	if use.way == pairWith {
		p.copyBack(use.path.whole(), area)
	}
	if use.way != pairMacro { // which does without the local type
		value = local.mean(value)
	}
	target.write(area, value)
}

// expectAll stores each number of a struct or array.
func (p *accessPair) expectAll(use *pairUse, inputs []uint64, area []byte) {
	all := use.all(inputs)
	for path, member := range p.members(use.path.whole()) {
		if _, target, exists := p.resolve(path); exists {
			target.write(area, member.read(all))
		}
	}
}

// leavePadding expects of the padding of structs and arrays that were stored in
// what became of it: C leaves that open, be it bits of another member of a union or
// not.
func (p *accessPair) leavePadding(program *pairProgram, side pairSide, expected, after []byte) {
	for _, use := range program.uses {
		whole, exists := p.target.find(use.path.whole())
		if use.way != pairAll || !exists || use.side.at(0) != side {
			continue
		}
		first, unpadded := whole.bit/8, bytes.Clone(expected)
		size, _ := pairSize(whole.typ)
		copy(expected[first:first+size], after[first:])
		for _, path := range pairLeaves(p.target) {
			_, isUsed := p.local.find(path)
			if leaf, _ := p.target.find(path); path.within(use.path.whole()) && (isUsed || !p.overlapsUsed(leaf)) {
				leaf.write(expected, leaf.read(unpadded))
			}
		}
	}
}

// overlapsUsed reports whether a leaf of the target shares bytes with one that the
// program has too, as members of a union do.
func (p *accessPair) overlapsUsed(leaf pairLeaf) bool {
	bytesOf := func(l pairLeaf) (first, end int) {
		size, _ := pairSize(l.typ)
		return l.bit / 8, l.bit/8 + size
	}
	first, end := bytesOf(leaf)
	for _, path := range pairLeaves(p.target) {
		other, _ := p.target.find(path)
		otherFirst, otherEnd := bytesOf(other)
		if _, isUsed := p.local.find(path); isUsed && first < otherEnd && otherFirst < end {
			return true
		}
	}
	return false
}

// copyBack does what a program does that copies a struct or array and stores it
// again: the numbers in it are converted to the program's types and back.
func (p *accessPair) copyBack(whole pairPath, area []byte) {
	for path, member := range p.members(whole) {
		if _, target, exists := p.resolve(path); exists {
			target.write(area, member.mean(member.represent(target.read(area))))
		}
	}
}

// stored returns the value that a program stores, before it is converted.
func (p *accessPair) stored(use *pairUse, inputs []uint64, area []byte) uint64 {
	input := inputs[use.slot]
	switch use.form {
	case pairConstant:
		return use.constant()
	case pairMasked:
		return input >> use.shift() & use.mask()
	case pairShared:
		return inputs[0]
	case pairAdded:
		return p.loaded(p.accessed(use), area) + input
	case pairSet:
		return p.loaded(p.accessed(use), area) | input
	case pairStepped:
		return p.loaded(p.accessed(use), area) + 1
	}
	return input
}

// loaded returns what md->f is in C, for a field that is there.
func (p *accessPair) loaded(path pairPath, area []byte) uint64 {
	local, target, _ := p.resolve(path)
	return local.represent(target.read(area))
}

// mask returns which bits pairMasked leaves: as many as a bit-field may have, or
// fewer.
func (u *pairUse) mask() uint64 { return 1<<(u.operand>>8%34) - 1 }

// constant returns a constant to store: small ones, negative ones, large ones.
func (u *pairUse) constant() uint64 {
	switch u.operand % 4 {
	case 0:
		return u.operand >> 8 % 3
	case 1:
		return -(u.operand >> 8 % 300)
	case 2:
		return u.operand >> 8 & 0x7f
	}
	return u.operand
}
