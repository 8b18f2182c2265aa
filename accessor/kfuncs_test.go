package accessor_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/rewrite"
)

const hashKfunc, vlanKfunc = "bpf_xdp_metadata_rx_hash", "bpf_xdp_metadata_rx_vlan_tag"

// kfuncs are the accessors that ask some kfuncs, for any kernel.
func kfuncs(t *testing.T, order binary.ByteOrder, names ...string) *rewrite.Accessors {
	t.Helper()
	raw, err := drivers.Object(drivers.Kfuncs, order)
	if err != nil {
		t.Fatal(err)
	}
	accessors, err := readFile(t, raw).Portable(names...)
	if err != nil {
		t.Fatal(err)
	}
	return accessors
}

// Of the fields that kfuncs are asked for those are there whose kfunc is.
func TestKfuncs(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		a := kfuncs(t, order, hashKfunc)
		if fields := slices.Sorted(maps.Keys(a.Fields)); !slices.Equal(fields, []string{"hash", "hash_type"}) {
			t.Errorf("fields %v", fields)
		}
		if hash := a.Fields["hash"]; hash.Kfunc != hashKfunc || !hash.Context || !hash.Packet || hash.From != "kfunc "+hashKfunc {
			t.Errorf("%+v", hash)
		}
		if a.Lowering != "" {
			t.Errorf("lowered by %q, and nothing is loaded", a.Lowering)
		}
	}
	raw, err := drivers.Object(drivers.Kfuncs, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readFile(t, raw).Portable(); !errors.Is(err, accessor.ErrNotAsked) || !strings.Contains(err.Error(), "every field is asked for by a metadata kfunc, and none of these is to be asked, or the device lacks them") {
		t.Errorf("without kfuncs: %v", err)
	}
}

// A driver's accessors get the fields that they lack, and keep theirs.
func TestComplete(t *testing.T) {
	own, err := readFile(t, compile(t, "19-v3", "bpfel", start+driver+descriptor+hash+
		`MD_FIELD(vlan_tci, "rx.in", struct rx *rx) { return rx->in.x; }`)).Portable()
	if err != nil {
		t.Fatal(err)
	}
	own.Missing = map[string]string{"vlan_tci": "not on this kernel"}
	delete(own.Fields, "vlan_tci")
	all, err := accessor.Complete(own, kfuncs(t, binary.LittleEndian, hashKfunc, vlanKfunc))
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{"hash": "", "hash_type": hashKfunc, "vlan_tci": vlanKfunc, "vlan_proto": vlanKfunc} {
		if got := all.Fields[field]; got.Function == "" || got.Kfunc != want {
			t.Errorf("%s: %+v", field, got)
		}
	}
	if len(all.Fields) != 4 || len(all.Missing) != 0 || len(own.Fields) != 1 || len(own.Missing) != 1 {
		t.Errorf("%v, %v of %v, %v", all.Fields, all.Missing, own.Fields, own.Missing)
	}
	if function := all.Fields["vlan_tci"].Function; function != "md_field_vlan_tci__2" {
		t.Errorf("vlan_tci is read by %s", function)
	}
	if all.Descriptor.Function != own.Descriptor.Function || all.Lowering != string(accessor.Carrier) {
		t.Errorf("descriptor %+v, lowered by %q", all.Descriptor, all.Lowering)
	}
	if same, err := accessor.Complete(all, kfuncs(t, binary.LittleEndian, hashKfunc)); err != nil || same != all {
		t.Errorf("nothing is lacking: %v", err)
	}
}

// A function that asks a kfunc does nothing else.
func TestKfuncsRefused(t *testing.T) {
	const declared = `
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_other(const struct xdp_md *ctx, __u64 *other) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
static inline __attribute__((always_inline, unused)) __u64 stamp(struct xdp_buff *xdp)
{
	__u64 t = 0;

	return bpf_xdp_metadata_rx_timestamp((void *)xdp, &t) ? 0 : t;
}
`
	for name, test := range map[string]struct{ source, want string }{
		"another kfunc":  {descriptor + `MD_FIELD(hash, "", struct rx *rx) { bpf_rcu_read_lock(); return 1; }`, "function md_field_hash: it calls bpf_rcu_read_lock, which is no metadata kfunc"},
		"two":            {descriptor + `MD_FIELD(rx_timestamp, "", struct rx *rx, struct xdp_buff *xdp) { __u64 t = 0; bpf_xdp_metadata_rx_other((void *)xdp, &t); return stamp(xdp) + t; }`, "it calls bpf_xdp_metadata_rx_other and bpf_xdp_metadata_rx_timestamp: ask one"},
		"a load, too":    {descriptor + `MD_FIELD(rx_timestamp, "", struct rx *rx, struct xdp_buff *xdp) { return stamp(xdp) + rx->sum; }`, "it calls bpf_xdp_metadata_rx_timestamp, and reads the kernel's memory or finds the descriptor besides"},
		"the descriptor": {`MD_DESCRIPTOR(void, struct xdp_buff *xdp) { return (void *)stamp(xdp); }` + hash, "function md_descriptor: it calls bpf_xdp_metadata_rx_timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := accessor.Read("nic.o", compile(t, "19-v3", "bpfel", start+driver+declared+test.source+"\n"))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v instead of %q", err, test.want)
			}
		})
	}
}
