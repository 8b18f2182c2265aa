package code_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
)

// detours makes up to two copies of blocks of each function, and lets every way
// lead to any of them.
func detours(obj *elfobj.Object, random *rand.Rand) []code.Detours {
	var all []code.Detours
	for _, section := range codeSections(obj) {
		functions := obj.Functions(section)
		for i, symbol := range functions {
			start, end := int(symbol.Value/8), len(section.Data)/8
			if i+1 < len(functions) {
				end = int(functions[i+1].Value / 8)
			}
			fn, err := flow.NewFunction(section.Data, obj.Order, start, end, jumpTable(obj)...)
			if err != nil || random.Intn(3) == 0 {
				continue
			}
			all = append(all, detoursOf(fn, section, obj.Order, random))
		}
	}
	return all
}

// jumpTable returns the slots that the tables of jumps lead to.
func jumpTable(obj *elfobj.Object) (slots []int) {
	if section := obj.Section(".jumptables"); section != nil {
		for data := section.Data; len(data) >= 8; data = data[8:] {
			slots = append(slots, int(obj.Order.Uint64(data)/8))
		}
	}
	return slots
}

func detoursOf(fn *flow.Function, section *elfobj.Section, order binary.ByteOrder, random *rand.Rand) code.Detours {
	blocks := fn.Blocks()
	copies := make([]int, len(blocks)) // how many
	first := make([]int, len(blocks))
	total := 0
	for b := range blocks {
		copies[b], first[b] = random.Intn(3), total
		total += copies[b]
	}
	insns := decode(order, section.Data)
	exits := func(b int) []code.Exit {
		var exits []code.Exit
		fixed := insns[fn.LastOf(b)].opcode == opGotox
		for _, succ := range blocks[b].Succs {
			if n := random.Intn(1 + copies[succ]); n > 0 && !fixed {
				exits = append(exits, code.Exit{Slot: -1, Copy: first[succ] + n - 1})
			} else {
				exits = append(exits, code.Exit{Slot: blocks[succ].Start})
			}
		}
		return exits
	}
	d := code.Detours{Section: section.Name, Last: fn.End() - 1, Exits: make(map[int][]code.Exit)}
	for b := range blocks {
		if len(blocks[b].Succs) > 0 && random.Intn(2) == 0 {
			d.Exits[fn.LastOf(b)] = exits(b)
		}
		for range copies[b] {
			d.Copies = append(d.Copies, code.Stretch{From: blocks[b].Start, To: blocks[b].End, Exits: exits(b)})
		}
	}
	return d
}

// Whatever is copied, and whichever copy a way leads to, along every path are the
// instructions that were there, with their relocations, records and lines.
func TestSplit(t *testing.T) {
	grown := 0
	for _, path := range fixtures(t) {
		raw := withoutDWARF(t, read(t, path).Object).Bytes() // symbols keep their numbers
		for seed := range seeds(4) {
			grown += checkSplit(t, path, raw, seed)
		}
	}
	if grown < seeds(4)*250_000 {
		t.Errorf("only %d bytes of copies", grown)
	}
}

// The same of functions that don't end in an exit, and of blocks that end in an
// LDDW.
func TestSplitShapes(t *testing.T) {
	unless := func(offset int16) ins { return ins{opcode: jeq, offset: offset} }
	for name, p := range map[string]program{
		"goto back": {
			sections: []contents{{name: "xdp", code: []any{set(1), unless(2), set(2), unless(-3), set(3), jump(-4)}}},
			symbols:  []symbol{{"f", "xdp", elf.STT_FUNC, 0, 48}},
		},
		"LDDW of a map": {
			sections:    []contents{{name: "xdp", code: []any{set(1), unless(4), load(5), unless(-4), exit, set(2), unless(-4), jump(-7)}}},
			symbols:     []symbol{{"map", "", elf.STT_NOTYPE, 0, 0}, {"f", "xdp", elf.STT_FUNC, 0, 72}},
			relocations: []relocation{{"xdp", 16, rel64, "map"}},
		},
		"LDDW of a function": {
			sections: []contents{{name: "xdp", code: []any{function(-1), call(-3), unless(-2), unless(-5), jump(-4)}}},
			symbols:  []symbol{{"f", "xdp", elf.STT_FUNC, 0, 48}},
		},
	} {
		for _, order := range orders {
			raw, grown := p.object(t, order).Bytes(), 0
			for seed := range 100 {
				grown += checkSplit(t, name, raw, seed)
			}
			if grown == 0 {
				t.Errorf("%s: no copies", name)
			}
		}
	}
}

