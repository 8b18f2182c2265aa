package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// inObject puts the object's name before an error about its contents.
func inObject(path string, err error) error { return fmt.Errorf("%s: %w", path, err) }

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// table lines up columns that are separated by tabs.
func table(w io.Writer, print func(io.Writer)) error {
	trimmed := &trimmer{Writer: bufio.NewWriter(w)}
	columns := tabwriter.NewWriter(trimmed, 0, 0, 2, ' ', 0)
	print(columns)
	return cmp.Or(columns.Flush(), trimmed.Flush())
}

// trimmer leaves out the spaces that lines end with. Flush tells the errors.
type trimmer struct {
	*bufio.Writer
	spaces int // that may be some of those
}

func (t *trimmer) Write(text []byte) (int, error) {
	for _, char := range text {
		switch char {
		case ' ':
			t.spaces++
			continue
		case '\n':
			t.spaces = 0
		}
		for ; t.spaces > 0; t.spaces-- {
			_ = t.WriteByte(' ')
		}
		_ = t.WriteByte(char)
	}
	return len(text), nil
}

// printEdits prints a line per edit: where, what, the instruction before and
// after.
func printEdits(w io.Writer, report *rewrite.Report) error {
	return table(w, func(w io.Writer) {
		for i := range report.Edits {
			printEdit(w, &report.Edits[i])
		}
	})
}

func printEdit(w io.Writer, edit *rewrite.Edit) {
	access, note := edit.Access, edit.Note
	after := spellAfter(edit)
	switch {
	case edit.Poisoned:
		after = "poisoned"
	case !edit.Changed():
		after = "the same"
	}
	switch {
	case edit.Guarded:
		note += ", guarded"
	case edit.Own != "":
		note = "own copy, " + edit.Own
	case edit.From != "" && note != "":
		note = edit.Driver + ": " + edit.From + "; " + note
	case edit.From != "":
		note = edit.Driver + ": " + edit.From
	case edit.Driver != "":
		note = edit.Driver + ": the descriptor"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t-> %s\t%s\n", place(access), access.Path, access.Kind, edit.Before, after, note)
	for _, other := range edit.Others {
		fmt.Fprintf(w, "\t\t\t%s\t-> %s\n", other.Before, other.After)
	}
}

// spellAfter returns the instructions of an edit, of an accessor's only how many they are.
func spellAfter(edit *rewrite.Edit) string {
	if edit.Driver != "" {
		return count(edit.After.Slots(), "instruction", "instructions")
	}
	return edit.After.String()
}

// place returns the source line of an access, with the file relative to the
// current directory if it lies below it: clang records absolute paths.
func place(access *reloc.Access) string {
	source := access.Source
	if below, ok := strings.CutPrefix(source.File, workingDirectory()+"/"); ok {
		source.File = below
	}
	return source.String()
}

// workingDirectory returns the current one, or what no path starts with.
var workingDirectory = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		return "?"
	}
	return dir
})

// summary counts what became of the accesses: "5 accesses: 3 changed,
// 1 unchanged, 1 poisoned".
func summary(report *rewrite.Report) string {
	switch {
	case report.Rewritten && len(report.Edits) == 0:
		return "already rewritten for this " + kindOfSource(report)
	case report.Rewritten:
		return "partly rewritten for this " + kindOfSource(report) + " already, " + editSummary(report)
	case report.Driver != "":
		return editSummary(report) + waysToRead[accessor.Lowering(report.Lowering)]
	}
	return editSummary(report)
}

// foundFor is the summary of what was rewritten for an interface. It says which layout that
// was, if it was found.
func (s *sources) foundFor(iface string, report *rewrite.Report) string {
	found, ok := s.found[iface]
	if !ok || report.Layout == "" {
		return summary(report)
	}
	return summary(report) + ", by " + found.String()
}

// sourceFor returns what the programs on an interface are rewritten for: what was found, or
// the layout that was given.
func (s *sources) sourceFor(iface string) nic.Source {
	if len(s.layouts) > 0 {
		return nic.LayoutSource(s.layouts[0])
	}
	return s.found[iface]
}

func kindOfSource(report *rewrite.Report) string {
	if report.Driver != "" {
		return "driver"
	}
	return "layout"
}

// waysToRead say how the kernel's memory is read.
var waysToRead = map[accessor.Lowering]string{
	accessor.Zero:    ", read by bpf_rdonly_cast to void",
	accessor.Carrier: ", read by bpf_rdonly_cast to struct bpf_raw_tracepoint_args",
	accessor.Probe:   ", read by bpf_probe_read_kernel, which is slower than the casts of Linux 6.5",
}

func editSummary(report *rewrite.Report) string {
	changed, poisoned := 0, len(report.Poisoned())
	for i := range report.Edits {
		if report.Edits[i].Changed() && !report.Edits[i].Poisoned {
			changed++
		}
	}
	unchanged := len(report.Edits) - changed - poisoned

	text := count(len(report.Edits), "access", "accesses")
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{changed, "changed"}, {unchanged, "unchanged"}, {poisoned, "poisoned"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if len(parts) == 0 {
		return text
	}
	return text + ": " + strings.Join(parts, ", ")
}

// warnUnaccessed says what an object looks like that was not compiled for xdp-load.
func (f *flags) warnUnaccessed(path string, report *rewrite.Report) {
	if len(report.Unaccessed) > 0 {
		f.warn(inObject(path, errors.New(unaccessed(report))))
	}
}

func unaccessed(report *rewrite.Report) string {
	return fmt.Sprintf("no access to a field of %s is recorded, so none is fitted to the %s: "+
		"compile the program with md_desc.h, give a struct of its own __attribute__((preserve_access_index)), "+
		"and take the object as the compiler made it", strings.Join(report.Unaccessed, ", "), kindOfSource(report))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
