package rewrite_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// accessPair is a struct as a program sees it, the same struct as a layout has
// it, and what some programs do with it.
type accessPair struct {
	number        int
	local, target *pairStruct
	programs      []pairProgram
}

// pairProgram is one program of a pair.
type pairProgram struct {
	kind     pairProgramKind
	uses     []pairUse
	together int         // how many values are in registers at the same time
	held     int         // how many other variables are, all the while
	calling  pairCalling // of the second half
	params   []string    // of a function, in order
	hidden   bool        // whether it is static
	memory   pairMemory  // of the own copy, if it has one
	words    []pairWord  // that it puts there
	areas    []pairArea
}

// pairCalling is where the second half of a program is.
type pairCalling uint8

const (
	pairInline   pairCalling = iota
	pairCalled               // in a function
	pairCallback             // in a callback of bpf_loop
)

// pairProgramKind is what a program does with fields; its functions are named
// after it.
type pairProgramKind string

const (
	pairLoads     pairProgramKind = "load"
	pairStores    pairProgramKind = "store"
	pairExchanges pairProgramKind = "exchange" // loads and stores of the same few fields
	pairOwns      pairProgramKind = "own"      // loads and stores of an own copy, and of the descriptor
)

// pairArea is what a program runs on: a metadata area, and a number for each
// use, which is what is stored, or what a loaded value is compared with. Behind
// these are more, for structs and arrays that are stored, and to hold.
type pairArea struct {
	metadata []byte
	inputs   []uint64
	own      []byte // an own copy and what is around it, as accessPair.around cuts it
}

// pairUse is one access, or two of which the program chooses one.
type pairUse struct {
	slot    int // index of its variable
	stores  bool
	path    pairPath
	other   pairPath // for pairEither, pairBeside, pairMoved, pairSame and pairXor
	way     pairWay
	guard   pairGuard
	form    pairForm
	operand uint64 // of the form, and the constant that is stored
	width   int    // of the local type in bits, which pairSwapped needs
	side    pairSide
	moved   pairSide // of what pairMoved stores

	refused string // why Rewrite refused it
}

// pairWay is how a field is accessed.
type pairWay string

const (
	pairPlain  pairWay = "plain"  // md->f
	pairMacro  pairWay = "macro"  // BPF_CORE_READ_BITFIELD, BPF_CORE_WRITE_BITFIELD
	pairEither pairWay = "either" // md->f if that exists, md->g otherwise
	pairBehind pairWay = "behind" // *&md->f
	pairCopied pairWay = "copied" // memcpy from &md->f
	pairSplit  pairWay = "split"  // byte by byte
	pairWith   pairWay = "with"   // memcpy of the struct or array that it is in
	pairAll    pairWay = "all"    // the same from variables to all of it
	pairTaken  pairWay = "taken"  // by a function that gets &md->f
	pairProbed pairWay = "probed" // bpf_probe_read_kernel from &md->f
	pairBeside pairWay = "beside" // what lies behind &md->f, where the program has md->g
)

var pairWays = []pairWay{pairPlain, pairMacro, pairEither, pairBehind, pairCopied, pairSplit, pairWith, pairAll, pairTaken, pairProbed, pairBeside}

// loads reports whether fields are loaded in that way.
func (w pairWay) loads() bool { return w != pairAll }

// stores reports whether fields are stored in that way.
func (w pairWay) stores() bool { return w != pairCopied && w != pairProbed && w != pairBeside }

// pairGuard is how the program asks whether a field exists.
type pairGuard uint8

const (
	pairUnguarded pairGuard = iota
	pairIf                  // if (bpf_core_field_exists(md->f))
	pairFlag                // bool has = ...; if (has)
	pairElse                // with an else
)

// pairForm is what a program makes of a value it loaded, or where one that it
// stores comes from.
type pairForm uint8

