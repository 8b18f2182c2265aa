package example_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/example"
)

// On a terminal a drawing takes the place of the one before. Elsewhere there is one, of how
// it was in the end.
func TestShow(t *testing.T) {
	drawings := 0
	show := func(out io.Writer) {
		ctx, stop := context.WithCancel(t.Context())
		drawings = 0
		draw := func() (string, error) {
			drawings++
			stop() // in the first one: the second is of how it was in the end
			return fmt.Sprintf("drawing %d\n", drawings), nil
		}
		if err := example.Show(ctx, out, draw); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	show(&text)
	if want := fmt.Sprintf("drawing %d\n", drawings); text.String() != want {
		t.Errorf("printed %q instead of %q", text.String(), want)
	}

	master, terminal := openTerminal(t)
	show(terminal)
	terminal.Close()
	printed, _ := io.ReadAll(master) // ends with EIO, as nobody is at the other end
	const inPlace = "\x1b[H\x1b[Jdrawing 1\r\n\x1b[H\x1b[Jdrawing 2\r\n"
	if !strings.HasPrefix(string(printed), inPlace) {
		t.Errorf("printed %q", printed)
	}
}

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}
