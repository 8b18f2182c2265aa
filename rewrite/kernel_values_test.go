package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

var kernelSeed = flag.Uint64("kernel-seed", 0, "seed of the random metadata, to repeat a failure (default: another one each time)")

// kernelRandom gives random bytes. Its seed is part of the output of a test
// that fails.
func kernelRandom(t *testing.T) *rand.ChaCha8 {
	t.Helper()
	seed := *kernelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("To repeat: -kernel-seed %d", seed)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// kernelAreas returns metadata areas of random bytes, of which programs can make
// areas that are larger by spare: several that the descriptor fills, and some that
// are larger.
func kernelAreas(t *testing.T, random *rand.ChaCha8, descriptor, spare int) [][]byte {
	t.Helper()
	largest := kernelMaxMetadata
	if !netlab.Has(netlab.LargeMetadata) {
		largest = netlab.SmallMetadata
	}
	largest -= spare
	if descriptor > largest {
		netlab.Need(t, netlab.LargeMetadata)
	}
	var areas [][]byte
	for _, size := range []int{descriptor, descriptor, descriptor, descriptor + 4, descriptor + 60, kernelMaxMetadata} {
		area := make([]byte, min(size, largest))
		random.Read(area)
		areas = append(areas, area)
	}
	return areas
}

// kernelPair knows what a program has to come to for a layout: it works out
// each result from the types of the two, without a look at the rewritten code.
type kernelPair struct {
	kernelObject
	target          *btf.Spec
	locals, targets []btf.Type          // the descriptors
	size            int                 // of the descriptor in the layout
	guard           int                 // how many bytes the program checks for
	hasTypeMatches  bool                // whether the compiler has this record
	named           map[string]btf.Type // the layout's, by the program's names
}

func newKernelPair(t *testing.T, object kernelObject) *kernelPair {
	t.Helper()
	object.need(t)
	p := &kernelPair{
		kernelObject:   object,
		target:         kernelTypes(t, readFile(t, fmt.Sprintf("%s/layouts/%s%s.o", testdata, object.layout, kernelEndian))),
		hasTypeMatches: !strings.Contains(object.name, "clang14"),
	}
	p.locals = kernelFlavours(t, kernelTypes(t, readProgram(t, object.name)), "md_desc")
	p.targets = kernelFlavours(t, p.target, "md_desc")
	p.named = map[string]btf.Type{"md_desc": p.targets[0], "md_desc___kinds": p.targets[0]}
	if enums := kernelFlavours(t, p.target, "md_csum_status"); len(enums) > 0 {
		p.named["md_csum_status"] = enums[0]
	}
	size, err := btf.Sizeof(p.targets[0])
	if err != nil {
		t.Fatal(err)
	}
	p.size, p.guard = size, size
	if object.program == "baked" {
		p.guard = 40 // of the header's struct
	}
	return p
}

// Every value that a rewritten program reads is the one that the layout keeps
// there.
func TestKernelValues(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	random := kernelRandom(t)
	for _, name := range kernelPrograms(t) {
		switch kernelSource(name) {
		case "store", "tc", "shapes", "parts", "copies", "paths", "nests", "own", "follow", "follow_tc", "entries":
			continue // see TestKernelStores, TestKernelTC, TestKernelShapes and those for the others
		case "baked":
			continue // finds a descriptor in any area that its own struct fits in
		}
		for _, layout := range kernelAccepting(t, kernelSource(name)) {
			t.Run(name+"/"+layout, func(t *testing.T) {
				p := newKernelPair(t, kernelRewrite(t, name, layout))
				loaded := kernelLoad(t, p.object)
				for program := range loaded.Programs {
					p.checkProgram(t, loaded, program, random)
				}
			})
		}
	}
}

func (p *kernelPair) checkProgram(t *testing.T, loaded *ebpf.Collection, program string, random *rand.ChaCha8) {
	for _, area := range kernelAreas(t, random, max(p.size, p.guard), 0) {
		p.checkRun(t, loaded, program, area, true)
		if t.Failed() {
			return
		}
	}
	p.checkRun(t, loaded, program, make([]byte, p.guard-4), false)
	p.checkRun(t, loaded, program, nil, false)
}

// checkRun runs a program on a metadata area that is large enough for a
// descriptor or is not.
func (p *kernelPair) checkRun(t *testing.T, loaded *ebpf.Collection, program string, area []byte, found bool) {
	t.Helper()
	kernelClear(t, loaded)
	action, after := kernelRun(t, loaded.Programs[program], area)
	if expected := p.action(t, area, found); action != expected {
		t.Errorf("%s returned %d instead of %d, metadata %x", program, action, expected, area)
	}
	if !bytes.Equal(after, area) {
		t.Errorf("%s changed the metadata: %x, before: %x", program, after, area)
	}

	results := kernelResults(t, loaded)
	for _, name := range slices.Sorted(maps.Keys(results)) {
		check := p.check(t, name, results)
		if !found && !kernelUnconditional(name) || !kernelDoes(program, name) {
			check = kernelIs(0)
		}
		if name == "found" && found {
			check = kernelIs(kernelFound(program))
		}
		if err := check(area, results[name]); err != nil {
			t.Errorf("%s: %s: %v, metadata %x", program, name, err, area)
		}
	}
	p.checkLocalTypes(t, loaded.Programs[program], results)
}

func (p *kernelPair) action(t *testing.T, area []byte, found bool) uint32 {
	switch {
	case p.program != "oneload":
		return kernelXDPPass
	case !found:
		return kernelXDPAborted
	}
	return p.oneloadNumber(t, area)
}

// oneloadNumber is what oneload.c computes.
func (p *kernelPair) oneloadNumber(t *testing.T, area []byte) uint32 {
	sum := uint64(1)
	for _, path := range kernelHeaderFields {
		sum = sum*31 + p.value(t, path, area)
	}
	return uint32(sum ^ sum>>32)
}

// kernelHeaderFields are the header's, in its order.
var kernelHeaderFields = []string{
	"rx_timestamp", "hash", "hash_type", "csum", "csum_status", "vlan_tci", "vlan_proto", "mark",
}

// kernelFound returns what found is once there was a descriptor.
func kernelFound(program string) uint64 {
	if program == "second" {
		return 2
	}
	return 1
}

// kernelDoes reports whether a program sets a result: those of subprog.c share
// their variables.
func kernelDoes(program, result string) bool {
	paths, shared := map[string][]string{
		"first":  {"hash", "hash_type"},
		"second": {"hash", "mark", "vlan_tci"},
	}[program]
	_, path, _ := strings.Cut(result, "_")
	return !shared || slices.Contains(paths, path)
}

// kernelUnconditional reports whether a result does not depend on there being a
// descriptor.
func kernelUnconditional(result string) bool {
	return result == "has_net_device__mtu" || strings.HasPrefix(result, "enum_") ||
		strings.HasPrefix(result, "type_") && result != "type_size_net_device"
}

func kernelIsInput(variable string) bool { return strings.HasPrefix(variable, "in_") }

// kernelCheck judges the value of a result after a run on a metadata area.
type kernelCheck func(area []byte, got uint64) error

func kernelIs(expected uint64) kernelCheck {
	return func(_ []byte, got uint64) error { return kernelDiffer(got, expected) }
}

func kernelDiffer(got, expected uint64) error {
	if got != expected {
		return fmt.Errorf("%#x instead of %#x", got, expected)
	}
	return nil
}

// check returns what a result has to be, by its name.
func (p *kernelPair) check(t *testing.T, name string, results map[string]uint64) kernelCheck {
	t.Helper()
	if check, ok := p.checkFixed(t, name); ok {
		return check
	}

	question, path, _ := strings.Cut(name, "_")
	field, exists := kernelFind(p.targets, path)
	if !exists {
		return kernelIs(0)
	}
	switch question {
	case "has":
		return kernelIs(1)
	case "got":
		return func(area []byte, got uint64) error { return kernelDiffer(got, p.value(t, path, area)) }
	case "signed":
		return kernelIs(map[bool]uint64{true: 1}[field.signed])
	case "off", "sz", "lsh", "rsh":
		if field.isBitField || question == "lsh" || question == "rsh" {
			return func(area []byte, _ uint64) error { return kernelCheckWindow(field, path, area, results) }
		}
		return kernelIs(map[string]uint64{"off": uint64(field.bit / 8), "sz": uint64(field.bits / 8)}[question])
	}
	t.Fatalf("No idea what %s should be", name)
	return nil
}

// kernelCheckWindow takes the four answers about a field at their word: so many
// bytes from this offset, shifted to the left and to the right, are the field.
func kernelCheckWindow(field kernelField, path string, area []byte, results map[string]uint64) error {
	offset, size := results["off_"+path], results["sz_"+path]
	left, right := results["lsh_"+path], results["rsh_"+path]
	if offset+size > uint64(len(area)) || size > 8 {
		return fmt.Errorf("no window of %d bytes at %d", size, offset)
	}
	value := numberIn{order: machineOrder, first: int(offset) * 8, bits: int(size) * 8}.read(area) << left
	if field.signed {
		value = uint64(int64(value) >> right)
	} else {
		value >>= right
	}
	// Byte order is not among the questions.
	return kernelDiffer(value, field.convert(field.read(area)))
}

// value returns what a program reads of a field: the layout's bits, converted
// to the type that the program gives the field. BPF_CORE_READ_BITFIELD does
// without such a type.
func (p *kernelPair) value(t *testing.T, path string, area []byte) uint64 {
	t.Helper()
	target, inTarget := kernelFind(p.targets, path)
	local, inLocal := kernelFind(p.locals, path)
	if !inTarget || !inLocal {
		t.Fatalf("No field %s", path)
	}
	if local.isBitField {
		return target.read(area)
	}
	return local.convert(target.read(area))
}

// checkFixed is check for results that are not named by a question about a
// field of the descriptor.
func (p *kernelPair) checkFixed(t *testing.T, name string) (kernelCheck, bool) {
	t.Helper()
	switch {
	case name == "found":
		return kernelIs(0), true
	case name == "got_hash_or_mark":
		return func(area []byte, got uint64) error { return kernelDiffer(got, p.value(t, "hash", area)) }, true
	case strings.Contains(name, "net_device"):
		return kernelIs(kernelNetDevice(t, name)), true
	case strings.HasPrefix(name, "type_local_"):
		return func([]byte, uint64) error { return nil }, true // see checkLocalTypes
	case strings.HasPrefix(name, "type_"):
		return kernelIs(p.typeAnswer(t, strings.TrimPrefix(name, "type_"))), true
	case strings.HasPrefix(name, "enum_"):
		return kernelIs(p.enumAnswer(t, strings.TrimPrefix(name, "enum_"))), true
	}
	return nil, false
}

// kernelNetDevice answers questions about a type of the running kernel.
func kernelNetDevice(t *testing.T, question string) uint64 {
	t.Helper()
	kernelBTF := kernelBTFs.Get().(*btf.Cache)
	defer kernelBTFs.Put(kernelBTF)
	kernel, err := kernelBTF.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	var device *btf.Struct
	if err := kernel.TypeByName("net_device", &device); err != nil {
		t.Fatal(err)
	}
	ifindex, _ := kernelFindIn(device, "ifindex")
	answer, ok := map[string]uint64{
		"has_net_device__mtu":     1,
		"off_net_device__ifindex": uint64(ifindex.bit / 8),
		"type_size_net_device":    uint64(device.Size),
	}[question]
	if !ok {
		t.Fatalf("No idea what %s should be", question)
	}
	return answer
}

// typeAnswer answers a question about a type of the layout: "size_md_desc".
func (p *kernelPair) typeAnswer(t *testing.T, question string) uint64 {
	t.Helper()
	question, name, _ := strings.Cut(question, "_")
	typ, exists := p.named[name]
	if !exists {
		return 0
	}
	switch question {
	case "exists":
		return 1
	case "size":
		size, err := btf.Sizeof(typ)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(size)
	case "matches":
		if p.hasTypeMatches && slices.Contains(kernelMatching[name], p.layout) {
			return 1
		}
		return 0
	case "target":
		id, err := p.target.TypeID(typ)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(id)
	}
	t.Fatalf("No idea what the %s of %s should be", question, name)
	return 0
}

// kernelMatching lists the layouts that have each member of a program's type
// with the same type, at whatever place: what bpf_core_type_matches asks for.
// How many bits of that type a bit-field has doesn't count, nor do the values of
// enumerators.
var kernelMatching = map[string][]string{
	"md_desc":         {"exact", "reordered", "flavour", "packed", "bitfield"},
	"md_desc___kinds": {"reordered"},
	"md_csum_status":  {"exact", "reordered", "flavour", "packed"},
}

// enumAnswer answers a question about an enumerator: "value_MD_CSUM_NONE".
func (p *kernelPair) enumAnswer(t *testing.T, question string) uint64 {
	t.Helper()
	question, name, _ := strings.Cut(question, "_")
	enum, ok := p.named["md_csum_status"].(*btf.Enum)
	if !ok {
		return 0
	}
	for _, enumerator := range enum.Values {
		if enumerator.Name == name {
			return map[string]uint64{"exists": 1, "value": enumerator.Value}[question]
		}
	}
	return 0
}

// checkLocalTypes looks up type IDs of the program in the BTF that was loaded
// with it, in which the loader may have numbered the types anew.
func (p *kernelPair) checkLocalTypes(t *testing.T, program *ebpf.Program, results map[string]uint64) {
	t.Helper()
	for result, id := range results {
		name, ok := strings.CutPrefix(result, "type_local_")
		if !ok {
			continue
		}
		typ, err := kernelLoadedTypes(t, program).TypeByID(btf.TypeID(id))
		if err != nil || typ.TypeName() != name {
			t.Errorf("%s is %d, which is %v, %v", result, id, typ, err)
		}
	}
}

func kernelLoadedTypes(t *testing.T, program *ebpf.Program) *btf.Spec {
	t.Helper()
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.BTFID()
	handle, err := btf.NewHandleFromID(id)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	types, err := handle.Spec(nil)
	if err != nil {
		t.Fatal(err)
	}
	return types
}
