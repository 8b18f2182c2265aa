package loader

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Changes come in groups, of which the end is awaited, but no longer than a second: where
// something always changes there is a look, too.
func TestSettle(t *testing.T) {
	for name, test := range map[string]struct {
		every time.Duration
		times int
		want  time.Duration
	}{
		"none":        {time.Millisecond, 0, settled},
		"a group":     {settled / 2, 4, 3 * settled},
		"apart":       {2 * settled, 4, settled},
		"without end": {settled / 2, 1000, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			e := &events{changed: make(chan struct{}, 1)}
			go func() {
				for range test.times {
					select {
					case <-time.After(test.every):
						e.changed <- struct{}{}
					case <-ctx.Done():
						return
					}
				}
			}()
			start := time.Now()
			e.settle(ctx)
			if took := time.Since(start); took != test.want {
				t.Errorf("%s: settled after %v instead of %v", name, took, test.want)
			}
			cancel()
			e.settle(ctx) // at once
			if took := time.Since(start); took != test.want {
				t.Errorf("%s: after the end it takes %v", name, took)
			}
		})
	}
}
