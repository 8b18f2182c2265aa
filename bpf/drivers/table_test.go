package drivers_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/drivertypes"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

var update = flag.Bool("update", false, "write the table of docs/drivers.md anew")

const (
	tablePath  = "../../docs/drivers.md"
	tableStart = "<!-- From here on by go test ./bpf/drivers -run Table -update -->\n"
)

// docs/drivers.md says what the files are for the kernels under testdata.
func TestTable(t *testing.T) {
	doc, err := os.ReadFile(tablePath)
	if err != nil {
		t.Fatal(err)
	}
	text, old, ok := strings.Cut(string(doc), tableStart)
	if !ok {
		t.Fatalf("%s has no line %s", tablePath, tableStart)
	}
	var made strings.Builder
	writeTable(&made, tableRows(t))
	if *update {
		if err := os.WriteFile(tablePath, []byte(text+tableStart+made.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(old, made.String()); diff != "" {
		t.Errorf("the table and the files differ (-document +files), go test -update writes it anew:\n%s", diff)
	}
}

// tableRow is a driver on a kernel.
type tableRow struct {
	file   *accessor.File
	kernel string
	fields map[string]accessor.Source
	costs  map[string]cost // of fields that are read, and of md_desc(ctx)
}

// cost is what is put in line for an accessor.
type cost struct{ instructions, loads int }

func (c cost) String() string { return fmt.Sprintf("%d (%d)", c.instructions, c.loads) }

const mdDesc = "md_desc(ctx)"

func tableRows(t *testing.T) []*tableRow {
	t.Helper()
	kfuncs := read(t, drivers.Kfuncs)
	var rows []*tableRow
	for _, name := range drivers.Names() {
		file := read(t, name)
		types, err := drivertypes.Files("testdata", name, native())
		if err != nil || len(types) == 0 {
			t.Errorf("%s: no kernel's types, %v", name, err)
		}
		for _, types := range types {
			rows = append(rows, newTableRow(t, file, kfuncs, types))
		}
	}
	return rows
}

func newTableRow(t *testing.T, file, kfuncs *accessor.File, types drivertypes.File) *tableRow {
	t.Helper()
	row := &tableRow{file: file, kernel: drivertypes.Series(types.Kernel), costs: make(map[string]cost)}
	kernel, err := reloc.NewLayout(row.kernel, withCast(t, types.Path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if row.fields, err = accessor.Sources(file, kfuncs, kernel, drivers.Fields); err != nil {
		t.Fatalf("%s: %v", types.Path, err)
	}
	accessors, err := file.Resolve(kernel, accessor.Options{Lowering: accessor.Zero})
	if (err != nil) != types.Without {
		t.Errorf("%s is in the wrong directory: %v", types.Path, err)
	}
	if err != nil {
		return row
	}
	row.costs[mdDesc] = costOf(t, accessors, accessors.Descriptor)
	for field, accessor := range accessors.Fields {
		row.costs[field] = costOf(t, accessors, accessor)
	}
	return row
}

// withCast returns types with what loads are lowered to by casts to void, so that the same
// is counted for each kernel.
func withCast(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	types := []btf.Type{
		&btf.Func{Name: "bpf_rdonly_cast", Type: void},
		&btf.Enum{Name: "bpf_features", Size: 4, Values: []btf.EnumValue{{Name: "BPF_FEAT_RDONLY_CAST_TO_VOID"}}},
	}
	for typ, err := range spec.All() {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, typ)
	}
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = builder.Marshal(nil, nil); err != nil {
		t.Fatal(err)
	}
	return raw
}

// costOf counts instructions, and the casts among them, one for each load.
func costOf(t *testing.T, accessors *rewrite.Accessors, function rewrite.Accessor) cost {
	t.Helper()
	insns := instructions(t, accessors.Object, function)
	c := cost{instructions: len(insns)}
	for i := range insns {
		if insns[i].IsKfuncCall() {
			c.loads++
		}
	}
	return c
}

func writeTable(w *strings.Builder, rows []*tableRow) {
	writeTotals(w, rows)
	fmt.Fprintf(w, "\n| driver | kernel | `md_desc(ctx)` | %s |\n|---|---|%s\n", strings.Join(drivers.Fields, " | "), strings.Repeat("---|", 1+len(drivers.Fields)))
	for _, row := range rows {
		cells := []string{row.drivers(), row.kernel, row.cell(mdDesc)}
		for _, field := range drivers.Fields {
			cells = append(cells, row.cell(field))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	w.WriteString("\n## What is not there\n\n| driver | field | kernels | why |\n|---|---|---|---|\n")
	for start := 0; start < len(rows); {
		end := start
		for end < len(rows) && rows[end].file == rows[start].file {
			end++
		}
		writeReasons(w, rows[start:end])
		start = end
	}
}

// drivers returns "sfc", or "rvu_nicpf, rvu_nicvf".
func (r *tableRow) drivers() string { return strings.Join(r.file.Drivers, ", ") }

func (r *tableRow) cell(field string) string {
	if c, ok := r.costs[field]; ok {
		return c.String()
	}
	return string(cmp.Or(r.fields[field].From, "–"))
}

// writeTotals writes how many fields there are on each kernel.
func writeTotals(w *strings.Builder, rows []*tableRow) {
	read, asked := make(map[string]int), make(map[string]int)
	var kernels []string
	for _, row := range rows {
		if !slices.Contains(kernels, row.kernel) {
			kernels = append(kernels, row.kernel)
		}
		for _, source := range row.fields {
			switch source.From {
			case accessor.FromDescriptor:
				read[row.kernel]++
			case accessor.FromKfunc:
				asked[row.kernel]++
			}
		}
	}
	slices.SortFunc(kernels, drivertypes.Compare)
	w.WriteString("| kernel | fields that are read | fields that a kfunc is asked for |\n|---|---|---|\n")
	for _, kernel := range kernels {
		fmt.Fprintf(w, "| %s | %d | %d |\n", kernel, read[kernel], asked[kernel])
	}
}

// writeReasons writes why fields of a driver are not there, on which of its kernels.
func writeReasons(w *strings.Builder, rows []*tableRow) {
	type missing struct{ reason, kernels string }
	fields := make(map[missing][]string)
	var order []missing
	for _, field := range drivers.Fields {
		kernels := make(map[string][]string) // by reason
		for _, row := range rows {
			if source := row.fields[field]; source.From == "" {
				reason := withoutLine.ReplaceAllString(source.Reason, "")
				kernels[reason] = append(kernels[reason], row.kernel)
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(kernels)) {
			on := strings.Join(kernels[reason], ", ")
			if len(kernels[reason]) == len(rows) {
				on = "all"
			}
			key := missing{reason, on}
			if fields[key] == nil {
				order = append(order, key)
			}
			fields[key] = append(fields[key], field)
		}
	}
	for _, key := range order {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", rows[0].drivers(), strings.Join(fields[key], ", "), key.kernels, key.reason)
	}
}

// withoutLine takes the source line out of a reason, which changes with what is in front
// of it.
var withoutLine = regexp.MustCompile(`bpf/drivers/\w+\.[ch]:\d+: `)
