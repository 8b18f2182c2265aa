// Package afxdp receives packets by AF_XDP sockets, with what is in front of them. It only
// receives, and knows nothing of what the bytes mean. See
// Documentation/networking/af_xdp.rst in the kernel's source.
package afxdp

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	frames    = 2048 // of a socket, and the entries of its rings: a power of 2
	frameSize = 4096
)

// Socket receives the packets of one queue of an interface that an XDP program redirects
// to it. It is for one goroutine.
type Socket struct {
	fd   int
	umem []byte // the frames
	fill ring   // frames for packets, of the kernel to take
	rx   ring   // packets
}

// ErrNoQueue is wrapped by Open's error about a queue that the interface does not have.
var ErrNoQueue = errors.New("no such queue")

// Open opens a socket for a queue of an interface, by its index, with zero copy where the
// driver has that. It takes CAP_NET_RAW.
func Open(ifindex, queue int) (*Socket, error) {
	s := &Socket{fd: -1}
	if err := s.open(ifindex, queue); err != nil {
		return nil, errors.Join(fmt.Errorf("AF_XDP socket for queue %d: %w", queue, err), s.Close())
	}
	return s, nil
}

func (s *Socket) open(ifindex, queue int) (err error) {
	if s.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if s.umem, err = unix.Mmap(-1, 0, frames*frameSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if err := registerUMEM(s.fd, s.umem); err != nil {
		return fmt.Errorf("register memory for packets: %w", err)
	}
	if err := s.mapRings(); err != nil {
		return fmt.Errorf("map rings: %w", err)
	}
	for i := range uint64(frames) {
		s.fill.setAddress(uint32(i), i*frameSize)
	}
	s.fill.produce(frames)

	err = s.bind(ifindex, queue)
	switch {
	case errors.Is(err, unix.EINVAL) && queue > 0:
		// The same is said of a queue beyond the last one (xsk_reg_pool_at_qid in
		// net/xdp/xsk.c). What else it may be is the same for queue 0.
		return ErrNoQueue
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another socket has it: %w", err)
	}
	return os.NewSyscallError("bind", err)
}

// bind waits for a moment if the queue is taken: a socket that was closed leaves it a bit
// later (xp_release_deferred in net/xdp/xsk_buff_pool.c).
func (s *Socket) bind(ifindex, queue int) error {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Bind(s.fd, &unix.SockaddrXDP{Ifindex: uint32(ifindex), QueueID: uint32(queue)})
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

// OpenAll opens a socket for each queue of an interface, at most max.
func OpenAll(ifindex, max int) (sockets []*Socket, err error) {
	for queue := range max {
		s, err := Open(ifindex, queue)
		if errors.Is(err, ErrNoQueue) {
			break
		}
		if err != nil {
			return nil, errors.Join(err, CloseAll(sockets))
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// CloseAll closes sockets.
func CloseAll(sockets []*Socket) error {
	var errs []error
	for _, s := range sockets {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// FD returns the file descriptor, for a map of type BPF_MAP_TYPE_XSKMAP.
func (s *Socket) FD() int { return s.fd }

// Receive calls fn with each packet that has arrived, and with the bytes of its frame that
// are in front of it, of which the last are the metadata area. Both are the socket's again
// when fn returns. It returns how many packets there were.
func (s *Socket) Receive(fn func(front, packet []byte)) int {
	n := s.rx.available()
	for i := range n {
		addr, length := s.rx.descriptor(s.rx.consumed() + i)
		frame := addr &^ (frameSize - 1)
		fn(s.umem[frame:addr:addr], s.umem[addr:addr+uint64(length)])
		s.fill.setAddress(s.fill.produced()+i, frame)
	}
	s.rx.consume(n)
	s.fill.produce(n) // there is room: the kernel took these frames from there
	return int(n)
}

// Lost returns how many packets the kernel has dropped since there was no frame, or no room
// in the ring, for them.
func (s *Socket) Lost() (uint64, error) {
	stats, err := statistics(s.fd)
	return stats.Rx_dropped + stats.Rx_ring_full, err
}

// Close gives the socket up. What it was redirected takes another way, as the program says.
func (s *Socket) Close() error {
	var errs []error
	for _, memory := range [][]byte{s.fill.memory, s.rx.memory, s.umem} {
		if memory != nil {
			errs = append(errs, unix.Munmap(memory))
		}
	}
	if s.fd >= 0 {
		errs = append(errs, unix.Close(s.fd))
	}
	*s = Socket{fd: -1}
	return errors.Join(errs...)
}

// Wait returns when a packet has arrived at one of the sockets, or after a while.
func Wait(sockets []*Socket, patience time.Duration) error {
	fds := make([]unix.PollFd, len(sockets))
	for i, s := range sockets {
		fds[i] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
	}
	_, err := unix.Poll(fds, int(patience.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return os.NewSyscallError("poll", err)
}
