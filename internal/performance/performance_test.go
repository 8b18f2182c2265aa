package performance

import (
	"fmt"
	"testing"
)

// More is better for this project: the ratio is the other's time by its own.
func TestNewRow(t *testing.T) {
	of, against := Median{Median: 2, Spread: 0.25}, Median{Median: 3, Spread: 0.5}
	for _, test := range []struct {
		of, against Median
		bar         float64
		ratio       float64
		holds       bool
	}{
		{of, against, 1.5, 1.5, true},
		{of, against, 1.6, 1.5, false},
		{against, of, 0.6, 0.667, true},
		{against, of, 1, 0.667, false},
		{against, of, 0, 0.667, true}, // there is none
	} {
		row := NewRow("name", test.of, test.against, "ns", test.bar)
		if row.Ratio != test.ratio || row.Holds != test.holds || (row.Bar == nil) != (test.bar == 0) {
			t.Errorf("%+v by %+v, of which %v is wanted: %+v", test.against, test.of, test.bar, row)
		}
		if row.Of != test.of.Median || row.OfSpread != test.of.Spread || row.Against != test.against.Median || row.AgainstSpread != test.against.Spread {
			t.Errorf("%+v by %+v: %+v", test.against, test.of, row)
		}
	}
}

func TestMedianOf(t *testing.T) {
	for _, test := range []struct {
		numbers []float64
		want    Median
	}{
		{[]float64{7}, Median{Median: 7}},
		{[]float64{9, 1, 5, 3, 100}, Median{Median: 5, Spread: 3}},
	} {
		if got := MedianOf(test.numbers); got != test.want {
			t.Errorf("%v: %+v instead of %+v", test.numbers, got, test.want)
		}
	}
}

// noted is a test that notes how it goes.
type noted struct {
	testing.TB
	failed string
}

func (n *noted) Helper()                           {}
func (n *noted) Logf(format string, args ...any)   {}
func (n *noted) Errorf(format string, args ...any) { n.failed = fmt.Sprintf(format, args...) }

func TestLimit(t *testing.T) {
	for count, want := range map[float64]string{0: "", 1: "", 2: "area/instructions: 2, and the limit is 1"} {
		var n noted
		if Limit(&n, "area/instructions", count); n.failed != want {
			t.Errorf("%v: %q instead of %q", count, n.failed, want)
		}
	}
}
