package rewrite_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// Every program that make bench times reads what was sent.
func TestTimedPrograms(t *testing.T) {
	table := newTimedTable(t, 3)
	table.run(t, "timed", 1)
	table.run(t, "once", 1)
	hash := numbers(t, table.cells[findEach+1][0].Collection, "got", len(timedFields))[0]
	if hash == 0 {
		t.Error("there is no hash")
	}
	for row, cells := range table.cells {
		for i, p := range cells {
			if p == nil {
				continue
			}
			for n, got := range numbers(t, p.Collection, "got", len(timedFields)) {
				field := timedFields[n]
				want := field.want
				if field.name == "hash" && table.sources[i].name != "area" {
					want = hash
				}
				if slices.Contains(timedReads[row].fields, field.name) && got != want {
					t.Errorf("%s, %s: %s is %#x instead of %#x", &timedReads[row], table.sources[i].name, field.name, got, want)
				}
			}
		}
	}
}

// BenchmarkDriver compares what reading a driver's fields takes with other ways to come by
// them. Its tables, which make bench prints, have the shortest of many times.
func BenchmarkDriver(b *testing.B) {
	table := newTimedTable(b, 32)
	for b.Loop() {
		for range 8 {
			table.run(b, "timed", 200)
		}
	}
	table.print("NANOSECONDS", table.names(), func(row, column int) string {
		if time, ok := table.nanoseconds(b, row, column); ok {
			return fmt.Sprintf("%.2f", time)
		}
		return "-"
	})
	ratios := [][2]string{{"kfunc", "in line"}, {"called", "in line"}, {"carrier", "in line"}, {"probe", "in line"}, {"in line", "area"}}
	names := make([]string, len(ratios))
	for i, ratio := range ratios {
		names[i] = ratio[0] + "/" + ratio[1]
	}
	table.print("RATIO", names, func(row, column int) string {
		over, hasOver := table.nanoseconds(b, row, table.column(ratios[column][0]))
		under, hasUnder := table.nanoseconds(b, row, table.column(ratios[column][1]))
		if !hasOver || !hasUnder || under <= 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", over/under)
	})
	table.print("INSTRUCTIONS, BYTES", table.names(), table.sizes)
}

// names returns those of the sources.
func (table *timedTable) names() (names []string) {
	for i := range table.sources {
		names = append(names, table.sources[i].name)
	}
	return names
}

func (table *timedTable) column(source string) int { return slices.Index(table.names(), source) }

// nanoseconds returns how long a source takes to read something.
func (table *timedTable) nanoseconds(t testing.TB, row, column int) (_ float64, ok bool) {
	t.Helper()
	p, base := table.cells[row][column], table.cells[timedReads[row].base()][column]
	if p == nil {
		return 0, false
	}
	return p.nanoseconds(t) - base.nanoseconds(t), true
}

// sizes returns how many instructions, as the verifier leaves them, and bytes of machine
// code reading something adds to a program, with the functions that it calls.
func (table *timedTable) sizes(row, column int) string {
	p, base := table.cells[row][column], table.cells[timedReads[row].base()][column]
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%d, %d", p.instructions-base.instructions, p.bytes-base.bytes)
}

// print prints a table with a row for each read.
func (table *timedTable) print(title string, columns []string, cell func(row, column int) string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\t%s\n", title, strings.ToUpper(strings.Join(columns, "\t")))
	for row := range timedReads {
		read := &timedReads[row]
		if read.isBase() {
			continue
		}
		fmt.Fprint(w, read)
		for column := range columns {
			fmt.Fprintf(w, "\t%s", cell(row, column))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}
