package loader_test

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// computed is that of software.c.
type computed struct {
	Before, RxTimestamp, Again, InFunction, Deeper, InCallback uint64

	Hash, HashType, HashInFunction, Found uint32
}

// What can be computed of a packet is what docs/accessors.md says, whatever the packet is,
// with each way to load the kernel's memory.
func TestSoftware(t *testing.T) {
	for lowering, feature := range map[accessor.Lowering]netlab.Feature{accessor.Zero: netlab.VoidCasts, accessor.Carrier: netlab.Casts, accessor.Probe: netlab.TAIClock} {
		t.Run(string(lowering), func(t *testing.T) {
			netlab.Need(t, feature)
			netlab.Need(t, netlab.TAIClock)
			program, result := loadSoftware(t, loader.Driver{Name: "toy", Lowering: lowering, Software: loader.Software()})
			random := rand.New(rand.NewPCG(1, 2))
			types := make(map[uint32]int)
			for n := range uint32(3000) {
				packet, want := softwarePacket(random)
				start := taiNow(t)
				if _, err := program.Run(&ebpf.RunOptions{Data: packet}); err != nil {
					t.Fatal(err)
				}
				var got computed
				if err := result.Lookup(uint32(0), &got); err != nil {
					t.Fatal(err)
				}
				if got.Found != n+1 || got.Hash != want.Hash || got.HashInFunction != want.Hash || got.HashType != want.HashType {
					t.Fatalf("Packet %d, %x: hash %#x of type %#x instead of %#x of type %#x", n, packet, got.Hash, got.HashType, want.Hash, want.HashType)
				}
				if got.RxTimestamp < start || got.RxTimestamp > got.Before {
					t.Fatalf("the time is %d, not between %d and %d", got.RxTimestamp, start, got.Before)
				}
				for where, at := range map[string]uint64{"once more": got.Again, "in a function": got.InFunction, "deeper": got.Deeper, "in a callback": got.InCallback} {
					if at != got.RxTimestamp {
						t.Fatalf("read %s it is %d instead of %d", where, at, got.RxTimestamp)
					}
				}
				types[got.HashType]++
			}
			const softwareBit = 1 << 31
			for _, typ := range []uint32{0, softwareBit | 1, softwareBit | 2, softwareBit | 0x19, softwareBit | 0x29, softwareBit | 0x49,
				softwareBit | 0x1a, softwareBit | 0x2a, softwareBit | 0x4a} {
				if types[typ] == 0 {
					t.Errorf("no packet had type %#x", typ)
				}
			}
		})
	}
}

// taiNow returns the time of CLOCK_TAI in ns.
func taiNow(t *testing.T) uint64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &now); err != nil {
		t.Fatal(err)
	}
	return uint64(now.Nano())
}

// loadSoftware loads software.c, and returns the program and the map that it writes to.
func loadSoftware(t *testing.T, driver loader.Driver) (*ebpf.Program, *ebpf.Map) {
	t.Helper()
	object, err := os.ReadFile(ownProgram("software"))
	if err != nil {
		t.Fatal(err)
	}
	accessors, err := driver.Accessors(object)
	if err != nil {
		t.Fatal(err)
	}
	spec, _, err := loader.RewrittenSpec(bytes.NewReader(object), loader.Options{Accessors: accessors})
	if err != nil {
		t.Fatal(err)
	}
	programs, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(programs.Close)
	return programs.Programs["compute"], programs.Maps[".bss"]
}

