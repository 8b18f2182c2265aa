package reloc_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var update = flag.Bool("update", false, "cut testdata/*.btf anew, from the kernels' BTF in $DRIVER_BTF")

// driver is BTF in testdata that was cut down to some of a driver's structs.
type driver struct {
	file   string
	kernel string // directory of $DRIVER_BTF
	order  binary.ByteOrder
	object string
	copies map[string]int
}

var drivers = []driver{
	{"mlx5_core-6.18.15-amd64.btf", "6.18.15+deb13", binary.LittleEndian, "mlx5-el.o",
		map[string]int{"mlx5_cqe64": 1, "mlx5e_xdp_buff": 3, "xdp_buff": 3}},
	{"mlx5_core-6.12.107-s390x.btf", "s390x-6.12.107+deb13", binary.BigEndian, "mlx5-eb.o",
		map[string]int{"mlx5_cqe64": 1, "mlx5e_xdp_buff": 1, "xdp_buff": 1}},
}

// The kernel's own structs, in which copies of one count once. Offsets and
// sizes are those of include/linux/mlx5/device.h and include/net/xdp.h.
func TestDrivers(t *testing.T) {
	want := map[string]string{
		"mlx5e_xdp_buff->xdp.data":     "void * at 0",
		"mlx5e_xdp_buff->xdp.frame_sz": "u32 at 48",
		"mlx5e_xdp_buff->cqe":          "struct mlx5_cqe64 * at 56",
		"mlx5_cqe64->rss_hash_result":  "__be32 at 12",
		"mlx5_cqe64->rss_hash_type":    "u8 at 16",
		"mlx5_cqe64->vlan_info":        "__be16 at 30",
		"mlx5_cqe64->timestamp_h":      "__be32 at 48",
		"mlx5_cqe64->check_sum":        "__be16 at 20",
		"mlx5_cqe64->wqe_counter":      "__be16 at 60",
	}
	for _, driver := range drivers {
		t.Run(driver.file, func(t *testing.T) {
			path := filepath.Join("testdata", driver.file)
			if *update {
				driver.cut(t, path)
			}
			raw := readFile(t, path)
			driver.checkCopies(t, raw)

			layout := newLayout(t, driver.file, raw)
			accesses := readAccesses(t, filepath.Join("testdata", driver.object))
			if len(accesses) != len(want) {
				t.Errorf("%d accesses, want %d", len(accesses), len(want))
			}
			for _, access := range accesses {
				got, err := access.Resolve(layout)
				if err != nil || got.String() != want[access.Path] {
					t.Errorf("%s: %s, %v, want %s", access.Path, got.String(), err, want[access.Path])
				}
			}
		})
	}
}

// checkCopies makes sure that there are copies to be counted once.
func (d *driver) checkCopies(t *testing.T, raw []byte) {
	t.Helper()
	types, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range d.copies {
		if found, err := types.AnyTypesByName(name); err != nil || len(structs(found)) != want {
			t.Errorf("%d of struct %s, %v, want %d", len(structs(found)), name, err, want)
		}
	}
}

// structs drops forward declarations.
func structs(types []btf.Type) []btf.Type {
	return slices.DeleteFunc(types, func(typ btf.Type) bool {
		_, ok := typ.(*btf.Struct)
		return !ok
	})
}

// cut writes the structs in copies, and what they hold by value, to a file.
func (d *driver) cut(t *testing.T, path string) {
	t.Helper()
	load := func(name string, base *btf.Spec) *btf.Spec {
		raw := readFile(t, filepath.Join(os.Getenv("DRIVER_BTF"), d.kernel, name))
		spec, err := btf.LoadSplitSpecFromReader(bytes.NewReader(raw), base)
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	module := load("mlx5_core.btf", load("vmlinux.btf", nil))

	cut := cutter{}
	var kept []btf.Type
	for _, name := range []string{"mlx5_cqe64", "mlx5e_xdp_buff"} {
		copies, err := module.AnyTypesByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range structs(copies) {
			kept = append(kept, cut.copy(typ))
		}
	}
	if err := os.WriteFile(path, marshal(t, d.order, kept...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cutter copies types, once each.
type cutter map[btf.Type]btf.Type

func (c cutter) copy(typ btf.Type) btf.Type {
	if done, ok := c[typ]; ok {
		return done
	}
	switch typ := typ.(type) {
	case *btf.Struct:
		cut := &btf.Struct{Name: typ.Name, Size: typ.Size, Members: slices.Clone(typ.Members)}
		c[typ] = cut
		c.copyMembers(cut.Members)
	case *btf.Union:
		cut := &btf.Union{Name: typ.Name, Size: typ.Size, Members: slices.Clone(typ.Members)}
		c[typ] = cut
		c.copyMembers(cut.Members)
	case *btf.Array:
		c[typ] = &btf.Array{Index: c.copy(typ.Index), Type: c.copy(typ.Type), Nelems: typ.Nelems}
	case *btf.Typedef:
		c[typ] = &btf.Typedef{Name: typ.Name, Type: c.copy(typ.Type)}
	case *btf.Const:
		c[typ] = &btf.Const{Type: c.copy(typ.Type)}
	case *btf.Volatile:
		c[typ] = &btf.Volatile{Type: c.copy(typ.Type)}
	case *btf.Pointer:
		c[typ] = &btf.Pointer{Target: declaration(typ.Target)}
	default: // refers to no other
		c[typ] = typ
	}
	return c[typ]
}

func (c cutter) copyMembers(members []btf.Member) {
	for i := range members {
		members[i].Type = c.copy(members[i].Type)
	}
}

// declaration returns all that is kept of what a pointer points to.
func declaration(typ btf.Type) btf.Type {
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Struct:
		if typ.Name != "" {
			return &btf.Fwd{Name: typ.Name, Kind: btf.FwdStruct}
		}
	case *btf.Union:
		if typ.Name != "" {
			return &btf.Fwd{Name: typ.Name, Kind: btf.FwdUnion}
		}
	}
	return &btf.Void{}
}

// A copy with one field elsewhere is no copy: accesses to that field are
// refused.
func TestCopiesThatDiffer(t *testing.T) {
	raw := readFile(t, "testdata/"+drivers[0].file)
	types, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	copies, err := types.AnyTypesByName("mlx5e_xdp_buff")
	if err != nil {
		t.Fatal(err)
	}
	moved := btf.Copy(copies[0]).(*btf.Struct)
	moved.Members[1].Offset += 64
	layout := layoutOf(t, binary.LittleEndian, append(copies, moved)...)
	for _, access := range readAccesses(t, "testdata/mlx5-el.o") {
		_, err := access.Resolve(layout)
		if refused := err != nil; refused != (access.Path == "mlx5e_xdp_buff->cqe") {
			t.Errorf("%s: %v", access.Path, err)
		}
	}
}
