package accessor_test

import (
	"encoding/binary"
	"maps"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/reloc"
)

// kernelIn is the kernel whose types are those of C.
func kernelIn(t *testing.T, target, source string) *reloc.Layout {
	t.Helper()
	obj, err := elfobj.Parse(compile(t, "19-v3", target, source))
	if err != nil {
		t.Fatal(err)
	}
	return newKernel(t, obj.Section(".BTF").Data)
}

// Prototypes are as in struct xdp_metadata_ops.
const (
	asking = `
#include <linux/bpf.h>
struct rx { __u32 hash; } rx;
struct net_device { int ifindex; } dev;
enum xdp_rss_hash_type { XDP_RSS_TYPE_NONE };
#define STAMP(name) int name(const struct xdp_md *ctx, __u64 *timestamp) { return 0; }
#define HASH(name) int name(const struct xdp_md *ctx, __u32 *hash, enum xdp_rss_hash_type *type) { return 0; }
#define TAG(name) int name(const struct xdp_md *ctx, __be16 *proto, __u16 *tci) { return 0; }
STAMP(bpf_xdp_metadata_rx_timestamp)
HASH(bpf_xdp_metadata_rx_hash)
TAG(bpf_xdp_metadata_rx_vlan_tag)
`
	others = `
STAMP(toy_xdp_rx_timestamp)
int rx_reads(const struct xdp_md *ctx, __u32 *timestamp) { return 0; }
void rx_shows(const struct xdp_md *ctx, __u64 *timestamp) { }
`
)

func kfuncFile(t *testing.T) *accessor.File {
	t.Helper()
	raw, err := drivers.Object(drivers.Kfuncs, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return readFile(t, raw)
}

// What a driver has for the kfuncs is told by prototypes, and by whose structs they are
// named after: not by what functions are called besides.
func TestImplements(t *testing.T) {
	names := []string{"bpf_xdp_metadata_rx_timestamp", hashKfunc, vlanKfunc}
	for _, target := range []string{"bpfel", "bpfeb"} {
		file := readFile(t, compile(t, "19-v3", target, start+driver+descriptor+hash))
		for source, want := range map[string]map[string]string{
			asking + others:                                             {},
			asking + others + "TAG(rx_tells)":                           {vlanKfunc: "rx_tells"},
			asking + "STAMP(rx_stamps)\nHASH(rx_hashes)":                {names[0]: "rx_stamps", hashKfunc: "rx_hashes"},
			"int rx_stamps(const void *ctx, long *stamp) { return 0; }": {}, // a kernel without kfuncs
		} {
			got, err := file.Implements(kernelIn(t, target, source), names)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("%s: %v instead of %v, %v", target, got, want, err)
			}
		}
	}
}

// A field is read, or asked for, or there is a reason.
func TestSources(t *testing.T) {
	const (
		tag  = `MD_FIELD(vlan_tci, "rx.sum", struct rx *rx) { return rx->sum; }` + "\n"
		lack = `MD_LACKS(csum, "a register");` + "\n"
	)
	fields := []string{"rx_timestamp", "hash", "vlan_tci", "csum", "ptype"}
	kfuncs := kfuncFile(t)
	there, asked := accessor.Source{From: accessor.FromDescriptor}, accessor.Source{From: accessor.FromKfunc}
	because := func(reason string) accessor.Source { return accessor.Source{Reason: reason} }
	const noDescriptor = `MD_DESCRIPTOR(struct rx, struct xdp_buff *xdp) { return (void *)(long)xdp->rxq->queue_index; }` + "\n"
	for name, test := range map[string]struct {
		file, kernel string
		want         map[string]accessor.Source // reasons by a part of them
	}{
		"read": {start + driver + descriptor + hash + tag + lack, asking + others, map[string]accessor.Source{
			"rx_timestamp": because("the accessors have no function for it"),
			"hash":         there,
			"vlan_tci":     because("rx->sum: struct rx has no field sum"),
			"csum":         because("a register"),
		}},
		"asked for what is not read": {start + driver + descriptor + hash + tag + lack, asking + "STAMP(rx_stamps)\nHASH(rx_hashes)\nTAG(rx_tags)", map[string]accessor.Source{
			"rx_timestamp": asked,
			"hash":         there,
			"vlan_tci":     asked,
			"csum":         because("a register"),
		}},
		"asked without a descriptor": {start + driver + noDescriptor + hash + lack, asking + "STAMP(rx_stamps)", map[string]accessor.Source{
			"rx_timestamp": asked,
			"hash":         because("the descriptor function: "),
			"csum":         because("a register"),
			"ptype":        because("the accessors have no function for it"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			file := readFile(t, compile(t, "19-v3", "bpfel", test.file))
			got, err := accessor.Sources(file, kfuncs, kernelIn(t, "bpfel", test.kernel), fields)
			if err != nil || len(got) != len(fields) {
				t.Fatal(got, err)
			}
			for field, want := range test.want {
				if got[field].From != want.From || !strings.Contains(got[field].Reason, want.Reason) || (got[field].Reason == "") != (want.Reason == "") {
					t.Errorf("%s: %+v instead of %+v", field, got[field], want)
				}
			}
		})
	}
}