// checkSplit splits an object and returns by how many bytes it grows.
func checkSplit(t *testing.T, path string, raw []byte, seed int) int {
	t.Helper()
	before, p := parse(t, raw), parse(t, raw)
	made := detours(p.Object, rand.New(rand.NewSource(int64(seed))))
	origins, err := code.Split(p.Object, p.ext, made)
	if err != nil {
		t.Fatalf("%s, seed %d: %v", path, seed, err)
	}
	checkExt(t, path, p)
	p = parse(t, p.Bytes())
	for i, symbol := range before.Symbols {
		if elf.ST_TYPE(symbol.Info) != elf.STT_FUNC {
			continue
		}
		section := before.Sections[symbol.Section].Name
		w := &walk{
			old: view(before, section), now: view(p, section), origins: origins, section: section,
			seen: make(map[[2]int]bool),
		}
		if err := w.from(int(symbol.Value/8), int(p.Symbols[i].Value/8)); err != nil {
			t.Errorf("%s, seed %d, %s: %v", path, seed, symbol.Name, err)
		}
	}
	for section, slots := range origins {
		starts, old := instructions(p, section), instructions(before, section)
		if !slices.EqualFunc(starts, slots, func(starts bool, slot int) bool { return starts == old[slot] }) {
			t.Errorf("%s, seed %d: the slots of %s are said to be %v", path, seed, section, slots)
		}
	}
	return len(p.Bytes()) - len(before.Bytes())
}

// instructions returns in which slots of a section an instruction starts.
func instructions(p parsed, section string) []bool {
	var starts []bool
	for _, i := range decode(p.Order, p.Section(section).Data) {
		starts = append(starts, i.opcode != 0) // what the second half of LDDW has
	}
	return starts
}

// Where a gotox or a relocation says where to go, there is no way to a copy.
func TestSplitRefuses(t *testing.T) {
	toCopy := []code.Exit{{Slot: -1, Copy: 0}}
	copied := code.Stretch{From: 0, To: 1, Exits: []code.Exit{{Slot: 1}}}
	for name, test := range map[string]struct {
		program
		detours code.Detours
		want    string
	}{
		"gotox": {only(set(0), ins{opcode: opGotox}, exit),
			code.Detours{Last: 2, Copies: []code.Stretch{copied}, Exits: map[int][]code.Exit{1: toCopy}}, "instruction 1: gotox to a copy"},
		"copy of a gotox": {only(set(0), ins{opcode: opGotox}, exit),
			code.Detours{Last: 2, Copies: []code.Stretch{{From: 0, To: 2, Exits: toCopy}}}, "instruction 1: gotox to a copy"},
		"relocated jump": {program{sections: only(set(0), jump(0), exit).sections, relocations: []relocation{{"xdp", 8, rel64, "xdp"}}},
			code.Detours{Last: 2, Copies: []code.Stretch{copied}, Exits: map[int][]code.Exit{1: toCopy}}, "instruction 1: a relocation says where it jumps"},
	} {
		for endian, order := range orders {
			test.detours.Section = "xdp"
			_, err := code.Split(test.object(t, order), nil, []code.Detours{test.detours})
			if err == nil || err.Error() != test.want {
				t.Errorf("%s, %s: %v, want %q", name, endian, err, test.want)
			}
		}
	}
}

// sectionView is a section of code with what is said of its instructions.
type sectionView struct {
	parsed
	name        string
	insns       []ins
	relocations map[int]elf.Rel64
	records     map[int][]btfraw.CORERelo
}

func view(p parsed, name string) *sectionView {
	section := p.Section(name)
	v := &sectionView{p, name, decode(p.Order, section.Data), make(map[int]elf.Rel64), make(map[int][]btfraw.CORERelo)}
	if table := p.Relocations(section); table != nil {
		for data := table.Data; len(data) > 0; data = data[elfobj.RelSize:] {
			rel := elf.Rel64{Off: p.Order.Uint64(data), Info: p.Order.Uint64(data[8:])}
			v.relocations[int(rel.Off/8)] = rel
		}
	}
	if p.ext == nil {
		return v
	}
	for _, record := range p.ext.CORERelos() {
		if record.Section == name {
			slot := int(record.InsnOffset / 8)
			v.records[slot] = append(v.records[slot], record)
		}
	}
	return v
}

