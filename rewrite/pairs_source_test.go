package rewrite_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pairsSource writes the C of those programs of pairs that are wanted.
func pairsSource(pairs []*accessPair, wanted func(*accessPair, pairProgram) bool) string {
	var c cWriter
	c.line(`#include "pairs.h"`)
	for _, p := range pairs {
		isWanted := func(program pairProgram) bool { return wanted(p, program) }
		if !slices.ContainsFunc(p.programs, isWanted) {
			continue
		}
		c.line("")
		c.types(p.local)
		c.line("#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)")
		c.linef("%s;", c.spell(p.local, ""))
		c.line("#pragma clang attribute pop")
		for i, program := range p.programs {
			if isWanted(program) {
				c.program(p, &p.programs[i])
			}
		}
	}
	return c.String()
}

// cWriter writes C.
type cWriter struct {
	strings.Builder
	indent string
	number int // of the pair
}

func (c *cWriter) line(text string) {
	if text != "" {
		text = c.indent + text
	}
	c.WriteString(text + "\n")
}

func (c *cWriter) linef(format string, args ...any) { c.line(fmt.Sprintf(format, args...)) }

// types declares the enumerations and typedefs that a type needs.
func (c *cWriter) types(typ pairType) {
	switch typ := typ.(type) {
	case *pairArray:
		c.types(typ.element)
	case *pairStruct:
		for _, member := range typ.members {
			c.types(member.typ)
		}
	case *pairScalar:
		if typ.kind == pairEnum {
			c.enum(typ)
		}
		inner := typ.spelled()
		for i := len(typ.typedefs) - 1; i >= 0; i-- {
			c.linef("typedef %s %s;", inner, typ.typedefs[i])
			inner = typ.typedefs[i]
		}
	}
}

func (c *cWriter) enum(s *pairScalar) {
	var values []string
	for i, value := range s.enumerators() {
		values = append(values, fmt.Sprintf("%s_%c = %d", s.enum, 'A'+i, value))
	}
	packed := ""
	if s.size < 4 {
		packed = " __attribute__((packed))"
	}
	c.linef("enum %s { %s }%s;", s.enum, strings.Join(values, ", "), packed)
}

// enumerators are the values that make a compiler choose size and sign.
func (s *pairScalar) enumerators() []int64 {
	large := map[int]int64{1: 100, 2: 30_000, 4: 2_000_000_000, 8: 1 << 40}[s.size]
	if s.signed {
		return []int64{-large, 0, large}
	}
	return []int64{0, 1, 2 * large}
}

// spelled returns the name of the scalar's type behind its typedefs.
func (s *pairScalar) spelled() string {
	switch s.kind {
	case pairBool:
		return "bool"
	case pairEnum:
		return "enum " + s.enum
	case pairBig:
		return fmt.Sprintf("__be%d", s.size*8)
	case pairSmall:
		return fmt.Sprintf("__le%d", s.size*8)
	}
	if s.signed {
		return fmt.Sprintf("__s%d", s.size*8)
	}
	return fmt.Sprintf("__u%d", s.size*8)
}

// declare spells a member of a scalar type.
func (s *pairScalar) declare(name string) string {
	typ := s.spelled()
	if len(s.typedefs) > 0 {
		typ = s.typedefs[0]
	}
	if s.qualifiers != "" {
		typ = s.qualifiers + " " + typ
	}
	if s.bits > 0 {
		return fmt.Sprintf("%s %s : %d", typ, name, s.bits)
	}
	return fmt.Sprintf("%s %s", typ, name)
}

// spell declares a name of a type, or a type alone.
func (c *cWriter) spell(typ pairType, name string) string {
	switch typ := typ.(type) {
	case *pairArray:
		return c.spell(typ.element, fmt.Sprintf("%s[%d]", name, typ.length))
	case *pairStruct:
		var inner cWriter
		inner.indent = c.indent + "\t"
		for _, member := range typ.members {
			inner.linef("%s;", inner.spell(member.typ, member.name))
		}
		return spaced(typ.keyword(), typ.tag, "{\n"+inner.String()+c.indent+"}", typ.attribute(), name)
	}
	return typ.(*pairScalar).declare(name)
}

