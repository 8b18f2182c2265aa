package rewrite_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// minimise returns the smallest pair it finds that fails in the same way.
func (b *pairBatch) minimise(dir string, failure pairFailure) (pairFailure, error) {
	m := minimiser{batch: b, dir: dir, failure: failure}
	m.only()
	for m.dropUses() {
	}
	m.dropMembers()
	m.simplify()
	return m.failure, m.err
}

type minimiser struct {
	batch   *pairBatch
	dir     string
	failure pairFailure
	err     error
}

// try replaces the pair by a smaller one if that fails in the same way too.
func (m *minimiser) try(change func(p *accessPair)) bool {
	if m.err != nil {
		return false
	}
	p := m.failure.pair.clone()
	change(p)
	alone := pairBatch{compiler: m.batch.compiler, pairs: []*accessPair{p}, computed: m.batch.computed}
	failures, err := alone.check(m.dir)
	if err != nil {
		m.err = err
		return false
	}
	for _, failure := range failures {
		if failure.kind == m.failure.kind && failure.index == m.failure.index && failure.reason() == m.failure.reason() {
			m.failure = failure
			return true
		}
	}
	return false
}

// clone copies a pair, but not what became of it.
func (p *accessPair) clone() *accessPair {
	c := *p
	c.local, c.target = p.local.clone().(*pairStruct), p.target.clone().(*pairStruct)
	c.programs = slices.Clone(p.programs)
	for i := range c.programs {
		program := &c.programs[i]
		program.uses = slices.Clone(program.uses)
		for j := range program.uses {
			program.uses[j].refused = ""
		}
	}
	return &c
}

// program returns the failing program of a pair that is to be made smaller.
func (m *minimiser) program(p *accessPair) *pairProgram { return &p.programs[m.failure.index] }

// only leaves one program.
func (m *minimiser) only() {
	m.try(func(p *accessPair) {
		for i := range p.programs {
			if i != m.failure.index {
				p.programs[i].uses = nil
			}
		}
	})
}

// dropUses leaves out uses: all but the failing one, or else one by one.
func (m *minimiser) dropUses() bool {
	uses := m.failure.program().uses
	if len(uses) < 2 {
		return false
	}
	if m.failure.use != nil {
		slot := m.failure.use.slot
		if m.try(func(p *accessPair) {
			program := m.program(p)
			program.uses = slices.DeleteFunc(program.uses, func(u pairUse) bool { return u.slot != slot })
		}) {
			return true
		}
	}
	for size := len(uses) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(uses); from += size {
			if m.try(func(p *accessPair) {
				program := m.program(p)
				program.uses = slices.Delete(program.uses, from, from+size)
			}) {
				return true
			}
		}
	}
	return false
}

// dropMembers leaves out the fields that are not used, on each side.
func (m *minimiser) dropMembers() {
	needed := func(p *accessPair) []pairPath {
		var paths []pairPath
		for _, use := range p.allUses() {
			paths = append(paths, use.path)
			if use.other != nil {
				paths = append(paths, use.other)
			}
			if use.way == pairAll { // what is where in the variables does not change
				for path := range p.members(use.path.whole()) {
					paths = append(paths, path)
				}
			}
		}
		return paths
	}
	m.try(func(p *accessPair) { p.target.prune(needed(p)) })
	if m.try(func(p *accessPair) { p.local.prune(needed(p)); layOut(p.local, pairGaps{}) }) {
		return
	}
	for i := len(m.failure.pair.local.members) - 1; i >= 0; i-- {
		m.try(func(p *accessPair) {
			kept := p.local.members[i]
			if p.local.prune(needed(p)); !slices.ContainsFunc(p.local.members, func(m pairMember) bool { return m.name == kept.name }) {
				p.local = m.failure.pair.local.clone().(*pairStruct)
				p.local.members = slices.Delete(p.local.members, i, i+1)
			}
			layOut(p.local, pairGaps{})
		})
	}
}

// allUses returns the uses of all programs: where it is not known which one fails,
// several may be left.
func (p *accessPair) allUses() []pairUse {
	var uses []pairUse
	for _, program := range p.programs {
		uses = append(uses, program.uses...)
	}
	return uses
}

