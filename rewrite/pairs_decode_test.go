package rewrite_test

import (
	"bytes"
	"math/bits"
	"slices"
)

// The values that programs have to come to, worked out from the structs as
// they were generated: nothing here looks at BTF, or at what reloc and rewrite
// make of it.
//
// A number is kept in 64 bits, in two's complement if it is negative: all the
// conversions of C between integers are the same from there.

// truncate converts a number to an integer of so many bits.
func truncate(value uint64, width int, signed bool) uint64 {
	unused := 64 - width
	if signed {
		return uint64(int64(value<<unused) >> unused)
	}
	return value << unused >> unused
}

// swap reverses the bytes of a scalar that is kept in another order than the
// machine's, which is little-endian.
func (s *pairScalar) swap(value uint64) uint64 {
	if s.kind != pairBig {
		return value
	}
	return bits.ReverseBytes64(value) >> (64 - s.size*8)
}

// convert converts a number to the scalar's type, as C does in an assignment.
func (s *pairScalar) convert(value uint64) uint64 {
	if s.kind == pairBool {
		if value != 0 {
			return 1
		}
		return 0
	}
	return truncate(value, s.width(), s.signed)
}

// represent returns what a C expression of the scalar's type is for a number:
// of a __be16, the number whose bytes in the machine's order are those of the
// big-endian one.
func (s *pairScalar) represent(number uint64) uint64 { return s.swap(s.convert(number)) }

// mean is the reverse: the number that a C expression of the scalar's type
// stands for.
func (s *pairScalar) mean(expression uint64) uint64 { return s.swap(s.convert(expression)) }

// read returns the number that a leaf holds.
func (l pairLeaf) read(area []byte) uint64 {
	var value uint64
	for i := range l.width() {
		at := l.bit + i
		value |= uint64(area[at/8]>>(at%8)&1) << i
	}
	return l.mean(value)
}

// write stores a number in a leaf.
func (l pairLeaf) write(area []byte, number uint64) {
	value := l.represent(number)
	for i := range l.width() {
		at := l.bit + i
		area[at/8] = area[at/8]&^(1<<(at%8)) | byte(value>>i&1)<<(at%8)
	}
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

// resolve returns both sides of a path. It reports false if the target has no
// such field, or one that CO-RE takes for another.
func (p *accessPair) resolve(path pairPath) (local, target pairLeaf, exists bool) {
	local, _ = p.local.find(path)
	target, exists = p.target.find(path)
	return local, target, exists && (local.kind == pairEnum) == (target.kind == pairEnum)
}

func (p *accessPair) exists(path pairPath) bool {
	_, _, exists := p.resolve(path)
	return exists
}

// existsWhole reports whether the target has all that a struct or array of the
// program consists of.
func (p *accessPair) existsWhole(whole pairPath) bool {
	return !slices.ContainsFunc(pairLeaves(p.local), func(path pairPath) bool { return path.within(whole) && !p.exists(path) })
}

// sizeOf returns how many bytes the program's fields in a struct or array take,
// or more.
func (p *accessPair) sizeOf(whole pairPath) int {
	size := 0
	for _, path := range pairLeaves(p.local) {
		if path.within(whole) {
			leaf, _ := p.local.find(path)
			size += 2 * leaf.size
		}
	}
	return size
}

// accessed returns the path that a use comes to at run time.
func (p *accessPair) accessed(use *pairUse) pairPath {
	if use.way == pairEither && !p.exists(use.path) {
		return use.other
	}
	return use.path
}

// expectLoad returns the result of a use that loads.
func (p *accessPair) expectLoad(use *pairUse, area pairArea) uint64 {
	local, target, exists := p.resolve(p.accessed(use))
	if !exists {
		if use.guard == pairElse {
			return use.operand
		}
		return 0
	}
	number := target.read(area.metadata)
	if use.way == pairMacro {
		return number // it does without the local type
	}
	return use.formed(local.pairScalar, local.represent(number), area.inputs[use.slot])
}

// formed returns what a program makes of a value that it loaded.
func (u *pairUse) formed(local *pairScalar, value, input uint64) uint64 {
	value = truncate(value, local.width(), local.signed)
	switch u.form {
	case pairNarrowed:
		cast := pairCasts[u.operand%uint64(len(pairCasts))]
		return truncate(value, cast.width(), cast.signed)
	case pairPart:
		return value >> u.shift() & 0xff
	case pairLess:
		return truth(value < input)
	case pairLessSign:
		return truth(int64(value) < int64(input))
	case pairEqual:
		return truth(value == u.compared())
	case pairSwapped:
		return bits.ReverseBytes64(value) >> (64 - local.size*8)
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

// expectStores returns the metadata area after all uses of a program.
func (p *accessPair) expectStores(program *pairProgram, area pairArea) []byte {
	after := bytes.Clone(area.metadata)
	for i := range program.uses {
		use := &program.uses[i]
		local, target, exists := p.resolve(p.accessed(use))
		if use.refused != "" || !exists {
			continue
		}
		if use.way == pairWith {
			p.copyBack(use.path.whole(), after)
		}
		value := use.stored(area.inputs)
		if use.way != pairMacro { // which does without the local type
			value = local.mean(value)
		}
		target.write(after, value)
	}
	return after
}

// copyBack does what a program does that copies a struct or array and stores it
// again: the numbers in it are converted to the program's types and back.
func (p *accessPair) copyBack(whole pairPath, area []byte) {
	for _, path := range pairLeaves(p.local) {
		if local, target, exists := p.resolve(path); exists && path.within(whole) {
			target.write(area, local.mean(local.represent(target.read(area))))
		}
	}
}

// stored returns the value that a program stores, before it is converted.
func (u *pairUse) stored(inputs []uint64) uint64 {
	switch u.form {
	case pairConstant:
		return u.constant()
	case pairMasked:
		return inputs[u.slot] >> u.shift() & u.mask()
	case pairShared:
		return inputs[0]
	}
	return inputs[u.slot]
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
