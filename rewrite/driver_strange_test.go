package rewrite_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/rewrite"
)

// strangeDriver is a program as people who have never seen ours write them.
type strangeDriver struct {
	name    string
	source  string
	tc      bool   // for TC, with the accessors of the skb
	options string // of the compiler, besides those of the variant
	refused string // what the refusal says; "" if it is to be right
	unless  string // what the refusal says, if what the compiler makes of it is refused
	kernel  string // what the verifier refuses of it, driver or not
}

// driverVariant is how a program is compiled, and how it is to read the kernel's memory.
type driverVariant struct {
	compiler, cpu, optimise string
	lowering                accessor.Lowering
}

func (v driverVariant) String() string {
	return strings.Join([]string{v.compiler, v.cpu, v.optimise, string(v.lowering)}, "/")
}

var driverVariants = []driverVariant{
	{"clang-19", "v3", "-O2", accessor.Zero},
	{"clang-14", "v3", "-O2", accessor.Carrier},
	{"clang-22", "v4", "-O2", accessor.Probe},
	{"clang-16", "v1", "-O2", accessor.Zero},
	{"clang-22", "v3", "-Os", accessor.Carrier},
	{"clang-19", "v2", "-O1", accessor.Probe},
	{"clang-14", "v2", "-O3", accessor.Zero},
	{"clang-16", "v3", "-O1", accessor.Probe},
	{"clang-19", "v4", "-O3", accessor.Carrier},
	{"clang-22", "v1", "-O1", accessor.Zero},
	{"clang-14", "v1", "-Os", accessor.Probe},
	{"clang-16", "v2", "-Os", accessor.Carrier},
}

var driverDump = flag.String("driver.dump", "", "where to write rewritten strange programs")

var driverEvery = flag.Bool("driver.every", false, "compile each strange program in every way instead of in one")

// Programs that nobody who wrote this project thought of are right, or are refused with a
// reason. Each is compiled in another way.
func TestDriverStrange(t *testing.T) {
	v := newVethPair(t)
	all := make(map[string]*rewrite.Accessors)
	for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
		for _, driver := range []string{"veth", "skb"} {
			all[driver+string(lowering)] = driverAccessors(t, driver, lowering)
		}
	}
	for i, program := range strangeDrivers {
		variants := driverVariants
		if !*driverEvery {
			variants = variants[i%len(variants):][:1]
		}
		for _, variant := range variants {
			t.Run(program.name+"/"+variant.String(), func(t *testing.T) {
				driver := "veth"
				if program.tc {
					driver = "skb"
				}
				v.strange(t, program, variant, all[driver+string(variant.lowering)])
			})
		}
	}
}

func (v *vethPair) strange(t *testing.T, program strangeDriver, variant driverVariant, accessors *rewrite.Accessors) {
	object, err := variant.compile(t, program)
	if err != nil {
		t.Log(err)
		return
	}
	out, report, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{accessors}, rewrite.Options{})
	switch {
	case err != nil && program.refused+program.unless == "":
		t.Fatal(explained(err))
	case err != nil:
		t.Log(explained(err))
		if says := program.refused + program.unless; !regexp.MustCompile(says).MatchString(explained(err)) {
			t.Errorf("does not say %q", says)
		}
		return
	case program.refused != "":
		t.Error("is not refused")
	}
	if *driverDump != "" {
		os.WriteFile(filepath.Join(*driverDump, strings.ReplaceAll(program.name, " ", "-")+"."+variant.compiler+variant.cpu+".o"), out, 0o600)
	}
	v.checkStrange(t, out, program)
	if t.Failed() {
		for _, edit := range report.Edits {
			t.Logf("%s %s: %s => %s", edit.Access.Source, edit.Access.Path, edit.Before, edit.After)
		}
	}
}

