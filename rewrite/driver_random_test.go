package rewrite_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/rewrite"
)

var (
	driverSeed  = flag.Uint64("driver.seed", 0, "seed of the first random programs for a driver, to repeat a failure (default: another one each time)")
	driverOnly  = flag.Int("driver.only", -1, "which program of an object to check")
	driverCount = flag.Int("driver.count", 48, "how many random programs for a driver to check")
)

// randomTogether is how many programs are in one object.
const randomTogether = 8

// randomRefusals are what a random program may be refused for: a stack that is full; what
// some compilers make of a choice between addresses, and of the offset of a field that is
// read of the descriptor and of a copy; of some hundreds, one that has numbers from memory
// where a callback's descriptor was before, or computes with them there; and, of a thousand,
// one where the compiler keeps an offset on the stack above what a callback is given, which
// might store over it.
var randomRefusals = regexp.MustCompile(`room (for that )?on the stack|^use the field's value|^use two variables|^get the descriptor by md_desc\(ctx\), and pass it|^start from md_desc\(ctx\), and read each field|also accesses what is no field of it$`)

// Random programs read what a driver, or the skb, has, in every way that their generator
// knows, and compute the same of it as of the numbers that the verifier lets them read.
func TestDriverRandom(t *testing.T) {
	t.Parallel()
	if *driverRead != "" {
		runRandomElsewhere(t)
		return
	}
	v := newVethPair(t)
	seed := *driverSeed
	if seed == 0 {
		seed = rand.Uint64() >> 16
	}
	t.Logf("To repeat: -driver.seed %d -driver.count %d", seed, *driverCount)
	accepted, refused := 0, 0
	for n := range uint64((*driverCount + randomTogether - 1) / randomTogether) {
		t.Run(fmt.Sprint(seed+n), func(t *testing.T) {
			b := newRandomBatch(t, seed+n)
			if *driverWrite != "" {
				b.write(t)
				return
			}
			b.check(t, v)
			accepted += len(b.numbers)
			refused += len(b.programs) - len(b.numbers)
		})
	}
	t.Logf("%d programs are right, %d refused", accepted, refused)
}

// randomBatch is one object of random programs.
type randomBatch struct {
	variant   driverVariant
	tc        bool
	programs  []string
	numbers   []int // of those that are in the object
	accessors *rewrite.Accessors
	elsewhere bool // it is for another kernel
}

func newRandomBatch(t *testing.T, seed uint64) *randomBatch {
	random := rand.New(rand.NewPCG(seed, 0))
	b := &randomBatch{
		variant: driverVariant{
			compiler: []string{"clang-14", "clang-16", "clang-19", "clang-22"}[random.IntN(4)],
			cpu:      []string{"v1", "v2", "v3", "v3"}[random.IntN(4)],
			optimise: []string{"-O2", "-O2", "-O2", "-O1", "-Os", "-O3"}[random.IntN(6)],
			lowering: []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe}[random.IntN(3)],
		},
		tc: random.IntN(3) == 0,
	}
	if *driverWrite != "" { // as many of each kind: old kernels run one only
		b.tc = seed%2 == 0
	}
	driver := "veth"
	if b.tc {
		driver = "skb"
	}
	if b.variant.cpu == "v3" && b.variant.compiler >= "clang-19" && random.IntN(2) == 0 {
		b.variant.cpu = "v4"
	}
	b.accessors = driverAccessors(t, driver, b.variant.lowering)
	g := driverGenerator{Rand: random, tc: b.tc}
	for n := range randomTogether {
		b.programs = append(b.programs, g.program(n))
		if *driverOnly < 0 || n == *driverOnly {
			b.numbers = append(b.numbers, n)
		}
	}
	return b
}

// source returns the C of those programs that are in the object.
func (b *randomBatch) source() string {
	header := driverHeader
	if b.elsewhere {
		header = elsewhereHeader
	}
	if b.tc {
		header = strangeTCHeader + "#define __ref __attribute__((preserve_access_index))\n"
	}
	source := header + randomHeader
	for _, n := range b.numbers {
		source += b.programs[n]
	}
	return source + randomDispatcher(b.tc, b.numbers)
}

