// Package performance is what benchmarks say of how one thing compares with another, and the
// page that shows it.
package performance

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
)

// Median is a number that was measured several times.
type Median struct {
	Median float64
	Spread float64 // half of the distance between the quartiles
}

// MedianOf returns that of numbers, of which there has to be one at least.
func MedianOf(numbers []float64) Median {
	sorted := slices.Sorted(slices.Values(numbers))
	at := func(part float64) float64 { return sorted[int(math.Round(part*float64(len(sorted)-1)))] }
	return Median{Median: at(0.5), Spread: (at(0.75) - at(0.25)) / 2}
}

// Row is one comparison: what this project does, and what others do.
type Row struct {
	Name    string   `json:"name"`    // "packet/area/4/table"
	Of      float64  `json:"of"`      // the median of what is compared, in Unit
	Against float64  `json:"against"` // the median of what it is compared with
	Ratio   float64  `json:"ratio"`   // Against / Of: more is better for this project
	Bar     *float64 `json:"bar"`     // the least that the ratio should be; null if none is set
	Holds   bool     `json:"holds"`   // whether the ratio is that at least
	Reason  string   `json:"reason"`  // why not, if it is not

	Unit          string  `json:"unit"`
	OfSpread      float64 `json:"of_spread"` // half of the distance between the quartiles
	AgainstSpread float64 `json:"against_spread"`
}

// NewRow returns the comparison of two medians. A bar of 0 is none.
func NewRow(name string, of, against Median, unit string, bar float64) Row {
	row := Row{Name: name, Of: round(of.Median), Against: round(against.Median), Ratio: round(against.Median / of.Median), Holds: true,
		Unit: unit, OfSpread: round(of.Spread), AgainstSpread: round(against.Spread)}
	if bar > 0 {
		row.Bar = &bar
		row.Holds = row.Ratio >= bar
	}
	return row
}

// round keeps three digits behind the point.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// WriteRows writes rows to a file, as JSON.
func WriteRows(path string, rows []Row) error {
	out, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}

// AddRows adds rows to those of a file, which need not be there yet.
func AddRows(path string, rows []Row) error {
	before, err := ReadRows(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return WriteRows(path, append(before, rows...))
}

// ReadRows reads rows that were written.
func ReadRows(path string) (rows []Row, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return rows, json.Unmarshal(raw, &rows)
}
