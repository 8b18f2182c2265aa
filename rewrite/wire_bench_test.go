package rewrite_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/internal/performance"
)

// The whole way of a packet to a program that reads four fields of it: through the emulator,
// which hands it over with the metadata area in front, and through a veth, where the program
// makes the area itself.

// wireRounds is how often each program gets packets, in turns, and wirePackets how many: as
// many as the emulator hands over at once.
const (
	wireRounds  = 31
	wirePackets = 8192
)

// wireClock notes when the first and the last packet came.
const wireClock = `
volatile __u64 first, last;
#define PREPARE %stook = bpf_ktime_get_ns(); if (!first) first = took; last = took;
`

// wireProgram is one of the programs.
type wireProgram struct {
	*ebpf.Collection
	source string
	times  []float64 // for a packet, in nanoseconds: one of each round
}

// loadWire loads the programs of the sources for the area. prepare is what they do first.
func loadWire(b *testing.B, prepare string) (programs []*wireProgram) {
	b.Helper()
	read := &timedReads[slices.IndexFunc(timedReads, func(r timedRead) bool { return r.find == findEach && len(r.fields) == 4 })]
	for _, source := range append([]timedSource{areaSource(b)}, handWritten()...) {
		header, ok := strings.CutSuffix(source.header, "#define PREPARE prepare(ctx);\n")
		if !ok {
			continue // it fills a table for each packet
		}
		before, each, _ := source.code(read)
		code := header + fmt.Sprintf(wireClock, prepare) + fmt.Sprintf(timedProgram, "timed", timedRegister, before, each)
		object, err := source.rewrite(costCompile(b, "clang-19", code, "el", "v3"))
		if err != nil {
			b.Fatalf("%s: %s", source.name, explained(err))
		}
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
		if err != nil {
			b.Fatal(err)
		}
		loaded, err := ebpf.NewCollection(spec)
		if err != nil {
			b.Fatalf("%s: %v", source.name, err)
		}
		b.Cleanup(loaded.Close)
		programs = append(programs, &wireProgram{Collection: loaded, source: source.name})
	}
	return programs
}

// take has packets sent to an interface for each of the programs, in turns, and takes the
// time between the first one and the last.
func take(b *testing.B, programs []*wireProgram, ifindex, packets int, send func() error) {
	b.Helper()
	attached, err := link.AttachXDP(link.XDPOptions{Program: programs[0].Programs["timed"], Interface: ifindex, Flags: link.XDPDriverMode})
	if err != nil {
		b.Fatal(err)
	}
	defer attached.Close()
	for range wireRounds {
		for _, p := range programs {
			if err := attached.Update(p.Programs["timed"]); err != nil {
				b.Fatal(err)
			}
			want := p.number(b, "packets") + uint64(packets)
			if err := p.Variables["first"].Set(uint64(0)); err != nil {
				b.Fatal(err)
			}
			if err := send(); err != nil {
				b.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); p.number(b, "packets") < want; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					b.Fatalf("%s: %d of %d packets, and %d had no descriptor", p.source, p.number(b, "packets"), want, p.number(b, "none"))
				}
			}
			p.times = append(p.times, float64(p.number(b, "last")-p.number(b, "first"))/float64(packets-1))
		}
	}
}

func (p *wireProgram) number(b *testing.B, variable string) (value uint64) {
	b.Helper()
	if err := p.Variables[variable].Get(&value); err != nil {
		b.Fatal(err)
	}
	return value
}

// BenchmarkWire compares what a packet takes on its whole way, for make bench.
func BenchmarkWire(b *testing.B) {
	pair := newVethPair(b)
	nic, err := pair.ns.AddNIC("nic0")
	if err != nil {
		b.Fatal(err)
	}
	frames := slices.Repeat([]netlab.Frame{{Metadata: make([]byte, 40), Packet: make([]byte, 64)}}, wirePackets)
	conn := timedSender(b)
	onWire, onVeth := loadWire(b, ""), loadWire(b, "prepare(ctx); ")
	for b.Loop() {
		take(b, onWire, nic.Index, wirePackets, func() error { return nic.Deliver(frames) })
		take(b, onVeth, pair.index, wirePackets/8, func() error {
			for range wirePackets / 8 {
				if _, err := conn.Write([]byte("packet")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	rows := append(wireRows("wire", onWire), wireRows("veth", onVeth)...)
	if err := performance.Print(b.Output(), rows); err != nil {
		b.Fatal(err)
	}
	writeRows(b, rows)
}

// wireRows compares the first of the programs with the others.
func wireRows(group string, programs []*wireProgram) (rows []performance.Row) {
	names := map[string]string{"probed": "probe", "linked": "call"}
	of := performance.MedianOf(programs[0].times)
	for _, p := range programs[1:] {
		name := p.source
		if other, ok := names[name]; ok {
			name = other
		}
		against := performance.MedianOf(p.times)
		row := performance.NewRow(fmt.Sprintf("packet/%s/4/%s", group, name), of, against, "ns", 0)
		if difference := max(of.Median-against.Median, against.Median-of.Median); difference < of.Spread+against.Spread {
			row.Reason = "what is read is a small part of the way, and the difference is less than the spread of that"
		}
		rows = append(rows, row)
	}
	return rows
}
