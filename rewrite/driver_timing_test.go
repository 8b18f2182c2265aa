package rewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Programs that read fields of a packet over and over again, for the time that it takes,
// with what they read coming from the driver and from elsewhere.

const timedHeader = `
#include <linux/bpf.h>
#include "../bpf/md_desc.h"
#include <bpf/bpf_helpers.h>

enum xdp_rss_hash_type { XDP_RSS_TYPE_NONE };

extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, enum xdp_rss_hash_type *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *proto, __u16 *tci) __ksym;
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *stamp) __ksym;

#define FIND struct md_desc *md = md_desc(ctx); if (!md) goto none;

volatile __u64 packets, none, best = ~0ULL;
volatile struct { __u64 hash, hash_type, vlan_tci, vlan_proto, rx_timestamp, mark, csum_status, csum; } got;

char _license[] SEC("license") = "GPL";
`

// timedFields are the fields of a packet, in the order of got, as it is sent, or as the
// program puts them into the metadata area: there the hash is this one, elsewhere one that
// the kernel makes up.
var timedFields = []struct {
	name string
	want uint64
}{
	{"hash", 0x12345678}, {"hash_type", 1 << 3}, {"vlan_tci", 5<<13 | 7}, {"vlan_proto", 0x0081}, {"rx_timestamp", 0}, {"mark", timedMark}, {"csum_status", 1}, {"csum", 0},
}

const timedMark = 0x5ca10001

// timedArea makes the metadata area that a veth does not have, of so many bytes.
func timedArea(size string) string {
	var c strings.Builder
	fmt.Fprintf(&c, `
static __attribute__((noinline)) int prepare(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_meta(ctx, -(int)%s))
		return 0;
	FIND
`, size)
	for _, field := range timedFields {
		fmt.Fprintf(&c, "	md->%s = %#x;\n", field.name, field.want)
	}
	c.WriteString("none:\n	return 0;\n}\n")
	return c.String()
}

// timedProgram is one of the programs that read the same: again and again, for the time;
// alone, for the size; and to keep what was read.
const timedProgram = `
#undef READ
#define READ(field, value) %[2]s

SEC("xdp") int %[1]s(struct xdp_md *ctx)
{
	__u64 took;

	PREPARE
	%[3]s
	%[4]s
	packets++;
	return XDP_DROP;
none:
	none++;
	return XDP_DROP;
}
`

const (
	timedRegister = `asm volatile("" :: "r"((__u64)(value)));`
	timedVariable = `got.field = (value);`
)

const timedLoop = `
	took = bpf_ktime_get_ns();
	for (int i = 0; i < %[1]d; i++) {
		asm volatile("" : "+r"(i));
		%[2]s
	}
	took = bpf_ktime_get_ns() - took;
	if (took < best)
		best = took;
`

// timedPerTurn is how often a program reads in each turn: so often that what a turn takes,
// a whole number of cycles, and beside other instructions, does not matter.
const timedPerTurn = 16

// timedSourceCode returns the programs for what they do for each packet, and to read once.
func timedSourceCode(before, read string, turns int) string {
	again := strings.Repeat("{ "+read+" asm volatile(\"\" ::: \"memory\"); }\n", timedPerTurn)
	return fmt.Sprintf(timedProgram, "timed", timedRegister, before, fmt.Sprintf(timedLoop, turns, again)) +
		fmt.Sprintf(timedProgram, "alone", timedRegister, before, read) +
		fmt.Sprintf(timedProgram, "once", timedVariable, before, read)
}

// timedKfuncs are the kernel's metadata kfuncs, and what they say.
var timedKfuncs = []struct {
	fields []string
	call   string
}{
	{[]string{"hash", "hash_type"}, `
		__u32 hash;
		enum xdp_rss_hash_type type;
		if (bpf_xdp_metadata_rx_hash(ctx, &hash, &type))
			goto none;
		READ(hash, hash) READ(hash_type, type)`},
	{[]string{"vlan_tci", "vlan_proto"}, `
		__u16 proto, tci;
		if (bpf_xdp_metadata_rx_vlan_tag(ctx, &proto, &tci))
			goto none;
		READ(vlan_tci, tci) READ(vlan_proto, proto)`},
	{[]string{"rx_timestamp"}, `
		__u64 stamp;
		if (bpf_xdp_metadata_rx_timestamp(ctx, &stamp))
			goto none;
		READ(rx_timestamp, stamp)`},
}

// timedRead is what is timed.
type timedRead struct {
	find   timedFind
	fields []string
}

