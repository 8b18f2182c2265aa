package flow

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/interpret"
)

var (
	seed     = flag.Uint64("seed", 1, "of the first random program")
	programs = flag.Uint64("programs", 4000, "how many random programs; with -short an eighth of them")
)

// randomPrograms returns how many random programs there are.
func randomPrograms() uint64 {
	if testing.Short() {
		return (*programs + 7) / 8
	}
	return *programs
}

// What is claimed of random programs holds whenever they are run.
func TestRandomPrograms(t *testing.T) {
	for n := range randomPrograms() {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			g := &generator{Rand: rand.New(rand.NewPCG(*seed+n, 0)), order: order}
			g.program()
			if err := checkProgram(g); err != nil {
				t.Fatalf("-seed %d -programs 1, %s: %v\n%s", *seed+n, order, err, g.listing())
			}
		}
	}
}

// generator makes a random program out of raw instructions.
type generator struct {
	*rand.Rand
	order  binary.ByteOrder
	code   []byte
	assume Assumptions

	table    []int // slots that gotox may lead to
	offsets  []int // slots of recorded offsets
	pointers bool  // mostly compute addresses
}

func (g *generator) emit(op, dst, src uint8, off int16, imm int32) {
	regs := dst | src<<4
	if g.order == binary.BigEndian {
		regs = src | dst<<4
	}
	ins := []byte{op, regs, 0, 0, 0, 0, 0, 0}
	g.order.PutUint16(ins[2:], uint16(off))
	g.order.PutUint32(ins[4:], uint32(imm))
	g.code = append(g.code, ins...)
}

func (g *generator) slot() int { return len(g.code) / insn.SlotSize }

func (g *generator) program() {
	g.assume = Assumptions{Known: map[int]int64{}, Extents: map[int]Extent{}}
	for _, r := range []uint8{0, 6, 7, 8, 9} {
		g.emit(insn.ClassALU64|insn.OpMOV, r, 0, 0, g.immediate())
	}
	for range 10 + g.IntN(40) {
		g.instruction()
	}
	end := g.slot()
	g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
	g.fixJumps(end)
}

// fixJumps makes jumps lead somewhere in the program, mostly forward.
func (g *generator) fixJumps(end int) {
	var starts []int
	for i := 0; i < end; i++ {
		starts = append(starts, i)
		if g.code[i*insn.SlotSize] == insn.LDDW {
			i++
		}
	}
	for n, i := range starts {
		ins := insn.Read(g.code[i*insn.SlotSize:], g.order)
		if !ins.Jumps() {
			continue
		}
		ahead := append(starts[n+1:len(starts):len(starts)], end)
		target := ahead[g.IntN(min(len(ahead), 8))]
		if g.IntN(12) == 0 {
			target = starts[5+g.IntN(len(starts)-5)]
		}
		switch {
		case ins.IsGotox():
			g.table = append(g.table, target, ahead[0], ahead[g.IntN(len(ahead))])
		case ins.IsLongJump():
			g.order.PutUint32(g.code[i*insn.SlotSize+4:], uint32(target-i-1))
		default:
			g.order.PutUint16(g.code[i*insn.SlotSize+2:], uint16(target-i-1))
		}
	}
}

func (g *generator) immediate() int32 {
	switch g.IntN(6) {
	case 0:
		return g.Int32N(1<<16) - 1<<15
	case 1:
		return int32(g.Uint32())
	case 2:
		return [...]int32{-1, 255, 65535, -128, 1 << 30}[g.IntN(5)]
	}
	return g.Int32N(4)
}

func (g *generator) reg() uint8 { return uint8(g.IntN(10)) }

