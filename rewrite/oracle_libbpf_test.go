package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/libbpf"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// libbpfOracle tells what libbpf does with accesses.
type libbpfOracle struct{ *libbpf.Loader }

func newLibbpfOracle(t *testing.T) *libbpfOracle {
	t.Helper()
	return &libbpfOracle{libbpf.Build(t)}
}

// verdicts returns what libbpf does with each access by its record. A record
// that makes it refuse the object is taken out, so that it goes on to the others.
func (l *libbpfOracle) verdicts(t *testing.T, s subject) map[int]verdict {
	t.Helper()
	accesses, err := reloc.Read(s.object)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := make(map[int]verdict)
	object := bytes.Clone(s.object)
	for range len(accesses) + 1 {
		r := l.Relocate(t, object, s.layoutObject)
		if r.Programs != nil {
			addInstructions(t, verdicts, s, accesses, r)
			return verdicts
		}
		record, reason := refusedRecord(t, accesses, r.Warnings)
		verdicts[record] = verdict{refusal: reason}
		takeOut(t, object, record)
	}
	t.Fatal("libbpf refuses the object without its records")
	return nil
}

// libbpf numbers the records of each section from 0.
var refusedWarning = regexp.MustCompile(`^libbpf: prog '(.*)': relo #(\d+): (.*)$`)

// refusedRecord finds the record in libbpf's warnings that it refuses.
func refusedRecord(t *testing.T, accesses []reloc.Access, warnings []string) (record int, reason string) {
	t.Helper()
	for i, warning := range warnings {
		match := refusedWarning.FindStringSubmatch(warning)
		if match == nil || !strings.HasPrefix(match[3], "failed to ") || i == 0 {
			continue
		}
		number, err := strconv.Atoi(match[2])
		if err != nil {
			t.Fatal(err)
		}
		why := refusedWarning.ReplaceAllString(warnings[i-1], "$3")
		return recordNumber(t, accesses, match[1], number), why
	}
	t.Fatalf("libbpf refuses no record: %q", warnings)
	return 0, ""
}

// recordNumber returns the record with a number within the section of a program.
func recordNumber(t *testing.T, accesses []reloc.Access, program string, number int) int {
	t.Helper()
	in := func(section string) (records []int) {
		for _, access := range accesses {
			if access.Section == section {
				records = append(records, access.Record)
			}
		}
		return records
	}
	for _, access := range accesses {
		if access.Program == program {
			return in(access.Section)[number]
		}
	}
	t.Fatalf("no program %s", program)
	return 0
}

// takeOut turns a record into one that libbpf answers without looking at the
// layout: the ID of a type in the object. Its access string is "0", which may
// have to be made, of the end of a source file's name.
func takeOut(t *testing.T, object []byte, record int) {
	t.Helper()
	const accessString, kind = 8, 12
	file, records, names := parseELF(t, object), parseExt(t, object).cores, btfStrings(t, object)
	zero := strings.Index(names, "0\x00")
	if zero < 0 {
		zero = strings.Index(names, ".c\x00") + 1
		types := sectionData(t, object, ".BTF")
		object[file.Section(".BTF").Offset+uint64(len(types)-len(names)+zero)] = '0'
	}
	taken := object[file.Section(".BTF.ext").Offset+records[record].at:]
	file.ByteOrder.PutUint32(taken[accessString:], uint32(zero))
	file.ByteOrder.PutUint32(taken[kind:], uint32(reloc.LocalTypeID))
}

// addInstructions looks up the instruction of each record that is not refused.
func addInstructions(t *testing.T, verdicts map[int]verdict, s subject, accesses []reloc.Access, r libbpf.Relocated) {
	t.Helper()
	functions := functionsIn(t, s.object)
	for name, program := range r.Programs {
		starts := functions.place(name, program)
		for _, access := range accesses {
			start, ok := starts[access.Program]
			_, refused := verdicts[access.Record]
			if !ok || refused {
				continue
			}
			in := access.Insn - access.FunctionStart
			size := functions[access.Program].widths[in]
			verdicts[access.Record] = verdict{insns: decodeWords(t, program[start+in:start+in+size])}
		}
	}
}

// linkedFunction is a function of an object before it is linked.
type linkedFunction struct {
	widths map[int]int    // of the instruction at a slot, in slots
	calls  map[int]string // the function called at a slot
}

type linkedFunctions map[string]*linkedFunction

