package accessor_test

import (
	"slices"
	"strings"
	"testing"

	"encoding/binary"
	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
)

func TestRead(t *testing.T) {
	for _, target := range []string{"bpfel", "bpfeb"} {
		for _, variant := range variants {
			f := readFile(t, compile(t, variant, target, include("nic.c")))
			if !slices.Equal(f.Drivers, []string{"nic", "nicvf"}) || f.Module != "nic_core" || f.Context != "xdp_buff" {
				t.Errorf("%s: %v, %s, %s", variant, f.Drivers, f.Module, f.Context)
			}
			if d := f.Descriptor; d.Function != "md_descriptor" || d.Context {
				t.Errorf("%s: descriptor %+v", variant, d)
			}
			mark, proto := f.Fields["mark"], f.Fields["vlan_proto"]
			if mark.Function != "md_field_mark" || mark.From != "net_device.ifindex" || !mark.Packet || !mark.Context || mark.Field.String() != "__u32 at 0" {
				t.Errorf("%s: mark %+v", variant, mark)
			}
			if proto.From != "nic_rx.proto" || proto.Packet || proto.Context || proto.Field.Type != "__be16" {
				t.Errorf("%s: vlan_proto %+v", variant, proto)
			}
			if len(f.Fields) != 9 {
				t.Errorf("%s: %d fields", variant, len(f.Fields))
			}
		}
	}
}

