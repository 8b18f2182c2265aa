package rewrite_test

import (
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/rewrite"
)

// An ELF relocation of what is far beyond the end of its section takes no memory for all that
// would be in between.
func TestFarRelocation(t *testing.T) {
	for _, offset := range []uint64{1 << 32, 1 << 60, 1<<64 - 8} {
		obj, err := elfobj.Parse(readFile(t, objectPath("programs", "examples/balance-el")))
		if err != nil {
			t.Fatal(err)
		}
		obj.Order.PutUint64(obj.Relocations(obj.Section("xdp")).Data, offset)
		out, _, err := rewrite.Rewrite(obj.Bytes(), readLayout(t, "examples/nic_a-el"), rewrite.Options{})
		if err == nil || out != nil || !strings.Contains(err.Error(), "compile the object again") {
			t.Errorf("relocation of %#x: %d bytes, %v", offset, len(out), err)
		}
	}
}
