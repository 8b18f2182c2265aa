package nic_test

import (
	"debug/elf"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

// FuzzHeader: no panic and no end, whatever the BTF; an error exactly if there is no result;
// every member of the descriptor is told of. A map has as many lines as the descriptor has
// bytes for.
func FuzzHeader(f *testing.F) {
	files, err := filepath.Glob("../testdata/layouts/*.o")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		object, err := elf.Open(file)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := object.Section(".BTF").Data()
		if err != nil {
			f.Fatal(err)
		}
		object.Close()
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		layout, err := reloc.NewLayout("fuzzed", raw, nil)
		if err != nil {
			return
		}
		header, err := nic.Header(layout, "fuzzed */ int x;")
		if (err == nil) != (header != "") || strings.Contains(header, "fuzzed */") {
			t.Fatalf("%v and %q", err, header)
		}
		descriptors, err := nic.Descriptors(layout)
		if err != nil {
			return
		}
		for _, d := range descriptors {
			if rows := strings.Count(d.ByteMap(), "\n"); rows != 2+2*int((d.Size+7)/8) {
				t.Errorf("%d lines for %d bytes", rows, d.Size)
			}
			for i := range d.Fields {
				if header != "" && !strings.Contains(header, d.Fields[i].Path[strings.LastIndexByte(d.Fields[i].Path, '.')+1:]) {
					t.Errorf("%s is not in the header", d.Fields[i].Path)
				}
			}
		}
	})
}