func TestReadDrivers(t *testing.T) {
	for _, name := range drivers.Names() {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			raw, err := drivers.Object(name, order)
			if err != nil {
				t.Fatal(err)
			}
			f := readFile(t, raw)
			module := strings.ReplaceAll(f.Drivers[0], "-", "_") // as modules are called
			if f.Module != module || len(f.Fields) == 0 {
				t.Errorf("%s: %v of %s with %d fields", name, f.Drivers, f.Module, len(f.Fields))
			}
			if _, err := f.Portable(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// start is that of a file that lacks what a case has.
const (
	start = `
#include "md_driver.h"
struct rx { __u32 hash; struct { __u32 x; __u32 y; } in; __u64 sum; } __core;
`
	driver     = `MD_DRIVER("nic");` + "\n"
	descriptor = `MD_DESCRIPTOR(struct rx, struct xdp_buff *xdp) { return ((struct rx **)xdp)[9]; }` + "\n"
	hash       = `MD_FIELD(hash, "rx.hash", struct rx *rx) { return rx->hash; }` + "\n"
)

// What is no accessor file is refused, with the line.
func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ source, want string }{
		"no driver":                {descriptor + hash, "for which drivers"},
		"no descriptor":            {driver + hash, "no descriptor function"},
		"lacks what it has":        {driver + `MD_LACKS(hash, "none");` + descriptor + hash, "it has a function for hash, and MD_LACKS(hash)"},
		"no field":                 {driver + descriptor, "no function for a field"},
		"descriptor takes md":      {driver + hash + "MD_DESCRIPTOR(struct rx, struct xdp_md *ctx) { return 0; }", "<stdin>:6: function md_descriptor: the descriptor function takes struct xdp_md * instead of ctx"},
		"descriptor takes nothing": {driver + hash + "MD_DESCRIPTOR(struct rx, void) { return 0; }", "takes nothing instead of ctx"},
		"descriptor is a number":   {driver + hash + "static __attribute__((noinline, used)) int md_descriptor(struct xdp_buff *xdp) { return 7; }", "returns int"},
		"field of another struct":  {driver + descriptor + `MD_FIELD(hash, "", struct net_device *rx) { return rx->features; }`, "takes a struct net_device *, and the descriptor function returns a struct rx *"},
		"field takes a number":     {driver + descriptor + `MD_FIELD(hash, "", int rx) { return rx; }`, "takes int instead of a descriptor"},
		"field takes another ctx":  {driver + descriptor + `MD_FIELD(hash, "", struct rx *rx, struct net_device *xdp) { return rx->hash + xdp->features; }`, "second parameter is struct net_device *"},
		"field returns an address": {driver + descriptor + "static __attribute__((noinline, used)) void *md_field_x(struct rx *rx) { return rx; }", "returns void *, which is no number"},
		"time":                     {driver + descriptor + `MD_FIELD(rx_timestamp, "", struct rx *rx) { return rx->sum ? bpf_ktime_get_tai_ns() : 0; }`, "<stdin>:6: function md_field_rx_timestamp: it calls bpf_ktime_get_tai_ns, and reads the kernel's memory"},
		"helper":                   {driver + descriptor + `MD_FIELD(hash, "", struct rx *rx) { return bpf_ktime_get_ns(); }`, "<stdin>:6: function md_field_hash: it calls a helper, number 5"},
		"function":                 {driver + descriptor + `static __attribute__((noinline)) __u32 f(__u32 x) { asm volatile(""); return x / 3; } MD_FIELD(hash, "", struct rx *rx) { return f(rx->hash); }`, "it calls another function"},
		"map":                      {driver + descriptor + `struct { __uint(type, 2); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } numbers SEC(".maps"); MD_FIELD(hash, "", struct rx *rx) { return *(__u32 *)(void *)&numbers; }`, "uses map numbers"},
		"kernel's variable":        {driver + descriptor + `extern const int jiffies __ksym; MD_FIELD(hash, "", struct rx *rx) { return jiffies; }`, "it uses jiffies of the kernel's"},
		"store":                    {driver + descriptor + `MD_FIELD(hash, "", struct rx *rx) { *(int *)(void *)rx = 1; return 3; }`, "stores to memory that is not on its stack"},
		"store to a variable":      {driver + descriptor + `int seen; MD_FIELD(hash, "", struct rx *rx) { seen = 1; return 3; }`, "stores to memory that is not on its stack"},
		"atomic":                   {driver + descriptor + `MD_FIELD(hash, "", struct rx *rx) { __sync_fetch_and_add((__u64 *)(void *)rx, 1); return 3; }`, "has an atomic operation"},
		"own or kernel's":          {driver + descriptor + `static volatile const int own[1000] = { 1 }; MD_FIELD(hash, "", struct rx *rx) { const volatile int *p = rx->hash > 7 ? own : (const volatile int *)rx->sum; asm volatile("" : "+r"(p)); return p[2]; }`, "may be its own or the kernel's"},
		"address of a function":    {driver + descriptor + `static __attribute__((noinline)) __u32 f(void *x) { return 3; } MD_FIELD(hash, "", struct rx *rx) { void *at = f; asm volatile("" : "+r"(at)); return (__u64)at; }`, "it takes the address of a function"},
		"packet by LD_ABS":         {driver + descriptor + `__u64 load_byte(void *, __u64) asm("llvm.bpf.load.byte"); MD_FIELD(hash, "", struct rx *rx) { return load_byte(rx, 1); }`, "it loads from the packet by LD_ABS or LD_IND"},
		"index on the stack":       {driver + descriptor + `MD_FIELD(hash, "", struct rx *rx) { volatile __u32 x[4] = { 1, 2, 3, 4 }; return x[rx->hash & 3]; }`, "how deep it uses the stack is not known"},
		"unrecorded struct":        {"struct in { __u32 pad, x; }; struct out { struct in in; } __core;" + driver + "MD_DESCRIPTOR(struct out, struct xdp_buff *xdp) { return 0; }\n" + `MD_FIELD(hash, "", struct out *out) { struct in *in = &out->in; asm volatile("" : "+r"(in)); return in->x; }`, "nothing is recorded of what it loads from out->in, which is a struct in"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := accessor.Read("nic.o", compile(t, "19-v3", "bpfel", start+test.source+"\n"))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "accessors nic.o: ") {
				t.Errorf("%v instead of %q", err, test.want)
			}
		})
	}
	for _, raw := range [][]byte{nil, []byte("no object"), compile(t, "19-v3", "bpfel", "int x;")} {
		if _, err := accessor.Read("nic.o", raw); err == nil {
			t.Error("an object without functions is read")
		}
	}
}
