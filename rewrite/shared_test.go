package rewrite_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Goroutines may share a layout: the first of them look for names in it at the same
// time.
func TestSharedLayout(t *testing.T) {
	program := readProgram(t, "fields-el")
	alone, _, err := rewrite.Rewrite(program, readLayout(t, "exact-el"), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	layout := readLayout(t, "exact-el")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			rewritten, _, err := rewrite.Rewrite(program, layout, rewrite.Options{})
			if err != nil || !bytes.Equal(rewritten, alone) {
				t.Errorf("%v, or another object", err)
			}
		})
	}
	all.Wait()
}
