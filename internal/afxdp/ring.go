package afxdp

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is shared with the kernel: what one side produces, the other consumes. Both counts
// run on forever, and the entry of a count is that modulo the size.
type ring struct {
	memory  []byte
	offsets unix.XDPRingOffset
}

func (s *Socket) mapRings() (err error) {
	for _, option := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, option, frames); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	var offsets unix.XDPMmapOffsets
	if err := getsockopt(s.fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&offsets), unsafe.Sizeof(offsets)); err != nil {
		return err
	}
	if s.fill, err = mapRing(s.fd, unix.XDP_UMEM_PGOFF_FILL_RING, offsets.Fr, unsafe.Sizeof(uint64(0))); err != nil {
		return err
	}
	s.rx, err = mapRing(s.fd, unix.XDP_PGOFF_RX_RING, offsets.Rx, unsafe.Sizeof(unix.XDPDesc{}))
	return err
}

func mapRing(fd int, at int64, offsets unix.XDPRingOffset, entry uintptr) (ring, error) {
	memory, err := unix.Mmap(fd, at, int(offsets.Desc)+frames*int(entry), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	return ring{memory, offsets}, os.NewSyscallError("mmap", err)
}

func (r *ring) count(offset uint64) *uint32 { return (*uint32)(unsafe.Pointer(&r.memory[offset])) }

// What this side counts, nobody else writes to.
func (r *ring) produced() uint32 { return *r.count(r.offsets.Producer) }
func (r *ring) consumed() uint32 { return *r.count(r.offsets.Consumer) }

// available returns how many entries the kernel has produced that are not consumed.
func (r *ring) available() uint32 {
	return atomic.LoadUint32(r.count(r.offsets.Producer)) - r.consumed()
}

// produce and consume hand entries to the kernel, after all that was stored in them or
// loaded from them.
func (r *ring) produce(n uint32) { atomic.AddUint32(r.count(r.offsets.Producer), n) }
func (r *ring) consume(n uint32) { atomic.AddUint32(r.count(r.offsets.Consumer), n) }

// setAddress sets an entry of the fill ring: where a frame is.
func (r *ring) setAddress(count uint32, addr uint64) {
	at := r.offsets.Desc + uint64(count%frames)*uint64(unsafe.Sizeof(addr))
	*(*uint64)(unsafe.Pointer(&r.memory[at])) = addr
}

// descriptor returns an entry of the RX ring: where a packet is in the frames, and how long.
func (r *ring) descriptor(count uint32) (addr uint64, length uint32) {
	at := r.offsets.Desc + uint64(count%frames)*uint64(unsafe.Sizeof(unix.XDPDesc{}))
	desc := (*unix.XDPDesc)(unsafe.Pointer(&r.memory[at]))
	return desc.Addr, desc.Len
}

func registerUMEM(fd int, umem []byte) error {
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&umem[0]))), Len: uint64(len(umem)), Size: frameSize}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG, uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0)
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}

func statistics(fd int) (stats unix.XDPStatistics, err error) {
	err = getsockopt(fd, unix.XDP_STATISTICS, unsafe.Pointer(&stats), unsafe.Sizeof(stats))
	return stats, err
}

func getsockopt(fd, option int, to unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(to), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return os.NewSyscallError("getsockopt", errno)
	}
	return nil
}
