// Command receive takes the packets of an interface by AF_XDP sockets, and prints what the
// NIC knows of each: its flow's hash, its checksum, its VLAN, its mark, and when it arrived.
//
//	receive --iface eth0
//
// bpf/examples/receive.c puts that in front of the packets, whatever the NIC. They are
// taken: nobody else on the machine gets them until it is stopped.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/afxdp"
	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/meta"
)

func main() { example.Main(run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	var target example.Target
	flags := target.Flags("receive")
	packets := flags.Uint64("packets", 0, "stop after this `NUMBER` of packets (default: go on until interrupted)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := newReceiver(&target, meta.All)
	if err != nil {
		return err
	}
	defer r.close()

	clock, err := example.ClockOf(&target)
	if err != nil {
		return err
	}
	defer clock.Close()
	fmt.Fprintf(out, "%s: %d queues, fields from %s, latency by %s\n\n", target.Interface, len(r.sockets), r.program.Target.Source, clock.Name)
	p := printer{out: out, clock: clock}
	isEnough := func() bool { return *packets > 0 && p.packets >= *packets }
	for isInterrupted := false; !isInterrupted && !isEnough(); {
		isInterrupted = ctx.Err() != nil // what is in the rings then is printed, too
		err := r.receive(func(packet []byte) {
			if !isEnough() {
				p.print(&r.packet, packet)
			}
		})
		if err != nil {
			return err
		}
	}
	return r.summarise(out, &p)
}

// receiver is the program on an interface, and a socket for each of its queues.
type receiver struct {
	program *example.Program
	sockets []*afxdp.Socket
	decoder *meta.Decoder
	packet  meta.Packet // what is in front of the one at hand
	place   meta.Place
}

// maxQueues is how many elements the program's map of sockets has.
const maxQueues = 256

// newReceiver attaches the program to an interface, and asks it for some fields.
func newReceiver(target *example.Target, wanted meta.Fields) (*receiver, error) {
	r := new(receiver)
	if err := r.open(target, wanted); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// open has the sockets before the program, which redirects the first packet that it sees.
// Some drivers have more queues with a program than without, virtio_net for one: those of
// them are opened then.
func (r *receiver) open(target *example.Target, wanted meta.Fields) error {
	layout, err := example.Layout("receive")
	if err != nil {
		return err
	}
	if r.decoder, err = meta.NewDecoder(layout, meta.PacketStruct, &r.packet); err != nil {
		return err
	}
	iface, err := target.NIC()
	if err != nil {
		return err
	}
	if r.sockets, err = afxdp.OpenAll(iface.Index, 0, maxQueues); err != nil {
		return err
	}
	r.program, err = target.Attach("receive", func(spec *ebpf.CollectionSpec) error {
		for queue, socket := range r.sockets {
			spec.Maps["sockets"].Contents = append(spec.Maps["sockets"].Contents, ebpf.MapKV{Key: uint32(queue), Value: uint32(socket.FD())})
		}
		return spec.Variables["wanted"].Set(wanted)
	})
	if err != nil {
		return err
	}
	more, err := afxdp.OpenAll(iface.Index, len(r.sockets), maxQueues)
	if err != nil {
		return err
	}
	for _, socket := range more {
		if err := r.program.Maps["sockets"].Put(uint32(len(r.sockets)), uint32(socket.FD())); err != nil {
			return errors.Join(err, afxdp.CloseAll(more))
		}
		r.sockets = append(r.sockets, socket)
	}
	return nil
}

func (r *receiver) close() {
	if r.program != nil {
		r.program.Close()
	}
	afxdp.CloseAll(r.sockets)
}

// receive waits for packets, for a moment, and calls fn with each, of which r.packet has
// what is in front.
func (r *receiver) receive(fn func(packet []byte)) error {
	if err := afxdp.Wait(r.sockets, 100*time.Millisecond); err != nil {
		return err
	}
	for _, socket := range r.sockets {
		var err error
		socket.Receive(func(front, packet []byte) {
			if r.place == meta.Nowhere {
				err = r.program.Variables["place"].Get(&r.place)
			}
			if r.place == meta.InPacket {
				front, packet = packet[:r.decoder.Size()], packet[r.decoder.Size():]
			}
			r.decoder.Decode(front) // there is always room for it: XDP_PACKET_HEADROOM is 256
			fn(packet)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// summarise says how many packets there were, and how many there were not.
func (r *receiver) summarise(out io.Writer, p *printer) error {
	var lost uint64
	for _, socket := range r.sockets {
		n, err := socket.Lost()
		if err != nil {
			return err
		}
		lost += n
	}
	var withoutRoom uint64
	if err := r.program.Variables["without_room"].Get(&withoutRoom); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d packets, %d lost", p.packets, lost)
	if withoutRoom > 0 {
		fmt.Fprintf(out, ", %d passed on, since there is no room in front of them", withoutRoom)
	}
	if p.timed > 0 {
		fmt.Fprintf(out, ", mean latency %s", time.Duration(p.latency/p.timed))
	}
	fmt.Fprintln(out)
	return nil
}
