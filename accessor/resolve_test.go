package accessor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// without returns BTF in which types of a name are called something else.
func without(tb testing.TB, raw []byte, names ...string) []byte {
	tb.Helper()
	types, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	edit, err := btfraw.NewEdit(raw)
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range names {
		named, err := types.AnyTypesByName(name)
		if err != nil {
			tb.Fatal(err)
		}
		for _, typ := range named {
			id, err := types.TypeID(typ)
			if err == nil {
				err = edit.Rename(id, "other")
			}
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	return edit.Bytes()
}

// The best lowering is that which the kernel's BTF has the means for.
func TestLowering(t *testing.T) {
	raw := withTypes(t)
	file := readFile(t, compile(t, "19-v3", "bpfel", include("nic.c")))
	for _, test := range []struct {
		lacks []string
		wants accessor.Lowering
		want  accessor.Lowering // none if refused
	}{
		{nil, "", accessor.Zero},
		{[]string{"bpf_features"}, "", accessor.Carrier},
		{[]string{"bpf_features", "bpf_raw_tracepoint_args"}, "", accessor.Probe},
		{[]string{"bpf_rdonly_cast"}, "", accessor.Probe},
		{[]string{"bpf_features", "bpf_dynptr_clone"}, "", accessor.Probe}, // Linux 6.2 to 6.4
		{[]string{"bpf_features", "bpf_dynptr_clone"}, accessor.Carrier, ""},
		{[]string{"bpf_features"}, accessor.Probe, accessor.Probe},
		{[]string{"bpf_features"}, accessor.Zero, ""},
		{[]string{"bpf_rdonly_cast"}, accessor.Carrier, ""},
		{nil, "no such", ""},
	} {
		kernel := newKernel(t, without(t, raw, test.lacks...))
		accessors, err := file.Resolve(kernel, accessor.Options{Lowering: test.wants})
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%q without %v: lowered by %s", test.wants, test.lacks, accessors.Lowering)
		case test.want == "" && !strings.Contains(err.Error(), fmt.Sprintf("vmlinux has no lowering %q: it has [", test.wants)):
			t.Errorf("%q without %v: %v", test.wants, test.lacks, err)
		case test.want != "" && err != nil:
			t.Errorf("%q without %v: %v", test.wants, test.lacks, err)
		case err == nil && accessors.Lowering != string(test.want):
			t.Errorf("%q without %v: lowered by %s instead of %s", test.wants, test.lacks, accessors.Lowering, test.want)
		}
	}
}

// A kernel that only interprets programs lets none call a kfunc, however many it has.
func TestInterpreted(t *testing.T) {
	const interpreter, compiler = "\nint ___bpf_prog_run(void) { return 0; }\n", "\nint bpf_jit_alloc_exec(void) { return 0; }\n"
	file := readFile(t, compile(t, "19-v3", "bpfel", include("nic.c")))
	asking, err := drivers.Object(drivers.Kfuncs, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	for has, interprets := range map[string]bool{"": false, interpreter: true, interpreter + compiler: false, compiler: false} {
		kernel := kernelIn(t, "bpfel", include("offline.c")+has)
		want := accessor.Zero
		if interprets {
			want = accessor.Probe
		}
		if accessors, err := file.Resolve(kernel, accessor.Options{}); err != nil || accessors.Lowering != string(want) {
			t.Errorf("with %q: lowered by %s instead of %s, %v", has, accessors.Lowering, want, err)
		}
		_, err = readFile(t, asking).Resolve(kernel, accessor.Options{Kfuncs: []string{hashKfunc}})
		if errors.Is(err, accessor.ErrNotAsked) != interprets || !interprets && err != nil {
			t.Errorf("with %q: kfuncs: %v", has, err)
		}
	}
}

// What is not there is said, with the line, and the rest is there.
func TestMissing(t *testing.T) {
	raw := withTypes(t)
	file := readFile(t, compile(t, "19-v3", "bpfel", include("nic.c")))
	for _, test := range []struct {
		lacks []string
		want  map[string]string
	}{
		{nil, map[string]string{"csum": "nic_rx->absent: struct nic_rx has no field absent"}},
		{[]string{"nic_clock"}, map[string]string{"csum": "no field absent", "rx_timestamp": "no struct nic_clock"}},
		{[]string{"nic_ring"}, map[string]string{"csum": "no field absent", "rx_timestamp": "no struct nic_ring", "mark": "no struct nic_ring"}},
	} {
		accessors, err := file.Resolve(newKernel(t, without(t, raw, test.lacks...)), accessor.Options{})
		if err != nil {
			t.Errorf("%v: %v", test.lacks, err)
			continue
		}
		if len(accessors.Fields)+len(accessors.Missing) != 9 || len(accessors.Missing) != len(test.want) {
			t.Errorf("%v: missing %v", test.lacks, accessors.Missing)
		}
		for field, why := range test.want {
			if got := accessors.Missing[field]; !strings.Contains(got, why) || !strings.Contains(got, "nic.c:") {
				t.Errorf("%v: %s: %q instead of %q", test.lacks, field, got, why)
			}
		}
	}
	twice := withMore(t, raw, "struct nic_clock { unsigned long long base; } clock;\n", "nic_clock")
	accessors, err := file.Resolve(newKernel(t, twice), accessor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if why := accessors.Missing["rx_timestamp"]; !strings.Contains(why, "ambiguous") && !strings.Contains(why, "disagree") || len(accessors.Missing) != 2 {
		t.Errorf("with two structs nic_clock: missing %v", accessors.Missing)
	}
	for _, lacks := range []string{"xdp_rxq_info", "nic_rx"} {
		if accessors, err := file.Resolve(newKernel(t, without(t, raw, lacks)), accessor.Options{}); !errors.Is(err, accessor.ErrNoAccessors) {
			t.Errorf("without %s: %v, %v", lacks, accessors, err)
		}
	}
}

// Nothing is left to resolve, and the same comes out again.
func TestResolved(t *testing.T) {
	kernel := newKernel(t, withTypes(t))
	for _, variant := range variants {
		file := readFile(t, compile(t, variant, "bpfel", include("nic.c")))
		for _, lowering := range lowerings {
			accessors, err := file.Resolve(kernel, accessor.Options{Lowering: lowering})
			if err != nil {
				t.Fatal(err)
			}
			again, err := file.Resolve(kernel, accessor.Options{Lowering: lowering})
			if err != nil || !bytes.Equal(again.Object, accessors.Object) {
				t.Errorf("%s, %s: other bytes the second time, %v", variant, lowering, err)
			}
			checkRecords(t, accessors, func(reloc.Access) bool { return false })
		}
	}
}

// Every record stays, and each cast has one.
func TestPortable(t *testing.T) {
	for _, variant := range variants {
		raw := compile(t, variant, "bpfel", include("nic.c"))
		accessors, err := readFile(t, raw).Portable()
		if err != nil {
			t.Fatal(err)
		}
		before, err := reloc.Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		kinds := make(map[string]int)
		for _, access := range before {
			kinds[access.Path+access.Kind.String()+access.Source.String()]++
		}
		casts := 0
		checkRecords(t, accessors, func(access reloc.Access) bool {
			if access.Kind == reloc.TargetTypeID {
				casts++
				return true
			}
			kinds[access.Path+access.Kind.String()+access.Source.String()]--
			return true
		})
		for what, left := range kinds {
			if left != 0 {
				t.Errorf("%s: %s: %d records more than there are now", variant, what, left)
			}
		}
		if casts == 0 || slices.Contains(slices.Collect(maps.Values(kinds)), -1) {
			t.Errorf("%s: %d casts", variant, casts)
		}
	}
}

// checkRecords wants only some records to be there.
func checkRecords(t *testing.T, accessors *rewrite.Accessors, may func(reloc.Access) bool) {
	t.Helper()
	accesses, err := reloc.Read(accessors.Object)
	if err != nil {
		t.Fatal(err)
	}
	for _, access := range accesses {
		missing := accessors.Missing[strings.TrimPrefix(access.Program, "md_field_")] != ""
		if !missing && !may(access) {
			t.Errorf("%s: %s of %s is left", access.Source, access.Kind, access.Path)
		}
	}
}