// some returns one of a few.
func some[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) instruction() {
	if g.pointers && g.IntN(4) > 0 {
		g.addressing()
		return
	}
	switch g.IntN(20) {
	case 0:
		g.emit(insn.ClassJMP|insn.OpCALL, 0, 0, 0, some[int32](g, 1, 2, 5, 14, 44, 113, 181))
	case 1:
		if g.IntN(3) == 0 {
			g.emit(insn.ClassJMP|insn.OpCALL, 0, insn.PseudoCall, 0, 0)
		}
	case 2, 3, 4:
		g.jump()
	case 5:
		g.assume.Known[g.slot()] = int64(g.IntN(3))
		g.emit(insn.ClassALU64|insn.OpMOV, g.reg(), 0, 0, 1)
	case 6:
		g.longImmediate()
	case 7, 8, 9:
		g.stackAccess()
	case 10:
		g.pointer()
	case 11:
		g.anyAccess(g.reg(), g.reg(), int16(g.IntN(16)))
	case 12:
		if g.IntN(3) == 0 { // from the packet, and r1 to r5 are gone
			g.emit(insn.ClassLD|some[uint8](g, insn.ModeABS, insn.ModeIND)|some[uint8](g, 0x00, 0x08, 0x10), 0, g.reg(), 0, 0)
		}
	default:
		g.alu()
	}
}

func (g *generator) longImmediate() {
	switch g.IntN(4) {
	case 0:
		g.assume.Linked.Add(g.slot())
	case 1:
		g.assume.Undecided.Add(g.slot())
	}
	g.emit(insn.LDDW, g.reg(), 0, 0, g.immediate())
	g.emit(0, 0, 0, 0, g.immediate())
}

func (g *generator) jump() {
	class := some[uint8](g, insn.ClassJMP, insn.ClassJMP32)
	code := some[uint8](g, insn.OpJEQ, insn.OpJGT, insn.OpJGE, insn.OpJSET, insn.OpJNE, insn.OpJSGT, insn.OpJSGE, insn.OpJLT, insn.OpJLE, insn.OpJSLT, insn.OpJSLE)
	switch g.IntN(12) {
	case 0:
		if g.IntN(2) == 0 {
			g.emit(insn.ClassJMP|insn.OpJA|8, g.reg(), 0, 0, 0)
		} else {
			g.emit(class|insn.OpJA, 0, 0, 0, 0)
		}
	case 1:
		g.emit(insn.ClassJMP|insn.OpJCOND, 0, 0, 0, 0)
	case 2, 3, 4, 5:
		g.emit(class|code|8, g.reg(), g.reg(), 0, 0)
	default:
		g.emit(class|code, g.reg(), 0, 0, g.immediate())
	}
}

func (g *generator) alu() {
	class := some[uint8](g, insn.ClassALU, insn.ClassALU64)
	code := some[uint8](g, insn.OpADD, insn.OpSUB, insn.OpMUL, insn.OpDIV, insn.OpOR, insn.OpAND, insn.OpLSH, insn.OpRSH, insn.OpNEG, insn.OpMOD, insn.OpXOR, insn.OpMOV, insn.OpMOV, insn.OpMOV, insn.OpARSH, insn.OpEND)
	var off int16
	imm, fromReg := g.immediate(), uint8(g.IntN(2)*8)
	switch code {
	case insn.OpEND:
		imm, fromReg = some[int32](g, 16, 32, 64), uint8(g.IntN(2)*8)
		if class == insn.ClassALU64 {
			fromReg = 0
		}
	case insn.OpMOV:
		if fromReg != 0 {
			off = some[int16](g, 0, 0, 8, 16)
			if class == insn.ClassALU64 {
				off = some[int16](g, 0, 0, 0, 1, 8, 16, 32) // 1 is addr_space_cast
			}
		}
	case insn.OpDIV, insn.OpMOD:
		off = int16(g.IntN(2))
	case insn.OpLSH, insn.OpRSH, insn.OpARSH:
		imm = g.Int32N(32)
	case insn.OpNEG:
		fromReg = 0
	}
	if fromReg == 0 && code != insn.OpEND && code != insn.OpNEG && g.IntN(6) == 0 {
		g.assume.Known[g.slot()] = int64(imm)
	}
	g.emit(class|code|fromReg, g.reg(), g.reg(), off, imm)
}

