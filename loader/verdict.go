//go:build linux

package loader

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// verifierLog is what the verifier writes, in its order: a trace of the
// instructions that it followed, its verdict, and the rest, which is a report
// since Linux 7.3 (kernel/bpf/diagnostics.c), and statistics.
type verifierLog struct {
	trace, verdict, rest []string
}

// splitLog takes a log apart. Whatever kernels to come write behind the verdict
// is no part of it as long as an empty line is in between.
func splitLog(lines []string) *verifierLog {
	start := len(lines)
	for start > 0 && !traceLine().MatchString(lines[start-1]) {
		start--
	}
	for start < len(lines) && lines[start] == "" {
		start++
	}

	end := start
	for end < len(lines) && lines[end] != "" && !afterVerdict().MatchString(lines[end]) {
		end++
	}
	return &verifierLog{lines[:start], lines[start:end], lines[end:]}
}

// pattern returns a regular expression that is compiled when it is first asked for: only what
// goes wrong is searched, and compiling all of them takes as long as a load has.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

var (
	// An instruction or the state at it, a source line, the state at a branch
	// or a call, functions, and what BPF_LOG_LEVEL2 adds (where kernel/bpf
	// calls verbose() and goes on).
	traceLine = pattern(strings.Join([]string{
		`^\d+: `, `^; `, `^from \d+ to \d+`,
		`^ ?(frame\d+:|(R\d+|fp-\d+|refs)(_\w+)?=)`,
		`^(caller|callee|returning from callee):$`, `^to caller at \d+:$`,
		`^Func#\d+ .* is (global and assumed valid|safe for any args)`, `^Validating .* func#\d+`,
		`^((mark|force)_precise: |frame ?\d+:? |last_idx |regs=|parent |propagating |SCC |func#\d+ @)`,
	}, "|"))

	// States that are evidence for the verdict, statistics, and the report.
	afterVerdict = pattern(`^(cur state:|old state:|verification time |stack depth |processed \d+ insns|Verification failed: )`)

	callLine        = pattern(`^(\d+): \(85\) call pc[+-]`)
	instructionLine = pattern(`^(\d+): \([0-9a-f]{2}\)`)
	verdictInsn     = pattern(`\binsn (\d+)`)
)

// reason returns the verdict as one line, empty if the log has none.
func (l *verifierLog) reason() string {
	// The first line says what is wrong, those that follow go on ("R2 offset is
	// outside of the packet") or say where from ("Caller passes invalid args
	// into func#1 ('f')").
	const most = 3

	var parts []string
	for _, line := range l.verdict[:min(len(l.verdict), most)] {
		parts = append(parts, strings.TrimSpace(line))
	}
	return strings.Join(parts, ": ")
}

// suggestion returns the last section of the report as one line, empty if there
// is none.
func (l *verifierLog) suggestion() string {
	start := slices.Index(l.rest, "Suggestion:") + 1
	if start == 0 {
		return ""
	}
	var words []string
	for _, line := range l.rest[start:] {
		if !strings.HasPrefix(line, " ") {
			break
		}
		words = append(words, strings.Fields(line)...)
	}
	return strings.Join(words, " ")
}

// instruction returns the slot of the instruction that the verifier stopped at:
// the one that its verdict names, as "unreachable insn 7" does, or the last one
// in its trace.
func (l *verifierLog) instruction() (slot int, ok bool) {
	match := verdictInsn().FindStringSubmatch(l.reason())
	for last := len(l.trace) - 1; match == nil && last >= 0; last-- {
		match = instructionLine().FindStringSubmatch(l.trace[last])
	}
	if match == nil {
		return 0, false
	}
	slot, err := strconv.Atoi(match[1])
	return slot, err == nil
}

// lastCall returns the slot of the last instruction in the trace that calls a function of
// the program.
func (l *verifierLog) lastCall() (slot int, ok bool) {
	for _, line := range slices.Backward(l.trace) {
		if match := callLine().FindStringSubmatch(line); match != nil {
			slot, err := strconv.Atoi(match[1])
			return slot, err == nil
		}
	}
	return 0, false
}