func functionsIn(t *testing.T, object []byte) linkedFunctions {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	all := make(linkedFunctions)
	for _, program := range spec.Programs {
		for name, insns := range splitFunctions(program.Instructions) {
			f := &linkedFunction{make(map[int]int), make(map[int]string)}
			slot := 0
			for _, ins := range insns {
				f.widths[slot] = int(ins.Width())
				if ins.IsFunctionCall() || ins.IsLoadOfFunctionPointer() {
					f.calls[slot] = ins.Reference()
				}
				slot += int(ins.Width())
			}
			all[name] = f
		}
	}
	return all
}

// splitFunctions undoes cilium/ebpf's linking.
func splitFunctions(program asm.Instructions) map[string]asm.Instructions {
	all := make(map[string]asm.Instructions)
	name := ""
	for _, ins := range program {
		if symbol := ins.Symbol(); symbol != "" {
			name = symbol
		}
		all[name] = append(all[name], ins)
	}
	return all
}

// place finds out where libbpf put each function of a program: it appends those
// that are called to the program.
func (all linkedFunctions) place(name string, program []uint64) map[string]int {
	starts := map[string]int{name: 0}
	for pending := []string{name}; len(pending) > 0; pending = pending[1:] {
		caller := pending[0]
		for slot, callee := range all[caller].calls {
			if _, placed := starts[callee]; placed {
				continue
			}
			at := starts[caller] + slot
			starts[callee] = at + 1 + immediate(program[at])
			pending = append(pending, callee)
		}
	}
	return starts
}

func immediate(word uint64) int { return int(int32(word >> 32)) }

func decodeWords(t *testing.T, words []uint64) rewrite.Instructions {
	t.Helper()
	var code []byte
	for _, word := range words {
		code = binary.LittleEndian.AppendUint64(code, word)
	}
	return instructions(decodeAll(t, code, binary.LittleEndian, -1)...)
}