const (
	pairWhole    pairForm = iota // as it is, in 64 bits; a variable is stored
	pairNarrowed                 // cast to a narrower type
	pairPart                     // (__u64)v >> operand & 0xff
	pairLess                     // (__u64)v < input
	pairLessSign                 // (__s64)v < (__s64)input
	pairEqual                    // (__u64)v == operand
	pairSwapped                  // byte-swapped
	pairPlus                     // v + 1, of the type that C gives it
	pairUnder                    // v < operand, in the same way
	pairSame                     // v == another field
	pairXor                      // v ^ another field
	pairIgnored                  // handed to a function together with what that ignores
	pairConstant                 // a constant is stored
	pairMasked                   // some bits of a variable are stored
	pairShared                   // a value is stored that other uses store as well
	pairAdded                    // a variable is added to the field
	pairSet                      // bits of a variable are set in the field
	pairStepped                  // md->f++
	pairMoved                    // another field is stored
)

// pairCasts are what pairNarrowed casts to; its operand is the index.
var pairCasts = []pairScalar{
	{size: 1}, {size: 1, signed: true}, {size: 2}, {size: 2, signed: true}, {size: 4}, {size: 4, signed: true},
}

// pairGenerator makes pairs that a compiler can compile.
type pairGenerator struct {
	*rand.Rand
	compiler pairCompiler
	number   int // of the pair
	names    int // given so far in this pair
}

// pairsExact is how many layouts are the program's own struct.
const pairsExact = 0.05

// pair makes a pair whose target fits in a metadata area.
func (g *pairGenerator) pair(number int) *accessPair {
	for {
		g.number, g.names = number, 0
		budget := 1 + g.IntN(20)
		fields := g.fields(&budget, 0)
		p := &accessPair{number: number}
		p.local = g.root(fields, g.chance(0.15), pairGaps{})
		p.target = g.root(g.targets(fields), g.chance(0.4), g.gaps())
		if g.chance(pairsExact) {
			p.target = p.local.clone().(*pairStruct)
		}

		paths := g.choosePaths(p.local)
		if p.target.size > netlab.MaxMetadata || unloadable(p.local) || p.local.crosses(paths) {
			continue
		}
		sorted := g.inOrder(p.local, paths)
		p.programs = []pairProgram{
			g.program(p, pairLoads, turns(paths, false)),
			g.program(p, pairStores, turns(sorted, true)),
			g.program(p, pairExchanges, g.exchanges(sorted)),
		}
		if !without("own") {
			p.programs = append(p.programs, g.program(p, pairOwns, g.keeps(p, paths)))
		}
		return p
	}
}

func (g *pairGenerator) chance(odds float64) bool { return g.Float64() < odds }

func (g *pairGenerator) name(prefix string) string {
	g.names++
	return fmt.Sprintf("%s%d", prefix, g.names)
}

// global names what shares a name space with other pairs.
func (g *pairGenerator) global(prefix string) string {
	return g.name(fmt.Sprintf("%s%d_", prefix, g.number))
}

func (g *pairGenerator) root(fields []pairMember, packed bool, gaps pairGaps) *pairStruct {
	root := &pairStruct{tag: fmt.Sprintf("pair%d", g.number), packed: packed, members: g.arrange(fields, 0)}
	layOut(root, gaps)
	return root
}

func (g *pairGenerator) gaps() pairGaps {
	if g.chance(0.3) {
		return pairGaps{}
	}
	return pairGaps{g.Rand, 0.1 + 0.3*g.Float64(), g.chance(0.7)}
}

// fields makes the named members of a struct, with the local types.
func (g *pairGenerator) fields(budget *int, depth int) []pairMember {
	var fields []pairMember
	for *budget > 0 && (len(fields) == 0 || depth == 0 || g.chance(0.7)) {
		fields = append(fields, pairMember{name: g.name("f"), typ: g.localType(budget, depth)})
	}
	return fields
}

