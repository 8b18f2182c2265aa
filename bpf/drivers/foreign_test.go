package drivers_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/memlab"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

var foreign = flag.Uint64("foreign", 100_000, "how many packets of others each descriptor function is shown")

// In memory of somebody else, in which every other word leads on into it, there is no
// descriptor.
func TestForeignMemory(t *testing.T) {
	const size, fills = 64 << 10, 10
	needKernels(t, "mlx5_core") // which the oldest have, too
	memory := memlab.New(t, size)
	for _, driver := range xdpDrivers(t) {
		kernels, lowerings := kernelsOf(t, driver), lowerings(t)
		for _, k := range kernels {
			for _, lowering := range lowerings {
				t.Run(driver+"/"+k.name+"/"+string(lowering), func(t *testing.T) {
					found := load(t, read(t, driver), k, lowering)
					random := rand.New(rand.NewPCG(1, 2))
					for range fills {
						memory.Clear(random)
						start := memory.Take(size)
						lead(memory, start, size, random)
						for range int(*foreign) / fills / len(kernels) / len(lowerings) {
							ctx := start + uint64(random.IntN(size)&^7)
							if got := found.find(ctx); got != 0 {
								t.Fatalf("a descriptor at %#x", got)
							}
						}
					}
				})
			}
		}
	}
}

// lead makes half of the words of a memory addresses in it, and some of them wild ones.
func lead(memory *memlab.Memory, start uint64, size int, random *rand.Rand) {
	for at := 0; at < size; at += 8 {
		switch random.IntN(8) {
		case 0:
			memory.Store(start+uint64(at), 8, memlab.Wild[random.IntN(len(memlab.Wild))])
		case 1, 2, 3, 4:
			memory.Store(start+uint64(at), 8, start+uint64(random.IntN(size)&^7))
		}
	}
}

// xdpDrivers returns the accessor files for XDP programs, of which there are types.
func xdpDrivers(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range drivers.Names() {
		if read(t, name).Context == "xdp_buff" && len(kernelsOf(t, name)) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// finder is an XDP program that counts for which packets the descriptor function of each
// driver finds something.
type finder struct {
	names   []string
	counts  *ebpf.Map // one element: per driver, then all packets
	program *ebpf.Program
}

// newFinder loads a finder for an attach type. It takes the newest kernel of each driver
// that is not in this one.
func newFinder(t *testing.T, attach ebpf.AttachType) *finder {
	t.Helper()
	f := &finder{names: xdpDrivers(t)}
	var err error
	f.counts, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(8 * (len(f.names) + 1)), MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.counts.Close() })
	f.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, AttachType: attach, License: "GPL", Instructions: f.instructions(t)})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { f.program.Close() })
	return f
}

func (f *finder) instructions(t *testing.T) asm.Instructions {
	t.Helper()
	one := func(i int) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Imm(asm.R1, 1),
			asm.LoadMapValue(asm.R2, f.counts.FD(), uint32(8*i)),
			asm.StoreXAdd(asm.R2, asm.R1, asm.DWord),
		}
	}
	insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for i := range f.names {
		next := fmt.Sprint("next", i)
		insns = append(insns, asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label(fmt.Sprint("find", i)), asm.JEq.Imm(asm.R0, 0, next))
		insns = append(insns, one(i)...)
		insns = append(insns, asm.Mov.Imm(asm.R0, 0).WithSymbol(next))
	}
	insns = append(insns, one(len(f.names))...)
	insns = append(insns, asm.Mov.Imm(asm.R0, xdpPass), asm.Return())
	for i, driver := range f.names {
		kernels := kernelsOf(t, driver)
		resolved, err := read(t, driver).Resolve(kernels[len(kernels)-1].layout, accessor.Options{})
		if err != nil {
			t.Fatal(err)
		}
		find := instructions(t, resolved.Object, resolved.Descriptor)
		insns = append(insns, find[0].WithSymbol(fmt.Sprint("find", i)))
		insns = append(insns, find[1:]...)
	}
	return insns
}

const (
	xdpDrop = 1
	xdpPass = 2
)

// await waits until the program has seen a number of packets, or more: the stack may send
// some, too. It returns for how many each driver has found something, and how many there
// were.
func (f *finder) await(t *testing.T, packets uint64) (found []uint64, all uint64) {
	t.Helper()
	counts := make([]uint64, len(f.names)+1)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Microsecond) {
		raw, err := f.counts.LookupBytes(uint32(0))
		if err != nil {
			t.Fatal(err)
		}
		for i := range counts {
			counts[i] = binary.NativeEndian.Uint64(raw[8*i:])
		}
		if all = counts[len(f.names)]; all >= packets {
			return counts[:len(f.names)], all
		}
	}
	t.Fatalf("%d packets instead of %d", all, packets)
	return nil, 0
}

// check wants that so many packets were seen, and that nothing was found but by one
// driver, if any, and that in each.
func (f *finder) check(t *testing.T, packets uint64, finds string) {
	t.Helper()
	found, all := f.await(t, packets)
	for i, driver := range f.names {
		if want := driver == finds; found[i] != 0 && !want || found[i] < packets && want {
			t.Errorf("%s: %d descriptors in %d packets", driver, found[i], all)
		}
	}
}

