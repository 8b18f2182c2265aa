//go:build linux

package loader

import (
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// awaitPackets returns when no program runs any more that was attached before. A packet
// that is in one at the moment must not find the program arrays emptied through which it
// is going to tail-call. Programs run in RCU read-side sections.
func awaitPackets() {
	if synchronize() != nil {
		_ = synchronizeByMap() // what fails here failed for want of memory: there is nothing else to do
	}
}

// synchronize waits for an RCU grace period: the global command of membarrier(2) is
// synchronize_rcu(). Kernels that run with nohz_full refuse it.
func synchronize() error {
	const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// synchronizeByMap does so by an update of a map of maps, which returns when no program
// uses the map that was in it (maybe_wait_bpf_programs in kernel/bpf/syscall.c).
func synchronizeByMap() error {
	inner := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	outer, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: inner})
	if err != nil {
		return err
	}
	defer outer.Close()
	m, err := ebpf.NewMap(inner)
	if err != nil {
		return err
	}
	defer m.Close()
	return outer.Put(uint32(0), m)
}
