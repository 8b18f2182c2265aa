// Package memlab lays a kernel's structs out in memory that BPF programs read as the
// kernel's, and runs code over it: for tests of code that reads a driver's structs,
// without the driver and its hardware.
//
// The memory is the value of an array map, which has an address in the kernel as anything
// else, and which a test writes through a mapping of it.
package memlab

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Memory is a piece of the kernel's memory.
type Memory struct {
	values *ebpf.Map // one, the memory
	bytes  []byte
	start  uint64 // its address in the kernel
	used   int
}

// alignment is that of what is placed in the memory, a cache line.
const alignment = 64

// New makes a piece of memory, which is there until the test ends.
func New(tb testing.TB, size int) *Memory {
	tb.Helper()
	netlab.NeedRoot(tb)
	m, err := newMemory(tb, size)
	if err != nil {
		tb.Fatalf("make memory of %d bytes: %v", size, err)
	}
	return m
}

func newMemory(tb testing.TB, size int) (*Memory, error) {
	page := unix.Getpagesize()
	size = (size + page - 1) / page * page
	values, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { values.Close() })

	mapped, err := unix.Mmap(values.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = unix.Munmap(mapped) })

	if err := storeOwnAddress(values); err != nil {
		return nil, err
	}
	return &Memory{values: values, bytes: mapped, start: binary.NativeEndian.Uint64(mapped)}, nil
}

// storeOwnAddress stores the address of a map's value in the value.
func storeOwnAddress(values *ebpf.Map) error {
	program, err := newProgram(asm.Instructions{
		asm.LoadMapValue(asm.R1, values.FD(), 0),
		asm.StoreMem(asm.R1, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	})
	if err != nil {
		return err
	}
	defer program.Close()
	_, err = program.Run(&ebpf.RunOptions{Data: packet})
	return err
}

func newProgram(insns asm.Instructions) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: insns})
}

// packet is what programs are run on.
var packet = make([]byte, 64)

// Clear forgets what was placed, and fills the memory that it took with random bytes.
func (m *Memory) Clear(random *rand.Rand) {
	for at := 0; at < m.used; {
		at += copy(m.bytes[at:m.used], noise()[random.IntN(noiseSize/2):])
	}
	m.used = 0
}

const noiseSize = 256 << 10

// noise is random bytes, the same in each run.
var noise = sync.OnceValue(func() []byte {
	bytes := make([]byte, noiseSize)
	rand.NewChaCha8([32]byte{}).Read(bytes)
	return bytes
})

// Take takes a number of bytes of the memory, and returns their address. What is in them
// is random after Clear.
func (m *Memory) Take(size int) uint64 {
	start := m.used
	m.used += (size + alignment - 1) / alignment * alignment
	if m.used > len(m.bytes) {
		panic(fmt.Sprintf("memlab: %d bytes are too few", len(m.bytes)))
	}
	return m.start + uint64(start)
}

// Load returns the number that a program loads from an address, in the byte order of the
// machine. It is 0 if not all of it is in the memory, as from an address that faults.
func (m *Memory) Load(address uint64, size int) uint64 {
	at, ok := m.at(address, size)
	if !ok {
		return 0
	}
	switch size {
	case 1:
		return uint64(at[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(at))
	case 4:
		return uint64(binary.NativeEndian.Uint32(at))
	default:
		return binary.NativeEndian.Uint64(at)
	}
}

// Store stores a number at an address in the memory.
func (m *Memory) Store(address uint64, size int, number uint64) {
	at, ok := m.at(address, size)
	if !ok {
		panic(fmt.Sprintf("memlab: %#x is not in the memory", address))
	}
	switch size {
	case 1:
		at[0] = byte(number)
	case 2:
		binary.NativeEndian.PutUint16(at, uint16(number))
	case 4:
		binary.NativeEndian.PutUint32(at, uint32(number))
	default:
		binary.NativeEndian.PutUint64(at, number)
	}
}

func (m *Memory) at(address uint64, size int) ([]byte, bool) {
	offset := address - m.start
	if offset >= uint64(len(m.bytes)) || offset+uint64(size) > uint64(len(m.bytes)) {
		return nil, false
	}
	return m.bytes[offset:][:size], true
}

// NullFaults reports whether NULL, and what is behind it, is an address that faults. On
// s390x the CPU keeps its own state there, and the kernel may read it, and all memory
// behind that.
func NullFaults() bool { return runtime.GOARCH != "s390x" }

// Wild are addresses that fault, each for a reason of its own: NULL and what is right
// behind it, user space, those that no CPU takes, and what the kernel never maps.
var Wild = wild()

func wild() []uint64 {
	addresses := []uint64{0x0000_7fff_ffff_e000, 0x0000_8000_0000_0000, 0xdead_0000_0000_0000}
	if !NullFaults() { // nor do the last addresses: a struct there has members at the first
		return append(addresses, 0xffff_0000_0000_0000)
	}
	return append(addresses, 0, 1, 4095, 0xffff_ffff_ffff_f000, 0xffff_ffff_ffff_fff8)
}
