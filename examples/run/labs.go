package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/bpf"
	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
)

// labs are the steps of the examples.
var labs = map[string][]step{
	"receive":  {{send: sendUDP}, {args: ofC, send: deliver(8, anything)}},
	"checksum": {{args: ofC, send: deliver(1000, checksums)}},
	"vlan":     {{args: append([]string{"--allow", "100,200"}, ofC...), send: deliver(1000, vlans)}},
	"ptype":    {{args: ofC, send: deliver(1000, headers)}, {send: sendUDP}},
	"latency":  {{args: ofC, send: stamped}},
	"talkers":  {{args: append([]string{"--top", "5"}, ofC...), send: deliver(1000, marks)}},
	"spread":   {{args: append([]string{"--cpus", "0,1"}, ofC...), send: deliver(1000, flows)}},
}

// ofC says what the emulated NIC writes in front of packets.
var ofC = []string{"--layout", bpf.ExampleFile("nic_c")}

// hashUDP4 is what NICs say of a hash over the addresses and ports of UDP.
const hashUDP4 = meta.HashIPv4 | meta.HashL4 | meta.HashUDP

// deliver returns what has the emulated NIC receive packets. know says what it knows of each.
func deliver(packets int, know func(*rand.Rand, int) example.Facts) func(*netlab.NIC) error {
	return func(nic *netlab.NIC) error {
		random := rand.New(rand.NewPCG(1, 2))
		frames := make([]netlab.Frame, packets)
		for i := range frames {
			f := know(random, i)
			frames[i] = netlab.Frame{Metadata: example.NICs["nic_c"](&f), Packet: example.UDPPacket(uint16(40000 + i))}
		}
		return nic.Deliver(frames)
	}
}

func anything(random *rand.Rand, i int) example.Facts {
	f := example.Facts{RxTimestamp: now(), Hash: random.Uint32(), HashType: hashUDP4, Mark: uint32(i % 3), CsumStatus: meta.CsumUnnecessary}
	if i == 5 {
		f.CsumStatus = meta.CsumBad
	}
	if i%2 == 1 {
		f.VlanTCI, f.VlanProto = uint16(100*i), 0x8100
	}
	return f
}

func checksums(random *rand.Rand, i int) example.Facts {
	switch n := random.IntN(100); {
	case n < 4:
		return example.Facts{CsumStatus: meta.CsumBad}
	case n < 10:
		return example.Facts{}
	}
	return example.Facts{CsumStatus: meta.CsumUnnecessary}
}

func vlans(random *rand.Rand, i int) example.Facts {
	switch random.IntN(10) {
	case 0:
		return example.Facts{}
	case 1, 2:
		return example.Facts{VlanProto: 0x8100, VlanTCI: 300}
	case 3, 4, 5:
		return example.Facts{VlanProto: 0x8100, VlanTCI: 5<<13 | 200}
	}
	return example.Facts{VlanProto: 0x8100, VlanTCI: 100}
}

func headers(random *rand.Rand, i int) example.Facts {
	switch random.IntN(10) {
	case 0:
		return example.Facts{} // ARP, say
	case 1:
		return example.Facts{Ptype: meta.PtypeIPv4 | meta.PtypeICMP}
	case 2, 3:
		return example.Facts{Ptype: meta.PtypeIPv6 | meta.PtypeTCP}
	case 4, 5:
		return example.Facts{Ptype: meta.PtypeIPv4 | meta.PtypeUDP}
	}
	return example.Facts{Ptype: meta.PtypeIPv4 | meta.PtypeTCP}
}

func marks(random *rand.Rand, i int) example.Facts {
	return example.Facts{Mark: uint32(min(random.ExpFloat64()*3, 12))}
}

func flows(random *rand.Rand, i int) example.Facts {
	if random.IntN(50) == 0 {
		return example.Facts{} // no IP, no hash
	}
	return example.Facts{Hash: random.Uint32(), HashType: hashUDP4}
}

// stamped has packets come in, of which each has the time at which it was handed to the
// emulator.
func stamped(nic *netlab.NIC) error {
	for range 20 {
		if err := deliver(100, func(*rand.Rand, int) example.Facts { return example.Facts{RxTimestamp: now()} })(nic); err != nil {
			return err
		}
	}
	return nil
}

// now returns the time of CLOCK_TAI, in ns.
func now() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &now); err != nil {
		return 0
	}
	return uint64(now.Nano())
}

// sendUDP sends packets as any program on the other side of the wire would.
func sendUDP(nic *netlab.NIC) error {
	wire := nic.Name + "-wire"
	for _, command := range [][]string{
		{"ip", "address", "add", "192.0.2.1/24", "dev", wire},
		{"ip", "neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", wire},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", command, err, output)
		}
	}
	for port := range 4 {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000 + port}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 9})
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("payload")); err != nil {
			return err
		}
	}
	return nil
}