func (s *pairStruct) keyword() string {
	if s.union {
		return "union"
	}
	return "struct"
}

func (s *pairStruct) attribute() string {
	if s.packed {
		return "__attribute__((packed))"
	}
	return ""
}

// spaced joins the words that are not empty.
func spaced(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

// layout spells a layout, with the place of each member.
func (c *cWriter) layout(typ pairType, name string, bit int) string {
	switch typ := typ.(type) {
	case *pairArray:
		return c.layout(typ.element, fmt.Sprintf("%s[%d]", name, typ.length), bit)
	case *pairStruct:
		var inner cWriter
		inner.indent = c.indent + "\t"
		for _, member := range typ.members {
			at := bit + member.bit
			place := fmt.Sprintf("at %d", at/8)
			if scalar, ok := member.typ.(*pairScalar); ok && scalar.bits > 0 {
				place = fmt.Sprintf("at bit %d", at)
			}
			inner.linef("%s; /* %s */", inner.layout(member.typ, member.name, at), place)
		}
		return spaced(typ.keyword(), typ.tag, fmt.Sprintf("{ /* %d bytes */\n", typ.size)+inner.String()+c.indent+"}", name)
	}
	return typ.(*pairScalar).declare(name)
}

// name is the program's, and also that of the C function.
func (p *pairProgram) name(number int) string { return fmt.Sprintf("%s%d", p.kind, number) }

// program writes a program, and the global variables that it communicates by.
func (c *cWriter) program(p *accessPair, program *pairProgram) {
	c.number = p.number
	name := program.name(p.number)
	slots := program.slots()
	c.linef("__u64 %s_in[%d], %s_out[%d], %s_found;", name, slots, name, slots, name)

	c.takers(p, program)
	if program.kind == pairOwns {
		c.kept(p, program)
	}
	first, rest := program.uses, []pairUse(nil)
	if program.calling != pairInline {
		half := len(first) / 2
		first, rest = first[:half], first[half:]
		c.rest(p, program, rest)
	}
	static := ""
	if program.hidden {
		static = "static "
	}
	c.linef("%sSEC(\"xdp\") int %s(struct xdp_md *ctx)\n{", static, name)
	c.linef("\tstruct %s *md = DESCRIPTOR(ctx, struct %s), *again = md;", p.local.tag, p.local.tag)
	c.line("\tlong none = 0;\n")
	c.line("\tif (!md)\n\t\treturn XDP_PASS;\n\tOPAQUE(again);")
	if program.kind == pairOwns {
		c.keep(p, program)
	}
	c.linef("\t%s_found = 1;", name)
	c.uses(p, program, first)
	if program.calling != pairInline {
		c.call(program)
	}
	if program.kind == pairOwns {
		c.tell(program)
	}
	c.line("\treturn XDP_PASS + none;\n}")
}

// parameters are what a program's functions may get.
func (p *pairProgram) parameters(tag string) map[string]string {
	parameters := map[string]string{
		"md": "struct " + tag + " *md", "again": "struct " + tag + " *again",
		"ctx": "struct xdp_md *ctx", "unread": "__u64 unread",
	}
	if p.kind == pairOwns {
		parameters["own"] = "struct " + tag + " *own"
	}
	return parameters
}

// rest writes a function with the second half of a program.
func (c *cWriter) rest(p *accessPair, program *pairProgram, uses []pairUse) {
	name, parameters := program.name(p.number), program.parameters(p.local.tag)
	delete(parameters, "unread")
	if program.calling == pairCallback {
		c.linef("struct %s_args {", name)
		for _, parameter := range slices.Sorted(maps.Keys(parameters)) {
			c.linef("\t%s;", parameters[parameter])
		}
		c.linef("};\nstatic long %s_rest(__u32 i, struct %s_args *args)\n{", name, name)
		for _, parameter := range slices.Sorted(maps.Keys(parameters)) {
			c.linef("\t%s = args->%s;", parameters[parameter], parameter)
		}
		c.uses(p, program, uses)
		c.line("\treturn 0;\n}")
		return
	}
	declared := make([]string, len(program.params))
	for i, parameter := range program.params {
		declared[i] = program.parameters(p.local.tag)[parameter]
	}
	c.linef("static __noinline int %s_rest(%s)\n{", name, strings.Join(declared, ", "))
	c.uses(p, program, uses)
	// Nobody knows that it is 0: if nothing reads what a function returns, clang
	// leaves any value in r0, also addresses in the stack, which the kernel refuses.
	c.line("\tint none = 0;\n\n\tasm volatile(\"\" : \"+r\"(none));\n\treturn none;\n}")
}

// call calls the second half of a program.
func (c *cWriter) call(program *pairProgram) {
	name := program.name(c.number)
	if program.calling == pairCalled {
		arguments := slices.Clone(program.params)
		if i := slices.Index(arguments, "unread"); i >= 0 {
			arguments[i] = name + "_in[0]"
		}
		c.linef("\tnone = %s_rest(%s);", name, strings.Join(arguments, ", "))
		return
	}
	own := ""
	if program.kind == pairOwns {
		own = ", .own = own"
	}
	c.linef("\tstruct %s_args args = { .md = md, .again = again, .ctx = ctx%s };", name, own)
	c.linef("\tbpf_loop(1, %s_rest, &args, 0);", name)
}

// takers writes the functions that get the address of a field.
func (c *cWriter) takers(p *accessPair, program *pairProgram) {
	name := program.name(p.number)
	for _, use := range program.uses {
		if use.way != pairTaken || use.refused != "" {
			continue
		}
		field := fmt.Sprintf("__typeof__(((struct %s *)0)->%s) *field", p.local.tag, use.path)
		if use.stores {
			c.linef("static __noinline void %s_set%d(%s, __u64 value)\n{\n\t*field = value;\n}", name, use.slot, field)
			continue
		}
		c.linef("static __noinline __u64 %s_take%d(%s)\n{\n\treturn *field;\n}", name, use.slot, field)
	}
}

// slots returns how many variables a program needs.
func (p *pairProgram) slots() int { return len(p.areas[0].inputs) }

// firstHeld returns the slot of the first variable that is held.
func (p *pairProgram) firstHeld() int { return p.slots() - pairsMore }

// uses writes accesses, in groups whose values are there at the same time.
func (c *cWriter) uses(p *accessPair, program *pairProgram, uses []pairUse) {
	name := program.name(p.number)
	c.indent = "\t"
	defer func() { c.indent = "" }()
	release := c.hold(p, program)
	for len(uses) > 0 {
		group := uses[:min(program.together, len(uses))]
		uses = uses[len(group):]
		c.line("{")
		c.indent = "\t\t"
		if program.kind != pairLoads {
			c.linef("__u64 shared = %s_in[0];", name)
		}
		c.group(p, program, slices.DeleteFunc(slices.Clone(group), func(u pairUse) bool { return u.refused != "" }))
		c.indent = "\t"
		c.line("}")
	}
	release()
}

// group writes accesses whose values are there at the same time.
func (c *cWriter) group(p *accessPair, program *pairProgram, uses []pairUse) {
	name := program.name(p.number)
	var loaded []string
	for _, use := range uses {
		if p.isLossy(program, &use) {
			c.line("barrier();")
		}
		input := fmt.Sprintf("%s_in[%d]", name, use.slot)
		c.put(p, program, &use, input)
		if use.side == pairEitherSide {
			c.linef("struct %s *either%d = %s & 1 ? own : md;", p.local.tag, use.slot, input)
		}
		if use.stores {
			c.store(name, &use, input, loaded)
		} else {
			variable := fmt.Sprintf("v%d", use.slot)
			c.linef("__u64 %s = 0;", variable)
			c.load(name, &use, variable, input)
			loaded = append(loaded, variable)
		}
	}
	for _, use := range uses {
		if !use.stores {
			c.linef("%s_out[%d] = v%d;", name, use.slot, use.slot)
		}
	}
}

// hold writes what keeps variables in registers, until they are released all at
// once.
func (c *cWriter) hold(p *accessPair, program *pairProgram) (release func()) {
	name := program.name(p.number)
	var held []string
	for i := range program.held {
		held = append(held, fmt.Sprintf("h%d", i))
		c.linef("__u64 %s = %s_in[%d];", held[i], name, program.firstHeld()+i)
	}
	return func() {
		if len(held) > 0 {
			c.line(inRegisters(held))
		}
		for i, variable := range held {
			c.linef("%s_out[%d] = %s;", name, program.firstHeld()+i, variable)
		}
	}
}

// inRegisters returns a statement that needs all of some variables in registers.
func inRegisters(variables []string) string {
	return fmt.Sprintf(`asm volatile("" : : "r"(%s));`, strings.Join(variables, `), "r"(`))
}

// isLossy reports whether a use loads what was stored before, and it is open what
// it gets: what was stored, if the compiler still has that in a register, or what
// the layout's field keeps of it. To what is stored again, all that the layout's
// field held before matters as well: the compiler may see that nothing changes.
func (p *accessPair) isLossy(program *pairProgram, use *pairUse) bool {
	side, path := use.side, p.accessed(use)
	if use.form == pairMoved {
		side, path = use.moved, use.other
	}
	if use.stores && use.form < pairAdded || side.at(0) == pairOwnCopy {
		return false
	}
	if use.form == pairSame || use.form == pairXor {
		one := *use
		one.form, one.path = pairWhole, use.other
		if p.isLossy(program, &one) {
			return true
		}
	}
	local, target, exists := p.resolve(path)
	if !exists || !use.stores && target.capacity() >= local.capacity() {
		return false
	}
	return slices.ContainsFunc(program.uses, func(u pairUse) bool {
		stored := p.accessed(&u)
		return u.stores && u.side != pairOwnCopy && u.slot < use.slot && (stored.String() == path.String() || u.copies() && path.within(stored.whole()))
	})
}

// capacity returns how many bits of a number are kept.
func (s *pairScalar) capacity() int {
	if s.kind == pairBool {
		return 1
	}
	return s.width()
}

// guarded writes what is to be done to the field of a use, after the question
// that the use asks.
func (c *cWriter) guarded(use *pairUse, do func(path pairPath) string, otherwise string) {
	question := fmt.Sprintf("bpf_core_field_exists(%s->%s)", use.base(), use.last())
	if use.guard == pairFlag {
		c.linef("bool has%d = %s;", use.slot, question)
		question = fmt.Sprintf("has%d", use.slot)
	}
	before := ""
	if use.way == pairEither {
		c.linef("if (bpf_core_field_exists(%s->%s))", use.base(), use.path)
		c.line("\t" + do(use.path))
		before = "else "
	}
	if use.guard == pairUnguarded {
		c.line(before + do(use.last()))
		return
	}
	c.linef("%sif (%s)", before, question)
	c.line("\t" + do(use.last()))
	if use.guard == pairElse {
		c.line("else")
		c.line("\t" + otherwise)
	}
}

func (c *cWriter) load(name string, use *pairUse, variable, input string) {
	c.guarded(use, func(path pairPath) string {
		return fmt.Sprintf("%s = %s;", variable, use.formedC(use.loadC(name, path), input))
	}, fmt.Sprintf("%s = %#xULL;", variable, use.operand))
}

func (u *pairUse) loadC(name string, path pairPath) string {
	base := u.base()
	switch u.way {
	case pairMacro:
		return fmt.Sprintf("BPF_CORE_READ_BITFIELD(%s, %s)", base, path)
	case pairBehind:
		return fmt.Sprintf("*ADDRESS(%s->%s)", base, path)
	case pairCopied:
		return fmt.Sprintf("COPIED(%s->%s)", base, path)
	case pairSplit:
		return fmt.Sprintf("SPLIT(%s->%s)", base, path)
	case pairWith:
		return fmt.Sprintf("COPIED_WITH(%s, %s, %s)", base, path.whole(), path)
	case pairTaken:
		return fmt.Sprintf("%s_take%d(&%s->%s)", name, u.slot, base, path)
	case pairProbed:
		return fmt.Sprintf("PROBED(%s->%s)", base, path)
	case pairBeside:
		return fmt.Sprintf("BESIDE(%s->%s, __typeof__(%s->%s))", base, path, base, u.other)
	}
	return fmt.Sprintf("%s->%s", base, path)
}

// formedC is formed in C.
func (u *pairUse) formedC(value, input string) string {
	switch u.form {
	case pairNarrowed:
		cast := pairCasts[u.operand%uint64(len(pairCasts))]
		return fmt.Sprintf("(%s)%s", cast.spelled(), value)
	case pairPart:
		return fmt.Sprintf("(__u64)%s >> %d & 0xff", value, u.shift())
	case pairLess:
		return fmt.Sprintf("(__u64)%s < %s", value, input)
	case pairLessSign:
		return fmt.Sprintf("(__s64)%s < (__s64)%s", value, input)
	case pairEqual:
		return fmt.Sprintf("(__u64)%s == %d", value, u.compared())
	case pairSwapped:
		return fmt.Sprintf("__builtin_bswap%d(%s)", u.width, value)
	case pairPlus:
		return value + " + 1"
	case pairUnder:
		return fmt.Sprintf("%s < %d", value, u.limit())
	case pairSame:
		return fmt.Sprintf("%s == %s->%s", value, u.base(), u.other)
	case pairXor:
		return fmt.Sprintf("%s ^ %s->%s", value, u.base(), u.other)
	case pairIgnored:
		return fmt.Sprintf("(__u32)ignoring(ctx, %s, ctx, %s)", input, value)
	}
	return value
}

// store writes a store, and a use of what was loaded before it. Without that the
// compiler moves loads into a later block, across the store: LLVM's
// BPFMISimplifyPatchable.cpp makes of it an instruction that is none to the passes
// which follow.
func (c *cWriter) store(name string, use *pairUse, input string, loaded []string) {
	c.guarded(use, func(path pairPath) string {
		store := use.storeC(name, path, input)
		if len(loaded) > 0 {
			return fmt.Sprintf("{ %s %s }", store, inRegisters(loaded))
		}
		return store
	}, "")
}

func (u *pairUse) storeC(name string, path pairPath, input string) string {
	base := u.base()
	if u.form == pairStepped {
		return fmt.Sprintf("%s->%s++;", base, path)
	}
	value := u.storedC(name, path, input)
	switch u.way {
	case pairMacro:
		return fmt.Sprintf("BPF_CORE_WRITE_BITFIELD(%s, %s, %s);", base, path, value)
	case pairBehind:
		return fmt.Sprintf("*ADDRESS(%s->%s) = %s;", base, path, value)
	case pairSplit:
		return fmt.Sprintf("STORE_SPLIT(%s->%s, %s);", base, path, value)
	case pairWith:
		return fmt.Sprintf("STORE_WITH(%s, %s, %s, %s);", base, path.whole(), path, value)
	case pairAll:
		return fmt.Sprintf("__builtin_memcpy(&%s->%s, &%s, sizeof(%s->%s));", base, path.whole(), input, base, path.whole())
	case pairTaken:
		return fmt.Sprintf("%s_set%d(&%s->%s, %s);", name, u.slot, base, path, value)
	}
	return fmt.Sprintf("%s->%s = %s;", base, path, value)
}

// storedC is stored in C.
func (u *pairUse) storedC(name string, path pairPath, input string) string {
	reads := *u
	if u.way == pairTaken {
		reads.way = pairPlain // the function for this use stores
	}
	switch u.form {
	case pairConstant:
		return fmt.Sprintf("%#xULL", u.constant())
	case pairMasked:
		return fmt.Sprintf("(%s >> %d & %#xULL)", input, u.shift(), u.mask())
	case pairShared:
		return "shared"
	case pairAdded:
		return fmt.Sprintf("(%s + %s)", reads.loadC(name, path), input)
	case pairSet:
		return fmt.Sprintf("(%s | %s)", reads.loadC(name, path), input)
	case pairMoved:
		return fmt.Sprintf("%s->%s", u.moved.base(), u.other)
	}
	return input
}
