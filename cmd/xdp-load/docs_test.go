package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

// TestDocs runs every command that README.md and docs/ show in a block marked
// "console", each block after the other from the top of a copy of the tree, and
// compares what it prints. There is an interface eth0 to load programs on, and
// another, eth1.
func TestDocs(t *testing.T) {
	netlab.NeedRoot(t)
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range append(docs, filepath.Join(top, "README.md")) {
		t.Run(filepath.Base(doc), func(t *testing.T) { testDoc(t, top, doc) })
	}
}

func testDoc(t *testing.T, top, doc string) {
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	dir := copyOfTree(t, top)
	ns := netlab.Enter(t)
	for _, name := range []string{"eth0", "eth1"} {
		if _, err := ns.AddNIC(name); err != nil {
			t.Fatal(err)
		}
	}

	ran := consoleBlock.ReplaceAllFunc(text, func(block []byte) []byte {
		return []byte("```console\n" + runBlock(t, dir, string(block)) + "```\n")
	})
	if *update {
		if err := os.WriteFile(doc, ran, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(withoutNumbers(string(text)), withoutNumbers(string(ran))); diff != "" {
		t.Errorf("the document and what the commands print differ (-document +run), go test -update writes it anew:\n%s", diff)
	}
}

var consoleBlock = regexp.MustCompile("(?ms)^```console\n.*?^```\n")

// runBlock runs the lines of a block that start with "$ ", and returns the block
// with what they print. A line that ends with a backslash continues.
func runBlock(t *testing.T, dir, block string) string {
	var out strings.Builder
	lines := strings.Split(block, "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "$ ") {
			continue
		}
		command := strings.TrimPrefix(lines[i], "$ ")
		fmt.Fprintln(&out, lines[i])
		for strings.HasSuffix(lines[i], "\\") && i+1 < len(lines) {
			i++
			command += "\n" + lines[i]
			fmt.Fprintln(&out, lines[i])
		}
		out.WriteString(runLine(t, dir, command))
	}
	return out.String()
}

// runLine runs a command as a user would who has xdp-load in the PATH, and
// returns what it prints on both outputs. The directory is called /home/xdp there.
func runLine(t *testing.T, dir, command string) string {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError // some of them are shown to fail
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	output = bytes.ReplaceAll(bytes.TrimRight(output, "\n"), []byte(dir), []byte("/home/xdp"))
	if len(output) == 0 {
		return ""
	}
	return string(output) + "\n"
}

// copyOfTree copies what the documents' commands read and write to a directory
// of the test's.
func copyOfTree(t *testing.T, top string) string {
	dir := t.TempDir()
	for _, name := range []string{"bpf", "loader/testdata", "testdata/invalid", "testdata/layouts", "testdata/programs"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(top, name))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// withoutNumbers takes out what is different in every run: IDs, tags, times,
// addresses, and the spaces that line up with them.
func withoutNumbers(text string) string {
	for _, n := range []struct{ pattern, with string }{
		{`\(id \d+\)`, "(id N)"},
		{`, id \d+, `, ", id N, "},
		{`time=\S+`, "time=TIME"},
		{`(id|before)=\d+`, "$1=N"},
		{`(?m)^(link +id) \d+$`, "$1 N"},
		{`Linux \d\S*`, "Linux VERSION"},
		{`in place of id \d+`, "in place of id N"},
		{`(link|maps|record|programs)-\d+`, "$1-N"},
		{`\b[0-9a-f]{16}\b`, "TAG"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"},
		{`map\[id:\d+\]`, "map[id:N]"},
		{`(?m)^(eth\d +veth +\w+ +\w+) +\d+ +`, "$1 N "},
		{`(?m)^(INTERFACE.*)$`, "INTERFACE"},
	} {
		text = regexp.MustCompile(n.pattern).ReplaceAllString(text, n.with)
	}
	return text
}

// README.md tells of every file with accessors.
func TestDriversAreTold(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range drivers.Names() {
		if !bytes.Contains(text, []byte("(bpf/drivers/"+name+".c)")) {
			t.Errorf("%s.c is not told of", name)
		}
	}
}

// The packages and files that the design names are there.
func TestDesign(t *testing.T) {
	text, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, match := range regexp.MustCompile("`((?:\\w+/)?\\w+\\.go)`").FindAllSubmatch(text, -1) {
		named++
		name, found := string(match[1]), false
		for _, dir := range []string{"", "rewrite", "internal"} {
			_, err := os.Stat(filepath.Join("../..", dir, name))
			found = found || err == nil
		}
		if !found {
			t.Errorf("%s is named and not there", name)
		}
	}
	packages, err := filepath.Glob("../../internal/*")
	if err != nil || len(packages) == 0 || named == 0 {
		t.Fatal(packages, err, named)
	}
	for _, dir := range packages {
		if !bytes.Contains(text, []byte("`"+filepath.Base(dir)+"`")) {
			t.Errorf("package %s is not told of", filepath.Base(dir))
		}
	}
}