// timedFind is when a program looks for the descriptor.
type timedFind int

const (
	findNowhere timedFind = iota
	findBefore            // once for each packet
	findEach              // time that it reads
)

// timedReads are all of them. The ones that read nothing are what the others come on top
// of.
var timedReads = func() []timedRead {
	reads := []timedRead{
		{findNowhere, nil},
		{findBefore, nil},
		{findEach, nil},
		{findEach, []string{"hash"}},
		{findEach, []string{"hash", "vlan_tci", "rx_timestamp"}},
		{findEach, []string{"hash", "hash_type", "vlan_tci", "vlan_proto", "rx_timestamp"}},
		{findEach, []string{"hash", "hash_type", "vlan_tci", "rx_timestamp"}},
	}
	var all []string
	for _, field := range timedFields {
		reads = append(reads, timedRead{findBefore, []string{field.name}})
		all = append(all, field.name)
	}
	return append(reads, timedRead{findEach, all})
}()

// base returns the number of the read that this one comes on top of.
func (r *timedRead) base() int {
	if r.find == findBefore {
		return int(findBefore)
	}
	return int(findNowhere)
}

// isBase reports whether it is there for others only.
func (r *timedRead) isBase() bool { return len(r.fields) == 0 && r.find != findEach }

func (r *timedRead) String() string {
	all := r.fields
	if r.find == findEach {
		all = append([]string{"md_desc(ctx)"}, r.fields...)
	}
	return strings.Join(all, ", ")
}

// descriptor returns what a program over struct md_desc does for each packet, and each
// time.
func (r *timedRead) descriptor() (before, each string, ok bool) {
	for _, field := range r.fields {
		each += fmt.Sprintf("READ(%[1]s, md->%[1]s) ", field)
	}
	switch r.find {
	case findBefore:
		return "FIND", each, true
	case findEach:
		return "", "FIND " + each, true
	}
	return "if (0) goto none;", "", true
}

// kfuncs returns what a program does that calls kfuncs for the fields, if there are some
// for all of them.
func (r *timedRead) kfuncs() (before, each string, ok bool) {
	missing := slices.Clone(r.fields)
	for _, kfunc := range timedKfuncs {
		left := slices.DeleteFunc(slices.Clone(missing), func(field string) bool { return slices.Contains(kfunc.fields, field) })
		if len(left) < len(missing) {
			each += "{" + kfunc.call + "}\n"
		}
		missing = left
	}
	return "if (0) goto none;", each, len(missing) == 0 && (r.isBase() || len(r.fields) > 0)
}

// timedSource is where programs have fields from.
type timedSource struct {
	name    string
	header  string
	code    func(*timedRead) (before, each string, ok bool)
	rewrite func(object []byte) ([]byte, error)
	bound   bool // to the device, which kfuncs need
}

// newTimedSources returns all of them. The first one is what xdp-load does on this kernel.
func newTimedSources(t testing.TB) []timedSource {
	t.Helper()
	sources := []timedSource{
		driverSource(t, "in line", accessor.Zero, false),
		driverSource(t, "carrier", accessor.Carrier, false),
		driverSource(t, "probe", accessor.Probe, false),
		driverSource(t, "called", accessor.Zero, true),
	}
	sources = append(sources, areaSource(t), timedSource{
		name: "kfunc", code: (*timedRead).kfuncs, bound: true,
		header:  timedHeader + "#define PREPARE\n",
		rewrite: unchanged,
	})
	return append(sources, handWritten()...)
}

// areaSource is the metadata area, as xdp-load reads it.
func areaSource(t testing.TB) timedSource {
	t.Helper()
	layout := parseLayout(t, "nic_a-el", readFile(t, kernelExamples+"nic_a-el.o"))
	return timedSource{
		name: "area", code: (*timedRead).descriptor,
		header: timedHeader + timedArea("bpf_core_type_size(struct md_desc)") + "#define PREPARE prepare(ctx);\n",
		rewrite: func(object []byte) ([]byte, error) {
			out, _, err := rewrite.Rewrite(object, layout, rewrite.Options{})
			return out, err
		},
	}
}

func unchanged(object []byte) ([]byte, error) { return object, nil }

func driverSource(t testing.TB, name string, lowering accessor.Lowering, calls bool) timedSource {
	t.Helper()
	accessors := []*rewrite.Accessors{driverAccessors(t, "veth", lowering)}
	return timedSource{
		name: name, code: (*timedRead).descriptor,
		header: timedHeader + "#define PREPARE\n",
		rewrite: func(object []byte) ([]byte, error) {
			by := rewrite.RewriteForDriver
			if calls {
				by = rewrite.RewriteCalling
			}
			out, _, err := by(object, accessors, rewrite.Options{})
			return out, err
		},
	}
}