func (g *generator) stackAccess() {
	at := -int16(1 + g.IntN(24))
	if g.IntN(2) == 0 {
		at = -8 * int16(1+g.IntN(3))
	}
	if g.IntN(3) > 0 {
		at = max(at, -24)
	}
	g.anyAccess(insn.Frame, g.reg(), at)
}

// pointer puts an address in the stack or in other memory into a register, and
// sometimes uses it.
func (g *generator) pointer() {
	r, s := g.reg(), g.reg()
	if g.IntN(5) == 0 { // an element of an array in the stack
		g.emit(insn.ClassALU64|insn.OpAND, s, 0, 0, some[int32](g, 8, 16, 24))
		g.emit(insn.ClassALU64|insn.OpMOV|8, r, insn.Frame, 0, 0)
		g.emit(insn.ClassALU64|insn.OpSUB|8, r, s, 0, 0)
		g.anyAccess(r, g.reg(), -8)
		return
	}
	if g.IntN(3) == 0 {
		g.assume.Linked.Add(g.slot())
		g.emit(insn.LDDW, r, 0, 0, 0)
		g.emit(0, 0, 0, 0, 0)
	} else {
		g.emit(insn.ClassALU64|insn.OpMOV|8, r, insn.Frame, 0, 0)
		if g.IntN(4) > 0 {
			g.emit(insn.ClassALU64|insn.OpADD, r, 0, 0, -8*int32(1+g.IntN(4)))
		} else {
			g.emit(insn.ClassALU64|insn.OpSUB|8, r, g.reg(), 0, 0)
		}
	}
	if g.IntN(2) == 0 {
		g.anyAccess(r, g.reg(), int16(8*g.IntN(2)))
	}
}

// anyAccess is sometimes for other bytes than those that it is at, or for more.
func (g *generator) anyAccess(base, other uint8, off int16) {
	slot := g.slot()
	defer func() {
		if ins := insn.Read(g.code[slot*insn.SlotSize:], g.order); ins.Mode() != insn.ModeATOMIC && g.IntN(5) == 0 {
			from := int(off) + some(g, -8, 4, 8)
			g.assume.Extents[slot] = Extent{from, from + ins.Width() + some(g, 0, 0, 4, 8)}
		} else if ins.Class() == insn.ClassLDX && ins.Mode() == insn.ModeMEM && g.IntN(5) == 0 {
			g.assume.Relocated.Add(slot)
		}
	}()
	size := some[uint8](g, 0x00, 0x08, 0x10, 0x18, 0x18, 0x18)
	switch g.IntN(9) {
	case 0, 1, 2:
		g.emit(insn.ClassLDX|insn.ModeMEM|size, other, base, off, 0)
	case 3:
		if size == 0x18 {
			size = 0
		}
		g.emit(insn.ClassLDX|insn.ModeMEMSX|size, other, base, off, 0)
	case 4:
		g.emit(insn.ClassST|insn.ModeMEM|size, base, 0, off, g.immediate())
	case 5:
		operation := some[int32](g, insn.OpADD, insn.OpOR|insn.AtomicFetch, insn.AtomicXchg, insn.AtomicCmpxchg, insn.AtomicStoreRelease, insn.AtomicLoadAcquire)
		if operation == insn.AtomicLoadAcquire {
			base, other = other, base
		}
		g.emit(insn.ClassSTX|insn.ModeATOMIC|some[uint8](g, 0, 0x18), base, other, off, operation)
	default:
		g.emit(insn.ClassSTX|insn.ModeMEM|size, base, other, off, 0)
	}
}

