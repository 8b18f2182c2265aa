package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

var update = flag.Bool("update", false, "write what the examples print into docs/examples.md")

const doc = "docs/examples.md"

// blocks are those of docs/examples.md that show what make run-NAME prints.
var blocks = regexp.MustCompile("(?ms)^```\n\\$ make run-(\\w+)\n(.*?)^```\n")

// docs/examples.md shows each example, and what it prints.
func TestDocs(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.Casts)
	netlab.NeedRoot(t)
	t.Chdir("../..")
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	shown := make(map[string]bool)
	ran := blocks.ReplaceAllFunc(text, func(block []byte) []byte {
		name := string(blocks.FindSubmatch(block)[1])
		shown[name] = true
		return []byte("```\n$ make run-" + name + "\n" + runExample(t, bin, name) + "```\n")
	})
	for name := range labs {
		if !shown[name] {
			t.Errorf("%s does not show make run-%s", doc, name)
		}
	}
	if *update {
		if err := os.WriteFile(doc, ran, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(withoutNumbers(string(text)), withoutNumbers(string(ran))); diff != "" {
		t.Errorf("%s and what the examples print differ (-document +run), go test -update writes it anew:\n%s", doc, diff)
	}
}

func runExample(t *testing.T, bin, name string) string {
	t.Helper()
	if output, err := exec.Command("go", "build", "-o", bin, "./examples/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	var out bytes.Buffer
	if err := show(&out, bin, name); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return out.String()
}

// withoutNumbers takes out what is different in every run: the hashes of sockets, times, and
// bars.
func withoutNumbers(text string) string {
	for _, n := range []struct{ pattern, with string }{
		{`0x[0-9a-f]{8}`, "HASH"},
		{`\d{10}\.\d{9}`, "TIME"},
		{`[\d.]+(µs|ms|s)\b`, "DURATION"},
		{`(?m)^(?: +DURATION +\d+ [█▏]*\n)+`, "BARS\n"},
		{`-e[lb]\.o`, ".o"},
		{` +`, " "},
	} {
		text = regexp.MustCompile(n.pattern).ReplaceAllString(text, n.with)
	}
	return text
}
