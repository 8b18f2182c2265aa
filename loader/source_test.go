package loader_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// withModule makes a directory as the kernel's own, in which the module of a veth is one
// with BTF: of struct md_desc___veth { ... hash; }, split from that of the kernel that runs.
// The hash has the kernel's first type.
func withModule(t *testing.T) string {
	t.Helper()
	vmlinux, err := os.ReadFile(filepath.Join(nic.KernelBTF, "vmlinux"))
	if err != nil {
		t.Skip(err)
	}
	order := binary.NativeEndian
	strings := order.Uint32(vmlinux[20:])
	const table = "md_desc___veth\x00hash\x00"
	words := []uint32{24, 0, 6 * 4, 6 * 4, uint32(len(table)), // lengths and offsets
		strings, 4<<24 | 1, 48, // a struct with one member, of 48 bytes
		strings + 15, 1, 40 * 8}
	raw := order.AppendUint16(nil, 0xeb9f)
	raw = append(raw, 1, 0)
	for _, word := range words {
		raw = order.AppendUint32(raw, word)
	}

	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(nic.KernelBTF, "vmlinux"), filepath.Join(dir, "vmlinux")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "veth"), append(raw, table...), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The source is the first that there is: a file, the module's BTF, the driver's accessors,
// its kfuncs. What is found is loaded, and target.Source says what it was.
func TestFindSource(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	files, dir, nothing := t.TempDir(), withModule(t), []string{}
	module := nic.NewKernel(dir)
	layout, err := os.ReadFile("../bpf/examples/nic_b" + endian)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(files, "veth.o")
	if err := os.WriteFile(file, layout, 0o644); err != nil {
		t.Fatal(err)
	}

	for name, test := range map[string]struct {
		search nic.Search
		driver loader.Driver
		want   nic.Source
		line   string // what the hash is read by
	}{
		"file":      {nic.Search{Dirs: []string{files}, Kernel: module}, loader.Driver{}, nic.Source{Kind: nic.LayoutFile, Name: file}, "r1 = *(u32 *)(r2 + 20)"},
		"module":    {nic.Search{Dirs: nothing, Kernel: module}, loader.Driver{}, nic.Source{Kind: nic.ModuleBTF, Name: module.File("veth")}, "r1 = *(u32 *)(r2 + 40)"},
		"accessors": {nic.Search{Dirs: nothing}, loader.Driver{}, nic.Source{Kind: nic.DriverAccessors, Name: "veth"}, ""},
		"asked for": {nic.Search{Dirs: []string{files}}, loader.Driver{File: "../bpf/drivers/veth" + endian}, nic.Source{Kind: nic.DriverAccessors, Name: "../bpf/drivers/veth" + endian}, ""},
		"software":  {nic.Search{Dirs: []string{files}}, loader.Driver{Software: []string{"hash"}}, nic.Source{Kind: nic.DriverAccessors, Name: "veth"}, ""},
	} {
		target, err := nic.ByName("nic0")
		if err != nil {
			t.Fatal(err)
		}
		opts, err := loader.FindSource(target, test.search, &test.driver)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if target.Source != test.want || (opts.Layout != nil) != (test.line != "") || opts.Layout != target.Layout {
			t.Errorf("%s: source %v, layout %v", name, target.Source, opts.Layout)
		}
		opts.Interface = "nic0"
		loaded, err := loader.LoadRewritten("../bpf/examples/balance"+endian, opts)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if after := loaded.Report.Edits[1].After.String(); test.line != "" && after != test.line {
			t.Errorf("%s: %s instead of %s", name, after, test.line)
		}
		loaded.Close()
		if err := loader.Unload("nic0"); err != nil {
			t.Fatal(err)
		}
	}
}

// What a driver without accessors is read by, and what is said where there is nothing.
func TestFindSourceElsewhere(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	ns := netlab.Enter(t)
	if err := ns.Run("ip", "tuntap", "add", "dev", "tap0", "mode", "tap"); err != nil {
		t.Fatal(err)
	}
	search := nic.Search{Dirs: []string{t.TempDir()}}
	for want, driver := range map[nic.SourceKind]loader.Driver{
		nic.MetadataKfuncs: {Kfuncs: nic.Kfuncs(), Software: []string{"rx_timestamp"}},
		nic.Computed:       {Software: []string{"hash", "rx_timestamp"}},
		"":                 {},
	} {
		target, err := nic.ByName("tap0")
		if err != nil {
			t.Fatal(err)
		}
		if want == nic.MetadataKfuncs && !netlab.Has(netlab.MetadataFunctions) {
			continue
		}
		_, err = loader.FindSource(target, search, &driver)
		if target.Source.Kind != want || (err == nil) != (want != "") {
			t.Errorf("%v instead of %s, %v", target.Source, want, err)
		}
		var nowhere *loader.NoSourceError
		if want != "" {
			continue
		}
		if !errors.As(err, &nowhere) || !errors.Is(err, loader.ErrNoSource) || !errors.Is(err, loader.ErrNoAccessors) ||
			len(nowhere.Places) != 2 || strings.Count(nowhere.Details(), "\n") != 2 {
			t.Errorf("%v", err)
		}
		described, err := loader.Describe(target, search, &driver)
		if err != nil || described.Error != "driver tun: "+strings.SplitN(nowhere.Error(), "driver tun: ", 2)[1] || len(described.Places) != 2 {
			t.Errorf("%+v, %v", described, err)
		}
	}
}
