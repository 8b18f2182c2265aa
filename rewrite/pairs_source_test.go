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
		c.program(p, &p.loads)
		c.program(p, &p.stores)
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
func (p *pairProgram) name(number int) string {
	if p.stores {
		return fmt.Sprintf("store%d", number)
	}
	return fmt.Sprintf("load%d", number)
}

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
		c.line("\treturn 0;\n}")
	}
	c.linef("SEC(\"xdp\") int %s(struct xdp_md *ctx)\n{", name)
	c.linef("\tstruct %s *md = DESCRIPTOR(ctx, struct %s);\n", p.local.tag, p.local.tag)
	c.line("\tif (!md)\n\t\treturn XDP_PASS;")
	c.linef("\t%s_found = 1;", name)
	c.uses(p, program, first)
	if program.called {
		c.linef("\t%s_rest(md);", name)
	}
	c.line("\treturn XDP_PASS;\n}")
}

// slots returns how many variables a program needs.
func (p *pairProgram) slots() int { return len(p.areas[0].inputs) }

// uses writes accesses, in groups whose values are there at the same time.
func (c *cWriter) uses(p *accessPair, program *pairProgram, uses []pairUse) {
	name := program.name(p.number)
	c.indent = "\t"
	defer func() { c.indent = "" }()
	for len(uses) > 0 {
		group := uses[:min(program.together, len(uses))]
		uses = uses[len(group):]
		c.line("{")
		c.indent = "\t\t"
		if program.stores {
			c.linef("__u64 shared = %s_in[0];", name)
		}
		for i := range group {
			if use := &group[i]; use.refused == "" {
				if program.stores {
					c.store(use, fmt.Sprintf("%s_in[%d]", name, use.slot))
				} else {
					c.linef("__u64 v%d = 0;", use.slot)
					c.load(use, fmt.Sprintf("v%d", use.slot), fmt.Sprintf("%s_in[%d]", name, use.slot))
				}
			}
		}
		for _, use := range group {
			if use.refused == "" && !program.stores {
				c.linef("%s_out[%d] = v%d;", name, use.slot, use.slot)
			}
		}
		c.indent = "\t"
		c.line("}")
	}
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

func (c *cWriter) store(use *pairUse, input string) {
	value := input
	switch use.form {
	case pairConstant:
		value = fmt.Sprintf("%#xULL", use.constant())
	case pairMasked:
		value = fmt.Sprintf("(%s >> %d & %#xULL)", input, use.shift(), use.mask())
	case pairShared:
		value = "shared"
	}
	c.guarded(use, func(path pairPath) string {
		switch use.way {
		case pairMacro:
			return fmt.Sprintf("BPF_CORE_WRITE_BITFIELD(md, %s, %s);", path, value)
		case pairBehind:
			return fmt.Sprintf("*ADDRESS(md->%s) = %s;", path, value)
		case pairSplit:
			return fmt.Sprintf("STORE_SPLIT(md->%s, %s);", path, value)
		case pairWith:
			return fmt.Sprintf("STORE_WITH(%s, %s, %s);", path.whole(), path, value)
		}
		return fmt.Sprintf("md->%s = %s;", path, value)
	}, "")
}