func (g *pairGenerator) localType(budget *int, depth int) pairType {
	switch choice := g.Float64(); {
	case choice < 0.1 && depth < 3:
		return &pairStruct{tag: g.tag(), packed: g.chance(0.1), members: g.fields(budget, depth+1)}
	case choice < 0.2 && depth < 3:
		*budget--
		element := pairType(g.scalar(false))
		if g.chance(0.3) {
			element = &pairStruct{tag: g.tag(), members: g.fields(budget, depth+2)}
		} else if g.chance(0.2) {
			element = &pairArray{1 + g.IntN(3), element}
		}
		return &pairArray{1 + g.IntN(4), element}
	}
	*budget--
	return g.scalar(true)
}

func (g *pairGenerator) tag() string {
	if g.chance(0.5) {
		return ""
	}
	return g.global("nested")
}

// scalar makes a scalar of any kind, with its names.
func (g *pairGenerator) scalar(mayHaveBits bool) *pairScalar {
	s := &pairScalar{kind: pairInt}
	switch choice := g.IntN(10); {
	case choice == 0:
		s.kind = pairBool
	case choice == 1:
		s.kind, s.enum = pairEnum, g.global("enum")
	case choice == 2:
		s.kind = pairBig
	case choice == 3 && g.chance(0.5):
		s.kind = pairSmall
	}
	g.fillIn(s, mayHaveBits)
	return s
}

// fillIn chooses all of a scalar but its kind.
func (g *pairGenerator) fillIn(s *pairScalar, mayHaveBits bool) {
	s.size, s.signed, s.bits = 1<<g.IntN(4), g.chance(0.4), 0
	switch s.kind {
	case pairBool:
		s.size, s.signed = 1, false
	case pairBig, pairSmall:
		s.size, s.signed = 2<<g.IntN(3), false
	case pairEnum:
		if !g.compiler.describesEnums() {
			s.size, s.signed = 1<<g.IntN(3), false
		}
	}
	if mayHaveBits && s.kind != pairBig && s.kind != pairSmall && g.chance(0.25) {
		s.bits = 1 + g.IntN(s.size*8)
		if s.kind == pairBool {
			s.bits = 1
		}
	}
	s.typedefs = nil
	for s.kind != pairEnum && g.chance(0.15) {
		s.typedefs = append(s.typedefs, g.global("type"))
	}
	s.qualifiers = []string{"const", "volatile", "const volatile", "", "", "", "", "", "", "", "", ""}[g.IntN(12)]
}

// targets makes the target's version of each field, of most in another shape,
// and leaves some out.
func (g *pairGenerator) targets(fields []pairMember) []pairMember {
	var targets []pairMember
	for _, field := range fields {
		if g.chance(0.06) {
			continue
		}
		field.typ = g.targetType(field.typ, true)
		targets = append(targets, field)
	}
	return targets
}

func (g *pairGenerator) targetType(typ pairType, mayHaveBits bool) pairType {
	switch typ := typ.(type) {
	case *pairArray:
		length := typ.length
		if g.chance(0.4) {
			length = 1 + g.IntN(5)
		}
		return &pairArray{length, g.targetType(typ.element, false)}
	case *pairStruct:
		return &pairStruct{tag: typ.tag, packed: g.chance(0.2), members: g.targets(typ.members)}
	}
	target := typ.(*pairScalar).clone().(*pairScalar)
	if g.chance(0.25) {
		return target
	}
	switch {
	case g.chance(0.05):
		target.kind, target.enum = pairEnum, g.global("enum")
		if typ.(*pairScalar).kind == pairEnum {
			target.kind, target.enum = pairInt, ""
		}
	case target.kind != pairEnum && g.chance(0.6):
		target.kind = []pairKind{pairInt, pairInt, pairInt, pairInt, pairBool, pairBig, pairSmall}[g.IntN(7)]
	}
	g.fillIn(target, mayHaveBits)
	return target
}