// softwarePacket makes a packet, and says what its hash is: written from what
// docs/accessors.md says.
func softwarePacket(random *rand.Rand) (packet []byte, want computed) {
	some := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	be16 := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	packet = some(12)
	tags := random.IntN(4)
	understood := true
	switch tags {
	case 1:
		packet = append(packet, append(be16([]uint16{0x8100, 0x88a8}[random.IntN(2)]), some(2)...)...)
	case 2:
		packet = append(packet, append(be16([]uint16{0x8100, 0x88a8}[random.IntN(2)]), some(2)...)...)
		packet = append(packet, append(be16(0x8100), some(2)...)...)
	case 3:
		if random.IntN(2) == 0 { // the second of 802.1ad, which nobody sends
			understood = false
			packet = append(packet, append(be16(0x8100), some(2)...)...)
			packet = append(packet, append(be16(0x88a8), some(2)...)...)
		}
	}
	proto := []byte{6, 17, 132, 1, 58, 47, 50}[random.IntN(7)]
	l4 := some(8 + random.IntN(24))
	var words []byte
	var typ uint32
	hasPorts := proto == 6 || proto == 17 || proto == 132
	var headers []byte // those of IP
	switch random.IntN(8) {
	case 0: // ARP, IPv4 that says it is version 6, IPv6 that says 4
		understood = false
		headers = append(be16([]uint16{0x0806, 0x0800, 0x86dd}[random.IntN(3)]), some(40)...)
		if headers[1] != 0x06 {
			headers[2] = map[byte]byte{0x00: 0x60, 0xdd: 0x45}[headers[1]]
		}
	case 1, 2, 3, 4:
		options := random.IntN(3) * 4
		ip := some(20 + options)
		ip[0] = 0x40 | byte(5+options/4)
		ip[6], ip[7] = byte(random.IntN(2))<<6, 0 // DF
		if random.IntN(4) == 0 {
			hasPorts = false
			switch random.IntN(2) {
			case 0:
				ip[6] |= 0x20
			case 1:
				ip[7] = 1 + byte(random.IntN(255))
			}
		}
		ip[9] = proto
		headers, words, typ = append(be16(0x0800), ip...), ip[12:20], 1
	default:
		ip := some(40)
		ip[0], ip[6] = 0x60|ip[0]&15, proto
		headers, words, typ = append(be16(0x86dd), ip...), ip[8:40], 2
	}
	length := len(packet) + len(headers)
	packet = append(append(packet, headers...), l4...)
	if random.IntN(8) == 0 { // not all of it, but what a test run takes
		cut := max(14, length-8+random.IntN(14))
		packet = packet[:min(cut, len(packet))]
	}
	ip := length - len(headers) + 2
	least := map[uint32]int{1: 20, 2: 40}[typ]
	if !understood || len(packet) < ip+least {
		return packet, want
	}
	words = bytes.Clone(words)
	if hasPorts = hasPorts && len(packet) >= length+4; hasPorts {
		words = append(words, l4[:4]...)
		typ |= map[byte]uint32{6: 0x18, 17: 0x28, 132: 0x48}[proto]
	} else {
		words = append(words, 0, 0, 0, 0)
	}
	words = append(words, 0, 0, 0, proto)
	return packet, computed{Hash: softwareHash(words), HashType: typ | 1<<31}
}

// softwareHash is the hash of 32-bit words.
func softwareHash(words []byte) uint32 {
	var hash uint64
	for ; len(words) > 0; words = words[4:] {
		_, hash = bits.Mul64(hash^uint64(binary.BigEndian.Uint32(words)), 0x9e3779b97f4a7c15)
		hash ^= hash >> 32
	}
	return uint32(hash)
}

// Only what the driver does not tell is computed, and only if it is asked for.
func TestSoftwareOnRequest(t *testing.T) {
	netlab.Need(t, netlab.VethBuff)
	object, err := os.ReadFile(ownProgram("software"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		driver loader.Driver
		want   map[string]string // a part of where the fields are from
	}{
		"the driver tells":  {loader.Driver{Name: "veth", Software: loader.Software()}, map[string]string{"hash": "sk_buff.hash", "hash_type": "sk_buff.l4_hash", "rx_timestamp": "skb_hwtstamps"}},
		"the mark":          {loader.Driver{Name: "veth", File: ownProgram("marks"), Software: []string{"hash"}}, map[string]string{"mark": "sk_buff.mark", "hash": "software", "hash_type": "software"}},
		"the mark and time": {loader.Driver{Name: "veth", File: ownProgram("marks"), Software: []string{"rx_timestamp"}}, map[string]string{"mark": "sk_buff.mark", "rx_timestamp": "software: CLOCK_TAI"}},
		"no accessors":      {loader.Driver{Name: "toy", Software: []string{"hash"}}, map[string]string{"hash": "software", "hash_type": "software"}},
	} {
		t.Run(name, func(t *testing.T) {
			accessors, err := test.driver.Accessors(object)
			if err != nil {
				t.Fatal(err)
			}
			fields := accessors[0].Fields
			for field, from := range test.want {
				if got := fields[field].From; !strings.Contains(got, from) {
					t.Errorf("%s is from %q", field, got)
				}
			}
			if test.driver.Name != "veth" || test.driver.File != "" {
				if len(fields) != len(test.want) {
					t.Errorf("there are %d fields", len(fields))
				}
			}
		})
	}
	_, err = (&loader.Driver{Name: "veth", Software: []string{"mark"}}).Accessors(object)
	if err == nil || !strings.Contains(err.Error(), `"mark" can't be computed, what can be is hash, rx_timestamp`) {
		t.Errorf("%v", err)
	}
}
