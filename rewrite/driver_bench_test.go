package rewrite_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/xdp-load/xdp-load/internal/performance"
)

var rowsFile = flag.String("performance.rows", "", "`FILE` to write what the benchmarks have measured to")

// Every program that make bench times reads what was sent.
func TestTimedPrograms(t *testing.T) {
	table := newTimedTable(t, 3)
	table.run(t, "timed", 1)
	table.run(t, "once", 1)
	hash := numbers(t, table.cells[findEach+1][0].Collection, "got", len(timedFields))[0]
	if hash == 0 {
		t.Error("there is no hash")
	}
	ofVeth := []string{"in line", "carrier", "probe", "called", "kfunc"}
	for row, cells := range table.cells {
		for i, p := range cells {
			if p == nil {
				continue
			}
			for n, got := range numbers(t, p.Collection, "got", len(timedFields)) {
				field := timedFields[n]
				want := field.want
				if field.name == "hash" && slices.Contains(ofVeth, table.sources[i].name) {
					want = hash
				}
				if slices.Contains(timedReads[row].fields, field.name) && got != want {
					t.Errorf("%s, %s: %s is %#x instead of %#x", &timedReads[row], table.sources[i].name, field.name, got, want)
				}
			}
		}
	}
}

// A field of the metadata area costs what it costs in a program that was compiled with the
// NIC's offsets, and md_desc(ctx) an instruction more: the size that its guard adds is in a
// register, as it is known when the program is loaded only.
func TestAreaIsAsFixed(t *testing.T) {
	table := newTimedTable(t, 3)
	for row := range timedReads {
		read := &timedReads[row]
		if read.find != findEach || len(read.fields) == 0 {
			continue
		}
		area, areaBytes, _ := table.size(row, table.column("area"))
		fixed, fixedBytes, _ := table.size(row, table.column("fixed"))
		t.Logf("%s: %d instructions of %d bytes from the area, and %d of %d with fixed offsets", read, area, areaBytes, fixed, fixedBytes)
		performance.Limit(t, "area/instructions", float64(area-fixed))
		performance.Limit(t, "area/bytes", float64(areaBytes-fixedBytes))
	}
}

// BenchmarkPacket compares what it takes to read fields from a driver, and from the metadata
// area, with other ways to come by them, in one run. It prints tables, for make bench.
func BenchmarkPacket(b *testing.B) {
	table := newTimedTable(b, 32)
	for b.Loop() {
		for range 9 {
			table.run(b, "timed", 200)
		}
	}
	driver := []string{"in line", "carrier", "probe", "called", "area", "kfunc"}
	table.print("FROM THE DRIVER, NANOSECONDS", driver, table.nanosecondsOf)
	table.print("RATIO", []string{"kfunc/in line", "called/in line", "carrier/in line", "probe/in line", "in line/area"}, table.ratioOf)
	table.print("INSTRUCTIONS, BYTES", driver, table.sizesOf)
	area := []string{"area", "fixed", "table", "rodata", "probed", "linked", "kfunc"}
	table.print("FROM THE METADATA AREA, NANOSECONDS", area, table.nanosecondsOf)
	table.print("RATIO", []string{"fixed/area", "table/area", "rodata/area", "probed/area", "linked/area", "kfunc/area"}, table.ratioOf)
	table.print("INSTRUCTIONS, BYTES", area, table.sizesOf)
	writeRows(b, table.rows())
}

// writeRows adds rows to the file that is asked for.
func writeRows(b *testing.B, rows []performance.Row) {
	b.Helper()
	if *rowsFile == "" {
		return
	}
	if err := performance.AddRows(*rowsFile, rows); err != nil {
		b.Fatal(err)
	}
}

func (table *timedTable) column(source string) int {
	return slices.IndexFunc(table.sources, func(s timedSource) bool { return s.name == source })
}

// measured returns how long a source takes to read something: the median of the rounds,
// without what the loop itself takes.
func (table *timedTable) measured(row int, source string) (_ performance.Median, ok bool) {
	column := table.column(source)
	p, base := table.cells[row][column], table.cells[timedReads[row].base()][column]
	if p == nil {
		return performance.Median{}, false
	}
	times := slices.Clone(p.times)
	for round := range times {
		times[round] -= base.times[round]
	}
	return performance.MedianOf(times), true
}

func (table *timedTable) nanosecondsOf(row int, source string) string {
	time, ok := table.measured(row, source)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f ±%.2f", time.Median, time.Spread)
}

// ratioOf returns that of two sources, "kfunc/in line".
func (table *timedTable) ratioOf(row int, ratio string) string {
	over, under, _ := strings.Cut(ratio, "/")
	a, hasOver := table.measured(row, over)
	b, hasUnder := table.measured(row, under)
	if !hasOver || !hasUnder || b.Median <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a.Median/b.Median)
}

