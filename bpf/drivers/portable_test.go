package drivers_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/libbpf"
	"github.com/xdp-load/xdp-load/internal/memlab"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// portable is an object for any loader and any kernel: as "xdp-load rewrite --driver" writes
// it, with a program for each field. The program is a function of the address of ctx, and
// returns the field.
type portable struct {
	file   *accessor.File
	fields []string // a program each, named so, behind found
	object []byte
}

// found is the name of the program that returns whether there is a descriptor.
const found = "found"

func newPortable(t *testing.T, driver string) *portable {
	t.Helper()
	netlab.Need(t, netlab.Casts)
	p, accessors := fieldsOf(t, driver)
	var err error
	p.object, _, err = rewrite.RewriteForDriver(p.compiled(t, driver), []*rewrite.Accessors{accessors}, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fieldsOf returns a portable without its object, and the accessors for that.
func fieldsOf(t *testing.T, driver string) (*portable, *rewrite.Accessors) {
	t.Helper()
	file := read(t, driver)
	accessors, err := file.Portable()
	if err != nil {
		t.Fatal(err)
	}
	return &portable{file: file, fields: append([]string{found}, slices.Sorted(maps.Keys(accessors.Fields))...)}, accessors
}

// kind returns the section of programs, and what ctx is in them.
func (p *portable) kind() (section, context string) {
	if p.file.Context == "sk_buff" {
		return "tc", "__sk_buff"
	}
	return "xdp", "xdp_md"
}

func (p *portable) source() string {
	section, context := p.kind()
	var b strings.Builder
	b.WriteString("#include <linux/bpf.h>\n#include \"md_desc.h\"\n")
	for _, field := range p.fields {
		value := "md->" + field
		if field == found {
			value = "1"
		}
		fmt.Fprintf(&b, `
SEC(%q) __u64 %s(struct %s *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? %s : 0;
}
`, section, field, context, value)
	}
	b.WriteString("\nchar _license[] SEC(\"license\") = \"GPL\";\n")
	return b.String()
}

// compile compiles C for this machine.
func compile(t *testing.T, source string) []byte {
	t.Helper()
	netlab.NeedTools(t, "clang-19", "gcc")
	triplet, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), "compiled.o")
	cmd := exec.Command("clang-19", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror",
		"-I..", "-isystem", "/usr/include/"+strings.TrimSpace(string(triplet)), "-x", "c", "-c", "-", "-o", object)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What libbpf makes of one object, for the types of each kernel, reads the fields of what
// that kernel's driver leaves in memory: those of the driver's model.
func TestPortable(t *testing.T) {
	if *portableWrite != "" {
		writePortable(t)
		return
	}
	loader := portableLoader(t)
	for _, driver := range drivers.Names() {
		object, modelled := newPortable(t, driver), models[driver]
		memory := memlab.New(t, modelled.memory)
		for _, k := range kernelsOf(t, driver) {
			t.Run(driver+"/"+k.name, func(t *testing.T) {
				relocated := object.relocate(t, loader, k)
				model := modelled.model(setting{memory, k.types})
				fields := object.fieldsOn(k)
				compare(t, memory, model, fields, memlab.Load(t, functions(t, fields, relocated)...))
			})
		}
	}
}

// relocate returns what libbpf makes of each program for a kernel, given as btf_custom_path.
func (p *portable) relocate(t *testing.T, loader *libbpf.Loader, k kernel) map[string][]uint64 {
	t.Helper()
	relocated := loader.Relocate(t, p.object, k.raw)
	if len(relocated.Programs) != len(p.fields) {
		t.Fatalf("libbpf refuses the object: %q", relocated.Warnings)
	}
	return relocated.Programs
}

// fieldsOn returns those of the fields that a kernel has.
func (p *portable) fieldsOn(k kernel) []string {
	lacks := func(field string) bool { return slices.Contains(k.lacks, field) }
	return slices.DeleteFunc(slices.Clone(p.fields), lacks)
}

// functions returns the programs in the order of fields.
func functions(t *testing.T, fields []string, programs map[string][]uint64) (functions []asm.Instructions) {
	t.Helper()
	for _, field := range fields {
		functions = append(functions, decoded(t, programs[field]))
	}
	return functions
}

func decoded(t *testing.T, words []uint64) asm.Instructions {
	t.Helper()
	code := make([]byte, asm.InstructionSize*len(words))
	for i, word := range words {
		native().PutUint64(code[asm.InstructionSize*i:], word)
	}
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(code), native(), "linux")
	if err != nil {
		t.Fatal(err)
	}
	return insns
}

