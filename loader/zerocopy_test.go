package loader_test

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of an AF_XDP socket: so many frames of a page each, which all are the driver's to fill.
const (
	xskFrames    = 2048
	xskFrameSize = 4096
)

// bindZeroCopy binds a socket to a queue in zero-copy mode, for the rest of the test. What
// an XDP program passes on there becomes an skb as on any queue, and the frame is the
// driver's again.
func bindZeroCopy(t *testing.T, ifindex int, queue uint32) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := unix.Mmap(-1, 0, xskFrames*xskFrameSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(socket)
		unix.Munmap(frames)
	})
	area := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&frames[0]))), Len: uint64(len(frames)), Size: xskFrameSize}
	if err := setXDP(socket, unix.XDP_UMEM_REG, unsafe.Pointer(&area), unsafe.Sizeof(area)); err != nil {
		t.Fatal(err)
	}
	for _, ring := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		if err := unix.SetsockoptInt(socket, unix.SOL_XDP, ring, xskFrames); err != nil {
			t.Fatal(err)
		}
	}
	if err := fillXDP(socket); err != nil {
		t.Fatal(err)
	}
	address := &unix.SockaddrXDP{Flags: unix.XDP_ZEROCOPY, Ifindex: uint32(ifindex), QueueID: queue}
	if err := unix.Bind(socket, address); err != nil {
		t.Fatalf("bind to queue %d: %v", queue, err)
	}
}

func setXDP(socket, option int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(socket), unix.SOL_XDP, uintptr(option), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// fillXDP puts all frames into the fill ring.
func fillXDP(socket int) error {
	var offsets unix.XDPMmapOffsets
	size := uint32(unsafe.Sizeof(offsets))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&offsets)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	ring, err := unix.Mmap(socket, unix.XDP_UMEM_PGOFF_FILL_RING, int(offsets.Fr.Desc)+8*xskFrames, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(ring)
	for i := range xskFrames {
		binary.NativeEndian.PutUint64(ring[int(offsets.Fr.Desc)+8*i:], uint64(i*xskFrameSize))
	}
	binary.NativeEndian.PutUint32(ring[offsets.Fr.Producer:], xskFrames)
	return nil
}
