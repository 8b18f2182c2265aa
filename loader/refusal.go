//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// RefusalError is a program that the verifier refused, brought back to the
// source.
type RefusalError struct {
	Program  string // as in the object
	Function string // that the verifier stopped in, empty if it does not say
	Insn     int    // slot of the instruction within Function

	// Source is the line of that instruction, or of the loop around it if that
	// is what the verifier refuses. It is zero if the compiler recorded none.
	Source reloc.Source

	// Accessor is the line in the driver's accessors, if the instruction is theirs: Source
	// is that of the access which they stand in line for, then.
	Accessor reloc.Source

	// Edit is of the access that the instruction is or, failing that, the last
	// one before it on the same line. It is nil if there is none.
	Edit *rewrite.Edit

	// Reason says what is wrong.
	Reason string

	cause   *ebpf.VerifierError
	log     *verifierLog
	missing []capability // without which the verifier allows less
}

// Error returns one line: the source line, the access, what is wrong with it.
func (e *RefusalError) Error() string {
	parts := []string{e.Reason}
	if e.Accessor.File != "" {
		parts = []string{"in " + e.Accessor.String(), e.Reason}
	}
	if e.Edit != nil {
		parts = append([]string{e.Edit.Access.Path}, parts...)
	}
	if e.Source.File != "" {
		return strings.Join(append([]string{e.Source.String()}, parts...), ": ")
	}
	return strings.Join(append([]string{"program " + e.Program}, parts...), ": ")
}

// Details returns where the verifier stopped and the end of its log: the last
// instructions, and all that it says of them.
func (e *RefusalError) Details() string {
	const instructions = 20

	var b strings.Builder
	fmt.Fprintf(&b, "program %s", e.Program)
	if e.Function != "" {
		fmt.Fprintf(&b, ", function %s, instruction %d", e.Function, e.Insn)
	}
	if e.Source.Text != "" {
		fmt.Fprintf(&b, ": %s", strings.TrimSpace(e.Source.Text))
	}
	fmt.Fprintln(&b)
	if e.Accessor.Text != "" {
		fmt.Fprintf(&b, "accessor, %s: %s\n", e.Accessor.String(), strings.TrimSpace(e.Accessor.Text))
	}

	log := e.cause.Log
	if omitted := len(e.log.trace) - instructions; omitted > 0 {
		fmt.Fprintf(&b, "the verifier's log, without its first %d lines:\n", omitted)
		log = log[omitted:]
	} else {
		fmt.Fprintln(&b, "the verifier's log:")
	}
	for _, line := range log {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// Unwrap returns the *ebpf.VerifierError, which has the whole log.
func (e *RefusalError) Unwrap() error { return e.cause }

// Is reports true for ErrPrivileges if this process lacks a capability without
// which the verifier allows less.
func (e *RefusalError) Is(target error) bool {
	return target == ErrPrivileges && len(e.missing) > 0
}

// ExplainRefusal returns a *RefusalError for err, the error of loading spec, if
// the verifier refused one of its programs. Any other error is returned as is.
// spec and report are those that RewrittenSpec returned. If the kernel's words got
// lost on the way, it is asked once more.
func ExplainRefusal(err error, spec *ebpf.CollectionSpec, report *rewrite.Report) error {
	verifier := verdictOn(err, spec)
	if verifier == nil || len(verifier.Log) == 0 {
		return err
	}
	if slices.ContainsFunc(notOfProgram, func(errno unix.Errno) bool { return errors.Is(err, errno) }) {
		return fmt.Errorf("program %s: the kernel has no room for it: %w", failedProgram(err, spec), verifier.Cause)
	}

	refusal := &RefusalError{
		Program: failedProgram(err, spec),
		cause:   verifier,
		log:     splitLog(verifier.Log),
		missing: missingForVerifier(),
	}
	refusal.locate(spec, report)
	refusal.Reason = refusal.explain(report)
	return refusal
}

// notOfProgram are errors that have to do with this process, or the machine, though the
// verifier may have written something by then.
var notOfProgram = []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM}

// verdictOn returns what the verifier says, nil if it says nothing.
func verdictOn(err error, spec *ebpf.CollectionSpec) *ebpf.VerifierError {
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) || !errors.Is(err, unix.EFAULT) {
		return verifier
	}
	name := failedProgram(err, spec)
	if name == "" {
		return nil
	}
	verifier, err = unsaidVerdict(spec, name)
	if err != nil {
		return nil
	}
	return verifier
}

// failedProgram returns which program an error of ebpf.NewCollection is about:
// it says so at its start.
func failedProgram(err error, spec *ebpf.CollectionSpec) string {
	for name := range spec.Programs {
		if strings.Contains(err.Error(), "program "+name+": ") {
			return name
		}
	}
	return ""
}

// locate finds the source line and the access that the verifier stopped at.
func (e *RefusalError) locate(spec *ebpf.CollectionSpec, report *rewrite.Report) {
	slot, ok := e.log.instruction()
	program := spec.Programs[e.Program]
	if !ok || program == nil {
		return
	}

	var start int
	e.Function, start, e.Source = place(program.Instructions, slot)
	e.Insn = slot - start
	if loopVerdict().MatchString(e.log.reason()) {
		// No access is to blame for it.
		e.Source = loopSource(program.Instructions, slot, e.Source)
		return
	}
	e.Edit = e.nearestEdit(report)
	if e.Edit == nil {
		e.Edit = e.editThatCalls(program.Instructions, report)
	} else if !e.Edit.At(e.Insn) {
		return
	}
	if e.Edit != nil && e.Edit.Driver != "" && e.Source.File != e.Edit.Access.Source.File {
		e.Accessor, e.Source = e.Source, e.Edit.Access.Source
	}
}