// prune drops the members that no path leads through. What is left stays in its
// place in a layout that has been made already.
func (s *pairStruct) prune(paths []pairPath) {
	s.members = slices.DeleteFunc(s.members, func(member pairMember) bool {
		rest := paths
		if member.name != "" {
			rest = nil
			for _, path := range paths {
				if len(path) > 0 && path[0].name == member.name {
					rest = append(rest, path[1:])
				}
			}
		}
		return len(rest) == 0 || pruned(member.typ, rest)
	})
}

// pruned prunes a type and reports whether nothing is left.
func pruned(typ pairType, paths []pairPath) bool {
	switch typ := typ.(type) {
	case *pairArray:
		var rest []pairPath
		for _, path := range paths {
			if len(path) > 0 && path[0].name == "" {
				rest = append(rest, path[1:])
			}
		}
		return len(rest) == 0 || pruned(typ.element, rest)
	case *pairStruct:
		typ.prune(paths)
		return len(typ.members) == 0
	}
	return !slices.ContainsFunc(paths, func(path pairPath) bool { return len(path) == 0 })
}

// simplify makes what is left plainer.
func (m *minimiser) simplify() {
	m.try(func(p *accessPair) { m.program(p).calling = pairInline })
	m.try(func(p *accessPair) { m.program(p).hidden = false })
	m.try(func(p *accessPair) { m.program(p).memory = pairStack })
	m.try(func(p *accessPair) { m.program(p).together = 1 })
	for m.failure.program().held > 0 && m.try(func(p *accessPair) { m.program(p).held-- }) {
	}
	for i, use := range m.failure.program().uses {
		m.try(func(p *accessPair) { m.program(p).uses[i].guard = pairUnguarded })
		if !use.stores {
			m.try(func(p *accessPair) { m.program(p).uses[i].form = pairWhole })
		}
		m.try(func(p *accessPair) { m.program(p).uses[i].way = pairPlain })
		if use.side == pairAgain {
			m.try(func(p *accessPair) { m.program(p).uses[i].side = pairDescriptor })
		}
	}
	m.try(func(p *accessPair) { eachScalar(p.local, (*pairScalar).strip) })
	m.try(func(p *accessPair) { eachScalar(p.target, (*pairScalar).strip) })
}

func (s *pairScalar) strip() { s.typedefs, s.qualifiers = nil, "" }

func eachScalar(typ pairType, do func(*pairScalar)) {
	switch typ := typ.(type) {
	case *pairArray:
		eachScalar(typ.element, do)
	case *pairStruct:
		for _, member := range typ.members {
			eachScalar(member.typ, do)
		}
	case *pairScalar:
		do(typ)
	}
}

// describe returns everything there is to know about a failure.
func (b *pairBatch) describe(f pairFailure) string {
	var c cWriter
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %s: %s\n\nThe layout:\n%s\n", f.kind, b.compiler, f.detail, c.layout(f.pair.target, "", 0))
	fmt.Fprintf(&out, "\nThe program:\n%s", pairsSource([]*accessPair{f.pair.clone()}, (*accessPair).uses))
	if f.report != nil {
		fmt.Fprintf(&out, "\nThe edits:\n%s", f.edits())
	}
	if f.object != nil {
		fmt.Fprintf(&out, "\nRewritten:\n%s", f.disassembly())
	}
	return out.String()
}

// edits lists the edits to the program that fails.
func (f *pairFailure) edits() string {
	if f.report == nil {
		return ""
	}
	var out strings.Builder
	for _, edit := range f.report.Edits {
		if f.program().isCalled(f.pair.number, edit.Access.Program) {
			fmt.Fprintf(&out, "%4d %s of %s: %s -> %s %s\n", edit.Access.Insn, edit.Access.Kind, edit.Access.Path, edit.Before, edit.After, edit.Note)
		}
	}
	return out.String()
}

// disassembly returns the program that fails as it is loaded.
func (f *pairFailure) disassembly() string {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(f.object))
	if err != nil {
		return err.Error()
	}
	program := spec.Programs[f.program().name(f.pair.number)]
	if program == nil {
		return "no such program"
	}
	return fmt.Sprint(program.Instructions)
}
