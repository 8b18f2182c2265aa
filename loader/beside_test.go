package loader_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// besideRecord is struct beside of beside.c.
type besideRecord struct {
	Driver                 driverFields
	Kernel                 producerSaid
	HashThen, HashTypeThen uint32
	Done                   uint64
}

// What is read of a packet is what the sender gave it, and what the kernel's metadata kfuncs
// say of the same packet, in the same program. Half of the packets have no hash until the
// kernel is asked for it: it makes one, which is read then.
func TestDriverBesideKfuncs(t *testing.T) {
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		t.Run(string(lowering), func(t *testing.T) {
			netlab.Need(t, netlab.MetadataFunctions)
			if lowering == accessor.Zero {
				netlab.Need(t, netlab.VoidCasts)
			}
			lab := newDriverLab(t)
			lab.addSockets()
			spec, report := lab.rewritten("beside", &loader.Driver{Name: "veth", Lowering: lowering})
			received := spec.Programs["received"]
			received.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
			received.Ifindex = uint32(lab.nic.Index)
			programs := lab.load(spec, report)
			lab.attachXDP(programs.Programs["received"])
			lab.tag()
			beside := programs.Maps["beside"]
			lab.send(*driverPackets, func(i int) bool { return producerLookup[besideRecord](t, beside, i).Done > 0 })

			for i, record := range producerLookupAll[besideRecord](t, beside, *driverPackets) {
				lab.checkBeside(i, i%len(lab.sockets) < driverSockets, record)
			}
		})
	}
}

// checkBeside compares what is read of a packet with what was sent, and with what the kfuncs
// say.
func (l *driverLab) checkBeside(i int, hashed bool, r besideRecord) {
	l.Helper()

	read, want := r.Driver, driverSent(i)
	want.Hash, want.HashType = read.Hash, read.HashType
	noTag := int32(0)
	if want.VlanProto == [2]byte{} {
		noTag = -int32(unix.ENODATA)
	}
	said := producerSaid{
		Timestamp: 0, // no device has made one, which the kfunc does not call an error
		Hash:      r.HashThen,
		HashType:  r.HashTypeThen,
		VlanTCI:   read.VlanTCI,
		VlanProto: read.VlanProto,
		VlanError: noTag,
	}
	switch {
	case r.Done != 1:
		l.Fatalf("Packet %d: written down %d times", i, r.Done)
	case read != want:
		l.Fatalf("Packet %d: read\n%+v instead of\n%+v", i, read, want)
	case r.Kernel != said || r.Kernel.Timestamp != read.RxTimestamp:
		l.Fatalf("Packet %d: the kernel says\n%+v instead of\n%+v", i, r.Kernel, said)
	case hashed && (read.Hash == 0 || read.Hash != r.Kernel.Hash || read.HashType != r.Kernel.HashType):
		l.Fatalf("Packet %d: a hash of %#x (%#x), and %#x (%#x) for the kernel", i, read.Hash, read.HashType, r.Kernel.Hash, r.Kernel.HashType)
	case !hashed && (read.Hash != 0 || read.HashType != 0 || r.Kernel.Hash == 0):
		l.Fatalf("Packet %d: a hash of %#x (%#x), before the kernel makes %#x (%#x)", i, read.Hash, read.HashType, r.Kernel.Hash, r.Kernel.HashType)
	}
}
