package rewrite_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
)

// objectListPath is the list of rewritten objects: a line for each, with the start
// of its SHA-256 and what the pair is called, in the order of the names.
var objectListPath = filepath.Join(testdata, "golden", "objects")

// objectHash is what the list has of an object, empty if there is none.
func objectHash(object []byte) string {
	if object == nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(object))[:16]
}

// differencesShown is of how many objects a run shows what differs.
const differencesShown = 5

// objectList is the list, to compare objects with.
type objectList struct {
	hashes  map[string]string      // by name
	earlier func() (string, error) // builds the xdp-load that made the objects

	sync.Mutex
	now   map[string]string // what the hashes are
	shown int               // differences
}

// readObjectList reads the list. With -update it is written anew when the test and
// all its subtests are over.
func readObjectList(t *testing.T) *objectList {
	t.Helper()
	text, err := os.ReadFile(objectListPath)
	if err != nil && !(*update && errors.Is(err, fs.ErrNotExist)) {
		t.Fatal(err)
	}
	dir := t.TempDir()
	list := &objectList{
		hashes:  make(map[string]string),
		earlier: sync.OnceValues(func() (string, error) { return buildEarlier(dir) }),
		now:     make(map[string]string),
	}
	for line := range strings.Lines(string(text)) {
		hash, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		list.hashes[name] = hash
	}
	if *update {
		t.Cleanup(func() { list.write(t) })
	}
	return list
}

// write writes the list. Objects that were not made in this run stay as they are.
func (l *objectList) write(t *testing.T) {
	t.Helper()
	maps.Copy(l.hashes, l.now)
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(l.hashes)) {
		if hash := l.hashes[name]; hash != "" {
			fmt.Fprintf(&text, "%s  %s\n", hash, name)
		}
	}
	updateFile(t, objectListPath, text.Bytes())
}

// checkStale finds, or with -update removes, the lines of pairs that are no longer
// there.
func (l *objectList) checkStale(t *testing.T, all []pair) {
	t.Helper()
	for name := range l.hashes {
		switch {
		case slices.ContainsFunc(all, func(p pair) bool { return p.golden() == name }):
		case *update:
			delete(l.hashes, name)
		default:
			t.Errorf("%s: %s belongs to no program and layout: remove it with -update", objectListPath, name)
		}
	}
}

// compare compares what a pair is rewritten to with the list; nil means that it is
// refused.
func (l *objectList) compare(t *testing.T, p pair, object []byte) {
	t.Helper()
	hash, listed := objectHash(object), l.hashes[p.golden()]
	if *update {
		l.Lock()
		defer l.Unlock()
		l.now[p.golden()] = hash
		return
	}
	switch {
	case hash == listed:
	case object == nil || listed == "":
		t.Errorf("%s: %s is listed: %t, rewritten: %t", objectListPath, p.golden(), listed != "", object != nil)
	case l.mayShow():
		t.Errorf("%s: %s differs:\n%s", objectListPath, p.golden(), l.difference(t, p, object))
	default:
		t.Errorf("%s: %s differs; to see how, run it alone", objectListPath, p.golden())
	}
}

// mayShow reports whether there are few enough differences to show another.
func (l *objectList) mayShow() bool {
	l.Lock()
	defer l.Unlock()
	l.shown++
	return l.shown <= differencesShown
}

// difference returns how an object differs from the listed one. The list has no
// more of that than its hash: it is made again, by what made it then. Where that
// can't be had, what was changed in the program has to do.
func (l *objectList) difference(t *testing.T, p pair, object []byte) string {
	t.Helper()
	if _, err := exec.LookPath(objdump); err != nil {
		return err.Error()
	}
	listed, err := l.listed(t, p)
	if err != nil {
		return fmt.Sprintf("the listed object can't be made again: %v\nWhat was changed in the program:\n%s",
			err, p.difference(t, readProgram(t, p.program), object))
	}
	if changed := diff.Diff("listed", disassembly(t, listed), "now", disassembly(t, object)); changed != nil {
		return string(changed)
	}
	return "the same code; what differs is in " + strings.Join(differingSections(t, listed, object), ", ")
}

// listed makes the listed object of a pair again.
func (l *objectList) listed(t *testing.T, p pair) ([]byte, error) {
	t.Helper()
	command, err := l.earlier()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(t.TempDir(), "listed.o")
	args := []string{"rewrite", "--layout", objectPath("layouts", p.layout), "-o", path}
	for _, glob := range p.options().Types {
		args = append(args, "--type", glob)
	}
	earlier := exec.Command(command, append(args, objectPath("programs", p.program))...)
	if output, err := earlier.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, output)
	}
	object := readFile(t, path)
	if objectHash(object) != l.hashes[p.golden()] {
		return nil, errors.New("what the list was committed with makes another one: the program or the layout has changed, or the list was not up to date")
	}
	return object, nil
}

// buildEarlier builds the command as it was when the list was committed, in a
// directory, and returns its path.
func buildEarlier(dir string) (string, error) {
	const script = `
		cd ..
		commit=$(git log -1 --format=%H -- testdata/golden/objects)
		git archive "$commit" . ':!testdata' | tar -x -C "$1"
		cd "$1"
		go build ./cmd/xdp-load`
	if output, err := exec.Command("bash", "-euo", "pipefail", "-c", script, "bash", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the xdp-load of then: %w: %s", err, output)
	}
	return filepath.Join(dir, "xdp-load"), nil
}

// differingSections lists the sections of two objects that differ.
func differingSections(t *testing.T, a, b []byte) []string {
	t.Helper()
	contents := func(object []byte) map[string]string {
		sections := make(map[string]string)
		for _, section := range parseELF(t, object).Sections {
			if section.Type != elf.SHT_NULL && section.Type != elf.SHT_NOBITS {
				sections[section.Name] = string(sectionData(t, object, section.Name))
			}
		}
		return sections
	}
	before, after := contents(a), contents(b)
	maps.DeleteFunc(before, func(name, data string) bool {
		same := after[name] == data
		delete(after, name)
		return same
	})
	maps.Copy(before, after)
	if len(before) == 0 {
		return []string{"the headers"}
	}
	return slices.Sorted(maps.Keys(before))
}