// libbpfDiffers are the accesses of which libbpf and we make different things.
// docs/oracles.md says why.
var libbpfDiffers = []difference{
	{"no such type in the layout", allOf(is.noDescriptor, not(answersZero)), does.poison, does.refuse},
	{"no such type in the layout: a question", allOf(is.noDescriptor, answersZero), does.answer, does.refuse},
	{"not there, and the program can reach it", is.reached, does.poison, does.refuse},
	{"struct without a name", is.unnamed, does.refuse, does.anything},
	{"equal copies of a type: its ID", allOf(recordOf(reloc.TargetTypeID), is.copied), does.refuse, does.answer},
	{"types of which one lacks the field", is.partial, does.choose, does.refuse},
	{"shift of an array's element", allOf(recordOf(reloc.LeftShift), is.element), does.refuse, does.answer},
	{"one past the end of an array", allOf(is.inRegister, is.pastEnd), does.refuse, does.answer},
	{"beyond what the program checks", allOf(is.inMemory, is.beyondGuard), does.move, does.refuse},
	{"offset in a register: beyond what the program checks", allOf(is.inRegister, is.beyondGuard), does.answer, does.refuse},

	{"byte order differs: load", allOf(is.load, is.numbers, is.orderDiffers, is.sameWidth), does.move, does.convert},
	{"byte order differs: store", allOf(is.store, is.numbers, is.orderDiffers, is.sameWidth), does.move, does.convert},
	{"foreign byte order, width differs: load", allOf(is.load, is.numbers, is.foreign, is.unsigned, not(is.sameWidth)), does.resize, does.convert},
	{"foreign byte order, width differs: store", allOf(is.store, is.numbers, is.foreign, is.unsigned, not(is.sameWidth)), does.resize, does.convert},
	{"foreign byte order, width differs, signed: load", allOf(is.load, is.numbers, is.foreign, not(is.unsigned), not(is.sameWidth)), does.poison, does.convert},
	{"foreign byte order, width differs, signed: store", allOf(is.store, is.numbers, is.foreign, not(is.unsigned), not(is.sameWidth)), does.poison, does.convert},

	{"narrower, signed: load", allOf(is.load, is.numbers, not(is.foreign), not(is.unsigned), is.narrower), does.poison, does.convert},
	{"wider, signed: load", allOf(is.load, is.numbers, not(is.foreign), not(is.unsigned), is.wider), does.poison, does.readLowOrder},
	{"narrower, signed: store", allOf(is.store, is.numbers, not(is.foreign), not(is.unsigned), is.narrower), does.poison, does.truncate},
	{"wider, signed: store", allOf(is.store, is.numbers, not(is.foreign), not(is.unsigned), is.wider, not(is.signUnknown)), does.poison, does.convert},
	{"narrower enum: load", allOf(is.load, is.enums, is.unsigned, is.narrower), does.poison, does.resize},
	{"wider enum: load", allOf(is.load, is.enums, is.unsigned, is.wider, not(is.signUnknown)), does.poison, does.readLowOrder},
	{"narrower enum: store", allOf(is.store, is.enums, is.unsigned, is.narrower), does.poison, does.truncate},
	{"enumeration on one side, integer on the other: load", allOf(is.load, is.enumOnOneSide), does.poison, does.convert},
	{"enumeration on one side, integer on the other: whether it is there", allOf(recordOf(reloc.FieldExists), is.enumOnOneSide), does.deny, does.answer},
	{"enum of unknown sign, width differs", allOf(is.accessed, is.enums, is.signUnknown, not(is.sameWidth)), does.poison, does.refuse},
	{"wider, unsigned: load", allOf(is.load, is.integers, not(is.enums), not(is.foreign), is.unsigned, is.wider), does.resize, does.readLowOrder},
	{"wider, unsigned: store", allOf(is.store, is.integers, not(is.enums), not(is.foreign), is.unsigned, is.wider, is.unequal), does.resize, does.convert},
	{"bool in the program: load", allOf(is.load, is.boolean, is.unsigned, not(is.foreign), is.wider), does.resize, does.convert},
	{"bool in the layout: store", allOf(is.store, is.boolean, is.unsigned, not(is.foreign), is.narrower), does.resize, does.truncate},

	{"bit-field in the layout only: load", allOf(is.load, is.onlyThere), does.poison, does.convert},
	{"bit-field in the layout only: store", allOf(is.store, is.onlyThere), does.poison, does.convert},
	{"bit-field in the program only: load", allOf(is.load, is.onlyHere), does.poison, does.convert},
	{"bit-field in the program only: store", allOf(is.store, is.onlyHere), does.poison, does.convert},
	{"bit-field elsewhere in its bytes: load", allOf(is.load, is.bitFields, not(is.sameBits)), does.move, does.convert},
	{"bit-field outside the bytes recorded: load", allOf(is.load, is.bitFields, is.outside), does.move, does.convert},
	{"bit-field elsewhere in its bytes: store", allOf(is.store, is.bitFields, not(is.sameBits)), does.move, does.convert},

	{"offset in a register: parts of a bit-field", allOf(is.inRegister, is.onlyHere, is.followed), does.answer, does.fold},
	{"offset in a register", allOf(is.inRegister, is.followed), does.answer, does.follow},
	{"offset in a register: address passed on", allOf(is.inRegister, refusedFor("its address is")), does.answer, does.refuse},
	{"offset in a register: beyond the field", allOf(is.inRegister, refusedFor("of the field __u32")), does.answer, does.refuse},
	{"offset in a register: shared by what differs", allOf(is.inRegister, refusedFor("is shared by several fields")), does.answer, does.refuse},
	{"offset in a register: shared by no field", allOf(is.inRegister, refusedFor("also accesses what is no field")), does.answer, does.refuse},
	{"offset in a register: part with the sign only", allOf(is.inRegister, refusedFor("has the sign only")), does.answer, does.refuse},
	{"offset in a register: part of a bool, store", allOf(is.inRegister, refusedFor("holds whether it is 0 as a whole")), does.answer, does.refuse},
	{"offset in a register: index that is not constant", allOf(is.inRegister, refusedFor("at an index that is not constant")), does.answer, does.refuse},
	{"offset in a register: atomic operation", allOf(is.inRegister, refusedFor("needs a field of the same type")), does.answer, does.refuse},
	{"offset in a register: array or struct that lacks something", allOf(is.inRegister, refusedFor("a copy of it can't be converted")), does.answer, does.refuse},
	{"array or struct of another size: load", allOf(is.load, is.aggregate, not(is.sameWidth), is.unequal), does.poison, does.convertPart},
	{"array or struct of another size: store", allOf(is.store, is.aggregate, not(is.sameWidth), is.unequal), does.poison, does.convertPart},
	{"array or struct of the same size that differs: load", allOf(is.load, is.aggregate, is.sameWidth, is.unequal), does.move, does.convertPart},
	{"array or struct of the same size that differs: store", allOf(is.store, is.aggregate, is.sameWidth, is.unequal), does.move, does.convertPart},
	{"array or struct that lacks something", allOf(is.inMemory, is.aggregate, refusedFor("a copy of it can't be converted")), does.poison, does.refuse},
	{"array or struct with a bit-field in foreign byte order", allOf(is.inMemory, is.aggregate, refusedFor("is a bit-field in foreign byte order")), does.move, does.refuse},
	{"macro: foreign byte order", allOf(is.inRegister, refusedFor("the bit-field macros know nothing of that")), does.answer, does.refuse},
	{"no register and no stack to spare", allOf(is.store, refusedFor("neither a free register")), does.poison, does.refuse},
	{"part of an unsigned number, width differs: load", allOf(is.load, is.numbers, is.unsigned, is.partOf, not(is.sameWidth)), does.refuse, does.convertPart},
	{"part of an unsigned number, width differs: store", allOf(is.store, is.numbers, is.unsigned, is.partOf, not(is.sameWidth)), does.refuse, does.convertPart},
	{"part of a signed number: store", allOf(is.store, is.numbers, not(is.unsigned), is.partOf, not(is.sameWidth)), does.poison, does.convertPart},
	{"part of a number, bit-field in the layout: store", allOf(is.store, is.onlyThere, is.partOf), does.poison, does.convertPart},
}

