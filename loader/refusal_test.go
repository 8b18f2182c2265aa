package loader_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// A refusal leads with the source line and the access, also for instructions of
// functions that cilium/ebpf has moved behind the program.
func TestExplainRefusal(t *testing.T) {
	newLab(t)
	for _, test := range []struct {
		program, layout string
		function, want  string
	}{
		{"unchecked", "exact", "hash_of",
			"loader/testdata/refused.c:14: md->hash: the verifier refuses the program: invalid access to packet, off=8 size=4"},
		{"absent", "sparse", "mark_of",
			"loader/testdata/refused.c:36: md->mark: not in layout ../testdata/layouts/sparse" + endian +
				", and the program can reach it for all that the verifier knows: guard it with bpf_core_field_exists(md->mark)"},
		{"beyond", "exact", "beyond",
			"loader/testdata/refused.c:53: the verifier refuses the program: invalid access to packet, off=20 size=1"},
		{"endless", "exact", "wait_for",
			"loader/testdata/refused.c:61: the verifier refuses the program: infinite loop detected at insn "},
		{"lengthy", "exact", "lengthy",
			"loader/testdata/refused.c:82: the verifier refuses the program: BPF program is too large. Processed 1000001 insn"},
		{"branchy", "exact", "branchy",
			"loader/testdata/refused.c:93: the verifier refuses the program: The sequence of 8193 jumps is too complex: "},
		{"senseless", "exact", "senseless",
			"loader/testdata/refused.c:111: the verifier refuses the program: unexpected __bpf_trap() due to uninitialized variable?"},
	} {
		t.Run(test.program, func(t *testing.T) {
			if test.program == "senseless" {
				netlab.Need(t, netlab.Trap)
			}
			refusal := loadRefused(t, test.program, test.layout)
			if refusal.Program != test.program || refusal.Function != test.function {
				t.Errorf("Refused is %s of %s, instead of %s of %s", refusal.Function, refusal.Program, test.function, test.program)
			}
			message := refusal.Error()
			if !strings.HasPrefix(message, test.want) {
				t.Errorf("%q\ndoes not start with %q", message, test.want)
			}
			if strings.Contains(message, "\n") {
				t.Errorf("%q has several lines", message)
			}
			if details := refusal.Details(); !strings.Contains(details, "processed ") {
				t.Errorf("Details lack the end of the log:\n%s", details)
			}
			var verifier *ebpf.VerifierError
			if !errors.As(refusal, &verifier) {
				t.Error("Wraps no VerifierError")
			}
		})
	}
}

// loadRefused loads one program of refused.c.
func loadRefused(t *testing.T, program, layoutName string) *loader.RefusalError {
	t.Helper()

	file, err := os.Open(ownProgram("refused"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	spec, report, err := loader.RewrittenSpec(file, loader.Options{Layout: layout(t, layoutName)})
	if err != nil {
		t.Fatal(err)
	}

	spec.Programs = map[string]*ebpf.ProgramSpec{program: spec.Programs[program]}
	collection, err := ebpf.NewCollection(spec)
	if err == nil {
		collection.Close()
	}
	var refusal *loader.RefusalError
	if !errors.As(loader.ExplainRefusal(err, spec, report), &refusal) {
		t.Fatalf("Loading %s: %v", program, err)
	}
	return refusal
}

// The verifier has the last word on a field that is missing.
func TestDoubtful(t *testing.T) {
	newLab(t)
	_, err := loader.LoadRewritten(program("doubtful"), loader.Options{
		Layout:    layout(t, "sparse"),
		Interface: "nic0",
	})
	var refusal *loader.RefusalError
	if !errors.As(err, &refusal) {
		t.Fatalf("Got %v", err)
	}
	for _, want := range []string{
		"testdata/programs/doubtful.c:23: md->rx_timestamp: not in layout ",
		"guard it with bpf_core_field_exists(md->rx_timestamp)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q\nlacks %q", err, want)
		}
	}
	if refusal.Edit == nil || !refusal.Edit.Poisoned {
		t.Errorf("Edit: %+v", refusal.Edit)
	}
}

func TestExplainOtherError(t *testing.T) {
	err := errors.New("other")
	if got := loader.ExplainRefusal(err, nil, nil); got != err {
		t.Errorf("Got %v", got)
	}
}

// What has no room in the process or the machine is no refusal, though the verifier has written
// something by then.
func TestNoRoom(t *testing.T) {
	spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"counted": {}}}
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		refused := &ebpf.VerifierError{Cause: errno, Log: []string{"processed 9 insns (limit 1000000)"}}
		err := loader.ExplainRefusal(fmt.Errorf("program counted: %w", refused), spec, nil)
		if want := "program counted: the kernel has no room for it: " + errno.Error(); err.Error() != want || !errors.Is(err, errno) {
			t.Errorf("%q instead of %q", err, want)
		}
	}
}
