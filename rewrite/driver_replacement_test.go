package rewrite_test

import (
	"bytes"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A program that takes the place of a function is called with all of its arguments, which
// code in line has to leave as they are.
func TestDriverReplacement(t *testing.T) {
	t.Parallel()
	accessors := driverAccessors(t, "veth", accessor.Probe) // helpers say what they read
	for _, parameters := range []string{"struct xdp_md *ctx, int a, int b", "int a, struct xdp_md *ctx, int b"} {
		object := costCompile(t, "clang-19", driverHeader+`
			SEC("freplace/hook") int program(`+parameters+`)
			{
				struct md_desc *md = md_desc(ctx);

				return (md ? md->mark + md->hash : 0) + a * b;
			}`, "el", "v3")
		out, _, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{accessors}, rewrite.Options{})
		if err != nil {
			t.Fatal(explained(err))
		}
		obj, err := elfobj.Parse(bytes.Clone(out))
		if err != nil {
			t.Fatal(err)
		}
		section := obj.Section("freplace/hook")
		function, err := flow.NewFunction(section.Data, obj.Order, 0, len(section.Data)/8)
		if err != nil {
			t.Fatal(err)
		}
		if arguments := function.Arguments(); arguments != 3 {
			t.Errorf("program(%s) reads %d arguments", parameters, arguments)
		}
	}
}