func (table *timedTable) sizesOf(row int, source string) string {
	instructions, bytes, ok := table.size(row, table.column(source))
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%d, %d", instructions, bytes)
}

// size returns how many instructions, as the verifier leaves them, and bytes of machine
// code reading something adds to a program, with the functions that it calls.
func (table *timedTable) size(row, column int) (instructions, bytes int, ok bool) {
	p, base := table.cells[row][column], table.cells[timedReads[row].base()][column]
	if p == nil {
		return 0, 0, false
	}
	return p.instructions - base.instructions, p.bytes - base.bytes, true
}

// print prints a table with a row for each read.
func (table *timedTable) print(title string, columns []string, cell func(row int, column string) string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\t%s\n", title, strings.ToUpper(strings.Join(columns, "\t")))
	for row := range timedReads {
		read := &timedReads[row]
		if read.isBase() {
			continue
		}
		fmt.Fprint(w, read)
		for _, column := range columns {
			fmt.Fprintf(w, "\t%s", cell(row, column))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

// compared are the ratios that docs/performance.json has, of what is read with md_desc(ctx).
var compared = []struct {
	group    string // "area"
	fields   int
	of       string // source
	name     string // of the other in the file
	against  string // source
	bar      float64
	reason   string // that the bar is missed
	fewer    int    // fields that the other one reads, if it is not as many
	whyFewer string
}{
	{group: "area", fields: 1, of: "area", name: "fixed", against: "fixed", bar: 0.98, reason: sizeInRegister},
	{group: "area", fields: 1, of: "area", name: "table", against: "table"},
	{group: "area", fields: 1, of: "area", name: "rodata", against: "rodata"},
	{group: "area", fields: 1, of: "area", name: "kfunc", against: "kfunc"},
	{group: "area", fields: 1, of: "area", name: "probe", against: "probed"},
	{group: "area", fields: 1, of: "area", name: "call", against: "linked"},
	{group: "area", fields: 4, of: "area", name: "fixed", against: "fixed", bar: 0.98, reason: sizeInRegister},
	{group: "area", fields: 4, of: "area", name: "table", against: "table", bar: 1.5},
	{group: "area", fields: 4, of: "area", name: "rodata", against: "rodata", bar: 1.5},
	{group: "area", fields: 4, of: "area", name: "kfunc", against: "kfunc"},
	{group: "area", fields: 4, of: "area", name: "probe", against: "probed"},
	{group: "area", fields: 4, of: "area", name: "call", against: "linked"},
	{group: "area", fields: 8, of: "area", name: "fixed", against: "fixed", bar: 0.98, reason: sizeInRegister},
	{group: "area", fields: 8, of: "area", name: "table", against: "table"},
	{group: "area", fields: 8, of: "area", name: "rodata", against: "rodata"},
	{group: "area", fields: 8, of: "area", name: "kfunc", against: "kfunc", fewer: 5, whyFewer: "the kernel has kfuncs for five of the eight fields, which are read"},
	{group: "area", fields: 8, of: "area", name: "probe", against: "probed"},
	{group: "area", fields: 8, of: "area", name: "call", against: "linked"},
	{group: "driver", fields: 1, of: "in line", name: "kfunc", against: "kfunc", bar: 1.3, reason: castIsChecked},
	{group: "driver", fields: 1, of: "in line", name: "area", against: "area"},
	{group: "driver", fields: 1, of: "in line", name: "call", against: "called"},
	{group: "driver", fields: 3, of: "in line", name: "kfunc", against: "kfunc", bar: 3, reason: castIsChecked},
	{group: "driver", fields: 3, of: "in line", name: "area", against: "area"},
	{group: "driver", fields: 3, of: "in line", name: "call", against: "called"},
}

const sizeInRegister = "md_desc(ctx) takes an instruction more, once: the size that its guard adds is known when the program is loaded only, and is in a register"

const castIsChecked = "the JIT puts seven instructions in front of each load of the kernel's memory, and a veth's descriptor takes six of them, " +
	"five of which prove that the buff is the veth's: the driver, which runs a kfunc for a program that is bound to it, needs no proof"

// rows returns what the table says of them.
func (table *timedTable) rows() (rows []performance.Row) {
	rowOf := func(fields int) int {
		return slices.IndexFunc(timedReads, func(r timedRead) bool { return r.find == findEach && len(r.fields) == fields })
	}
	for _, c := range compared {
		of, _ := table.measured(rowOf(c.fields), c.of)
		other := c.fields
		if c.fewer > 0 {
			other = c.fewer
		}
		against, _ := table.measured(rowOf(other), c.against)
		row := performance.NewRow(fmt.Sprintf("packet/%s/%d/%s", c.group, c.fields, c.name), of, against, "ns", c.bar)
		if !row.Holds {
			row.Reason = c.reason
		}
		if c.whyFewer != "" {
			row.Reason = c.whyFewer
		}
		rows = append(rows, row)
	}
	return rows
}
