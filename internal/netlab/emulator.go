package netlab

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/kernel"
)

// Frame is one packet as a NIC hands it over.
type Frame struct {
	Metadata []byte // a multiple of 4, at most MaxMetadata bytes
	Packet   []byte // at least an Ethernet header, 14 bytes
}

// MaxMetadata is the largest metadata area, in bytes, that a frame of the
// emulator has room for.
const MaxMetadata = 216

// batch is how many frames one run of the sender sends. Each run takes the
// kernel some 20 ms to set up and tear down; the memory for the frames is what
// speaks against larger ones.
const batch = 8192

// ring is VETH_RING_SIZE of drivers/net/veth.c, which is how many frames wait to be received.
const ring = 256

// atOnce is how many frames a run is given: a batch, or as many as wait. Before Linux 6.5 the
// kernel may leave those to ksoftirqd, and go on sending (ksoftirqd_running in
// kernel/softirq.c).
var atOnce = sync.OnceValue(func() int {
	var major, minor int
	release, err := kernel.Release()
	if err != nil {
		return ring
	}
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 5 {
		return ring
	}
	return batch
})

// Deliver sends frames through the wire, in order, and returns once the NIC
// has received them all. All have the same length of metadata and of packet.
//
// The interface has to have an XDP program attached in native mode: without
// one, a veth accepts no frames of this kind.
func (nic *NIC) Deliver(frames []Frame) error {
	if len(frames) == 0 {
		return nil
	}
	if err := checkFrames(frames); err != nil {
		return err
	}

	sender, err := newSender(nic.wire, &frames[0])
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", nic.Name, err)
	}
	defer sender.close()

	return nic.ns.Do(func() error {
		if err := stayOnOneCPU(); err != nil {
			return fmt.Errorf("deliver to %s: %w", nic.Name, err)
		}
		return nic.deliver(sender, frames)
	})
}

// stayOnOneCPU keeps the calling thread from moving to another CPU.
//
// The receiving end of a veth has a ring, and silently drops what comes when that is full.
// bpf_prog_test_run sends 64 at a time, and the CPU it runs on then empties the ring before
// the next 64, but only if it is also the CPU on which that work was left over.
func stayOnOneCPU() error {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return err
	}
	cpu := 0
	for !allowed.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	return unix.SchedSetaffinity(0, &one)
}

func (nic *NIC) deliver(sender *sender, frames []Frame) error {
	received, err := nic.received()
	if err != nil {
		return err
	}

	for len(frames) > 0 {
		n := min(atOnce(), len(frames))
		if err := sender.send(frames[:n]); err != nil {
			return fmt.Errorf("deliver to %s: %w", nic.Name, err)
		}
		received += uint64(n)
		if err := nic.awaitReceived(received); err != nil {
			return fmt.Errorf("%w: is there a native XDP program on it?", err)
		}
		frames = frames[n:]
	}
	return nil
}

func checkFrames(frames []Frame) error {
	metadata, packet := len(frames[0].Metadata), len(frames[0].Packet)
	if metadata%4 != 0 || metadata > MaxMetadata {
		return fmt.Errorf("%d bytes of metadata are not a multiple of 4 up to %d", metadata, MaxMetadata)
	}
	if packet < 14 || packet > 1500 {
		return fmt.Errorf("a packet of %d bytes is not between 14 and 1500", packet)
	}
	for _, frame := range frames {
		if len(frame.Metadata) != metadata || len(frame.Packet) != packet {
			return errors.New("frames differ in length")
		}
	}
	return nil
}

// sender is a BPF program that writes one frame after the other and redirects
// each to an interface. It is run by bpf_prog_test_run, in which the kernel
// reuses a few pages for all frames: what is different in each has to be
// written by the program.
type sender struct {
	prog   *ebpf.Program
	frames *ebpf.Map // array of metadata, packet
	todo   *ebpf.Map // one element: index of the next frame, number of frames

	layout frameLayout
	slots  []byte // contents of frames
}

// frameLayout is where the parts of a frame are in the element of an array.
type frameLayout struct {
	metadata, packet int // lengths
}

func (l frameLayout) packetOffset() int { return roundUp(l.metadata) }
func (l frameLayout) size() int         { return l.packetOffset() + roundUp(l.packet) }

// roundUp returns n rounded up to a multiple of 8, the size of the largest load.
func roundUp(n int) int { return (n + 7) &^ 7 }

func newSender(ifindex int, like *Frame) (_ *sender, err error) {
	s := &sender{layout: frameLayout{len(like.Metadata), len(like.Packet)}}
	s.slots = make([]byte, batch*s.layout.size())
	defer func() {
		if err != nil {
			s.close()
		}
	}()

	s.frames, err = ebpf.NewMap(&ebpf.MapSpec{
		Type:       ebpf.Array,
		KeySize:    4,
		ValueSize:  uint32(s.layout.size()),
		MaxEntries: batch,
		Flags:      unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return nil, err
	}
	s.todo, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	s.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "emulate_nic",
		Type:         ebpf.XDP,
		License:      "MIT",
		Instructions: s.instructions(ifindex),
	})
	return s, err
}

