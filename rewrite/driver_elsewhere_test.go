package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Random programs for a machine that has no compilers: they are compiled here, each to an
// object of its own, and rewritten and run there.
var (
	driverWrite = flag.String("driver.write", "", "compile random programs for a driver, without running them, and leave them in this `directory`")
	driverRead  = flag.String("driver.read", "", "check the random programs for a driver that -driver.write has left in a `directory`, without compilers")
)

// elsewhereHeader is driverHeader for kernels without casts, or with veth as a module, to the
// types of which nothing is cast.
const elsewhereHeader = driverChecks + `
static __always_inline void expect(struct xdp_md *ctx)
{
	struct veth_xdp_buff *buff = (void *)ctx;
	struct sk_buff *skb = BPF_CORE_READ(buff, skb);
	__be16 proto = BPF_CORE_READ(skb, vlan_proto);

	packets++;
	want[MARK] = BPF_CORE_READ(skb, mark);
	want[HASH] = BPF_CORE_READ(skb, hash);
	want[TCI] = proto ? BPF_CORE_READ(skb, vlan_tci) : 0;
	want[PROTO] = proto;
}
`

// write compiles each program.
func (b *randomBatch) write(t *testing.T) {
	b.elsewhere = true
	kind := "xdp"
	if b.tc {
		kind = "tc"
	}
	if err := os.MkdirAll(*driverWrite, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := range b.programs {
		b.numbers = []int{n}
		name := fmt.Sprintf("%s-%d-%s-%s.o", filepath.Base(t.Name()), n, b.variant.cpu, kind)
		if err := os.WriteFile(filepath.Join(*driverWrite, name), b.compile(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// runRandomElsewhere checks all that are brought along, with each lowering that the kernel has.
func runRandomElsewhere(t *testing.T) {
	netlab.NeedRoot(t)
	files, err := filepath.Glob(filepath.Join(*driverRead, "*.o"))
	if err != nil || len(files) == 0 {
		t.Fatalf("No programs in %s: %v", *driverRead, err)
	}
	e := randomElsewhere{accessors: make(map[string]*rewrite.Accessors)}
	if netlab.Has(netlab.TCX) {
		e.pair = newVethPair(t)
	}
	tally := make(map[string]int)
	for _, file := range files {
		for _, lowering := range []accessor.Lowering{accessor.Zero, accessor.Carrier, accessor.Probe} {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".o")+"/"+string(lowering), func(t *testing.T) {
				needLowering(t, lowering)
				tally[e.check(t, file, lowering)]++
			})
		}
	}
	t.Logf("%v", tally)
	if tally["right"] < tally["refused"] {
		t.Errorf("Most are refused: %v", tally)
	}
}

// fetches reports whether a program has an atomic operation that returns what was there.
func fetches(spec *ebpf.CollectionSpec) bool {
	for _, program := range spec.Programs {
		for _, ins := range program.Instructions {
			if class := ins.OpCode.Class(); class != asm.StXClass || ins.OpCode.Mode() != asm.AtomicMode {
				continue
			}
			switch ins.OpCode.AtomicOp() {
			case asm.AddAtomic, asm.AndAtomic, asm.OrAtomic, asm.XorAtomic:
			default:
				return true
			}
		}
	}
	return false
}

func needLowering(t *testing.T, lowering accessor.Lowering) {
	t.Helper()
	switch lowering {
	case accessor.Zero:
		netlab.Need(t, netlab.VoidCasts)
	case accessor.Carrier:
		netlab.Need(t, netlab.Casts)
	}
}

// randomElsewhere is what the programs share: the accessors by driver and lowering, as it takes a
// while to find a kernel's types.
type randomElsewhere struct {
	pair      *vethPair // nil where programs of TC are attached by no links
	accessors map[string]*rewrite.Accessors
}

// check rewrites a program for this kernel, runs it, and says what became of it.
func (e *randomElsewhere) check(t *testing.T, file string, lowering accessor.Lowering) string {
	t.Helper()
	object, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tc := strings.HasSuffix(file, "-tc.o")
	if strings.Contains(file, "-v4-") {
		netlab.Need(t, netlab.InstructionsV4)
	}
	driver := "skb"
	if !tc {
		netlab.Need(t, netlab.VethBuff)
		netlab.Need(t, netlab.TCX)
		driver = "veth"
	}
	out, _, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{e.accessorsOf(t, driver, lowering)}, rewrite.Options{})
	var refused *rewrite.RefusedError
	if errors.As(err, &refused) && isExpected(refused) {
		return "refused"
	}
	if err != nil {
		t.Fatal(explained(err))
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if callsHelper(spec, asm.FnLoop) {
		netlab.Need(t, netlab.Loop)
	}
	if fetches(spec) {
		netlab.Need(t, netlab.FetchingAtomics)
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		log := fmt.Sprintf("%+v", err)
		t.Fatal(log[max(0, len(log)-4000):])
	}
	defer loaded.Close()
	e.run(t, loaded, tc)
	areRandomRight(t, loaded)
	return "right"
}

// run has packets arrive, or runs a program of TC without any.
func (e *randomElsewhere) run(t *testing.T, loaded *ebpf.Collection, tc bool) {
	t.Helper()
	const count = 8
	program := loaded.Programs["program"]
	if e.pair == nil {
		for i := range count {
			ctx := struct{ Len, Type, Mark uint32 }{Mark: uint32(0x5ca10000 + i)}
			if _, err := program.Run(&ebpf.RunOptions{Data: make([]byte, 64), Context: ctx}); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if err := e.pair.ns.Enter(); err != nil {
		t.Fatal(err)
	}
	attached, err := e.pair.attach(program, tc)
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	e.pair.send(t, count)
	e.pair.waitFor(t, loaded, count)
}

// accessorsOf are those for the running kernel, and its modules.
func (e *randomElsewhere) accessorsOf(t *testing.T, driver string, lowering accessor.Lowering) *rewrite.Accessors {
	t.Helper()
	key := driver + string(lowering)
	if known := e.accessors[key]; known != nil {
		return known
	}
	raw, err := drivers.Object(driver, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	file := readAccessors(t, driver, raw)
	types, err := nic.NewKernel("").Module(file.Module)
	if err != nil {
		t.Fatal(err)
	}
	accessors, err := file.Resolve(types, accessor.Options{Lowering: lowering})
	if err != nil {
		t.Fatal(err)
	}
	e.accessors[key] = accessors
	return accessors
}

// isExpected reports whether a random program may be refused for that.
func isExpected(refused *rewrite.RefusedError) bool {
	for _, refusal := range refused.Refusals {
		if randomRefusals.MatchString(refusal.Reason) || randomRefusals.MatchString(refusal.Remedy) {
			return true // what else is refused may be in consequence
		}
	}
	return false
}

func callsHelper(spec *ebpf.CollectionSpec, helper asm.BuiltinFunc) bool {
	for _, program := range spec.Programs {
		for i := range program.Instructions {
			if ins := &program.Instructions[i]; ins.IsBuiltinCall() && ins.Constant == int64(helper) {
				return true
			}
		}
	}
	return false
}
