// Package libbpf asks libbpf, for tests, what it makes of an object's CO-RE records for the
// types of any kernel.
package libbpf

import (
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

//go:embed relocate.c
var source []byte

// Loader is libbpf.
type Loader struct{ program, directory string }

// Build compiles a program with libbpf in it.
func Build(tb testing.TB) *Loader {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "relocate")
	Write(tb, program)
	return Built(tb, program)
}

// Write compiles the program to a file, which Built takes, for a machine without a compiler.
func Write(tb testing.TB, program string) {
	tb.Helper()
	netlab.NeedTools(tb, "gcc")
	file := filepath.Join(tb.TempDir(), "relocate.c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		tb.Fatal(err)
	}
	out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-O1",
		file, "-o", program, "-lbpf").CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s: gcc and libbpf-dev are needed", err, out)
	}
}

// Built returns what Write has compiled to a file.
func Built(tb testing.TB, program string) *Loader {
	return &Loader{program: program, directory: tb.TempDir()}
}

// Relocated is what libbpf makes of an object.
type Relocated struct {
	// Programs are the instructions of each program, as they go to the kernel; nil if libbpf
	// refuses the object.
	Programs map[string][]uint64

	// Warnings are what it says.
	Warnings []string
}

// Relocate returns what libbpf makes of an object for types: BTF, raw or in an ELF file,
// which it is given as btf_custom_path. Functions of the kernel that the object calls it
// looks for in the running kernel.
func (l *Loader) Relocate(tb testing.TB, object, types []byte) Relocated {
	tb.Helper()
	objectFile, typesFile := filepath.Join(l.directory, "object.o"), filepath.Join(l.directory, "types.btf")
	if err := errors.Join(os.WriteFile(objectFile, object, 0o600), os.WriteFile(typesFile, types, 0o600)); err != nil {
		tb.Fatal(err)
	}
	out, err := exec.Command(l.program, objectFile, typesFile).Output()
	var exit *exec.ExitError
	refused := errors.As(err, &exit) && exit.ExitCode() == 1
	if err != nil && !refused {
		tb.Fatal(err)
	}
	r := parse(tb, string(out))
	if refused {
		r.Programs = nil
	}
	return r
}

// parse reads the lines that relocate.c prints.
func parse(tb testing.TB, out string) Relocated {
	tb.Helper()
	r := Relocated{Programs: make(map[string][]uint64)}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		switch words[0] {
		case "warning":
			r.Warnings = append(r.Warnings, strings.Join(words[1:], " "))
		case "program":
			r.Programs[words[1]] = parseHex(tb, words[2:])
		default:
			tb.Fatalf("unexpected %q", line)
		}
	}
	return r
}

func parseHex(tb testing.TB, words []string) []uint64 {
	tb.Helper()
	numbers := make([]uint64, len(words))
	for i, word := range words {
		var err error
		if numbers[i], err = strconv.ParseUint(word, 16, 64); err != nil {
			tb.Fatal(err)
		}
	}
	return numbers
}
