package rewrite_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/xdp-load/xdp-load/rewrite"
)

var update = flag.Bool("update", false, "make the golden files anew")

const objdump = "llvm-objdump-19"

// What TestGolden compares for a pair of program and layout: the rewritten
// object and what changed in its disassembly, or why it is refused.
const (
	objectFile  = ".o"
	diffFile    = ".diff"
	refusedFile = ".refused"
)

// TestGolden compares every pair with testdata/golden/PROGRAM/LAYOUT.*. Run it
// with -update to see in a git diff what a change does to real programs.
func TestGolden(t *testing.T) {
	_, err := exec.LookPath(objdump)
	disassemble := err == nil
	if !disassemble && (*update || os.Getenv("CI") == "true") {
		t.Fatal(err)
	}

	expected := make(map[string]bool)
	for _, p := range pairs(t) {
		base := filepath.Join(testdata, "golden", p.program, p.layout[:len(p.layout)-len("-el")])
		for _, extension := range []string{objectFile, diffFile, refusedFile} {
			expected[base+extension] = true
		}
		t.Run(p.program+"/"+p.layout, func(t *testing.T) {
			t.Parallel()
			got := golden(t, p, disassemble)
			for _, extension := range []string{objectFile, diffFile, refusedFile} {
				if extension == diffFile && !disassemble {
					continue
				}
				compareFile(t, base+extension, got[extension])
			}
		})
	}
	checkStale(t, expected)
}

// golden returns the contents of a pair's files by extension.
func golden(t *testing.T, p pair, disassemble bool) map[string][]byte {
	in := readProgram(t, p.program)
	out, _, err := rewrite.Rewrite(in, readLayout(t, p.layout), p.options())
	if err != nil {
		return map[string][]byte{refusedFile: []byte(refusedText(err))}
	}
	files := map[string][]byte{objectFile: out}
	if disassemble {
		files[diffFile] = diff.Diff(p.program, disassembly(t, in), p.program+" for "+p.layout, disassembly(t, out))
	}
	return files
}

func refusedText(err error) string {
	text := err.Error() + "\n"
	var refused *rewrite.RefusedError
	if errors.As(err, &refused) {
		text += refused.Details()
	}
	return text
}

// compareFile compares a file with what it should hold; nil means no file.
func compareFile(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		updateFile(t, path, got)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	switch {
	case (want == nil) != (got == nil):
		t.Errorf("%s: is there: %t, should be: %t; got %.500q", path, want != nil, got != nil, got)
	case bytes.Equal(want, got):
	case filepath.Ext(path) == objectFile:
		t.Errorf("%s differs", path)
	default:
		t.Errorf("%s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

func updateFile(t *testing.T, path string, contents []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if contents != nil {
		err = errors.Join(err, os.WriteFile(path, contents, 0o644))
	} else if removed := os.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// checkStale finds, or with -update removes, the files of pairs that are no
// longer there.
func checkStale(t *testing.T, expected map[string]bool) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(testdata, "golden"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir() || expected[path]:
			return err
		case *update:
			return os.Remove(path)
		}
		return fmt.Errorf("%s belongs to no program and layout: remove it with -update", path)
	})
	if err != nil && !(*update && errors.Is(err, fs.ErrNotExist)) {
		t.Error(err)
	}
}

// addresses are those of functions, instructions, relocations, and of what jumps
// lead to beside their distance.
var addresses = regexp.MustCompile(`(?m)^( +\d+:|[0-9a-f]{16} |(\t\t)[0-9a-f]{16}:  )|(goto [+-]\w+) <.*>$`)

// disassembly returns what llvm-objdump prints, without the name of the file,
// and without addresses, which change with the first instruction that moves.
func disassembly(t *testing.T, object []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.o")
	if err := os.WriteFile(path, object, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-dr", "--no-show-raw-insn", path).Output()
	if err != nil {
		t.Fatalf("%s: %v", objdump, err)
	}
	_, code, found := bytes.Cut(out, []byte("Disassembly of section"))
	if !found {
		t.Fatalf("%s shows no code:\n%s", objdump, out)
	}
	return append([]byte("Disassembly of section"), addresses.ReplaceAll(code, []byte("$2$3"))...)
}
