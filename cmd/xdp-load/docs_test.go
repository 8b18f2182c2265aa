package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

// TestDocs runs every command that README.md and docs/ show in a block marked
// "console", each block after the other from the top of a copy of the tree, and
// compares what it prints. There is an interface eth0 to load programs on, and
// another, eth1. Where packets are needed, they come in by eth0.
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
	if bytes.Contains(text, []byte("$ xdp-load verify ")) {
		sendInto(t, "eth0")
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

// sendInto sends UDP packets to an emulated NIC until the test ends, each of a flow of its own.
func sendInto(t *testing.T, nic string) {
	for _, command := range []string{
		"ip address add 192.0.2.1/24 dev " + nic + "-wire",
		"ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:01 dev " + nic + "-wire",
	} {
		if output, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, output)
		}
	}
	sender := exec.Command("bash", "-c", "for ((i = 1; ; i = i % 60000 + 1)); do echo > /dev/udp/192.0.2.2/$i; done")
	sender.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // if this process can't
	if err := sender.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sender.Process.Kill()
		sender.Wait()
	})
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
	for _, name := range []string{"bpf", "loader/testdata", "verify/testdata", "testdata/invalid", "testdata/layouts", "testdata/programs"} {
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
		{`\bid \d+( "|:)`, "id N$1"},
		{`time=\S+`, "time=TIME"},
		{`(id|before|link)=\d+`, "$1=N"},
		{`(?m)^(link +id) \d+$`, "$1 N"},
		{`Linux \d\S*`, "Linux VERSION"},
		{`in place of id \d+`, "in place of id N"},
		{`(hook|link|maps|record|programs|redirect)-\d+`, "$1-N"},
		{`\b(id|link) \d+( "|, )`, "$1 N$2"},
		{`\b[0-9a-f]{16}\b`, "TAG"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"},
		{`, Linux \S+: `, ", Linux N: "},
		{`0x[0-9a-f]+(, and (the skb has|its kfunc says)) 0x[0-9a-f]+`, "0xN$1 0xN"},
		{`(?m)^(  (?:descriptor|packet)  +)[0-9a-f ]+$`, "$1 N"},
		{`map\[id:\d+\]`, "map[id:N]"},
		{`(?m)^((?:\w+ +)?eth\d +veth +\w+(?: \w+)? +\w+) +\d+ +`, "$1 N "},
		{`( xdp-load .*id) \d+`, "$1 N"},
		{`(?m)^(INTERFACE.*)$`, "INTERFACE"},
	} {
		text = regexp.MustCompile(n.pattern).ReplaceAllString(text, n.with)
	}
	return text
}

// driverColumns are the columns of the table in README.md, and the fields that they are about.
var driverColumns = []struct{ title, field string }{
	{"hash", "hash"}, {"of what", "hash_type"}, {"checksum", "csum_status"}, {"the sum", "csum"}, {"VLAN tag", "vlan_tci"},
	{"mark", "mark"}, {"timestamp", "rx_timestamp"}, {"packet type", "ptype"},
}

// driverTable is the table of README.md: a row for every file with accessors.
func driverTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| driver |")
	for _, column := range driverColumns {
		fmt.Fprintf(&b, " %s |", column.title)
	}
	b.WriteString("\n|---" + strings.Repeat("|:-:", len(driverColumns)) + "|\n")
	for _, name := range drivers.Names() {
		object, err := drivers.Object(name, binary.LittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		file, err := accessor.Read(name, object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| [%s](bpf/drivers/%s.c) |", strings.Join(file.Drivers, ", "), name)
		for _, column := range driverColumns {
			cell := " |"
			if _, ok := file.Fields[column.field]; ok {
				cell = " ● |"
			}
			b.WriteString(cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// README.md tells of every file with accessors, and of its fields.
func TestDriversAreTold(t *testing.T) {
	const readme = "../../README.md"
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	table := driverTable(t)
	if *update {
		told := regexp.MustCompile(`(?m)^\| driver \|.*\n(\|.*\n)+`)
		if err := os.WriteFile(readme, told.ReplaceAllLiteral(text, []byte(table)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Contains(text, []byte(table)) {
		t.Errorf("README.md does not have this table, run the test with -update:\n%s", table)
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
