package performance

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// Print prints rows as a table.
func Print(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COMPARISON\tXDP-LOAD\tTHE OTHER\t\tRATIO\tBAR\t")
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t%s\t%s\n", row.Name, number(row.Of, row.OfSpread), number(row.Against, row.AgainstSpread), row.Unit, row.Ratio, row.bar(), row.verdict())
	}
	return t.Flush()
}

func number(median, spread float64) string { return fmt.Sprintf("%.2f ±%.2f", median, spread) }

func (r *Row) bar() string {
	if r.Bar == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", *r.Bar)
}

func (r *Row) verdict() string {
	if !r.Holds {
		return "missed"
	}
	return ""
}

// The page between the tables. Its numbers are those of one run.
const page = `# Performance

` + "`make bench`" + ` compares, in one run and in turns, what xdp-load does with other ways to do the same. Each number is a median,
with half of the distance between the quartiles; a ratio is the other's time by xdp-load's, so more is better. The same is in
[performance.json](performance.json), with the reason for each bar that is missed. These are from one machine: %s.

` + "`make profile`" + ` says where the time and the memory go: of loading and unloading, of rewriting 100,000 accesses, and of the start of a
process. It prints what takes most, and leaves the profiles in ` + "`bin/`" + ` for ` + "`go tool pprof`" + `. What does not depend on the machine's
mood is kept by tests, in one table, ` + "`internal/performance/limits.go`" + `: instructions, bytes, allocations, calls of bpf(2), and how they
grow.

## Reading fields of a packet

Programs on a veth read one to eight fields again and again, with what finds the descriptor. From the metadata area:
` + "`fixed`" + ` has the NIC's offsets compiled in, ` + "`table`" + ` looks them up in an array map, ` + "`rodata`" + ` in a read-only global, as was
proposed in 2018: two loads and a bounds check for each field; ` + "`kfunc`" + ` calls the kernel's metadata kfuncs, ` + "`probe`" + ` copies each
field by bpf_probe_read_kernel, and ` + "`call`" + ` calls a function for each. From the driver, of which ` + "`area`" + ` is the area's time.
` + "`wire`" + ` and ` + "`veth`" + ` are the whole way of a packet to a program that reads four fields of it: through an emulated NIC, which hands
it over with the metadata area in front, and from a socket through a veth, where the program makes the area:

%s
## Loading

From exec to exit, an object is loaded on a veth and unloaded again. The others load one that was rewritten before. The most memory
that either process takes is compared with the limit that it has:

%s
## Growth

What one takes where there are many: an access among 1,000 and among 100,000, against one of a hundred and one of a thousand; a
program of an object with 500, a layout, or a driver on a kernel, against one of ten; a type of the running kernel, which are all
in the layout, against one of a layout with a thousand structs. A ratio of 1 is linear, more is better. *memory* is what the
command takes to rewrite 100,000 accesses, against what it is meant to:

%s`

// WritePage writes the page about rows.
func WritePage(path string, rows []Row) error {
	table := func(prefix string) string {
		var b strings.Builder
		b.WriteString("| | xdp-load | the other | | ratio | bar | |\n|---|---|---|---|---|---|---|\n")
		var reasons []string
		for _, row := range rows {
			if !strings.HasPrefix(row.Name, prefix) {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %.2f | %s | %s |\n", strings.TrimPrefix(row.Name, prefix), number(row.Of, row.OfSpread),
				number(row.Against, row.AgainstSpread), row.Unit, row.Ratio, row.bar(), row.verdict())
			if row.Reason != "" {
				reasons = append(reasons, fmt.Sprintf("- `%s`: %s.", strings.TrimPrefix(row.Name, prefix), row.Reason))
			}
		}
		if len(reasons) > 0 {
			b.WriteString("\n" + strings.Join(reasons, "\n") + "\n")
		}
		return b.String()
	}
	text := fmt.Sprintf(page, machine(), table("packet/"), table("load/"), table("growth/"))
	return os.WriteFile(path, []byte(text), 0o644)
}

// machine says what the numbers are from.
func machine() string {
	var model string
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	for _, line := range strings.Split(string(cpu), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	version, _, _ := strings.Cut(string(release), "-")
	return fmt.Sprintf("%s, Linux %s", model, strings.TrimSpace(version))
}