// compile compiles a program in one way, or returns an error if this compiler knows no such C.
func (v driverVariant) compile(t *testing.T, program strangeDriver) ([]byte, error) {
	t.Helper()
	header := driverHeader
	if program.tc {
		header = strangeTCHeader
	}
	dir := t.TempDir()
	path, object := filepath.Join(dir, "strange.c"), filepath.Join(dir, "strange.o")
	if err := os.WriteFile(path, []byte(header+strangeHeader+program.source), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{v.optimise, "-g", "-target", "bpfel", "-mcpu=" + v.cpu, "-w", "-I."}
	args = append(args, strings.Fields(program.options)...)
	for _, asm := range debianHeaders {
		args = append(args, "-isystem", filepath.Dir(asm))
	}
	out, err := exec.Command(v.compiler, append(args, "-c", path, "-o", object)...).CombinedOutput()
	if bytes.Contains(out, []byte("unknown target CPU")) || bytes.Contains(out, []byte("NEEDS_")) || bytes.Contains(out, []byte("stack limit")) || bytes.Contains(out, []byte("too many args")) || bytes.Contains(out, []byte("atomic")) {
		return nil, fmt.Errorf("%s can't compile it: %.300s", v.compiler, out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return os.ReadFile(object)
}

func (v *vethPair) checkStrange(t *testing.T, object []byte, program strangeDriver) {
	t.Helper()
	if err := v.ns.Enter(); err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	extensions := spec.Copy()
	for name, program := range spec.Programs {
		if program.Type == ebpf.Extension {
			delete(spec.Programs, name)
		} else {
			delete(extensions.Programs, name)
		}
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			log := fmt.Sprintf("%+v", refused)
			if program.kernel != "" && regexp.MustCompile(program.kernel).MatchString(log) {
				t.Logf("The verifier: %v", err)
				return
			}
			if len(log) > 6000 && os.Getenv("LONG") == "" {
				log = log[:1000] + "\n...\n" + log[len(log)-5000:]
			}
			t.Fatal(log)
		}
		t.Fatal(err)
	}
	if program.kernel != "" {
		t.Error("The verifier takes it")
	}
	defer loaded.Close()
	for name, extension := range extensions.Programs {
		extension.AttachTarget = loaded.Programs["program"]
		replacing, err := ebpf.NewCollectionWithOptions(extensions, ebpf.CollectionOptions{MapReplacements: loaded.Maps})
		if errors.Is(err, unix.EPERM) {
			t.Log("this kernel lets nobody replace functions of programs")
			return
		}
		if err != nil {
			t.Fatalf("%s: %+v", name, err)
		}
		defer replacing.Close()
		attached, err := link.AttachFreplace(loaded.Programs["program"], extension.AttachTo, replacing.Programs[name])
		if err != nil {
			t.Fatal(err)
		}
		defer attached.Close()
	}
	var attached link.Link
	if program.tc {
		attached, err = link.AttachTCX(link.TCXOptions{Program: loaded.Programs["program"], Interface: v.index, Attach: ebpf.AttachTCXIngress})
	} else {
		attached, err = link.AttachXDP(link.XDPOptions{Program: loaded.Programs["program"], Interface: v.index, Flags: link.XDPDriverMode})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()

	const count = 20
	v.send(t, count)
	for deadline := time.Now().Add(3 * time.Second); numbers(t, loaded, "packets", 1)[0] < count; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d packets seen", numbers(t, loaded, "packets", 1)[0], count)
		}
	}
	time.Sleep(5 * time.Millisecond)
	names := []string{"mark", "hash", "vlan_tci", "vlan_proto"}
	seen, wrong, got, want := numbers(t, loaded, "seen", len(names)), numbers(t, loaded, "wrong", len(names)), numbers(t, loaded, "got", len(names)), numbers(t, loaded, "want", len(names))
	read := false
	for i, name := range names {
		read = read || seen[i] > 0
		if wrong[i] > 0 {
			t.Errorf("%s: %d of %d values are wrong, such as %#x (the last packet's is %#x)", name, wrong[i], seen[i], got[i], want[i])
		}
	}
	if !read {
		t.Error("nothing was read")
	}
}