// addressing does what clang does with an offset that it keeps in a register.
func (g *generator) addressing() {
	r, s := uint8(6+g.IntN(4)), uint8(6+g.IntN(4))
	switch g.IntN(9) {
	case 0, 1:
		g.offsets = append(g.offsets, g.slot())
		g.assume.Undecided.Add(g.slot())
		g.emit(some[uint8](g, insn.ClassALU64|insn.OpMOV, insn.ClassALU|insn.OpMOV, insn.ClassALU64|insn.OpADD), r, 0, 0, 8)
	case 2, 3:
		g.emit(insn.ClassALU64|insn.OpADD|8, r, s, 0, 0)
	case 4:
		g.emit(some[uint8](g, insn.ClassALU64, insn.ClassALU)|insn.OpMOV|8, r, s, 0, 0)
	case 5:
		g.emit(insn.ClassALU64|some[uint8](g, insn.OpADD, insn.OpSUB), r, 0, 0, g.Int32N(16))
	case 6:
		g.emit(insn.ClassSTX|insn.ModeMEM|0x18, insn.Frame, r, -8*int16(1+g.IntN(2)), 0)
		g.emit(insn.ClassLDX|insn.ModeMEM|0x18, s, insn.Frame, -8*int16(1+g.IntN(2)), 0)
	case 7:
		g.emit(insn.ClassALU64|insn.OpLSH, r, 0, 0, 32)
		g.emit(insn.ClassALU64|some[uint8](g, insn.OpRSH, insn.OpARSH), r, 0, 0, 32)
	default:
		g.anyAccess(r, s, int16(g.IntN(16)))
	}
}

func (g *generator) listing() string {
	var text bytes.Buffer
	for i := 0; i < g.slot(); i++ {
		var ins asm.Instruction
		if err := ins.Unmarshal(bytes.NewReader(g.code[i*insn.SlotSize:]), g.order, "linux"); err != nil {
			continue
		}
		fmt.Fprintf(&text, "%3d: % x  %v", i, g.code[i*insn.SlotSize:(i+1)*insn.SlotSize], ins)
		if known, ok := g.assume.Known[i]; ok {
			fmt.Fprintf(&text, "  known %d", known)
		}
		if e, ok := g.assume.Extents[i]; ok {
			fmt.Fprintf(&text, "  for %d to %d", e.From, e.To)
		}
		if g.assume.Relocated.Has(i) {
			fmt.Fprint(&text, "  relocated")
		}
		fmt.Fprintln(&text)
		i += int(ins.Width()) - 1
	}
	return text.String()
}

// checkProgram runs a program a few times and compares with what is claimed.
func checkProgram(g *generator) error {
	f, err := NewFunction(g.code, g.order, 0, g.slot(), g.table...)
	if err != nil {
		return err
	}
	c := f.Constants(g.assume)
	all, allowed := f.Liveness(5), c.Liveness(5)
	for input := range uint64(6) {
		plain := newMachine(f, g.assume, input)
		written := insn.Arguments
		if err := plain.run(func(i int) error {
			if unwritten := (all.Always(i) | allowed.Always(i)) &^ written; unwritten != 0 {
				return fmt.Errorf("slot %d: %v have no value", i, unwritten.List())
			}
			written = f.insns[i].WrittenAfter(written)
			return plain.agrees(c, i)
		}); err != nil {
			return err
		}
		for _, live := range []*Liveness{all, allowed} {
			disturbed := newMachine(f, g.assume, input)
			noise := rand.New(rand.NewPCG(input, 2))
			disturbed.run(func(i int) error {
				for _, r := range live.Free(i).List() {
					disturbed.Regs[r] = noise.Uint64()
				}
				return nil
			})
			if plain.outcome() != disturbed.outcome() {
				return fmt.Errorf("free registers matter: %v, %v", plain.outcome(), disturbed.outcome())
			}
		}
	}
	return nil
}

const (
	stackTop  = 0x7fff_0000_0000
	stackSize = 512
	heapStart = 0x1234_5678_0000
	fuel      = 300
)

// machine interprets a function. It stops at what the kernel would refuse.
type machine struct {
	interpret.Machine
	f        *Function
	assume   Assumptions
	written  insn.Registers
	stack    [stackSize]byte
	heap     [64]byte
	random   *rand.Rand
	lent     bool
	blind    bool // memory other than the stack says nothing of its address
	steps    uint64
	visited  uint64 // a checksum of the instructions run
	lowest   int64
	finished bool
}