// compare compares programs with a model, in scenes as the driver leaves them and in those
// in which a pointer leads nowhere.
func compare(t *testing.T, memory *memlab.Memory, model model, fields []string, functions *memlab.Functions) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	descriptors := 0
	for scene := range scenes {
		memory.Clear(random)
		ctx, _, pointers := model.lay(random)
		if chance(random, 4) {
			memory.Store(pointers[random.IntN(len(pointers))], 8, memlab.Wild[random.IntN(len(memlab.Wild))])
		}
		var wanted map[string]uint64 // none
		if descriptor := model.find(ctx); descriptor != 0 {
			wanted = model.decode(descriptor, ctx)
			wanted[found] = 1
			descriptors++
		}
		for i, got := range functions.Call(ctx, 0) {
			if field := fields[i]; got != wanted[field] {
				t.Fatalf("scene %d: %s is %#x instead of %#x", scene, field, got, wanted[field])
			}
		}
	}
	if descriptors < scenes/2 {
		t.Errorf("%d descriptors in %d scenes", descriptors, scenes)
	}
}

// Each loader relocates the object to the same instructions, and each record to what
// xdp-load's own resolution of it is: nothing else changes, but for the call of the cast,
// which is looked for in the running kernel. The size of a type that is not there is 0 to
// libbpf, and to cilium/ebpf something that must not be reached.
func TestPortableInstructions(t *testing.T) {
	loader := portableLoader(t)
	for _, driver := range drivers.Names() {
		object := newPortable(t, driver)
		for _, k := range kernelsOf(t, driver) {
			t.Run(driver+"/"+k.name, func(t *testing.T) {
				byLibbpf, want := object.relocate(t, loader, k), object.resolved(t, k.layout, false)
				byCilium, wantOfCilium := object.relocateByCilium(t, k), object.resolved(t, k.layout, true)
				for _, field := range object.fields {
					checkWords(t, "libbpf: "+field, byLibbpf[field], want[field])
					checkWords(t, "cilium/ebpf: "+field, byCilium[field], wantOfCilium[field])
				}
			})
		}
	}
}

func checkWords(t *testing.T, name string, got, want []uint64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d words instead of %d", name, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: instruction %d is %016x instead of %016x", name, i, got[i], want[i])
		}
	}
}

// What instructions are made of.
const (
	classMask  = 0x07
	classLDX   = 0x01
	offsetMask = 0xffff << 16
	withoutImm = 1<<32 - 1
	kfuncCall  = 0x85 | 2<<12         // BPF_PSEUDO_KFUNC_CALL
	poison     = 0x85 | 195896080<<32 // libbpf's call of a helper that does not exist
)

// resolved returns the programs with each record in them resolved, as words. It is up to the
// loader whether the size of a type that is not there is poison.
func (p *portable) resolved(t *testing.T, layout *reloc.Layout, poisonSizes bool) map[string][]uint64 {
	t.Helper()
	functions := make(map[string]map[string]int)
	programs := p.words(t, func(program *ebpf.ProgramSpec) { functions[program.Name] = startsOf(program.Instructions) })
	accesses, err := reloc.Read(p.object)
	if err != nil {
		t.Fatal(err)
	}
	for i := range accesses {
		access := &accesses[i]
		resolution, err := access.Resolve(layout)
		if err != nil {
			t.Fatal(err)
		}
		if poisonSizes && access.Kind == reloc.TypeSize && resolution.Value == 0 {
			resolution.Poison = true
		}
		for name, starts := range functions {
			if start, ok := starts[access.Program]; ok {
				at := &programs[name][start+access.Insn-access.FunctionStart]
				*at = patched(t, *at, access, &resolution)
			}
		}
	}
	callCast(programs, castID(t))
	return programs
}

// startsOf returns the slots that a program and the functions with it start at, by their
// names.
func startsOf(insns asm.Instructions) map[string]int {
	starts := make(map[string]int)
	for it := insns.Iterate(); it.Next(); {
		if name := it.Ins.Symbol(); name != "" {
			starts[name] = int(it.Offset)
		}
	}
	return starts
}

// callCast has programs call the function by its ID.
func callCast(programs map[string][]uint64, id uint64) {
	for _, words := range programs {
		for i, word := range words {
			if word&withoutImm == kfuncCall {
				words[i] = kfuncCall | id<<32
			}
		}
	}
}

// patched returns an instruction with what its record comes to.
func patched(t *testing.T, word uint64, access *reloc.Access, r *reloc.Resolution) uint64 {
	t.Helper()
	switch {
	case r.Poison:
		return poison
	case word&classMask != classLDX:
		return word&withoutImm | r.Value<<32
	case r.Field.Size != access.Local.Field.Size:
		t.Errorf("%s: %s has %d bytes, and is loaded as %d", access.Source, access.Path, r.Field.Size, access.Local.Field.Size)
	}
	return word&^offsetMask | r.Value<<16
}

// castID returns the ID of the function that loads are lowered to in the running kernel.
func castID(t *testing.T) uint64 {
	t.Helper()
	functions, err := runningKernel(t).layout.Functions("bpf_rdonly_cast")
	if err != nil || len(functions) != 1 {
		t.Fatalf("%d functions, %v", len(functions), err)
	}
	return uint64(functions[0].ID)
}

