package loader

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// RefusalError is a program that the verifier refused, brought back to the
// source.
type RefusalError struct {
	Program  string // as in the object
	Function string // that the verifier stopped in, empty if it does not say
	Insn     int    // slot of the instruction within Function

	// Source is the line of that instruction, zero if the compiler recorded
	// none.
	Source reloc.Source

	// Edit is of the access that the instruction is or, failing that, the last
	// one before it on the same line. It is nil if there is none.
	Edit *rewrite.Edit

	// Reason says what is wrong.
	Reason string

	cause *ebpf.VerifierError
}

// Error returns one line: the source line, the access, what is wrong with it.
func (e *RefusalError) Error() string {
	parts := []string{e.Reason}
	if e.Edit != nil {
		parts = append([]string{e.Edit.Access.Path}, parts...)
	}
	if e.Source.File != "" {
		return strings.Join(append([]string{e.Source.String()}, parts...), ": ")
	}
	return strings.Join(append([]string{"program " + e.Program}, parts...), ": ")
}

// Details returns where the verifier stopped and the end of its log.
func (e *RefusalError) Details() string {
	const end = 20

	var b strings.Builder
	fmt.Fprintf(&b, "program %s", e.Program)
	if e.Function != "" {
		fmt.Fprintf(&b, ", function %s, instruction %d", e.Function, e.Insn)
	}
	if e.Source.Text != "" {
		fmt.Fprintf(&b, ": %s", strings.TrimSpace(e.Source.Text))
	}
	fmt.Fprintln(&b)

	log := e.cause.Log
	if omitted := len(log) - end; omitted > 0 {
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

// ExplainRefusal returns a *RefusalError for err, the error of loading spec, if
// the verifier refused one of its programs. Any other error is returned as is.
// spec and report are those that RewrittenSpec returned.
func ExplainRefusal(err error, spec *ebpf.CollectionSpec, report *rewrite.Report) error {
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) || len(verifier.Log) == 0 {
		return err
	}

	refusal := &RefusalError{Program: failedProgram(err, spec), cause: verifier}
	refusal.locate(spec, report)
	refusal.Reason = refusal.explain(report)
	return refusal
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
	slot, ok := failedInstruction(e.cause.Log)
	program := spec.Programs[e.Program]
	if !ok || program == nil {
		return
	}

	// cilium/ebpf appends the functions that a program calls to its own, so
	// the kernel counts on where the functions' slots start anew.
	start := 0
	for iter := program.Instructions.Iterate(); iter.Next() && int(iter.Offset) <= slot; {
		if function := btf.FuncMetadata(iter.Ins); function != nil {
			start, e.Function, e.Source = int(iter.Offset), function.Name, reloc.Source{}
		}
		if line, ok := iter.Ins.Source().(*btf.Line); ok {
			e.Source = source(line)
		}
	}
	e.Insn = slot - start
	e.Edit = e.nearestEdit(report)
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
	for i := range report.Edits {
		edit := &report.Edits[i]
		access := &edit.Access
		if access.Program != e.Function {
			continue
		}
		if edit.At(e.Insn) {
			return edit
		}
		sameLine := access.Source.File == e.Source.File && access.Source.Line == e.Source.Line
		if sameLine && edit.Position <= e.Insn && (nearest == nil || edit.Position > nearest.Position) {
			nearest = edit
		}
	}
	return nearest
}

// poisonCall is how the verifier spells the call that takes the place of an
// access to what is not there, both here and in libbpf and cilium/ebpf.
const poisonCall = "unknown#195896080"

// explain says in what way the program is wrong.
func (e *RefusalError) explain(report *rewrite.Report) string {
	verdict := verdict(e.cause.Log)
	if !strings.Contains(verdict, poisonCall) {
		return "the verifier refuses the program: " + verdict
	}
	if e.Edit == nil || !e.Edit.Poisoned {
		return "the program can reach an access to a type or field that the running kernel does not have"
	}
	reason, remedy := e.Edit.Missing()
	return fmt.Sprintf("not in layout %s, and the program can reach it for all that the verifier knows: %s (%s)", report.Layout, remedy, reason)
}

// verdict returns what the verifier ends its log with, but for statistics.
func verdict(log []string) string {
	last := len(log) - 1
	for last > 0 && (log[last] == "" || isStatistics(log[last])) {
		last--
	}
	// "R2 offset is outside of the packet" continues the line before.
	if last > 0 && registerLine.MatchString(log[last]) && !instructionLine.MatchString(log[last-1]) {
		return strings.TrimSpace(log[last-1]) + ": " + strings.TrimSpace(log[last])
	}
	return strings.TrimSpace(log[last])
}

func isStatistics(line string) bool {
	for _, prefix := range []string{"processed ", "verification time ", "stack depth "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

var (
	registerLine    = regexp.MustCompile(`^R\d+ `)
	instructionLine = regexp.MustCompile(`^(\d+): \([0-9a-f]{2}\)`)
	verdictInsn     = regexp.MustCompile(`\binsn (\d+)`)
)

// failedInstruction returns the slot of the instruction that the verifier
// stopped at: the one that its verdict names, as "unreachable insn 7" does, or
// the last one in its log.
func failedInstruction(log []string) (slot int, ok bool) {
	match := verdictInsn.FindStringSubmatch(verdict(log))
	for last := len(log) - 1; match == nil && last >= 0; last-- {
		match = instructionLine.FindStringSubmatch(log[last])
	}
	if match == nil {
		return 0, false
	}
	slot, err := strconv.Atoi(match[1])
	return slot, err == nil
}
