package rewrite_test

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/rewrite"
)

// startSource are accessors of what is computed when the program starts.
const startSource = startDescriptor + `
MD_START_FIELD(mark, "a number")
{
	return bpf_ktime_get_tai_ns();
}
`

const startDescriptor = `
#include <linux/bpf.h>
#include "../../bpf/md_driver.h"

MD_DRIVER("toy");

MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	return xdp;
}
`

// When the program starts there is one number to keep, and no code but that of the accessor.
func TestDriverStartUnlinked(t *testing.T) {
	t.Parallel()
	program := costCompile(t, "clang-19", driverHeader+driverProgram+`
	check(MARK, md->mark);
	check(HASH, md->hash);`+driverEnd, "el", "v3")
	for name, test := range map[string]struct{ accessors, want string }{
		"two":   {startSource + `MD_START_FIELD(hash, "another") { return bpf_ktime_get_tai_ns(); }`, "another field is computed when the program starts, too"},
		"stack": {startDescriptor + `MD_START_FIELD(mark, "a number") { __u32 n; asm volatile("" : : "r"(&n) : "memory"); return n; }`, "it is run when the program starts, and does more than call a helper"},
	} {
		t.Run(name, func(t *testing.T) {
			accessors := resolvedAccessors(t, "start.o", costCompile(t, "clang-19", test.accessors, "el", "v3"), "")
			_, _, err := rewrite.RewriteForDriver(program, []*rewrite.Accessors{accessors}, rewrite.Options{})
			if err == nil || !strings.Contains(explained(err), test.want) {
				t.Errorf("%v instead of %q", err, test.want)
			}
		})
	}
}

// Where nothing else stands in line, what is computed when the program starts still does.
func TestDriverStartCalled(t *testing.T) {
	t.Parallel()
	program := costCompile(t, "clang-19", driverHeader+driverProgram+`
	check(MARK, md->mark);`+driverEnd, "el", "v3")
	accessors := resolvedAccessors(t, "start.o", costCompile(t, "clang-19", startSource, "el", "v3"), "")
	rewritten, _, err := rewrite.RewriteCalling(program, []*rewrite.Accessors{accessors}, rewrite.Options{})
	if err != nil {
		t.Fatal(explained(err))
	}
	loaded, err := ebpf.NewCollection(kernelSpec(t, rewritten))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	loaded.Close()
}
