package drivertypes_test

import (
	"encoding/binary"
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
	little, big := []byte{0x9f, 0xeb}, []byte{0xeb, 0x9f}
	for name, magic := range map[string][]byte{
		"nic-6.12.117.btf": little, "nic-7.3.4.btf": little, "nic-6.2.btf": little, "without/nic-6.1.0-56.btf": little,
		"nic_vf-6.1.btf": little, "nic-arm64-6.12.117.btf": little, "nic-s390x-6.12.107.btf": big,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), magic, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := drivertypes.Files(dir, "nic", binary.LittleEndian)
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
	files, err = drivertypes.Files(dir, "nic", binary.BigEndian)
	if want := []drivertypes.File{{filepath.Join(dir, "nic-s390x-6.12.107.btf"), "s390x-6.12.107", false}}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%v instead of %v, %v", files, want, err)
	}
}

// A file that is cut short is none of another byte order.
func TestNoBTF(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nic-6.2.btf"), []byte{0x9f}, 0o644); err != nil {
		t.Fatal(err)
	}
	if files, err := drivertypes.Files(dir, "nic", binary.LittleEndian); err == nil {
		t.Errorf("%v", files)
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