// arrange puts members in random order, some of them into anonymous structs and
// unions, and others that nobody asks for between them.
func (g *pairGenerator) arrange(fields []pairMember, depth int) []pairMember {
	members := make([]pairMember, 0, len(fields))
	for _, i := range g.Perm(len(fields)) {
		field := fields[i]
		field.typ = g.arrangeType(field.typ)
		members = append(members, field)
		if g.chance(0.15) {
			members = append(members, g.unused())
		}
	}
	if depth < 2 && g.chance(0.3) && len(members) > 1 {
		from := g.IntN(len(members))
		to := from + 1 + g.IntN(len(members)-from)
		inner := &pairStruct{packed: g.chance(0.1), members: g.arrangeAgain(members[from:to], depth)}
		members = slices.Concat(members[:from], []pairMember{{typ: inner}}, members[to:])
	}
	if depth < 2 && g.chance(0.2) && len(members) > 0 {
		// Of a union one member is used only: C may store into the others at
		// any time in between.
		at := g.IntN(len(members))
		inner := &pairStruct{union: true, members: []pairMember{g.unused(), members[at]}}
		if g.chance(0.5) {
			slices.Reverse(inner.members)
		}
		members[at] = pairMember{typ: inner}
	}
	return members
}

func (g *pairGenerator) arrangeAgain(members []pairMember, depth int) []pairMember {
	inner := slices.Clone(members)
	if depth == 0 && g.chance(0.3) && len(inner) > 1 {
		return []pairMember{inner[0], {typ: &pairStruct{members: inner[1:]}}}
	}
	return inner
}

func (g *pairGenerator) arrangeType(typ pairType) pairType {
	switch typ := typ.(type) {
	case *pairArray:
		return &pairArray{typ.length, g.arrangeType(typ.element)}
	case *pairStruct:
		arranged := typ.clone().(*pairStruct)
		arranged.members = g.arrange(arranged.members, 1)
		if len(arranged.members) == 0 {
			arranged.members = []pairMember{g.unused()}
		}
		return arranged
	}
	return typ.clone()
}

// unused makes a member that no program uses.
func (g *pairGenerator) unused() pairMember {
	typ := g.scalar(true)
	typ.kind, typ.enum, typ.typedefs = pairInt, "", nil
	return pairMember{name: g.name("unused"), typ: typ}
}

// choosePaths chooses which fields to use: all that clang can record but those
// that nobody asks for, and of each array a few elements.
func (g *pairGenerator) choosePaths(local *pairStruct) []pairPath {
	var paths []pairPath
	for _, path := range pairLeaves(local) {
		leaf, _ := local.find(path)
		isUnused := slices.ContainsFunc(path, func(s pairStep) bool { return len(s.name) > 6 && s.name[:6] == "unused" })
		isElement := slices.ContainsFunc(path, func(s pairStep) bool { return s.name == "" })
		if leaf.recorded() && !isUnused && (!isElement || g.chance(0.3)) {
			paths = append(paths, path)
		}
	}
	g.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	return paths[:min(len(paths), 20)]
}

// inOrder sorts paths half of the time, so that bit-fields which share bytes are
// used one after the other.
func (g *pairGenerator) inOrder(local *pairStruct, paths []pairPath) []pairPath {
	if g.chance(0.5) {
		return paths
	}
	place := func(path pairPath) int {
		return slices.IndexFunc(pairLeaves(local), func(leaf pairPath) bool { return leaf.String() == path.String() })
	}
	return slices.SortedFunc(slices.Values(paths), func(a, b pairPath) int { return cmp.Compare(place(a), place(b)) })
}

// turns makes a use of each path.
func turns(paths []pairPath, stores bool) []pairUse {
	uses := make([]pairUse, len(paths))
	for i, path := range paths {
		uses[i] = pairUse{path: path, stores: stores}
	}
	return uses
}