func TestOracleLibbpf(t *testing.T) {
	t.Parallel()
	l := newLibbpfOracle(t)
	checkDifferences(t, libbpfDiffers, subjects(t, "el"), l.verdicts)
}

// TestOracleLibbpfPrograms compares all of each program, not only what is
// recorded: libbpf gets the kernel the same from the object and the layout as
// from the rewritten object, but for the edits that libbpfDiffers has. The object is what it
// is once it is answered where descriptors come from: libbpf leaves the question in.
func TestOracleLibbpfPrograms(t *testing.T) {
	t.Parallel()
	l := newLibbpfOracle(t)
	programs := 0
	for _, s := range subjects(t, "el") {
		if _, _, out := ourVerdicts(t, s); out == nil {
			continue
		}
		options := rewrite.Options{Types: []string{"*"}}
		object, err := rewrite.FromArea(s.object, s.ours.layout, options)
		if err != nil {
			t.Fatal(err)
		}
		out, report, err := rewrite.Rewrite(object, s.ours.layout, rewrite.TellsAll(options))
		if err != nil {
			t.Fatal(err)
		}
		before, after := l.Relocate(t, object, s.layoutObject), l.Relocate(t, out, s.layoutObject)
		if before.Programs == nil && slices.ContainsFunc(before.Warnings, isRefused) {
			continue // equal copies, or a part of a number
		}
		functions := functionsIn(t, object)
		for name, program := range before.Programs {
			c := newSideBySide(t, after.Programs[name], program, functions.place(name, program), report.Edits)
			if err := c.run(); err != nil {
				t.Errorf("%s: program %s: %v:\n got     %x\n libbpf's %x", s.name, name, err, c.ours, c.theirs)
			}
			programs++
		}
		if len(after.Programs) != len(before.Programs) {
			t.Errorf("%s: %q", s.name, after.Warnings)
		}
	}
	t.Logf("%d programs", programs)
}

func isRefused(warning string) bool {
	return strings.Contains(warning, "ambiguity") || strings.Contains(warning, "unexpected mem size")
}

// libbpf refuses objects of the other byte order, and takes layouts of it.
func TestOracleLibbpfByteOrder(t *testing.T) {
	t.Parallel()
	l := newLibbpfOracle(t)
	object := func(name string) []byte { return readFile(t, testdata+"/"+name+".o") }

	r := l.Relocate(t, object("programs/fields-eb"), object("layouts/reordered-eb"))
	if r.Programs != nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "endianness mismatch") {
		t.Errorf("a big-endian object: %q", r.Warnings)
	}

	foreign := l.Relocate(t, object("programs/fields-el"), object("layouts/reordered-eb"))
	native := l.Relocate(t, object("programs/fields-el"), object("layouts/reordered-el"))
	if foreign.Programs == nil || !slices.Equal(foreign.Programs["fields"], native.Programs["fields"]) {
		t.Errorf("a big-endian layout: %q", foreign.Warnings)
	}
	// TestOtherByteOrder has what we do: refuse both.
}
