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
	"slices"
	"strings"
	"testing"

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
	by      string // the compiler that made something else of it than the others
	both    bool   // for XDP, with something for TC beside
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

var driverEvery = flag.Bool("driver.every", false, "compile each strange program in every way instead of in one")

// Programs that nobody who wrote this project thought of are right, or are refused with a
// reason. Each is compiled in another way.
func TestDriverStrange(t *testing.T) {
	t.Parallel()
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
			variants = program.variants(i)
		}
		for _, variant := range variants {
			t.Run(program.name+"/"+variant.String(), func(t *testing.T) {
				veth, skb := all["veth"+string(variant.lowering)], all["skb"+string(variant.lowering)]
				switch {
				case program.both:
					v.strange(t, program, variant, veth, skb)
				case program.tc:
					v.strange(t, program, variant, skb)
				default:
					v.strange(t, program, variant, veth)
				}
			})
		}
	}
}

// variants returns one of driverVariants.
func (p *strangeDriver) variants(number int) []driverVariant {
	if p.by != "" {
		number = slices.IndexFunc(driverVariants, func(v driverVariant) bool { return v.compiler == p.by })
	}
	return driverVariants[number%len(driverVariants):][:1]
}

func (v *vethPair) strange(t *testing.T, program strangeDriver, variant driverVariant, accessors ...*rewrite.Accessors) {
	object, err := variant.compile(t, program)
	if err != nil {
		t.Log(err)
		return
	}
	out, report, err := rewrite.RewriteForDriver(object, accessors, rewrite.Options{})
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
	v.checkStrange(t, out, program)
	if t.Failed() {
		for _, edit := range report.Edits {
			t.Logf("%s %s: %s => %s", edit.Access.Source, edit.Access.Path, edit.Before, edit.After)
		}
	}
}

// notCompiled is what compilers say of programs that are beyond them: of instructions that
// they, or the version of the instruction set, don't have.
var notCompiled = regexp.MustCompile(`NEEDS_|atomic|unknown target CPU`)

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
	for _, asm := range debianHeaders {
		args = append(args, "-isystem", filepath.Dir(asm))
	}
	out, err := exec.Command(v.compiler, append(args, "-c", path, "-o", object)...).CombinedOutput()
	if notCompiled.Match(out) {
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
			t.Fatal(log[max(0, len(log)-5000):])
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
	attached, err := v.attach(loaded.Programs["program"], program.tc)
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()

	v.sendAll(t, loaded, "packets")
	compareFields(t, loaded)
}