// timedCell is what has been loaded that reads something from a source.
type timedCell struct {
	*ebpf.Collection
	instructions int       // as the verifier leaves them
	bytes        int       // of machine code
	turns        int       // for each packet
	times        []float64 // of a read, in nanoseconds: the shortest of each round
}

// load compiles, rewrites and loads what reads something, nil if the source has none of it.
func (s *timedSource) load(t testing.TB, table *timedTable, read *timedRead) *timedCell {
	t.Helper()
	before, each, ok := s.code(read)
	if !ok {
		return nil
	}
	object, err := s.rewrite(costCompile(t, "clang-19", s.header+timedSourceCode(before, each, table.turns), "el", "v3"))
	if err != nil {
		t.Fatalf("%s, %s: %s", read, s.name, explained(err))
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatalf("%s, %s: %v", read, s.name, err)
	}
	if s.bound {
		for _, program := range spec.Programs {
			program.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
			program.Ifindex = uint32(table.pair.index)
		}
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			t.Logf("%+v", refused)
		}
		t.Fatalf("%s, %s: %v", read, s.name, err)
	}
	t.Cleanup(loaded.Close)
	p := &timedCell{Collection: loaded, turns: table.turns}
	if err := p.measure(); err != nil {
		t.Fatalf("%s, %s: %v", read, s.name, err)
	}
	return p
}

// measure takes the size of the program that reads once.
func (p *timedCell) measure() error {
	info, err := p.Programs["alone"].Info()
	if err != nil {
		return err
	}
	translated, err := info.TranslatedSize()
	if err != nil {
		return err
	}
	jited, err := info.JitedSize()
	p.instructions, p.bytes = translated/insn.SlotSize, int(jited)
	return err
}

// number returns the value of a variable.
func (p *timedCell) number(t testing.TB, variable string) (value uint64) {
	t.Helper()
	if err := p.Variables[variable].Get(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// endRound notes the shortest time of a read, and forgets it.
func (p *timedCell) endRound(t testing.TB) {
	t.Helper()
	p.times = append(p.times, float64(p.number(t, "best"))/float64(p.turns*timedPerTurn))
	if err := p.Variables["best"].Set(uint64(math.MaxUint64)); err != nil {
		t.Fatal(err)
	}
}

// timedTable are the programs by read and source.
type timedTable struct {
	pair    *vethPair
	turns   int
	sources []timedSource
	cells   [][]*timedCell // nil where a source has none of it
}

// newTimedTable loads programs that read so many times for each packet.
func newTimedTable(t testing.TB, turns int) *timedTable {
	t.Helper()
	table := &timedTable{pair: newVethPair(t), turns: turns, sources: newTimedSources(t), cells: make([][]*timedCell, len(timedReads))}
	for row := range timedReads {
		for i := range table.sources {
			table.cells[row] = append(table.cells[row], table.sources[i].load(t, table, &timedReads[row]))
		}
	}
	return table
}

// run attaches one of each cell's programs after the other, and sends packets to it.
func (table *timedTable) run(t testing.TB, name string, packets int) {
	t.Helper()
	conn := timedSender(t)
	attached, err := link.AttachXDP(link.XDPOptions{Program: table.cells[0][0].Programs[name], Interface: table.pair.index, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	for row, cells := range table.cells {
		for i, p := range cells {
			if p == nil {
				continue
			}
			if err := attached.Update(p.Programs[name]); err != nil {
				t.Fatal(err)
			}
			want := p.number(t, "packets") + uint64(packets)
			for range packets {
				if _, err := conn.Write([]byte("packet")); err != nil {
					t.Fatal(err)
				}
			}
			for deadline := time.Now().Add(10 * time.Second); p.number(t, "packets") < want; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s, %s: %d of %d packets were read from, and %d had nothing", &timedReads[row], table.sources[i].name, p.number(t, "packets"), want, p.number(t, "none"))
				}
			}
			if name == "timed" {
				p.endRound(t)
			}
		}
	}
}

// timedSender returns what sends equal packets to a vethPair, with a VLAN tag.
func timedSender(t testing.TB) net.Conn {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, timedMark) })
		return err
	}}
	conn, err := dialer.Dial("udp", "198.51.100.2:9")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