// wired is an interface with the wire that its packets come from.
type wired struct {
	nic    *netlab.NIC
	wire   int
	socket int
}

func newWired(t *testing.T, ns *netlab.Namespace, name string) *wired {
	t.Helper()
	nic, err := ns.AddNIC(name)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := net.InterfaceByName(name + "-wire")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	if err := unix.Bind(socket, &unix.SockaddrLinklayer{Ifindex: wire.Index}); err != nil {
		t.Fatal(err)
	}
	return &wired{nic, wire.Index, socket}
}

// deliver sends packets by the wire, as the stack does: as skbs. A finder has to see each
// before what receives them has no more room.
func (w *wired) deliver(t *testing.T, f *finder, packets uint64) {
	t.Helper()
	const room = 128
	for sent := uint64(0); sent < packets; {
		for range min(room, packets-sent) {
			if _, err := unix.Write(w.socket, make([]byte, 64)); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		f.await(t, sent)
	}
}

func attach(t *testing.T, program *ebpf.Program, ifindex int, flags link.XDPAttachFlags) {
	t.Helper()
	attached, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: ifindex, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
}

// The device is veth's in each of these, and no buff but the last one's is.
func TestForeignBuffs(t *testing.T) {
	needKernels(t, "mlx5_core")
	t.Run("test run", func(t *testing.T) {
		netlab.NeedRoot(t)
		f := newFinder(t, ebpf.AttachNone)
		if _, err := f.program.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: uint32(*foreign)}); err != nil {
			t.Fatal(err)
		}
		f.check(t, *foreign, "")
	})
	t.Run("test run on an interface", func(t *testing.T) {
		w := newWired(t, netlab.Enter(t), "nic")
		f := newFinder(t, ebpf.AttachNone)
		ctx := struct{ Data, DataEnd, DataMeta, IngressIfindex, RXQueueIndex, EgressIfindex uint32 }{
			DataEnd: 64, IngressIfindex: uint32(w.nic.Index),
		}
		attach(t, f.program, w.nic.Index, link.XDPDriverMode) // registers the queue
		if _, err := f.program.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: uint32(*foreign), Context: ctx}); err != nil {
			t.Fatal(err)
		}
		f.check(t, *foreign, "")
	})
	t.Run("generic mode", func(t *testing.T) {
		w := newWired(t, netlab.Enter(t), "nic")
		f := newFinder(t, ebpf.AttachNone)
		attach(t, f.program, w.nic.Index, link.XDPGenericMode)
		w.deliver(t, f, *foreign)
		f.check(t, *foreign, "")
	})
	t.Run("cpumap", func(t *testing.T) {
		w := newWired(t, netlab.Enter(t), "nic")
		f := newFinder(t, ebpf.AttachXDPCPUMap)
		attach(t, newRedirector(t, ebpf.CPUMap, 192, f.program), w.nic.Index, link.XDPDriverMode)
		w.deliver(t, f, *foreign)
		f.check(t, *foreign, "")
	})
	t.Run("devmap", func(t *testing.T) {
		w := newWired(t, netlab.Enter(t), "nic")
		f := newFinder(t, ebpf.AttachXDPDevMap)
		attach(t, dropper(t), w.wire, link.XDPDriverMode) // or nothing can be sent there
		attach(t, newRedirector(t, ebpf.DevMap, uint32(w.nic.Index), f.program), w.nic.Index, link.XDPDriverMode)
		w.deliver(t, f, *foreign)
		f.check(t, *foreign, "")
	})
	t.Run("frames", func(t *testing.T) {
		w := newWired(t, netlab.Enter(t), "nic")
		f := newFinder(t, ebpf.AttachNone)
		attach(t, f.program, w.nic.Index, link.XDPDriverMode)
		frames := make([]netlab.Frame, *foreign)
		for i := range frames {
			frames[i].Packet = make([]byte, 64)
		}
		if err := w.nic.Deliver(frames); err != nil {
			t.Fatal(err)
		}
		f.check(t, *foreign, "")
	})
	t.Run("native mode", func(t *testing.T) {
		w := newWired(t, netlab.Enter(t), "nic")
		f := newFinder(t, ebpf.AttachNone)
		attach(t, f.program, w.nic.Index, link.XDPDriverMode)
		w.deliver(t, f, *foreign)
		f.check(t, *foreign, "veth")
	})
}

// newRedirector returns a program that redirects to the only entry of a map, a size or an
// interface, which has a program of its own.
func newRedirector(t *testing.T, typ ebpf.MapType, entry uint32, program *ebpf.Program) *ebpf.Program {
	t.Helper()
	targets, err := ebpf.NewMap(&ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { targets.Close() })
	if err := targets.Put(uint32(0), [2]uint32{entry, uint32(program.FD())}); err != nil {
		t.Fatal(err)
	}
	return newXDP(t,
		asm.LoadMapPtr(asm.R1, targets.FD()),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRedirectMap.Call(),
		asm.Return(),
	)
}

func dropper(t *testing.T) *ebpf.Program {
	t.Helper()
	return newXDP(t, asm.Mov.Imm(asm.R0, xdpDrop), asm.Return())
}

func newXDP(t *testing.T, insns ...asm.Instruction) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: insns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}
