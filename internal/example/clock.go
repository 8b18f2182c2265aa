package example

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Clock tells the time that the stamps of a NIC are compared with.
type Clock struct {
	Name string
	id   int32
	file *os.File // of a NIC's clock
}

// ClockOf returns the clock that an interface's stamps are of, as far as can be told: that
// of the NIC, which most stamp with, or, where there is none, and for stamps that are
// computed, CLOCK_TAI, which a NIC's clock is set to where ptp4l or phc2sys run. The errors
// are those of Attach that have to do with the source.
func ClockOf(target *Target) (Clock, error) {
	isComputed, err := target.computesTime()
	if err != nil {
		return Clock{}, err
	}
	if isComputed {
		return tai, nil
	}
	return clockOfNIC(target.Interface), nil
}

// computesTime reports whether it is the software's time that programs get: where the driver
// tells one, that is not computed, even if it was asked for.
func (t *Target) computesTime() (bool, error) {
	if !slices.Contains(t.Software, "rx_timestamp") {
		return false, nil
	}
	_, opts, err := t.source()
	isComputed := slices.ContainsFunc(opts.Accessors, func(a *rewrite.Accessors) bool {
		return strings.HasPrefix(a.Fields["rx_timestamp"].From, "software: ") // as bpf/drivers/software.c says
	})
	return isComputed, err
}

var tai = Clock{Name: "CLOCK_TAI", id: unix.CLOCK_TAI}

func clockOfNIC(iface string) Clock {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return tai
	}
	defer unix.Close(socket)
	info, err := unix.IoctlGetEthtoolTsInfo(socket, iface)
	if err != nil || info.Phc_index < 0 {
		return tai
	}
	file, err := os.Open(fmt.Sprintf("/dev/ptp%d", info.Phc_index))
	if err != nil {
		return tai
	}
	// The ID of a clock that is a file: see clock_gettime(2), "Dynamic clocks".
	return Clock{Name: file.Name(), id: int32(^file.Fd()<<3 | 3), file: file}
}

// Now returns the time, in ns.
func (c *Clock) Now() uint64 { return timeOf(c.id) }

// Ahead returns how far the clock is ahead of CLOCK_TAI, in ns.
func (c *Clock) Ahead() int64 {
	if c.file == nil {
		return 0
	}
	before := timeOf(unix.CLOCK_TAI)
	now := c.Now()
	after := timeOf(unix.CLOCK_TAI)
	return int64(now - before - (after-before)/2)
}

func timeOf(clock int32) uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(clock, &now); err != nil {
		return 0
	}
	return uint64(now.Nano())
}

// Close gives the clock up.
func (c *Clock) Close() {
	if c.file != nil {
		c.file.Close()
	}
}
