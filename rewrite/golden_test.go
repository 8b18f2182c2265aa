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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/diff"

	"github.com/xdp-load/xdp-load/rewrite"
)

var update = flag.Bool("update", false, "make the golden files anew")

const objdump = "llvm-objdump-19"

// What TestGolden compares for a pair of program and layout, beside the hash of
// the rewritten object: what changed in its disassembly, for people, or why it is
// refused.
const (
	diffFile    = ".diff"
	refusedFile = ".refused"
)

// TestGolden compares every pair with testdata/golden. Run it with -update to see
// in a git diff what a change does to real programs.
func TestGolden(t *testing.T) {
	_, err := exec.LookPath(objdump)
	disassemble := err == nil && !testing.Short()
	if err != nil && (*update || os.Getenv("CI") == "true") {
		t.Fatal(err)
	}

	all := pairs(t)
	objects := readObjectList(t)
	objects.checkStale(t, all)
	expected := map[string]bool{objectListPath: true}
	for _, p := range all {
		base := filepath.Join(testdata, "golden", p.golden())
		expected[base+diffFile], expected[base+refusedFile] = p.isRead(), true
		t.Run(p.program+"/"+p.layout, func(t *testing.T) {
			t.Parallel()
			o := p.rewrite(t)
			var refused []byte
			if o.err != nil {
				refused = []byte(refusedText(o.err))
			}
			compareFile(t, base+refusedFile, refused)
			objects.compare(t, p, o.out)
			if p.isRead() && disassemble {
				compareFile(t, base+diffFile, p.difference(t, o.in, o.out))
			}
		})
	}
	checkStale(t, expected)
}

// golden is what the pair is called in testdata/golden.
func (p pair) golden() string {
	return p.program + "/" + strings.TrimPrefix(p.layout[:len(p.layout)-len("-el")], examples)
}

// isRead reports whether a reviewer reads what changes in the pair's code, which
// is much the same in the other byte order and by other compilers.
func (p pair) isRead() bool {
	return strings.HasSuffix(p.program, "-el") && !compilerMatrix.MatchString(p.program)
}

// difference returns what was changed in a program's disassembly, nil if the
// program was refused.
func (p pair) difference(t *testing.T, in, out []byte) []byte {
	t.Helper()
	if out == nil {
		return nil
	}
	return diff.Diff(p.program, disassembly(t, in), p.program+" for "+p.layout, disassembly(t, out))
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
	case !bytes.Equal(want, got):
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
