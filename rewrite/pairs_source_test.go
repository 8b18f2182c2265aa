package rewrite_test

import (
	"fmt"
	"slices"
	"strings"
)

// pairsSource writes the C of the programs of all pairs.
func pairsSource(pairs []*accessPair) string {
	var c cWriter
	c.line(`#include "pairs.h"`)
	for _, p := range pairs {
		c.line("")
		c.types(p.local)
		c.line("#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)")
		c.linef("%s;", c.spell(p.local, ""))
		c.line("#pragma clang attribute pop")
		for i := range p.programs {
			c.program(p, &p.programs[i])
		}
	}
	return c.String()
}

// cWriter writes C.
type cWriter struct {
	strings.Builder
	indent string
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
	if !program.isUsed() {
		return
	}
	name := program.name(p.number)
	slots := program.slots()
	c.linef("__u64 %s_in[%d], %s_out[%d], %s_found;", name, slots, name, slots, name)

	first, rest := program.uses, []pairUse(nil)
	if program.called {
		half := len(first) / 2
		first, rest = first[:half], first[half:]
		c.linef("static __noinline int %s_rest(struct %s *md)\n{", name, p.local.tag)
		c.uses(p, program, rest)
		// Nobody knows that it is 0: if nothing reads what a function returns, clang
		// leaves any value in r0, also addresses in the stack, which the kernel refuses.
		c.line("\tint none = 0;\n\n\tasm volatile(\"\" : \"+r\"(none));\n\treturn none;\n}")
	}
	c.linef("SEC(\"xdp\") int %s(struct xdp_md *ctx)\n{", name)
	c.linef("\tstruct %s *md = DESCRIPTOR(ctx, struct %s);\n", p.local.tag, p.local.tag)
	c.line("\tif (!md)\n\t\treturn XDP_PASS;")
	c.linef("\t%s_found = 1;", name)
	c.uses(p, program, first)
	if program.called {
		c.linef("\treturn XDP_PASS + %s_rest(md);\n}", name)
	} else {
		c.line("\treturn XDP_PASS;\n}")
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
		if use.stores {
			c.store(&use, input, loaded)
		} else {
			variable := fmt.Sprintf("v%d", use.slot)
			c.linef("__u64 %s = 0;", variable)
			c.load(&use, variable, input)
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
	path := p.accessed(use)
	if use.form == pairMoved {
		path = use.other
	}
	if use.stores && use.form < pairAdded {
		return false
	}
	local, target, exists := p.resolve(path)
	if !exists || !use.stores && target.capacity() >= local.capacity() {
		return false
	}
	return slices.ContainsFunc(program.uses, func(u pairUse) bool {
		stored := p.accessed(&u)
		return u.stores && u.slot < use.slot && (stored.String() == path.String() || u.copies() && path.within(stored.whole()))
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
	question := fmt.Sprintf("bpf_core_field_exists(md->%s)", use.last())
	if use.guard == pairFlag {
		c.linef("bool has%d = %s;", use.slot, question)
		question = fmt.Sprintf("has%d", use.slot)
	}
	before := ""
	if use.way == pairEither {
		c.linef("if (bpf_core_field_exists(md->%s))", use.path)
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

func (c *cWriter) load(use *pairUse, variable, input string) {
	c.guarded(use, func(path pairPath) string {
		return fmt.Sprintf("%s = %s;", variable, use.formedC(use.loadC(path), input))
	}, fmt.Sprintf("%s = %#xULL;", variable, use.operand))
}

func (u *pairUse) loadC(path pairPath) string {
	switch u.way {
	case pairMacro:
		return fmt.Sprintf("BPF_CORE_READ_BITFIELD(md, %s)", path)
	case pairBehind:
		return fmt.Sprintf("*ADDRESS(md->%s)", path)
	case pairCopied:
		return fmt.Sprintf("COPIED(md->%s)", path)
	case pairSplit:
		return fmt.Sprintf("SPLIT(md->%s)", path)
	case pairWith:
		return fmt.Sprintf("COPIED_WITH(%s, %s)", path.whole(), path)
	}
	return fmt.Sprintf("md->%s", path)
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
	}
	return value
}

// store writes a store, and a use of what was loaded before it. Without that the
// compiler moves loads into a later block, across the store: LLVM's
// BPFMISimplifyPatchable.cpp makes of it an instruction that is none to the passes
// which follow.
func (c *cWriter) store(use *pairUse, input string, loaded []string) {
	c.guarded(use, func(path pairPath) string {
		store := use.storeC(path, input)
		if len(loaded) > 0 {
			return fmt.Sprintf("{ %s %s }", store, inRegisters(loaded))
		}
		return store
	}, "")
}

func (u *pairUse) storeC(path pairPath, input string) string {
	value := u.storedC(path, input)
	switch u.way {
	case pairMacro:
		return fmt.Sprintf("BPF_CORE_WRITE_BITFIELD(md, %s, %s);", path, value)
	case pairBehind:
		return fmt.Sprintf("*ADDRESS(md->%s) = %s;", path, value)
	case pairSplit:
		return fmt.Sprintf("STORE_SPLIT(md->%s, %s);", path, value)
	case pairWith:
		return fmt.Sprintf("STORE_WITH(%s, %s, %s);", path.whole(), path, value)
	case pairAll:
		return fmt.Sprintf("__builtin_memcpy(&md->%s, &%s, sizeof(md->%s));", path.whole(), input, path.whole())
	}
	return fmt.Sprintf("md->%s = %s;", path, value)
}

// storedC is stored in C.
func (u *pairUse) storedC(path pairPath, input string) string {
	switch u.form {
	case pairConstant:
		return fmt.Sprintf("%#xULL", u.constant())
	case pairMasked:
		return fmt.Sprintf("(%s >> %d & %#xULL)", input, u.shift(), u.mask())
	case pairShared:
		return "shared"
	case pairAdded:
		return fmt.Sprintf("(%s + %s)", u.loadC(path), input)
	case pairSet:
		return fmt.Sprintf("(%s | %s)", u.loadC(path), input)
	case pairMoved:
		return fmt.Sprintf("md->%s", u.other)
	}
	return input
}