func newMachine(f *Function, assume Assumptions, input uint64) *machine {
	m := &machine{f: f, assume: assume, random: rand.New(rand.NewPCG(input, 1)), written: insn.Arguments | 1<<insn.Frame}
	m.Order = f.order
	m.Memories = []interpret.Memory{{Start: stackTop - stackSize, Bytes: m.stack[:]}, {Start: heapStart, Bytes: m.heap[:]}}
	for r := range m.Regs {
		m.Regs[r] = m.number()
	}
	m.Regs[insn.Frame] = stackTop
	m.scribble(m.stack[:])
	m.scribble(m.heap[:])
	return m
}

func (m *machine) number() uint64 {
	switch n := m.random.Uint64(); m.random.IntN(3) {
	case 0:
		return n
	case 1:
		return n & 3
	default:
		return n >> m.random.IntN(64)
	}
}

func (m *machine) scribble(memory []byte) {
	for n := range memory {
		memory[n] = byte(m.random.Uint32())
	}
}

func (m *machine) outcome() string {
	return fmt.Sprintf("%x %x %x %v %x", m.visited, m.stack, m.heap, m.finished, m.Regs[0])
}

// run interprets the function, with a look before each instruction.
func (m *machine) run(look func(i int) error) error {
	for i, steps := 0, 0; steps < fuel; steps++ {
		if err := look(i); err != nil {
			return fmt.Errorf("before instruction %d: %w", i, err)
		}
		m.visited = m.visited*31 + uint64(i)
		ins := m.f.insns[i]
		if ins.Exits() {
			m.finished = m.written.Has(0)
			if !m.finished {
				m.Regs[0] = 0
			}
			return nil
		}
		if uses := ins.Uses; !ins.IsCall() && uses&^m.written != 0 {
			m.Regs[0] = 0
			return nil
		}
		next, ok := m.step(i, &ins)
		if !ok {
			m.Regs[0] = 0
			return nil
		}
		m.written = ins.WrittenAfter(m.written)
		i = next
	}
	m.Regs[0] = 0
	return nil
}

func (m *machine) immediate(i int) uint64 {
	ins := &m.f.insns[i]
	if known, ok := m.assume.Known[i]; ok {
		return uint64(known)
	}
	if m.assume.Linked.Has(i) {
		return heapStart
	}
	if m.assume.Undecided.Has(i) {
		return m.number()
	}
	return uint64(ins.Imm)
}

func (m *machine) step(i int, ins *instruction) (next int, ok bool) {
	next = i + ins.Slots()
	switch {
	case ins.IsCall():
		m.call(ins)
	case ins.Class() == insn.ClassLD && ins.Op != insn.LDDW:
		m.packet(ins)
	case ins.Jumps():
		if m.takes(ins) {
			targets := m.f.targets(i)
			next = targets[m.Regs[ins.Dst]%uint64(len(targets))]
		}
	default:
		return next, m.compute(i, *ins)
	}
	return next, true
}

func (m *machine) takes(ins *instruction) bool {
	switch {
	case ins.IsGotox():
		return true
	case ins.Code() == insn.OpJCOND:
		return m.random.IntN(2) == 0
	}
	takes, err := m.Step(ins.Instruction)
	if err != nil {
		panic(err)
	}
	return takes
}

// compute runs what is no jump.
func (m *machine) compute(i int, ins instruction) bool {
	if ins.Op == insn.LDDW || ins.Class() == insn.ClassST || ins.IsALU() && ins.Code() != insn.OpEND {
		ins.Imm = int64(m.immediate(i))
	}
	if ins.IsMemory() {
		if e, ok := m.assume.Extents[i]; ok && m.inStack(m.Regs[ins.Address()]) {
			ins.Off = int16(e.From + i%(e.To-e.From-ins.Width()+1)) // the same each time
		}
		defer m.reach(&ins)()
	}
	_, err := m.Step(ins.Instruction)
	if m.assume.Relocated.Has(i) && ins.Width() < 8 {
		m.Regs[ins.Dst] |= 0x9e3779b97f4a7c15 << (ins.Width() * 8)
	}
	return err == nil
}

