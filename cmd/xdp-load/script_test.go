package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

func TestMain(m *testing.M) {
	if schema, err := filepath.Abs(schemaFile); err == nil && os.Getenv(schemaVariable) == "" {
		os.Setenv(schemaVariable, schema) // for the documents' commands, which inherit it
	}
	testscript.Main(m, map[string]func(){
		"xdp-load": func() { os.Exit(runChecked(os.Args[1:])) },
		"embedder": embedder,
	})
}

// embedder OBJECT LAYOUT INTERFACE is a process that attaches a program itself, for as long as it
// lives.
func embedder() {
	object, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	layout, err := nic.OpenLayout(os.Args[2], "")
	if err != nil {
		log.Fatal(err)
	}
	target, err := nic.ByName(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	loaded, err := loader.Load(readerOnly{object}, loader.Options{Layout: layout})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := link.AttachXDP(link.XDPOptions{Program: loaded.Programs["balance"], Interface: target.Index}); err != nil {
		log.Fatal(err)
	}
	time.Sleep(time.Hour) // without cgo, Go ends a process of which nothing will ever go on
}

// readerOnly hides what else a file is.
type readerOnly struct{ io.ReaderAt }

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// TestScript runs the scripts in testdata/script, each in a network namespace
// with an emulated NIC named nic0, and a bpffs of its own.
func TestScript(t *testing.T) {
	netlab.NeedRoot(t)
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen, ran := t.TempDir(), new(atomic.Int32)
	t.Cleanup(func() {
		if scripts, _ := filepath.Glob("testdata/script/*.txtar"); int(ran.Load()) == len(scripts) {
			checkSeen(t, seen)
		}
	})
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			ran.Add(1)
			env.Setenv(schemaVariable, os.Getenv(schemaVariable))
			env.Setenv(seenVariable, seen)
			return setUp(env, top)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "bonds":
				return netlab.Has(netlab.BondXDP) && netlab.Has(netlab.VethBuff), nil
			case "compiled":
				return netlab.Compiles(), nil
			case "extensions":
				return netlab.Has(netlab.Extensions), nil
			}
			return false, fmt.Errorf("no condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails":       fails,
			"cut-short":   cutShort,
			"edit-record": editRecord,
			"clean":       clean,
		},
	})
}

