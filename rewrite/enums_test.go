package rewrite_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/rewrite"
)

// The enumerations that a driver answers for are those of md_desc.h.
func TestHeaderEnums(t *testing.T) {
	t.Parallel()
	needTools(t, "clang-19")
	object, err := elfobj.Parse(costCompile(t, "clang-19", `
#include "../bpf/md_desc.h"
enum md_csum_status csum_status;
enum md_ptype ptype;
`, "el", "v3"))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(object.Section(".BTF").Data))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range rewrite.HeaderEnums {
		var enum *btf.Enum
		if err := spec.TypeByName(want.Name, &enum); err != nil {
			t.Fatal(err)
		}
		if enum.Size != want.Size || enum.Signed != want.Signed || !reflect.DeepEqual(enum.Values, want.Values) {
			t.Errorf("%s: got %v, the header has %v", want.Name, want.Values, enum.Values)
		}
	}
}