func (s *sender) close() {
	s.prog.Close()
	s.frames.Close()
	s.todo.Close()
}

// send runs the program for each of at most batch frames.
func (s *sender) send(frames []Frame) error {
	memory, err := s.frames.Memory()
	if err != nil {
		return err
	}
	for i, frame := range frames {
		slot := s.slots[i*s.layout.size():]
		copy(slot, frame.Metadata)
		copy(slot[s.layout.packetOffset():], frame.Packet)
	}
	if _, err := memory.WriteAt(s.slots, 0); err != nil {
		return err
	}
	if err := s.todo.Put(uint32(0), [2]uint32{0, uint32(len(frames))}); err != nil {
		return err
	}

	// Run starts again from the first repetition when a signal interrupts it,
	// so it may run the program more often: todo knows how far it has come.
	_, err = s.prog.Run(&ebpf.RunOptions{
		Data:    make([]byte, s.layout.metadata+s.layout.packet),
		Context: s.context(),
		Repeat:  uint32(len(frames)),
		Flags:   unix.BPF_F_TEST_XDP_LIVE_FRAMES,
	})
	return err
}

// xdpMD is struct xdp_md as bpf_prog_test_run takes it: data is the length of
// the metadata, data_end that of metadata and packet.
type xdpMD struct {
	Data, DataEnd, DataMeta, IngressIfindex, RXQueueIndex, EgressIfindex uint32
}

func (s *sender) context() *xdpMD {
	return &xdpMD{
		Data:    uint32(s.layout.metadata),
		DataEnd: uint32(s.layout.metadata + s.layout.packet),
	}
}

// Offsets in struct xdp_md.
const (
	xdpData     = 0
	xdpDataEnd  = 4
	xdpDataMeta = 8
)

// XDP actions, enum xdp_action.
const xdpDrop = 1

// instructions are those of
//
//	todo = bpf_map_lookup_elem(&todo, &(u32){0});
//	if (!todo || todo->next >= todo->count) return XDP_DROP;
//	frame = bpf_map_lookup_elem(&frames, &(u32){todo->next++});
//	if (!frame) return XDP_DROP;
//	if (data_meta + metadata > data) return XDP_DROP;
//	memcpy(data_meta, frame, metadata);
//	if (data + packet > data_end) return XDP_DROP;
//	memcpy(data, frame + packet_offset, packet);
//	return bpf_redirect(ifindex, 0);
func (s *sender) instructions(ifindex int) asm.Instructions {
	ctx, frame := asm.R6, asm.R7

	insns := asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),

		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, s.todo.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.LoadMem(asm.R2, asm.R0, 4, asm.Word),
		asm.JGE.Reg(asm.R1, asm.R2, "drop"),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.Word),

		asm.LoadMapPtr(asm.R1, s.frames.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(frame, asm.R0),
	}

	insns = append(insns, guard(ctx, xdpDataMeta, xdpData, s.layout.metadata)...)
	insns = append(insns, copyTo(asm.R1, frame, 0, s.layout.metadata)...)
	insns = append(insns, guard(ctx, xdpData, xdpDataEnd, s.layout.packet)...)
	insns = append(insns, copyTo(asm.R1, frame, s.layout.packetOffset(), s.layout.packet)...)

	return append(insns,
		asm.Mov.Imm(asm.R1, int32(ifindex)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("drop"),
		asm.Return(),
	)
}

// guard loads the pointer start of the context to R1 and drops the packet if
// there are less than length bytes from there to the pointer end.
func guard(ctx asm.Register, start, end int16, length int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, ctx, start, asm.Word),
		asm.LoadMem(asm.R2, ctx, end, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Add.Imm(asm.R3, int32(length)),
		asm.JGT.Reg(asm.R3, asm.R2, "drop"),
	}
}

// copyTo copies length bytes at an offset from the register from to what the
// register to points at, in the largest steps there are.
func copyTo(to, from asm.Register, offset, length int) asm.Instructions {
	var insns asm.Instructions
	for done := 0; done < length; {
		step := largestStep(length - done)
		insns = append(insns,
			asm.LoadMem(asm.R2, from, int16(offset+done), step),
			asm.StoreMem(to, int16(done), asm.R2, step),
		)
		done += step.Sizeof()
	}
	return insns
}

func largestStep(length int) asm.Size {
	switch {
	case length >= 8:
		return asm.DWord
	case length >= 4:
		return asm.Word
	case length >= 2:
		return asm.Half
	}
	return asm.Byte
}