// compile drops programs that the compiler finds too large, and tries again.
func (b *randomBatch) compile(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	path, object := filepath.Join(dir, "random.c"), filepath.Join(dir, "random.o")
	if err := os.WriteFile(path, []byte(b.source()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{b.variant.optimise, "-g", "-target", "bpfel", "-mcpu=" + b.variant.cpu, "-w", "-I."}
	for _, asm := range debianHeaders {
		args = append(args, "-isystem", filepath.Dir(asm))
	}
	out, err := exec.Command(b.variant.compiler, append(args, "-c", path, "-o", object)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.3000s", err, out)
	}
	raw, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var randomName = regexp.MustCompile(`^[prsc](\d+)`)

// drop takes a program out of the object, by the name of it or of one of its functions.
func (b *randomBatch) drop(name string) bool {
	found := randomName.FindStringSubmatch(name)
	if found == nil {
		return false
	}
	n, _ := strconv.Atoi(found[1])
	at := slices.Index(b.numbers, n)
	if at < 0 {
		return false
	}
	b.numbers = slices.Delete(b.numbers, at, at+1)
	return true
}

func (b *randomBatch) check(t *testing.T, v *vethPair) {
	t.Logf("%v, TC: %v", b.variant, b.tc)
	if *driverOnly >= 0 {
		b.kept(t)
	}
	for len(b.numbers) > 0 {
		out, _, err := rewrite.RewriteForDriver(b.compile(t), []*rewrite.Accessors{b.accessors}, rewrite.Options{})
		if err == nil {
			b.run(t, v, out)
			return
		}
		var refused *rewrite.RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("%v%s", err, b.kept(t))
		}
		if *driverOnly >= 0 {
			t.Logf("%s%s", explained(err), b.kept(t))
		}
		dropped := false // what else is refused of a program may be in consequence
		for _, refusal := range refused.Refusals {
			if randomRefusals.MatchString(refusal.Reason) || randomRefusals.MatchString(refusal.Remedy) {
				dropped = b.drop(refusal.Access.Program) || dropped
			}
		}
		if !dropped {
			t.Fatalf("%s: %s%s", refused.Refusals[0].Access.Program, explained(err), b.kept(t))
		}
	}
}

// kept writes the source where it stays, and says where.
func (b *randomBatch) kept(t *testing.T) string {
	path := filepath.Join(os.TempDir(), "driver-random-"+filepath.Base(t.Name())+".c")
	if err := os.WriteFile(path, []byte(b.source()), 0o600); err != nil {
		t.Fatal(err)
	}
	return "\nin " + path
}

func (b *randomBatch) run(t *testing.T, v *vethPair, object []byte) {
	if err := v.ns.Enter(); err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		var refused *ebpf.VerifierError
		if errors.As(err, &refused) {
			log := fmt.Sprintf("%+v", refused)
			t.Fatalf("%v\n%s%s", err, log[max(0, len(log)-4000):], b.kept(t))
		}
		t.Fatal(err)
	}
	defer loaded.Close()
	attached, err := v.attach(loaded.Programs["program"], b.tc)
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	const count = 3 * randomTogether
	v.send(t, count)
	v.waitFor(t, loaded, count)
	if !areRandomRight(t, loaded) {
		t.Error(b.kept(t))
	}
	if seen := numbers(t, loaded, "seen", 4)[0]; seen == 0 {
		t.Error("no program came to its end")
	}
}

// areRandomRight reports whether programs have found what they expected.
func areRandomRight(t *testing.T, loaded *ebpf.Collection) bool {
	t.Helper()
	if wrong := numbers(t, loaded, "wrong", 4)[0]; wrong > 0 {
		t.Errorf("%d packets reached no program", wrong)
	}
	right := true
	for n, bad := range numbers(t, loaded, "bad", 64) {
		if bad > 0 {
			t.Errorf("p%d is wrong for %d packets", n, bad)
			right = false
		}
	}
	return right
}

// attach attaches a program where packets arrive.
func (v *vethPair) attach(program *ebpf.Program, tc bool) (link.Link, error) {
	if tc {
		return link.AttachTCX(link.TCXOptions{Program: program, Interface: v.index, Attach: ebpf.AttachTCXIngress})
	}
	return link.AttachXDP(link.XDPOptions{Program: program, Interface: v.index, Flags: link.XDPDriverMode})
}

// waitFor waits until so many packets have been seen.
func (v *vethPair) waitFor(t *testing.T, loaded *ebpf.Collection, count uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); numbers(t, loaded, "packets", 1)[0] < count; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d packets seen", numbers(t, loaded, "packets", 1)[0], count)
		}
	}
	time.Sleep(2 * time.Millisecond) // for the last one
}
