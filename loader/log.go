//go:build linux

package loader

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// note tells the log of a step.
func (l *load) note(step string, args ...any) {
	if l.Log == nil {
		return
	}
	if l.Interface != "" {
		args = append([]any{"interface", l.Interface}, args...)
	}
	l.Log.Info(step, args...)
}

// noteRewritten tells what the program was rewritten for.
func (l *load) noteRewritten() error {
	args := []any{"object", l.name, "program", l.Program, "accesses", len(l.report.Edits)}
	if l.report.Layout != "" {
		args = append(args, "layout", l.report.Layout)
	} else {
		args = append(args, "driver", l.report.Driver, "lowering", l.report.Lowering)
	}
	l.note("rewritten", args...)
	return nil
}

// notePresent tells what is on the interface, and what comes of it.
func (l *load) notePresent() error {
	switch {
	case l.Interface == "":
	case l.present == nil:
		l.note("nothing is attached yet")
	default:
		l.note("to be replaced", "id", l.present.id, "link", l.present.link, "ours", l.present.ours != nil)
	}
	return nil
}

// wantsVerifier reports whether the log is told of what the verifier says, too.
func (l *load) wantsVerifier() bool {
	return l.Log != nil && l.Log.Enabled(context.Background(), slog.LevelDebug)
}

// noteLoaded tells which programs are in the kernel, and what the verifier counted.
func (l *load) noteLoaded() {
	if l.Log == nil || !l.Log.Enabled(context.Background(), slog.LevelInfo) { // the numbers are asked of the kernel
		return
	}
	for _, name := range slices.Sorted(maps.Keys(l.collection.Programs)) {
		program := l.collection.Programs[name]
		id, _ := idOf(program)
		l.note("loaded", "program", name, "id", id)
		if !l.wantsVerifier() {
			continue
		}
		for line := range strings.Lines(program.VerifierLog) {
			l.Log.Debug("verifier", "program", name, "says", strings.TrimRight(line, "\n"))
		}
	}
}

// noteRefused tells all that the verifier says of what it refuses.
func (l *load) noteRefused(refused *ebpf.VerifierError) {
	if !l.wantsVerifier() {
		return
	}
	for _, line := range refused.Log {
		l.Log.Debug("verifier", "says", line)
	}
}
