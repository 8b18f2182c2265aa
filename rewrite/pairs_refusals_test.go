package rewrite_test

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// pairsRefusals are the reasons for which a use may be refused. What is refused
// for another reason is a failure: delete a line once no such access is refused
// any more.
var pairsRefusals = []*regexp.Regexp{
	// Nobody can tell from a part of a number whether it is 0 as a whole.
	regexp.MustCompile(`^the instruction ".*" stores a part of .*, and the layout's .* holds whether it is 0 as a whole$`),

	// A part that has the sign only changes with the part that has it.
	regexp.MustCompile(`^the instruction ".*" loads a part of .*, of which the layout's .* has the sign only, and the function may store it before$`),

	// The instruction accesses more than the field.
	regexp.MustCompile(`^the instruction ".*" accesses \d bytes, the field .* has \d$`),

	// The layout lacks a member or an element of what is copied as a whole.
	regexp.MustCompile(`^a copy of it can't be converted: .* has no (element|field) \w+$`),
	regexp.MustCompile(`^a copy of it can't be converted: .*, which is no .*$`),
	regexp.MustCompile(`^a copy of it can't be converted: .*nothing tells which member of union \S+ is meant, and the layout keeps them in different ways$`),

	// Nothing tells whether a compiler that says "unsigned" knows about signs.
	regexp.MustCompile(`^the types differ, and the compiler did not record whether the enumeration is signed: `),
	regexp.MustCompile(`^the compiler of the layout did not record whether .* is signed$`),

	// Bit-fields.
	pairsNotPlain,
	regexp.MustCompile(`^the bit-field .* crosses an 8-byte boundary`),
	regexp.MustCompile(`^the \d bytes that the bit-field macros load for .* end beyond the layout's type, which has \d+$`),
	regexp.MustCompile(`^the bit-field .* of the layout spans more bytes than one load reads$`),
	regexp.MustCompile(`^the (byte order|width in foreign byte order) differs, and the bit-field macros know nothing of that: `),

	pairsMacroShared,

	// Offsets in a register, addresses.
	regexp.MustCompile(`^its offset is kept in a register \(".*"\), and what uses it is only right for .*, not for the layout's `),
	regexp.MustCompile(`^its address is `),
	regexp.MustCompile(`^the instruction ".*" is shared by several fields, which the layout keeps in different ways$`),
	regexp.MustCompile(`^the instruction ".*" also accesses what is no field of it$`),
}

// pairsNotPlain is why a bit-field may be refused, in an own copy too: clang loads bytes
// that it does not record.
var pairsNotPlain = regexp.MustCompile(`^where the bit-field .* is in what the instruction ".*" moves is not plain from its struct$`)

// pairsOwnBits is why one may be refused whose address clang keeps in a register, for
// several loads at distances that it does not record.
var pairsOwnBits = []*regexp.Regexp{
	regexp.MustCompile(`^its address is computed with, where nothing tells what reads `),
	pairsMacroShared,
}

// pairsMacroShared is why a macro may be refused beside another access to the same field:
// clang makes one offset for both.
var pairsMacroShared = regexp.MustCompile(`^clang uses the offset that a bit-field macro asks for in other accesses too, which are not recorded$`)

// pairsMacroHalf is why a macro may be refused beside another use of the same field on a
// big-endian machine: clang gets its offset wrong.
var pairsMacroHalf = regexp.MustCompile(`^what is added to its pointer is computed from the offset, as clang for big-endian machines takes half of one that a bit-field macro shares$`)

// pairsNoRoom is why a use may be refused in a program that passes an address in its
// stack on: nobody uses more of the stack then.
var pairsNoRoom = regexp.MustCompile(`^it takes more instructions in this layout, and there is neither a free register for them nor room on the stack$`)

// pairsOwnRefusals are the reasons for which a use may be refused, of the descriptor or
// of a copy, in a function that does the same with the other.
var pairsOwnRefusals = []*regexp.Regexp{
	regexp.MustCompile(`^the bit-field macros ask for a field of the descriptor and of a copy of the program's own in one function`),
	regexp.MustCompile(`^clang keeps one offset in a register for a field of the descriptor and of a copy of the program's own`),
}

// pairsEither is why any use may be refused in a program with one path for both: of an
// offset that clang keeps for the descriptor and for the copy, it may share the register.
var pairsEither = regexp.MustCompile(`^its pointer points at .*, depending on the path or on who calls the function$`)

func pairsMayRefuse(reason string) bool {
	return slices.ContainsFunc(pairsRefusals, func(r *regexp.Regexp) bool { return r.MatchString(reason) })
}

// mayRefuse reports whether a use may be refused for a reason. An own copy is as
// the program was compiled for; one path for both may be refused for any reason,
// and so may what is behind a field, and what gets an address unless the layout
// keeps there what the program does.
func (p *accessPair) mayRefuse(program *pairProgram, use *pairUse, reason string) bool {
	if program.sharesStack() && pairsNoRoom.MatchString(reason) {
		return true
	}
	if slices.ContainsFunc(pairsOwnRefusals, func(r *regexp.Regexp) bool { return r.MatchString(reason) }) {
		return true
	}
	if pairsEither.MatchString(reason) && slices.ContainsFunc(program.uses, func(u pairUse) bool { return u.side == pairEitherSide }) {
		return true
	}
	if pairsMacroHalf.MatchString(reason) && pairsBigEndian() && program.usesAgain(use) {
		return true
	}
	switch use.side {
	case pairOwnCopy:
		return use.form == pairMoved && use.moved != pairOwnCopy && pairsMayRefuse(reason) || pairsNotPlain.MatchString(reason) ||
			p.isBits(use.path) && slices.ContainsFunc(pairsOwnBits, func(r *regexp.Regexp) bool { return r.MatchString(reason) }) ||
			pairsMacroShared.MatchString(reason) && program.usesBeside(use)
	case pairEitherSide:
		return true
	}
	switch use.way {
	case pairTaken, pairProbed:
		return !p.alike(use.path) || use.form == pairMoved && pairsMayRefuse(reason)
	case pairBeside:
		return true
	}
	return pairsMayRefuse(reason)
}

