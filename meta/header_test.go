package meta_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/example"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
)

// consumerInC reads frames as a program over libxdp would, of which the packets are at
// odd addresses.
const consumerInC = `
#include <stdio.h>
#include "md_meta.h"

int main(void)
{
	char frame[1 + sizeof(struct md_meta) + 1];
	struct md_meta meta;

	while (fread(frame + 1, sizeof(meta), 1, stdin) == 1) {
		md_meta_read(&meta, frame + 1 + sizeof(meta));
		printf("%llu %u %u %u %u %u %u %u %u right=%d wrong=%d vlan=%d hash=%d\n",
		       (unsigned long long)meta.rx_timestamp, meta.hash, meta.hash_type, meta.csum,
		       meta.mark, meta.vlan_tci, meta.ptype, meta.csum_status, meta.fields,
		       md_meta_csum_right(&meta), md_meta_csum_wrong(&meta), md_meta_vlan(&meta),
		       !!(meta.fields & MD_META_HASH));
	}
	return 0;
}
`

// A consumer in C reads the same of the same bytes as one in Go, by a header that compiles
// without a warning in C and C++.
func TestHeader(t *testing.T) {
	netlab.NeedTools(t, "gcc", "g++")
	program := compileC(t, consumerInC)

	const packets = 500
	random := rand.New(rand.NewPCG(1, 2))
	var want strings.Builder
	var areas []byte
	var p meta.Packet
	layout, err := example.Layout("receive")
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := meta.NewDecoder(layout, meta.PacketStruct, &p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range packets {
		area := make([]byte, decoder.Size())
		for i := range area {
			area[i] = byte(random.Uint32())
		}
		area[30] %= 5 // csum_status
		if i%2 == 0 {
			area[26], area[27] = 0, 0 // no tag
		}
		decoder.Decode(area)
		areas = append(areas, area...)
		vlan := -1
		if p.VlanProto != 0 {
			vlan = int(p.VlanTCI & 0xfff)
		}
		fmt.Fprintf(&want, "%d %d %d %d %d %d %d %d %d right=%d wrong=%d vlan=%d hash=%d\n",
			p.RxTimestamp, p.Hash, p.HashType, p.Csum, p.Mark, p.VlanTCI, p.Ptype, p.CsumStatus, p.Fields,
			number(p.CsumStatus == meta.CsumUnnecessary), number(p.CsumStatus == meta.CsumBad), vlan, number(p.Fields&meta.Hash != 0))
	}
	read := exec.Command(program)
	read.Stdin = bytes.NewReader(areas)
	output, err := read.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(output) != want.String() {
		t.Errorf("C reads\n%.500s and Go\n%.500s", output, want.String())
	}
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

func compileC(t *testing.T, source string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "consumer")
	for _, language := range []string{"c", "c++"} {
		compile := exec.Command("gcc", "-x", language, "-", "-I../bpf", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-o", program)
		compile.Stdin = strings.NewReader(source)
		if output, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", language, err, output)
		}
	}
	return program
}

// What Go calls a value has it in C, too.
func TestHeaderValues(t *testing.T) {
	netlab.NeedTools(t, "gcc")
	var c strings.Builder
	c.WriteString("#include \"md_meta.h\"\n#define IS(value, of) char value##_is[(value) == (of) ? 1 : -1]\n")
	for name, value := range map[string]uint32{
		"META_RX_TIMESTAMP": uint32(meta.RxTimestamp), "META_HASH": uint32(meta.Hash), "META_CSUM": uint32(meta.Csum),
		"META_VLAN": uint32(meta.Vlan), "META_MARK": uint32(meta.Mark), "META_PTYPE": uint32(meta.Ptype), "META_ALL": uint32(meta.All),
		"META_NOWHERE": uint32(meta.Nowhere), "META_IN_AREA": uint32(meta.InArea), "META_IN_PACKET": uint32(meta.InPacket),
		"CSUM_NONE": meta.CsumNone, "CSUM_UNNECESSARY": meta.CsumUnnecessary, "CSUM_COMPLETE": meta.CsumComplete, "CSUM_BAD": meta.CsumBad,
		"PTYPE_IPV4": meta.PtypeIPv4, "PTYPE_IPV6": meta.PtypeIPv6, "PTYPE_FRAGMENT": meta.PtypeFragment, "PTYPE_TCP": meta.PtypeTCP,
		"PTYPE_UDP": meta.PtypeUDP, "PTYPE_SCTP": meta.PtypeSCTP, "PTYPE_ICMP": meta.PtypeICMP, "PTYPE_TUNNELLED": meta.PtypeTunnelled,
		"PTYPE_OTHER_L4": meta.PtypeOtherL4, "HASH_SOFTWARE": meta.HashSoftware,
	} {
		fmt.Fprintf(&c, "IS(MD_%s, %dU);\n", name, value)
	}
	compileC(t, c.String()+"int main(void) { return 0; }\n")
}

// The kernel's names of what went into a hash are its own.
func TestHashTypes(t *testing.T) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skip(err)
	}
	var enum *btf.Enum
	if err := kernel.TypeByName("xdp_rss_hash_type", &enum); err != nil {
		t.Skipf("needs Linux 6.3: %v", err)
	}
	is := make(map[string]uint64)
	for _, value := range enum.Values {
		is[value.Name] = value.Value
	}
	for name, value := range map[string]uint64{
		"L3_IPV4": meta.HashIPv4, "L3_IPV6": meta.HashIPv6, "L3_DYNHDR": meta.HashDynamic, "L4": meta.HashL4, "L4_TCP": meta.HashTCP,
		"L4_UDP": meta.HashUDP, "L4_SCTP": meta.HashSCTP, "L4_IPSEC": meta.HashIPsec, "L4_ICMP": meta.HashICMP,
	} {
		if is["XDP_RSS_"+name] != value {
			t.Errorf("%s is %#x, and not %#x", name, is["XDP_RSS_"+name], value)
		}
	}
}

// A BPF program takes it with what the kernel calls its types, too.
func TestHeaderWithKernelTypes(t *testing.T) {
	netlab.NeedTools(t, "clang-19", "bpftool")
	types, err := exec.Command("bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), types, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, headers := range []string{"#include \"md_desc.h\"\n#include \"md_meta.h\"\n", "#include \"md_meta.h\"\n#include \"md_desc.h\"\n"} {
		compile := exec.Command("clang-19", "-x", "c", "-", "-O2", "-g", "-target", "bpf", "-Wall", "-Werror", "-I../bpf", "-I"+dir, "-c", "-o", filepath.Join(dir, "program.o"))
		compile.Stdin = strings.NewReader("#include \"vmlinux.h\"\n" + headers + "struct md_meta layout;\n")
		if output, err := compile.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
	}
}

// The enumerations that md_meta.h repeats are those of md_desc.h.
func TestHeaderEnums(t *testing.T) {
	constants := func(name string) (found []string) {
		text, err := os.ReadFile("../bpf/" + name)
		if err != nil {
			t.Fatal(err)
		}
		comments := regexp.MustCompile(`(?s)/\*.*?\*/`)
		pattern := regexp.MustCompile(`(?m)^(?:\t|#define )(MD_(?:CSUM|PTYPE|HASH)_\w+ (?:= )?[^,\n]+)`)
		for _, match := range pattern.FindAllStringSubmatch(comments.ReplaceAllString(string(text), ""), -1) {
			found = append(found, match[1])
		}
		return found
	}
	want, got := constants("md_desc.h"), constants("md_meta.h")
	if len(want) < 14 || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("md_meta.h has\n%s\nand md_desc.h\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
