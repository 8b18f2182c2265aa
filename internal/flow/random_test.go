package flow

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"
)

var (
	seed     = flag.Uint64("seed", 1, "of the first random program")
	programs = flag.Uint64("programs", 4000, "how many random programs")
)

// What is claimed of random programs holds whenever they are run.
func TestRandomPrograms(t *testing.T) {
	for n := range *programs {
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

func (g *generator) slot() int { return len(g.code) / slotSize }

func (g *generator) program() {
	g.assume = Assumptions{Known: map[int]int64{}, Undecided: map[int]bool{}, Linked: map[int]bool{}}
	for _, r := range []uint8{0, 6, 7, 8, 9} {
		g.emit(classALU64|opMOV, r, 0, 0, g.immediate())
	}
	for range 10 + g.IntN(40) {
		g.instruction()
	}
	end := g.slot()
	g.emit(classJMP|opEXIT, 0, 0, 0, 0)
	g.fixJumps(end)
}

// fixJumps makes jumps lead somewhere in the program, mostly forward.
func (g *generator) fixJumps(end int) {
	var starts []int
	for i := 0; i < end; i++ {
		starts = append(starts, i)
		if g.code[i*slotSize] == lddw {
			i++
		}
	}
	for n, i := range starts {
		ins := instruction{op: g.code[i*slotSize]}
		if !ins.jumps() {
			continue
		}
		ahead := append(starts[n+1:len(starts):len(starts)], end)
		target := ahead[g.IntN(min(len(ahead), 8))]
		if g.IntN(12) == 0 {
			target = starts[5+g.IntN(len(starts)-5)]
		}
		switch {
		case ins.isGotox():
			g.table = append(g.table, target, ahead[0], ahead[g.IntN(len(ahead))])
		case ins.isLongJump():
			g.order.PutUint32(g.code[i*slotSize+4:], uint32(target-i-1))
		default:
			g.order.PutUint16(g.code[i*slotSize+2:], uint16(target-i-1))
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
		g.emit(classJMP|opCALL, 0, 0, 0, some[int32](g, 1, 2, 5, 14, 44, 113, 181))
	case 1:
		if g.IntN(3) == 0 {
			g.emit(classJMP|opCALL, 0, pseudoCall, 0, 0)
		}
	case 2, 3, 4:
		g.jump()
	case 5:
		g.assume.Known[g.slot()] = int64(g.IntN(3))
		g.emit(classALU64|opMOV, g.reg(), 0, 0, 1)
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
			g.emit(classLD|some[uint8](g, modeABS, modeIND)|some[uint8](g, 0x00, 0x08, 0x10), 0, g.reg(), 0, 0)
		}
	default:
		g.alu()
	}
}

func (g *generator) longImmediate() {
	switch g.IntN(4) {
	case 0:
		g.assume.Linked[g.slot()] = true
	case 1:
		g.assume.Undecided[g.slot()] = true
	}
	g.emit(lddw, g.reg(), 0, 0, g.immediate())
	g.emit(0, 0, 0, 0, g.immediate())
}

func (g *generator) jump() {
	class := some[uint8](g, classJMP, classJMP32)
	code := some[uint8](g, opJEQ, opJGT, opJGE, opJSET, opJNE, opJSGT, opJSGE, opJLT, opJLE, opJSLT, opJSLE)
	switch g.IntN(12) {
	case 0:
		if g.IntN(2) == 0 {
			g.emit(classJMP|opJA|8, g.reg(), 0, 0, 0)
		} else {
			g.emit(class|opJA, 0, 0, 0, 0)
		}
	case 1:
		g.emit(classJMP|opJCOND, 0, 0, 0, 0)
	case 2, 3, 4, 5:
		g.emit(class|code|8, g.reg(), g.reg(), 0, 0)
	default:
		g.emit(class|code, g.reg(), 0, 0, g.immediate())
	}
}

func (g *generator) alu() {
	class := some[uint8](g, classALU, classALU64)
	code := some[uint8](g, opADD, opSUB, opMUL, opDIV, opOR, opAND, opLSH, opRSH, opNEG, opMOD, opXOR, opMOV, opMOV, opMOV, opARSH, opEND)
	var off int16
	imm, fromReg := g.immediate(), uint8(g.IntN(2)*8)
	switch code {
	case opEND:
		imm, fromReg = some[int32](g, 16, 32, 64), uint8(g.IntN(2)*8)
		if class == classALU64 {
			fromReg = 0
		}
	case opMOV:
		if fromReg != 0 {
			off = some[int16](g, 0, 0, 8, 16)
			if class == classALU64 {
				off = some[int16](g, 0, 0, 0, 1, 8, 16, 32) // 1 is addr_space_cast
			}
		}
	case opDIV, opMOD:
		off = int16(g.IntN(2))
	case opLSH, opRSH, opARSH:
		imm = g.Int32N(32)
	case opNEG:
		fromReg = 0
	}
	if fromReg == 0 && code != opEND && code != opNEG && g.IntN(6) == 0 {
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
	g.anyAccess(frame, g.reg(), at)
}

// pointer puts an address in the stack or in other memory into a register, and
// sometimes uses it.
func (g *generator) pointer() {
	r, s := g.reg(), g.reg()
	if g.IntN(5) == 0 { // an element of an array in the stack
		g.emit(classALU64|opAND, s, 0, 0, some[int32](g, 8, 16, 24))
		g.emit(classALU64|opMOV|8, r, frame, 0, 0)
		g.emit(classALU64|opSUB|8, r, s, 0, 0)
		g.anyAccess(r, g.reg(), -8)
		return
	}
	if g.IntN(3) == 0 {
		g.assume.Linked[g.slot()] = true
		g.emit(lddw, r, 0, 0, 0)
		g.emit(0, 0, 0, 0, 0)
	} else {
		g.emit(classALU64|opMOV|8, r, frame, 0, 0)
		if g.IntN(4) > 0 {
			g.emit(classALU64|opADD, r, 0, 0, -8*int32(1+g.IntN(4)))
		} else {
			g.emit(classALU64|opSUB|8, r, g.reg(), 0, 0)
		}
	}
	if g.IntN(2) == 0 {
		g.anyAccess(r, g.reg(), int16(8*g.IntN(2)))
	}
}

func (g *generator) anyAccess(base, other uint8, off int16) {
	size := some[uint8](g, 0x00, 0x08, 0x10, 0x18, 0x18, 0x18)
	switch g.IntN(9) {
	case 0, 1, 2:
		g.emit(classLDX|modeMEM|size, other, base, off, 0)
	case 3:
		if size == 0x18 {
			size = 0
		}
		g.emit(classLDX|modeMEMSX|size, other, base, off, 0)
	case 4:
		g.emit(classST|modeMEM|size, base, 0, off, g.immediate())
	case 5:
		operation := some[int32](g, opADD, opOR|atomicFetch, atomicXchg, atomicCmpxchg, atomicStoreRelease, atomicLoadAcquire)
		if operation == atomicLoadAcquire {
			base, other = other, base
		}
		g.emit(classSTX|modeATOMIC|some[uint8](g, 0, 0x18), base, other, off, operation)
	default:
		g.emit(classSTX|modeMEM|size, base, other, off, 0)
	}
}

// addressing does what clang does with an offset that it keeps in a register.
func (g *generator) addressing() {
	r, s := uint8(6+g.IntN(4)), uint8(6+g.IntN(4))
	switch g.IntN(9) {
	case 0, 1:
		g.offsets = append(g.offsets, g.slot())
		g.assume.Undecided[g.slot()] = true
		g.emit(some[uint8](g, classALU64|opMOV, classALU|opMOV, classALU64|opADD), r, 0, 0, 8)
	case 2, 3:
		g.emit(classALU64|opADD|8, r, s, 0, 0)
	case 4:
		g.emit(some[uint8](g, classALU64, classALU)|opMOV|8, r, s, 0, 0)
	case 5:
		g.emit(classALU64|some[uint8](g, opADD, opSUB), r, 0, 0, g.Int32N(16))
	case 6:
		g.emit(classSTX|modeMEM|0x18, frame, r, -8*int16(1+g.IntN(2)), 0)
		g.emit(classLDX|modeMEM|0x18, s, frame, -8*int16(1+g.IntN(2)), 0)
	case 7:
		g.emit(classALU64|opLSH, r, 0, 0, 32)
		g.emit(classALU64|some[uint8](g, opRSH, opARSH), r, 0, 0, 32)
	default:
		g.anyAccess(r, s, int16(g.IntN(16)))
	}
}

func (g *generator) listing() string {
	var text bytes.Buffer
	for i := 0; i < g.slot(); i++ {
		var ins asm.Instruction
		if err := ins.Unmarshal(bytes.NewReader(g.code[i*slotSize:]), g.order, "linux"); err != nil {
			continue
		}
		fmt.Fprintf(&text, "%3d: % x  %v", i, g.code[i*slotSize:(i+1)*slotSize], ins)
		if known, ok := g.assume.Known[i]; ok {
			fmt.Fprintf(&text, "  known %d", known)
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
	c, live := f.Constants(g.assume), f.Liveness(5)
	for input := range uint64(6) {
		plain := newMachine(f, g.assume, input)
		if err := plain.run(func(i int) error { return plain.agrees(c, i) }); err != nil {
			return err
		}
		disturbed := newMachine(f, g.assume, input)
		noise := rand.New(rand.NewPCG(input, 2))
		disturbed.run(func(i int) error {
			for _, r := range live.Free(i).List() {
				disturbed.regs[r] = noise.Uint64()
			}
			return nil
		})
		if plain.outcome() != disturbed.outcome() {
			return fmt.Errorf("free registers matter: %v, %v", plain.outcome(), disturbed.outcome())
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
	f        *Function
	assume   Assumptions
	regs     [registers]uint64
	written  Registers
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
	m := &machine{f: f, assume: assume, random: rand.New(rand.NewPCG(input, 1)), written: arguments | 1<<frame}
	for r := range m.regs {
		m.regs[r] = m.number()
	}
	m.regs[frame] = stackTop
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
	return fmt.Sprintf("%x %x %x %v %x", m.visited, m.stack, m.heap, m.finished, m.regs[0])
}

// run interprets the function, with a look before each instruction.
func (m *machine) run(look func(i int) error) error {
	for i, steps := 0, 0; steps < fuel; steps++ {
		if err := look(i); err != nil {
			return fmt.Errorf("before instruction %d: %w", i, err)
		}
		m.visited = m.visited*31 + uint64(i)
		ins := m.f.insns[i]
		if ins.exits() {
			m.finished = m.written.Has(0)
			if !m.finished {
				m.regs[0] = 0
			}
			return nil
		}
		if uses := ins.uses; !ins.isCall() && uses&^m.written != 0 {
			m.regs[0] = 0
			return nil
		}
		next, ok := m.step(i, &ins)
		if !ok {
			m.regs[0] = 0
			return nil
		}
		m.written = ins.writtenAfter(m.written)
		i = next
	}
	m.regs[0] = 0
	return nil
}

func (m *machine) immediate(i int) uint64 {
	ins := &m.f.insns[i]
	if known, ok := m.assume.Known[i]; ok {
		return uint64(known)
	}
	if m.assume.Linked[i] {
		return heapStart
	}
	if m.assume.Undecided[i] {
		return m.number()
	}
	return uint64(ins.imm)
}

func (m *machine) step(i int, ins *instruction) (next int, ok bool) {
	next = i + ins.slots()
	switch {
	case ins.op == lddw:
		m.regs[ins.dst] = m.immediate(i)
	case ins.isALU():
		operand := m.immediate(i)
		if ins.fromReg() {
			operand = m.regs[ins.src]
		}
		m.regs[ins.dst] = m.arithmetic(ins, m.regs[ins.dst], operand)
	case ins.isCall():
		m.call(ins)
	case ins.class() == classLD:
		m.packet(ins)
	case ins.jumps():
		if m.takes(ins) {
			targets := m.f.targets(i)
			next = targets[m.regs[ins.dst]%uint64(len(targets))]
		}
	default:
		return next, m.access(i, ins)
	}
	return next, true
}

func (m *machine) takes(ins *instruction) bool {
	a, b := m.regs[ins.dst], uint64(ins.imm)
	if ins.fromReg() {
		b = m.regs[ins.src]
	}
	signedA, signedB := int64(a), int64(b)
	if ins.is32() {
		a, b = uint64(uint32(a)), uint64(uint32(b))
		signedA, signedB = int64(int32(a)), int64(int32(b))
	}
	switch ins.code() {
	case opJA:
		return true
	case opJCOND:
		return m.random.IntN(2) == 0
	case opJEQ:
		return a == b
	case opJNE:
		return a != b
	case opJGT:
		return a > b
	case opJGE:
		return a >= b
	case opJLT:
		return a < b
	case opJLE:
		return a <= b
	case opJSET:
		return a&b != 0
	case opJSGT:
		return signedA > signedB
	case opJSGE:
		return signedA >= signedB
	case opJSLT:
		return signedA < signedB
	}
	return signedA <= signedB
}

func (m *machine) arithmetic(ins *instruction, a, b uint64) uint64 {
	if ins.code() == opEND {
		return m.reorder(ins, a)
	}
	if ins.code() == opMOV && ins.off != 0 { // a cast, of 1 bit here, may do anything
		b = uint64(int64(b<<(64-ins.off)) >> (64 - ins.off))
	}
	if !ins.is32() {
		return operate(ins, a, b, int64(a), int64(b), 64)
	}
	a, b = uint64(uint32(a)), uint64(uint32(b))
	return uint64(uint32(operate(ins, a, b, int64(int32(a)), int64(int32(b)), 32)))
}

func (m *machine) reorder(ins *instruction, a uint64) uint64 {
	big := m.f.order == binary.BigEndian
	if ins.class() == classALU64 || ins.fromReg() != big {
		return bits.ReverseBytes64(a) >> (64 - ins.imm)
	}
	return a << (64 - ins.imm) >> (64 - ins.imm)
}

func operate(ins *instruction, a, b uint64, signedA, signedB int64, width uint64) uint64 {
	switch ins.code() {
	case opADD:
		return a + b
	case opSUB:
		return a - b
	case opMUL:
		return a * b
	case opOR:
		return a | b
	case opAND:
		return a & b
	case opXOR:
		return a ^ b
	case opMOV:
		return b
	case opNEG:
		return -a
	case opLSH:
		return a << (b & (width - 1))
	case opRSH:
		return a >> (b & (width - 1))
	case opARSH:
		return uint64(signedA >> (b & (width - 1)))
	case opDIV:
		if b == 0 {
			return 0
		}
		if ins.off == 1 {
			return uint64(signedA / signedB)
		}
		return a / b
	}
	if b == 0 {
		return a
	}
	if ins.off == 1 {
		return uint64(signedA % signedB)
	}
	return a % b
}

// call runs some other function. It may use what it is given, and only that.
func (m *machine) call(ins *instruction) {
	result := m.random.Uint64()
	for _, r := range (ins.arguments() & m.written).List() {
		v := m.regs[r]
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
		m.regs[r] = m.random.Uint64()
	}
	if result&1 == 0 {
		result &= 7
	}
	m.regs[0] = result
}

// packet loads from the packet, whose skb is in r6.
func (m *machine) packet(ins *instruction) {
	v := m.random.Uint64()
	if !m.blind {
		v = v*7 + m.regs[6]
	}
	if !m.blind && ins.mode() == modeIND {
		v = v*7 + m.regs[ins.src]
	}
	for r := 1; r <= 5; r++ {
		m.regs[r] = m.random.Uint64()
	}
	m.regs[0] = v & lowBits(ins.width()*8)
}

// memory returns the bytes at an address.
func (m *machine) memory(address uint64, size int) []byte {
	if at := address - (stackTop - stackSize); at <= uint64(stackSize-size) {
		m.lowest = min(m.lowest, int64(address-stackTop))
		return m.stack[at:][:size]
	}
	if at := address - heapStart; at <= uint64(len(m.heap)-size) {
		return m.heap[at:][:size]
	}
	return nil
}

func (m *machine) access(i int, ins *instruction) bool {
	size := ins.width()
	memory := m.memory(m.regs[ins.address()]+uint64(int64(ins.off)), size)
	if m.blind && !m.inStack(m.regs[ins.address()]) {
		memory = binary.BigEndian.AppendUint64(nil, m.steps*0x9e3779b97f4a7c15)[:size]
	}
	if memory == nil {
		return false
	}
	old := m.get(memory)
	if ins.reads() {
		if ins.mode() == modeMEMSX {
			unused := 64 - size*8
			old = uint64(int64(old<<unused) >> unused)
		}
		m.regs[ins.dst] = old
		return true
	}
	v := m.regs[ins.src]
	if ins.class() == classST {
		v = m.immediate(i)
	}
	if v >= stackTop-stackSize && v <= stackTop && !m.inStack(m.regs[ins.dst]) {
		m.lent = true
	}
	m.put(memory, m.exchange(ins, old, v))
	return true
}

// inStack reports whether an address was most likely made from r10: the kernel
// refuses those outside the stack.
func (m *machine) inStack(address uint64) bool {
	return address >= stackTop-1<<21 && address < stackTop+1<<21
}

func (m *machine) exchange(ins *instruction, old, v uint64) uint64 {
	if ins.mode() != modeATOMIC || ins.imm == atomicStoreRelease {
		return v
	}
	result := v
	switch ins.imm &^ atomicFetch {
	case opADD:
		result = old + v
	case opOR:
		result = old | v
	case atomicCmpxchg &^ atomicFetch:
		compared := m.regs[0]
		if ins.width() == 4 {
			compared = uint64(uint32(compared))
		}
		if old != compared {
			result = old
		}
	}
	if register, ok := ins.fetches(); ok {
		m.regs[register] = old
	}
	return result
}

func (m *machine) get(memory []byte) uint64 {
	switch len(memory) {
	case 1:
		return uint64(memory[0])
	case 2:
		return uint64(m.f.order.Uint16(memory))
	case 4:
		return uint64(m.f.order.Uint32(memory))
	}
	return m.f.order.Uint64(memory)
}

func (m *machine) put(memory []byte, v uint64) {
	switch len(memory) {
	case 1:
		memory[0] = byte(v)
	case 2:
		m.f.order.PutUint16(memory, uint16(v))
	case 4:
		m.f.order.PutUint32(memory, uint32(v))
	case 8:
		m.f.order.PutUint64(memory, v)
	}
}

// agrees compares what is claimed before an instruction with what is so.
func (m *machine) agrees(c *Constants, i int) error {
	if c.Reachable(i) == Unreachable {
		return fmt.Errorf("unreachable, but here we are")
	}
	for r := range asm.Register(registers) {
		if !m.written.Has(r) {
			continue
		}
		v := m.regs[r]
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
