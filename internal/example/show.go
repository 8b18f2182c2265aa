package example

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Show prints what a function draws: on a terminal every second, in place of what was there
// before, and elsewhere once, when somebody stops it.
func Show(ctx context.Context, out io.Writer, draw func() (string, error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	isTerminal := isTerminal(out)
	for {
		isDone := false
		select {
		case <-ctx.Done():
			isDone = true
		case <-tick.C:
		}
		drawing, err := draw()
		if err != nil {
			return err
		}
		switch {
		case isTerminal:
			const homeAndClear = "\x1b[H\x1b[J"
			fmt.Fprint(out, homeAndClear, drawing)
		case isDone:
			fmt.Fprint(out, drawing)
		}
		if isDone {
			return nil
		}
	}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
