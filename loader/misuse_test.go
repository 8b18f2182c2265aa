package loader_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What makes no sense is refused before anything is loaded.
func TestMisuse(t *testing.T) {
	area := layout(t, "exact")
	driver := []*rewrite.Accessors{{}}
	rewritten := func(opts loader.Options) error {
		_, _, err := loader.Rewrite(nil, opts)
		return err
	}
	for want, err := range map[string]error{
		"a layout and accessors to rewrite the object for: give one of them": rewritten(loader.Options{Layout: area, Accessors: driver}),
		"no layout, and no accessors, to rewrite the object for":             rewritten(loader.Options{}),
		"no driver has the packet in a run without a NIC: give the layout of the metadata area": func() error {
			_, err := loader.Run("", loader.Options{Accessors: driver}, loader.Input{})
			return err
		}(),
		"mode hardware: XDP programs are attached in native, generic or offload mode": func() error {
			_, err := loader.LoadRewritten(ownProgram("calls"), loader.Options{Layout: area, Interface: "lo", Mode: "hardware"})
			return err
		}(),
		": no driver has the packet in generic mode: what a program is given there is not the driver's: give the layout of the metadata area, which is empty there, so that md_desc(ctx) is NULL": func() error {
			_, err := loader.LoadRewritten(ownProgram("calls"), loader.Options{Accessors: driver, Interface: "lo", Mode: loader.Generic})
			return err
		}(),
		"calls" + endian + ": no interface to attach it to": func() error {
			_, err := loader.LoadOnAll(ownProgram("calls"), nil)
			_, preview := loader.PreviewOnAll(ownProgram("calls"), nil)
			if fmt.Sprint(preview) != fmt.Sprint(err) {
				return preview
			}
			return err
		}(),
		"places" + endian + ": entries for map cpus: they go with an XDP program, and none of those that are given has them": func() error {
			opts := loader.Options{Layout: area, Interface: "lo", Redirects: []loader.Redirect{{Map: "cpus", Queue: 512}}}
			in, out := opts, opts
			in.Program, out.Program = "in", "out"
			_, err := loader.LoadOnAll(ownProgram("places"), []loader.Options{in, out})
			return err
		}(),
		`no program of the name "nobody" to watch with`: func() error {
			object, err := os.ReadFile(ownProgram("calls"))
			if err != nil {
				return err
			}
			_, err = loader.NewWatch(object, loader.Options{Layout: area, Interface: "lo", Program: "nobody"}, "nobody")
			return err
		}(),
		`no accessors for "e1000", there are those for bnxt_en, `: func() error {
			_, err := drivers.Object("e1000", binary.LittleEndian)
			return err
		}(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %q", err, want)
		}
	}
}