// tells returns what is said of an instruction, apart from where it is.
func (v *sectionView) tells(slot int) string {
	line := btfraw.Line{}
	if v.ext != nil {
		line, _ = v.ext.LineAt(v.name, uint32(slot*8))
	}
	text := fmt.Sprintf("line %d:%d", line.Line, line.Column)
	if rel, ok := v.relocations[slot]; ok {
		text += fmt.Sprintf(", relocation %x", rel.Info)
	}
	for _, record := range v.records[slot] {
		text += fmt.Sprintf(", record %d %s %d", record.TypeID, record.AccessString, record.Kind)
	}
	return text
}

// afterGoto returns where gotos lead from a slot.
func (v *sectionView) afterGoto(slot int) int {
	for range v.insns {
		i := v.insns[slot]
		if i.opcode != opGoto && i.opcode != opGotol {
			break
		}
		distance, _ := distanceOf(i)
		slot += 1 + distance
	}
	return slot
}

// walk follows two versions of a function side by side along all paths.
type walk struct {
	old, now *sectionView
	origins  map[string][]int
	section  string
	seen     map[[2]int]bool
	work     [][2]int
}

func (w *walk) from(old, now int) error {
	w.push(old, now)
	for len(w.work) > 0 {
		at := w.work[len(w.work)-1]
		w.work = w.work[:len(w.work)-1]
		if err := w.step(at[0], at[1]); err != nil {
			return fmt.Errorf("instruction %d, now %d: %w", at[0], at[1], err)
		}
	}
	return nil
}

func (w *walk) push(old, now int) {
	at := [2]int{w.old.afterGoto(old), w.now.afterGoto(now)}
	if !w.seen[at] {
		w.seen[at] = true
		w.work = append(w.work, at)
	}
}

func (w *walk) step(old, now int) error {
	if origins := w.origins[w.section]; origins != nil && origins[now] != old {
		return fmt.Errorf("is said to be %d", origins[now])
	}
	if before, after := w.old.tells(old), w.now.tells(now); before != after {
		return fmt.Errorf("%s, was %s", after, before)
	}
	before, after := w.old.insns[old], w.now.insns[now]
	if before.opcode != after.opcode || before.dst != after.dst || before.src != after.src {
		return fmt.Errorf("%+v, was %+v", after, before)
	}
	if _, relocated := w.old.relocations[old]; relocated {
		from, to := w.old.target(old), w.now.target(now)
		if origins := w.origins[from.section]; origins != nil {
			to.slot = origins[to.slot]
		}
		if from != to {
			return fmt.Errorf("points at %+v, at %+v before", to, from)
		}
	} else if distance, jumps := distanceOf(before); jumps {
		nowDistance, _ := distanceOf(after)
		w.push(old+1+distance, now+1+nowDistance)
	} else if before != after {
		return fmt.Errorf("%+v, was %+v", after, before)
	}
	size := 1
	if before.opcode == lddw {
		size = 2
	}
	if before.opcode == opGotox { // the tables lead to what stayed
		for i, to := range jumpTable(w.old.Object) {
			w.push(to, jumpTable(w.now.Object)[i])
		}
		return nil
	}
	if !leaves(before) {
		w.push(old+size, now+size)
	}
	return nil
}

// pointedAt is what a relocation refers to.
type pointedAt struct {
	section string // of code, empty for anything else
	slot    int
	symbol  uint64
	addend  int32
}

func (v *sectionView) target(slot int) pointedAt {
	rel, i := v.relocations[slot], v.insns[slot]
	symbol := v.Symbols[rel.Info>>32-1]
	sections := codeSections(v.Object)
	n := slices.IndexFunc(sections, func(s *elfobj.Section) bool { return s.Index == int(symbol.Section) })
	if n < 0 {
		return pointedAt{symbol: rel.Info >> 32, addend: i.imm}
	}
	at := int(symbol.Value)/8 + int(i.imm) + 1
	if i.opcode == lddw {
		at = (int(symbol.Value) + int(i.imm)) / 8
	}
	return pointedAt{section: sections[n].Name, slot: at}
}