// reach notes what a load or store reaches, and returns what is to be done after it.
func (m *machine) reach(ins *instruction) (done func()) {
	address := m.Regs[ins.Address()] + uint64(int64(ins.Off))
	if address-(stackTop-stackSize) <= uint64(stackSize-ins.Width()) {
		m.lowest = min(m.lowest, int64(address-stackTop))
	}
	isStack := m.inStack(m.Regs[ins.Address()])
	stored := m.Regs[ins.Src]
	if ins.Class() == insn.ClassST {
		stored = uint64(ins.Imm)
	}
	if ins.Writes() && stored >= stackTop-stackSize && stored <= stackTop && !isStack {
		m.lent = true
	}
	memories := m.Memories
	if m.blind && !isStack {
		nothing := binary.BigEndian.AppendUint64(nil, m.steps*0x9e3779b97f4a7c15)
		m.Memories = []interpret.Memory{{Start: address, Bytes: nothing}}
	}
	return func() { m.Memories = memories }
}

// call runs some other function. It may use what it is given, and only that.
func (m *machine) call(ins *instruction) {
	result := m.random.Uint64()
	for _, r := range (ins.Arguments() & m.written).List() {
		v := m.Regs[r]
		result = result*7 + v
		if v < stackTop-stackSize || v >= stackTop {
			continue
		}
		at := v - (stackTop - stackSize)
		if !ins.onlyGoesUp() {
			m.lent = true
		}
		m.scribble(m.stack[at:min(at+uint64(m.random.IntN(20)), stackSize)])
	}
	if m.lent && !ins.onlyGoesUp() {
		m.scribble(m.stack[:])
	}
	for r := 1; r <= 5; r++ {
		m.Regs[r] = m.random.Uint64()
	}
	if result&1 == 0 {
		result &= 7
	}
	m.Regs[0] = result
}

// packet loads from the packet, whose skb is in r6.
func (m *machine) packet(ins *instruction) {
	v := m.random.Uint64()
	if !m.blind {
		v = v*7 + m.Regs[6]
	}
	if !m.blind && ins.Mode() == insn.ModeIND {
		v = v*7 + m.Regs[ins.Src]
	}
	for r := 1; r <= 5; r++ {
		m.Regs[r] = m.random.Uint64()
	}
	m.Regs[0] = v & lowBits(ins.Width()*8)
}

// inStack reports whether an address was most likely made from r10: the kernel
// refuses those outside the stack.
func (m *machine) inStack(address uint64) bool {
	return address >= stackTop-1<<21 && address < stackTop+1<<21
}

// agrees compares what is claimed before an instruction with what is so.
func (m *machine) agrees(c *Constants, i int) error {
	if c.Reachable(i) == Unreachable {
		return fmt.Errorf("unreachable, but here we are")
	}
	for r := range asm.Register(insn.NumRegisters) {
		if !m.written.Has(r) {
			continue
		}
		v := m.Regs[r]
		if n, ok := c.Value(i, r); ok && uint64(n) != v {
			return fmt.Errorf("%s is %#x, not %#x", r, v, n)
		}
		for bits := 1; bits < 64; bits++ {
			unused := 64 - bits
			if c.ZeroExtended(i, r, bits) && v>>bits != 0 {
				return fmt.Errorf("%s is %#x, more than %d bits", r, v, bits)
			}
			if c.SignExtended(i, r, bits) && int64(v<<unused)>>unused != int64(v) {
				return fmt.Errorf("%s is %#x, more than %d signed bits", r, v, bits)
			}
		}
		known, _ := c.register(i, r)
		if at, ok := known.stackOffset(); ok && v != uint64(stackTop+int64(at)) {
			return fmt.Errorf("%s is %#x, not r10%+d", r, v, at)
		}
	}
	if depth, exact := c.StackDepth(); exact && m.lowest < -int64(depth) {
		return fmt.Errorf("uses r10%+d, below %d", m.lowest, -depth)
	}
	return nil
}
