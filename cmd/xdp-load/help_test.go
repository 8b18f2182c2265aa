package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHelp wants the help of every command to fit a screen, to start with an example of
// the command, and to leave nothing out that it has.
func TestHelp(t *testing.T) {
	const maxLines = 40
	root := newRoot(&flags{})
	for _, cmd := range allCommands(root) {
		t.Run(pageOf(cmd), func(t *testing.T) {
			var help bytes.Buffer
			cmd.SetOut(&help)
			if err := cmd.Help(); err != nil {
				t.Fatal(err)
			}
			text := help.String()
			if first, _, _ := strings.Cut(text, "\n"); !strings.HasPrefix(first, "  ") || !strings.Contains(first, cmd.CommandPath()) {
				t.Errorf("It does not start with an example:\n%s", text)
			}
			if lines := strings.Count(text, "\n"); lines > maxLines {
				t.Errorf("It has %d lines, more than the %d of a screen:\n%s", lines, maxLines, text)
			}
			for line := range strings.Lines(text) {
				if columns := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); columns > helpWidth {
					t.Errorf("A line has %d columns, more than %d: %s", columns, helpWidth, line)
				}
			}
			if cmd == root && !strings.Contains(text, "Exit codes: 0 done, 1 refused or failed, 2 wrong usage.") {
				t.Errorf("It does not tell the exit codes:\n%s", text)
			}
			for _, below := range allCommands(cmd)[1:] {
				if !strings.Contains(text, "\n  "+below.Name()+" ") {
					t.Errorf("It does not list %s:\n%s", below.Name(), text)
				}
			}
		})
	}
}