// exchanges makes some uses of few paths, so that loads and stores of the same
// bytes follow each other, and often those of one struct or array.
func (g *pairGenerator) exchanges(paths []pairPath) []pairUse {
	if len(paths) == 0 || g.chance(0.2) {
		return nil
	}
	from := g.IntN(len(paths))
	if nested := slices.IndexFunc(paths, func(path pairPath) bool { return len(path) > 1 }); nested >= 0 && g.chance(0.6) {
		from = nested
	}
	few := paths[from:min(from+1+g.IntN(3), len(paths))]
	var uses []pairUse
	for range 1 + g.IntN(4) {
		uses = append(uses, pairUse{path: few[g.IntN(len(few))]}, pairUse{path: few[g.IntN(len(few))], stores: true})
	}
	return uses
}

// maxHeld is how many variables a program holds in registers at most. With the
// descriptor's address and what is accessed that makes all ten.
const maxHeld = 8

// maxCopied is how many bytes of structs a program may copy: they take stack,
// each twice if the compiler does not do well.
const maxCopied = 64

// pairsMore is how many more numbers there are than uses.
const pairsMore = max(maxHeld, maxCopied/8)

// program makes a program, given the paths of its uses and which of these store.
func (g *pairGenerator) program(p *accessPair, kind pairProgramKind, uses []pairUse) pairProgram {
	program := pairProgram{kind: kind, together: 1, hidden: g.chance(0.2) && !without("static")}
	g.calls(&program)
	if kind == pairOwns {
		program.memory = g.memory(p)
	}
	if kind == pairExchanges || g.chance(0.4) {
		program.together = 2 + g.IntN(5)
	}
	if kind == pairExchanges && g.chance(0.5) {
		program.held = maxHeld - g.IntN(4)
	}
	copied := 0
	for i := 0; i < len(uses); i++ {
		use := uses[i]
		if use.side == pairEitherSide && !p.exists(use.path) {
			use.side = pairOwnCopy // of either nobody can ask whether the field exists
		}
		q := p.on(use.side)
		local, _ := p.local.find(use.path)
		if use.stores && local.isConst() {
			continue
		}
		use.slot, use.way, use.operand, use.width = len(program.uses), g.way(local, use.path, use.stores), g.Uint64(), local.size*8
		g.escape(q, &use)
		if use.side == pairDescriptor && g.chance(0.1) {
			use.side = pairAgain
		}
		if kind != pairOwns && i+1 < len(uses) && g.chance(0.1) {
			other, _ := p.local.find(uses[i+1].path)
			if !use.stores || !other.isConst() {
				use.way, use.other = pairEither, uses[i+1].path
				i++
			}
		}
		if _, target, _ := q.resolve(use.path); use.stores && use.way == pairMacro && target.pairScalar != nil && target.kind == pairBool {
			use.way = pairPlain // the macro would not convert to 0 or 1
		}
		if use.way == pairMacro && (kind == pairExchanges || kind == pairOwns && slices.ContainsFunc(uses, func(u pairUse) bool { return u.stores })) {
			use.way = pairPlain // C does not order the macro's accesses and others: they are of other types
		}
		if use.copies() && use.side == pairEitherSide {
			use.way = pairPlain
		}
		if use.copies() && !q.existsWhole(use.path.whole()) && g.chance(0.95) {
			use.way = pairPlain // which is not refused
		}
		if use.copies() {
			if copied += p.sizeOf(use.path.whole()); copied > maxCopied {
				use.way = pairPlain
			}
		}
		use.guard = g.guard(q, &use, kind)
		use.form = g.form(local.pairScalar, use.way, use.stores)
		if use.way == pairPlain {
			g.express(q, &use, uses)
		}
		if kind == pairOwns && use.stores && use.way != pairAll && g.chance(0.6) {
			g.move(p, &use, uses)
		}
		if kind == pairExchanges && use.stores && g.chance(0.3) {
			use.form = pairAdded + pairForm(g.IntN(2))
			other := uses[g.IntN(len(uses))].path
			if use.way != pairEither && p.exists(other) && other.String() != use.path.String() && g.chance(0.5) {
				use.form, use.other = pairMoved, other
			}
		}
		program.uses = append(program.uses, use)
		if kind == pairOwns {
			program.words = append(program.words, g.words(p, &use)...)
		}
	}
	program.areas = g.areas(p, &program)
	return program
}