// editThatCalls returns the access that the function which the verifier stopped in stands
// for, if it is an accessor that is called. It is nil if it is none.
func (e *RefusalError) editThatCalls(insns asm.Instructions, report *rewrite.Report) *rewrite.Edit {
	slot, ok := e.log.lastCall()
	if !ok {
		return nil
	}
	for iter := insns.Iterate(); iter.Next(); {
		if int(iter.Offset) == slot && iter.Ins.Reference() != e.Function {
			return nil
		}
	}
	function, start, _ := place(insns, slot)
	at := slices.IndexFunc(report.Edits, func(edit rewrite.Edit) bool {
		return edit.Driver != "" && edit.Access.Program == function && edit.At(slot-start)
	})
	if at < 0 {
		return nil
	}
	return &report.Edits[at]
}

// place returns the function, its first slot, and the source line that a slot
// belongs to. cilium/ebpf appends the functions that a program calls to its
// own, and the kernel counts on.
func place(insns asm.Instructions, slot int) (function string, start int, at reloc.Source) {
	for iter := insns.Iterate(); iter.Next() && int(iter.Offset) <= slot; {
		if f := btf.FuncMetadata(iter.Ins); f != nil {
			function, start, at = f.Name, int(iter.Offset), reloc.Source{}
		}
		if line, ok := iter.Ins.Source().(*btf.Line); ok {
			at = source(line)
		}
	}
	return function, start, at
}

func source(line *btf.Line) reloc.Source {
	return reloc.Source{
		File:   path.Clean(line.FileName()),
		Line:   line.LineNumber(),
		Column: line.LineColumn(),
		Text:   line.Line(),
	}
}

func (e *RefusalError) nearestEdit(report *rewrite.Report) *rewrite.Edit {
	var nearest *rewrite.Edit
	namesakes := hasNamesakes(report, e.Function)
	for i := range report.Edits {
		edit := &report.Edits[i]
		access := edit.Access
		if access.Program != e.Function {
			continue
		}
		sameFile := access.Source.File == e.Source.File
		if edit.At(e.Insn) && (sameFile || !namesakes) {
			return edit
		}
		sameLine := sameFile && access.Source.Line == e.Source.Line
		if sameLine && edit.Position <= e.Insn && (nearest == nil || edit.Position > nearest.Position) {
			nearest = edit
		}
	}
	return nearest
}

// hasNamesakes reports whether there are edits in two functions of a name, as static
// ones of several files are.
func hasNamesakes(report *rewrite.Report, function string) bool {
	var first *reloc.Access
	for i := range report.Edits {
		access := report.Edits[i].Access
		switch {
		case access.Program != function:
		case first == nil:
			first = access
		case first.Section != access.Section || first.FunctionStart != access.FunctionStart:
			return true
		}
	}
	return false
}

// poisonCall is how the verifier spells the call that takes the place of an
// access to what is not there, both here and in libbpf and cilium/ebpf.
const poisonCall = "unknown#195896080"

// explain says in what way the program is wrong.
func (e *RefusalError) explain(report *rewrite.Report) string {
	verdict := e.log.reason()
	if driver := driverVerdict().FindStringSubmatch(verdict); driver != nil {
		return fmt.Sprintf("driver %s does not take the program for its NIC: %s: attach it in native mode", driver[1], driver[2])
	}
	if !strings.Contains(verdict, poisonCall) {
		return "the verifier refuses the program: " + e.advise(cmp.Or(verdict, e.cause.Cause.Error()))
	}
	if e.Edit == nil || !e.Edit.Poisoned {
		return "the program can reach an access to a type or field that the running kernel does not have"
	}
	reason, remedy := e.Edit.Missing()
	return fmt.Sprintf("not in %s, and the program can reach it for all that the verifier knows: %s (%s)", report.Source(), remedy, reason)
}

// driverVerdict is how drivers mark what they say of a program for their NIC, among the verifier's
// words.
var driverVerdict = pattern(`^\[(\w+)\] (.*)`)

// advise adds what to do to a verdict, if that is known.
func (e *RefusalError) advise(verdict string) string {
	verdict = strings.TrimSuffix(verdict, ".")
	if len(e.missing) > 0 {
		return fmt.Sprintf("%s: this process lacks %s, without which the verifier allows less", verdict, namesOf(e.missing))
	}
	for _, known := range remedies {
		if strings.Contains(verdict, known.verdict) {
			return verdict + ": " + known.remedy
		}
	}
	if suggestion := e.log.suggestion(); suggestion != "" {
		return verdict + ": the kernel suggests: " + suggestion
	}
	return verdict
}

var remedies = []struct{ verdict, remedy string }{
	{"infinite loop detected", "the verifier has to see that the loop ends: give it a constant number of passes at most"},
	{"program is too large", "the verifier follows each pass of a loop and each way through its branches: make these fewer, or call bpf_loop()"},
	{"jumps is too complex", "the verifier keeps too many branches in mind: let loops make fewer passes, or call bpf_loop()"},
	{"not allowed while holding a lock", "call functions, and read the fields that a driver keeps, before bpf_spin_lock()"},
	{"unexpected __bpf_trap()", "to the compiler, the program has no meaning there: look at what -Wall says of it"},
}