// sharesStack reports whether a program passes an address in its stack on: of all of the
// copy, or of a field.
func (p *pairProgram) sharesStack() bool {
	takes := func(use pairUse) bool {
		return use.way == pairTaken && (use.side == pairOwnCopy || use.side == pairEitherSide)
	}
	return p.calling == pairCallback || p.memory == pairStack && (p.calling == pairCalled || slices.ContainsFunc(p.uses, takes))
}

// usesBeside reports whether a program uses the field of an own copy in the descriptor,
// too.
func (p *pairProgram) usesBeside(use *pairUse) bool {
	return slices.ContainsFunc(p.uses, func(other pairUse) bool {
		return other.side != use.side && slices.Equal(other.path, use.path)
	})
}

// usesAgain reports whether a program uses the field of a use more than once.
func (p *pairProgram) usesAgain(use *pairUse) bool {
	count := 0
	for _, other := range p.uses {
		if slices.Equal(other.path, use.path) || slices.Equal(other.other, use.path) {
			count++
		}
	}
	return count > 1
}

// alike reports whether the layout has a field of the program's type, alone: of an
// array nobody knows how many elements are used.
func (p *accessPair) alike(path pairPath) bool {
	local, target, exists := p.resolve(path)
	isElement := slices.ContainsFunc(path, func(step pairStep) bool { return step.name == "" })
	return exists && !isElement && local.pairScalar != nil && target.pairScalar != nil && local.bits == 0 && target.bits == 0 &&
		local.class() == target.class() && local.size == target.size
}

// pairShape is what a use has in common with others that are edited alike.
type pairShape struct{ local, target string }

// shape returns the shape of the access that a use comes to.
func (p *accessPair) shape(use *pairUse) pairShape {
	local, target, exists := p.resolve(p.accessed(use))
	switch use.side {
	case pairOwnCopy:
		return pairShape{local.class(), "own copy"}
	case pairEitherSide:
		return pairShape{local.class(), "either"}
	}
	if !exists {
		return pairShape{local.class(), "missing"}
	}
	relation := []string{"narrower", "as wide", "wider"}[1+cmp.Compare(target.width(), local.width())]
	return pairShape{local.class(), relation + " " + target.class()}
}

// pairTally counts what was accepted and what was refused, by shape.
type pairTally struct {
	sync.Mutex
	pairs    int
	accepted map[pairShape]map[string]int // by operation: "store, macro"
	refused  map[pairShape]map[string]int
	reasons  map[string]int
}

func newPairTally() *pairTally {
	return &pairTally{
		accepted: make(map[pairShape]map[string]int),
		refused:  make(map[pairShape]map[string]int),
		reasons:  make(map[string]int),
	}
}

// add counts the uses of pairs that were checked.
func (t *pairTally) add(pairs []*accessPair) {
	t.Lock()
	defer t.Unlock()
	for _, p := range pairs {
		t.pairs++
		for _, program := range p.programs {
			for i := range program.uses {
				t.count(p, &program.uses[i])
			}
		}
	}
}

func (t *pairTally) count(p *accessPair, use *pairUse) {
	if use.refused == pairsUnrecorded {
		return
	}
	shape, counts := p.shape(use), t.accepted
	if use.refused != "" {
		counts = t.refused
		t.reasons[pairsReason(use.refused)]++
	}
	if counts[shape] == nil {
		counts[shape] = make(map[string]int)
	}
	counts[shape][use.operation()]++
}

func (u *pairUse) operation() string {
	if u.stores {
		return "store " + string(u.way)
	}
	return "load " + string(u.way)
}

// pairsReason returns the pattern that allows a refusal.
func pairsReason(reason string) string {
	for _, r := range slices.Concat(pairsRefusals, pairsOwnRefusals) {
		if r.MatchString(reason) {
			return r.String()
		}
	}
	return "others, of a field's address, of either memory, or not allowed"
}

// String returns a table with a line for each shape: how many uses of each
// operation were accepted / refused.
func (t *pairTally) String() string {
	var operations []string
	for _, stores := range []bool{false, true} {
		for _, way := range pairWays {
			if stores && !way.stores() || !stores && !way.loads() {
				continue
			}
			use := pairUse{stores: stores, way: way}
			operations = append(operations, use.operation())
		}
	}
	shapes := maps.Clone(t.accepted)
	maps.Copy(shapes, t.refused)

	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "program\tlayout\t%s\t\n", strings.Join(operations, "\t"))
	for _, shape := range slices.SortedFunc(maps.Keys(shapes), func(a, b pairShape) int {
		return cmp.Or(cmp.Compare(a.local, b.local), cmp.Compare(a.target, b.target))
	}) {
		fmt.Fprintf(w, "%s\t%s\t", shape.local, shape.target)
		for _, operation := range operations {
			fmt.Fprintf(w, "%s\t", accepted(t.accepted[shape][operation], t.refused[shape][operation]))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintln(&b, "\nRefused because of:")
	for _, reason := range slices.Sorted(maps.Keys(t.reasons)) {
		fmt.Fprintf(&b, "%8d %s\n", t.reasons[reason], reason)
	}
	return b.String()
}

func accepted(accepted, refused int) string {
	if accepted+refused == 0 {
		return "."
	}
	return fmt.Sprintf("%d/%d", accepted, refused)
}
