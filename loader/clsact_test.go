package loader

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

// A filter goes with all that was made for it, and with nothing else; what another process
// has left of one gives way.
func TestWatchFilter(t *testing.T) {
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	target, err := nic.ByName("nic0")
	if err != nil {
		t.Fatal(err)
	}
	program := returning(t, ebpf.SchedCLS, -1)
	shown := func(args ...string) string {
		output, err := exec.Command("tc", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("tc %v: %v: %s", args, err, output)
		}
		return string(output)
	}
	filters := func() int {
		return strings.Count(shown("filter", "show", "dev", "nic0", "ingress"), "xdp-load direct-action")
	}
	hasClsact := func() bool { return strings.Contains(shown("qdisc", "show", "dev", "nic0"), "clsact") }

	first := &Watch{load: new(load)}
	if err := first.addFilter(target, program); err != nil {
		t.Fatal(err)
	}
	again := &Watch{load: new(load)}
	if err := again.addFilter(target, program); err != nil || filters() != 1 {
		t.Errorf("%d filters: %v", filters(), err)
	}
	if again.load.undo.run(); filters() != 0 || !hasClsact() {
		t.Errorf("%d filters, clsact %t", filters(), hasClsact())
	}
	if first.load.undo.run(); hasClsact() {
		t.Error("clsact is left")
	}
	shown("qdisc", "add", "dev", "nic0", "clsact")
	if err := again.addFilter(target, program); err != nil || filters() != 1 {
		t.Errorf("%d filters: %v", filters(), err)
	}
	if again.load.undo.run(); filters() != 0 || !hasClsact() {
		t.Errorf("%d filters, clsact %t", filters(), hasClsact())
	}
}

// returning returns a program that does nothing but return.
func returning(t *testing.T, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	t.Helper()

	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}
