package drivertypes_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/internal/drivertypes"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "without"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nic-6.12.117.btf", "nic-7.3.4.btf", "nic-6.2.btf", "without/nic-6.1.0-56.btf", "nic_vf-6.1.btf", "nic-arm64-6.12.117.btf"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := drivertypes.Files(dir, "nic")
	if err != nil {
		t.Fatal(err)
	}
	want := []drivertypes.File{
		{filepath.Join(dir, "without/nic-6.1.0-56.btf"), "6.1.0-56", true},
		{filepath.Join(dir, "nic-6.2.btf"), "6.2", false},
		{filepath.Join(dir, "nic-6.12.117.btf"), "6.12.117", false},
		{filepath.Join(dir, "nic-arm64-6.12.117.btf"), "arm64-6.12.117", false},
		{filepath.Join(dir, "nic-7.3.4.btf"), "7.3.4", false},
	}
	if !slices.Equal(files, want) {
		t.Errorf("%v instead of %v", files, want)
	}
}

func TestSeries(t *testing.T) {
	for kernel, want := range map[string]string{
		"6.1.0-56":       "6.1",
		"6.12.117+deb13": "6.12",
		"7.3":            "7.3",
		"arm64-6.12.117": "6.12 arm64",
		"mine":           "mine",
	} {
		if got := drivertypes.Series(kernel); got != want {
			t.Errorf("%s: %q instead of %q", kernel, got, want)
		}
	}
}