// setUp moves the script's goroutine, and so the commands that it starts, into
// a namespace. The objects that scripts use are copied to where they run, so
// that messages have short names.
func setUp(env *testscript.Env, top string) error {
	ns, err := netlab.New()
	if err != nil {
		return err
	}
	env.Defer(func() { ns.Close() })
	if _, err := ns.AddNIC("nic0"); err != nil {
		return err
	}
	if err := ns.Enter(); err != nil {
		return err
	}

	env.Setenv("BTF", filepath.Join(top, "bpf/drivers/testdata")) // kernels' types

	// Where clang finds headers, if a script compiles something.
	headers := []string{filepath.Join(top, "bpf")}
	asm, err := filepath.Glob("/usr/include/*/asm") // of Debian
	if err != nil {
		return err
	}
	for _, dir := range asm {
		headers = append(headers, filepath.Dir(dir))
	}
	env.Setenv("C_INCLUDE_PATH", strings.Join(headers, string(filepath.ListSeparator)))

	for _, pattern := range []string{"bpf/drivers/*-el.o", "testdata/programs/*-el.o", "bpf/examples/*-el.o", "testdata/invalid/*-el.o", "testdata/layouts/*-e[lb].o"} {
		files, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no objects %s: %v", pattern, err)
		}
		for _, file := range files {
			dir := ""
			if strings.HasPrefix(pattern, "testdata/layouts/") {
				dir = "layouts"
			}
			if err := copyFile(filepath.Join(env.WorkDir, dir, filepath.Base(file)), ofThisMachine(file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofThisMachine returns the file with what scripts call -el.o: that for the machine, if it is
// big-endian and there is one.
func ofThisMachine(file string) string {
	big := strings.Replace(file, "-el.o", "-eb.o", 1)
	_, err := os.Stat(big)
	if isBigEndian := binary.NativeEndian.Uint16([]byte{0, 1}) == 1; isBigEndian && err == nil {
		return big
	}
	return file
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// fails runs a command that has to exit with a code and complain on stderr, the
// program's name first, or with --json in a line that is an object:
//
//	fails CODE COMMAND ARGUMENT...
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND ARGUMENT...")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d instead of %s", code, args[0])
	}
	complaint := ts.ReadFile("stderr")
	if !isComplaint(complaint, strings.Contains(strings.Join(args, " "), "--json")) {
		ts.Fatalf("stderr is no error message: %s", complaint)
	}
}

func isComplaint(stderr string, asJSON bool) bool {
	if !asJSON {
		return strings.HasPrefix(stderr, "xdp-load: ") && !strings.Contains(stderr, "goroutine ")
	}
	var last struct {
		Error struct{ Message string }
	}
	for line := range strings.Lines(stderr) {
		if json.Unmarshal([]byte(line), &last) != nil {
			return false
		}
	}
	return last.Error.Message != ""
}

// cutShort cuts an object at the end of each of its sections and rewrites what
// is left: every piece has to be refused in one line, with no output file.
//
//	cut-short OBJECT LAYOUT
func cutShort(ts *testscript.TestScript, _ bool, args []string) {
	object, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	file, err := elf.NewFile(bytes.NewReader(object))
	ts.Check(err)

	ends := []uint64{0, 1, 4, 16, 63, 64}
	for _, section := range file.Sections {
		ends = append(ends, section.Offset, section.Offset+section.FileSize)
	}
	slices.Sort(ends)
	for _, end := range slices.Compact(ends) {
		if end >= uint64(len(object)) {
			continue
		}
		ts.Check(os.WriteFile(ts.MkAbs("cut.o"), object[:end], 0o644))
		fails(ts, false, []string{"1", "xdp-load", "rewrite", "--layout", args[1], "cut.o", "-o", "cut-out.o"})
		complaint := ts.ReadFile("stderr")
		if !strings.HasPrefix(complaint, "xdp-load: cut.o: ") || strings.Count(complaint, "\n") != 1 {
			ts.Fatalf("cut at %d: %s", end, complaint)
		}
		if _, err := os.Stat(ts.MkAbs("cut-out.o")); !errors.Is(err, os.ErrNotExist) {
			ts.Fatalf("cut at %d: an output file was left: %v", end, err)
		}
	}
}

// editRecord changes a field of a CO-RE relocation record:
//
//	edit-record IN OUT INDEX insn_off|type_id|access_str_off|kind VALUE
func editRecord(ts *testscript.TestScript, _ bool, args []string) {
	object, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	file, err := elf.NewFile(bytes.NewReader(object))
	ts.Check(err)
	ext := object[file.Section(".BTF.ext").Offset:]

	// struct btf_ext_header, then per section a header of 8 bytes and records
	// of 16. The fixtures' records are all in one section.
	start := binary.LittleEndian.Uint32(ext[4:]) + binary.LittleEndian.Uint32(ext[24:]) + 4 + 8
	index, err := strconv.Atoi(args[2])
	ts.Check(err)
	field := slices.Index([]string{"insn_off", "type_id", "access_str_off", "kind"}, args[3])
	value, err := strconv.ParseUint(args[4], 0, 32)
	ts.Check(err)
	binary.LittleEndian.PutUint32(ext[int(start)+index*16+field*4:], uint32(value))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), object, 0o644))
}

// clean wants nothing to be attached to the NIC and nothing to be pinned.
func clean(ts *testscript.TestScript, _ bool, _ []string) {
	links, err := exec.Command("ip", "link", "show", "nic0").CombinedOutput()
	ts.Check(err)
	if strings.Contains(string(links), "xdp") {
		ts.Fatalf("a program is attached: %s", links)
	}
	entries, err := os.ReadDir("/sys/fs/bpf")
	ts.Check(err)
	// What the kernel puts there, and ip link.
	known := []string{"maps.debug", "progs.debug", "ip", "tc", "xdp"}
	for _, entry := range entries {
		if !slices.Contains(known, entry.Name()) {
			ts.Fatalf("left in /sys/fs/bpf: %s", entry.Name())
		}
	}
}