// words returns the programs as words, as cilium/ebpf reads them and something changes them.
func (p *portable) words(t *testing.T, change func(*ebpf.ProgramSpec)) map[string][]uint64 {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(p.object))
	if err != nil {
		t.Fatal(err)
	}
	programs := make(map[string][]uint64)
	for name, program := range spec.Programs {
		change(program)
		var raw bytes.Buffer
		if err := program.Instructions.Marshal(&raw, native()); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < raw.Len(); at += asm.InstructionSize {
			programs[name] = append(programs[name], native().Uint64(raw.Bytes()[at:]))
		}
	}
	return programs
}

// relocateByCilium returns what cilium/ebpf makes of each program for a kernel, and loads
// that, with the kernel given as ProgramOptions.KernelTypes.
func (p *portable) relocateByCilium(t *testing.T, k kernel) map[string][]uint64 {
	t.Helper()
	types, err := btf.LoadSpecFromReader(bytes.NewReader(k.raw))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(p.object))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range k.lacks { // which are refused
		delete(spec.Programs, field)
	}
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{KernelTypes: types}})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	loaded.Close()
	programs := p.words(t, func(program *ebpf.ProgramSpec) {
		var records []*btf.CORERelocation
		var at []*asm.Instruction
		for i := range program.Instructions {
			if record := btf.CORERelocationMetadata(&program.Instructions[i]); record != nil {
				records, at = append(records, record), append(at, &program.Instructions[i])
			}
		}
		fixups, err := btf.CORERelocate(records, []*btf.Spec{types}, native(), func(btf.Type) (btf.TypeID, error) { return 0, nil })
		for i := range fixups {
			err = errors.Join(err, fixups[i].Apply(at[i]))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	callCast(programs, castID(t)) // which it does when it loads
	return programs
}

// A kernel that calls a struct or a member something else lacks the fields for which
// accessor.File.Resolve says so. Their programs, as libbpf relocates them, the verifier
// refuses, and takes the others.
func TestPortableMissing(t *testing.T) {
	loader := libbpf.Build(t)
	for _, driver := range drivers.Names() {
		object, oldest := newPortable(t, driver), kernelsOf(t, driver)[0]
		t.Run(driver+"/"+oldest.name, func(t *testing.T) {
			lacking := 0
			for _, name := range namesIn(t, "testdata/"+driver+"-"+oldest.name+".btf") {
				k := oldest.without(t, name)
				missing := object.missing(t, k.layout)
				if len(missing) > 0 {
					lacking++
				}
				if refused := object.refused(t, object.relocate(t, loader, k)); !slices.Equal(refused, missing) {
					t.Errorf("without %s: %v are refused, and %v missing", name, refused, missing)
				}
			}
			if lacking < 10 {
				t.Errorf("fields depend on %d names only", lacking)
			}
		})
	}
}

// namesIn returns the names in BTF.
func namesIn(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(string(raw[stringsAt(raw):]), "\x00")
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// stringsAt returns where the strings of BTF start: struct btf_header of linux/btf.h.
func stringsAt(raw []byte) uint32 { return native().Uint32(raw[4:]) + native().Uint32(raw[16:]) }

// without returns a kernel that calls what has a name something else.
func (k kernel) without(t *testing.T, name string) kernel {
	t.Helper()
	raw := bytes.Clone(k.raw)
	names := raw[stringsAt(raw):]
	at := bytes.Index(names, []byte("\x00"+name+"\x00"))
	if at < 0 {
		t.Fatalf("there is no %s", name)
	}
	names[at+1] = '_'
	layout, err := reloc.NewLayout(k.name, raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return kernel{name: k.name, types: k.types, layout: layout, raw: raw}
}

// missing returns the fields that a kernel does not have.
func (p *portable) missing(t *testing.T, layout *reloc.Layout) []string {
	t.Helper()
	resolved, err := p.file.Resolve(layout, accessor.Options{Lowering: accessor.Carrier})
	if errors.Is(err, accessor.ErrNoAccessors) {
		return p.fields[1:]
	}
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(resolved.Missing))
}

// refused returns the fields whose programs the kernel refuses for what is not there.
func (p *portable) refused(t *testing.T, programs map[string][]uint64) (fields []string) {
	t.Helper()
	kind := ebpf.XDP
	if p.file.Context == "sk_buff" {
		kind = ebpf.SchedCLS
	}
	for _, field := range p.fields[1:] {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: kind, License: "GPL", Instructions: decoded(t, programs[field])})
		var verifier *ebpf.VerifierError
		switch {
		case err == nil:
			program.Close()
		case !errors.As(err, &verifier) || !strings.Contains(err.Error(), "invalid func unknown#195896080"):
			t.Fatalf("%s: %+v", field, err)
		default:
			fields = append(fields, field)
		}
	}
	return fields
}