func (g *pairGenerator) way(local pairLeaf, path pairPath, stores bool) pairWay {
	isElement := path[len(path)-1].name == ""
	isInteger := local.kind == pairInt || local.kind == pairEnum
	switch choice := g.Float64(); {
	case local.bits == 0 && choice < 0.04:
		return pairTaken
	case local.bits == 0 && choice < 0.07 && !stores && local.qualifiers == "":
		return pairProbed
	case len(path) > 1 && local.qualifiers == "" && stores && g.chance(0.3):
		return pairAll
	case len(path) > 1 && local.bits == 0 && local.qualifiers == "" && g.chance(0.3):
		return pairWith
	case local.bits > 0 && isInteger && choice < 0.6, local.bits == 0 && isInteger && !isElement && choice < 0.1:
		return pairMacro
	case local.bits == 0 && choice > 0.95:
		return pairBehind
	case local.bits == 0 && choice > 0.9 && !stores && local.qualifiers == "":
		return pairCopied
	case local.bits == 0 && choice > 0.8 && local.qualifiers == "":
		return pairSplit
	}
	return pairPlain
}

// guard guards what is missing, and other fields at random: the program does
// not know. One that exchanges values seldom asks, as the compiler does not
// reorder loads and stores across the answer.
func (g *pairGenerator) guard(p *accessPair, use *pairUse, kind pairProgramKind) pairGuard {
	guards, odds := []pairGuard{pairIf, pairFlag, pairElse}, 0.25
	if kind == pairExchanges {
		odds = 0.05
	}
	if use.stores {
		guards = guards[:2]
	}
	if use.side == pairOwnCopy || use.side == pairEitherSide {
		return pairUnguarded // a program knows what its own struct has
	}
	if !p.exists(use.last()) || g.chance(odds) {
		return guards[g.IntN(len(guards))]
	}
	return pairUnguarded
}

// copies reports whether a use copies the struct or array that its field is in.
func (u *pairUse) copies() bool { return u.way == pairWith || u.way == pairAll }

// last returns the path that is used if no question is asked, or if the answer
// was no.
func (u *pairUse) last() pairPath {
	if u.way == pairEither {
		return u.other
	}
	return u.path
}

func (g *pairGenerator) form(local *pairScalar, way pairWay, stores bool) pairForm {
	switch {
	case stores && g.chance(0.4):
		return pairConstant
	case stores && g.chance(0.4):
		return pairMasked + pairForm(g.IntN(2))
	case stores, way == pairMacro, way == pairEither, g.chance(0.5):
		return pairWhole
	case local.order() && local.bits == 0:
		return pairSwapped
	}
	return pairNarrowed + pairForm(g.IntN(int(pairSwapped-pairNarrowed)))
}

func (s *pairScalar) order() bool { return s.kind == pairBig || s.kind == pairSmall }

// areas makes random areas of the target's size and larger ones.
func (g *pairGenerator) areas(p *accessPair, program *pairProgram) []pairArea {
	least := roundUp(p.target.size, 4)
	areas := make([]pairArea, 4)
	for i := range areas {
		size := least
		if i == 1 {
			size = min(least+4*g.IntN(10), netlab.MaxMetadata)
		}
		area := pairArea{make([]byte, size), make([]uint64, len(program.uses)+pairsMore), nil}
		if program.kind == pairOwns {
			area.own = make([]byte, p.ownSize())
		}
		for j := range area.own {
			area.own[j] = byte(g.Uint32())
		}
		for j := range area.metadata {
			area.metadata[j] = byte(g.Uint32())
		}
		for j := range area.inputs {
			area.inputs[j] = g.Uint64() >> (g.IntN(4) * 16)
		}
		p.settle(area.metadata)
		for j := range program.uses {
			p.settleInputs(&program.uses[j], area.inputs)
		}
		areas[i] = area
	}
	return areas
}
