package drivers_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/memlab"
)

// outOfTree is a build of a driver that is not the kernel's, and bears its name. Its types
// are those that clang makes of testdata/out-of-tree/DRIVER.c.
type outOfTree struct {
	driver  string
	defines []string
	fields  []string // that are read, none if nothing is there that could be read; sorted
	lacks   []string // of which this build has none, and the kernel's driver has; sorted
}

var outOfTrees = map[string]outOfTree{
	// Its completions may be longer, with a time that the kernel's driver does not know.
	"ena": {driver: "ena", fields: []string{"csum_status", "hash", "hash_type", "ptype"}},
	// Of wider numbers are read as many bytes as they have.
	"ena, wider": {driver: "ena", defines: []string{"WIDER"}, fields: []string{"csum_status", "hash", "hash_type", "ptype"}},
	// What is somewhere else is not there, and not taken from where it was.
	"ena, hash apart":  {driver: "ena", defines: []string{"HASH_APART"}, fields: []string{"csum_status", "hash_type", "ptype"}, lacks: []string{"hash"}},
	"ena, without XDP": {driver: "ena", defines: []string{"WITHOUT_XDP"}},
}

// A build with other types gives the fields that its types have, with the right values, and
// says of the others that they are not there.
func TestOutOfTree(t *testing.T) {
	for name, build := range outOfTrees {
		t.Run(name, func(t *testing.T) {
			k := build.kernel(t)
			if len(build.fields) == 0 {
				_, err := read(t, build.driver).Resolve(k.layout, accessor.Options{})
				if !errors.Is(err, accessor.ErrNoAccessors) || !strings.Contains(err.Error(), "struct ena_ring has no field xdp_rxq") {
					t.Errorf("%v", err)
				}
				return
			}
			modelled := models[build.driver]
			memory := memlab.New(t, modelled.memory)
			for _, lowering := range lowerings(t) {
				accessors := load(t, read(t, build.driver), k, lowering)
				if !slices.Equal(accessors.names, build.fields) {
					t.Errorf("%s: fields %v instead of %v", lowering, accessors.names, build.fields)
				}
				modelled.compare(t, memory, k, accessors)
			}
		})
	}
}

// kernel compiles the types of a build.
func (b *outOfTree) kernel(t *testing.T) kernel {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata/out-of-tree", b.driver+".c"))
	if err != nil {
		t.Fatal(err)
	}
	var defines strings.Builder
	for _, define := range b.defines {
		defines.WriteString("#define " + define + "\n")
	}
	object, err := elf.NewFile(bytes.NewReader(compile(t, defines.String()+string(source))))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := object.Section(".BTF").Data()
	if err != nil {
		t.Fatal(err)
	}
	k := newKernel(t, "out of tree", raw, behindRunning(t, raw))
	k.lacks = b.lacks
	return k
}
