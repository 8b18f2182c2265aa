package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// ciliumVerdicts returns what cilium/ebpf does with each access by its record:
// what NewProgram does, with the layout for the kernel's types. Records that
// make it refuse a program are left out, so that it goes on to the others.
func ciliumVerdicts(t *testing.T, s subject) map[int]verdict {
	t.Helper()
	layout, err := btf.LoadSpecFromReader(bytes.NewReader(sectionData(t, s.layoutObject, ".BTF")))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(s.object))
	if err != nil {
		t.Fatal(err)
	}
	records := recordsAt(t, s.object)
	verdicts := make(map[int]verdict)
	for _, program := range spec.Programs {
		found := ciliumRecords(program.Instructions, records)
		found = slices.DeleteFunc(found, func(r ciliumRecord) bool {
			_, err := ciliumFixups(layout, s.order, r)
			if err != nil {
				verdicts[r.record] = verdict{refusal: err.Error()}
			}
			return err != nil
		})
		patches, err := ciliumFixups(layout, s.order, found...)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range found {
			verdicts[r.record] = ciliumPatched(r.ins, patches[i])
		}
	}
	return verdicts
}

// ciliumRecord is an instruction that a record is about.
type ciliumRecord struct {
	record int
	ins    asm.Instruction
}

// codePlace is an instruction slot in a function.
type codePlace struct {
	function string
	slot     int
}

func recordsAt(t *testing.T, object []byte) map[codePlace]int {
	t.Helper()
	accesses, err := reloc.Read(object)
	if err != nil {
		t.Fatal(err)
	}
	records := make(map[codePlace]int)
	for _, access := range accesses {
		records[codePlace{access.Program, access.Insn - access.FunctionStart}] = access.Record
	}
	return records
}

func ciliumRecords(program asm.Instructions, records map[codePlace]int) []ciliumRecord {
	var found []ciliumRecord
	for name, insns := range splitFunctions(program) {
		slot := 0
		for _, ins := range insns {
			if btf.CORERelocationMetadata(&ins) != nil {
				found = append(found, ciliumRecord{records[codePlace{name, slot}], ins})
			}
			slot += int(ins.Width())
		}
	}
	return found
}

func ciliumFixups(layout *btf.Spec, order binary.ByteOrder, of ...ciliumRecord) ([]btf.COREFixup, error) {
	var relocations []*btf.CORERelocation
	for _, r := range of {
		relocations = append(relocations, btf.CORERelocationMetadata(&r.ins))
	}
	// The answer to a local_type_id is not compared.
	localID := func(btf.Type) (btf.TypeID, error) { return 0, nil }
	return btf.CORERelocate(relocations, []*btf.Spec{layout}, order, localID)
}

func ciliumPatched(ins asm.Instruction, fixup btf.COREFixup) verdict {
	if err := fixup.Apply(&ins); err != nil {
		return verdict{refusal: err.Error()}
	}
	ins.Metadata = asm.Metadata{}
	return verdict{insns: instructions(ins)}
}

// ciliumDiffers are the accesses of which cilium/ebpf and we make different
// things. docs/oracles.md says why.
var ciliumDiffers = []difference{
	{"no such type in the layout", allOf(is.noDescriptor, not(asksExistence), not(is.lddw)), does.poison, does.refuse},
	{"no such type in the layout: LDDW", allOf(is.noDescriptor, not(asksExistence), is.lddw), does.poisonRegister, does.refuse},
	{"no such type in the layout: a question", allOf(is.noDescriptor, asksExistence), does.answer, does.refuse},
	{"not there, and the program can reach it", is.reached, does.poison, does.refuse},
	{"not there, and the program can reach it: LDDW", allOf(is.reached, is.lddw), does.poisonRegister, does.refuse},
	{"struct without a name", is.unnamed, does.refuse, does.anything},
	{"type not there: its size", allOf(is.missing, recordOf(reloc.TypeSize)), does.poison, does.answer},
	{"type not there: its ID", allOf(is.missing, recordOf(reloc.TargetTypeID), is.lddw), does.poisonRegister, does.answer},
	{"not there: LDDW", allOf(is.missing, recordOf(reloc.EnumValue), is.lddw), does.poisonRegister, does.poison},
	{"equal copies of a type: its ID", allOf(recordOf(reloc.TargetTypeID), is.copied), does.refuse, does.answer},
	{"type_matches, a struct that only the layout names", allOf(recordOf(reloc.TypeMatches), is.namedThere), does.nothing, does.answer},
	{"type_matches, a pointer to a struct of another name", allOf(recordOf(reloc.TypeMatches), is.pointsElsewhere), does.nothing, does.answer},
	{"type_matches, a float", allOf(recordOf(reloc.TypeMatches), is.hasFloat), does.refuse, does.answer},
	{"types of which one lacks the field", is.partial, does.choose, does.refuse},
	{"types that disagree: all but offset and ID", allOf(is.disagree, not(is.partial), not(recordOf(reloc.ByteOffset, reloc.TargetTypeID))), does.nothing, does.refuse},
	{"one past the end of an array", allOf(is.inRegister, is.pastEnd), does.refuse, does.answer},
	{"beyond what the program checks", allOf(is.inMemory, is.beyondGuard), does.move, does.refuse},
	{"offset in a register: beyond what the program checks", allOf(is.inRegister, is.beyondGuard), does.answer, does.refuse},

	{"byte order differs: load", allOf(is.load, is.numbers, is.orderDiffers), does.move, does.convert},
	{"byte order differs: store", allOf(is.store, is.numbers, is.orderDiffers), does.move, does.convert},
	{"foreign byte order, width differs: load", allOf(is.load, is.numbers, is.foreign, not(is.orderDiffers), not(is.sameWidth)), does.move, does.convert},
	{"foreign byte order, width differs: store", allOf(is.store, is.numbers, is.foreign, not(is.orderDiffers), not(is.sameWidth)), does.move, does.convert},

	{"narrower, signed: load", allOf(is.load, is.numbers, not(is.foreign), not(is.unsigned), is.narrower), does.move, does.convert},
	{"narrower, unsigned: load", allOf(is.load, is.numbers, not(is.foreign), is.unsigned, is.narrower, not(is.partOf)), does.move, does.resize},
	{"narrower: store", allOf(is.store, is.numbers, not(is.foreign), is.narrower), does.move, does.truncate},
	{"wider: load, big endian", allOf(is.load, is.bigEndian, is.integers, not(is.foreign), is.wider), does.move, does.readLowOrder},
	{"wider: store", allOf(is.store, is.numbers, not(is.foreign), is.wider, not(is.signUnknown)), does.move, does.convert},
	{"enumeration on one side, integer on the other: load", allOf(is.load, is.enumOnOneSide), does.poison, does.convert},
	{"enumeration on one side, integer on the other: whether it is there", allOf(recordOf(reloc.FieldExists), is.enumOnOneSide), does.deny, does.answer},
	{"enum of unknown sign, width differs", allOf(is.accessed, is.enums, is.signUnknown, not(is.sameWidth)), does.move, does.refuse},
	{"bool in the program: load", allOf(is.load, is.boolean, not(is.foreign), is.wider), does.move, does.convert},

	{"bit-field in the layout only: load", allOf(is.load, is.onlyThere), does.move, does.convert},
	{"bit-field in the layout only: store", allOf(is.store, is.onlyThere), does.move, does.convert},
	{"bit-field in the program only: load", allOf(is.load, is.onlyHere, not(is.unaligned)), does.move, does.convert},
	{"bit-field in the program only, unaligned field in the layout: load", allOf(is.load, is.onlyHere, is.unaligned), does.moveAligned, does.convert},
	{"bit-field in the program only: store", allOf(is.store, is.onlyHere, not(is.unaligned)), does.move, does.convert},
	{"bit-field in the program only, unaligned field in the layout: store", allOf(is.store, is.onlyHere, is.unaligned), does.moveAligned, does.convert},
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
	{"part with the sign only: load, big endian", allOf(is.load, is.bigEndian, refusedFor("has the sign only")), does.move, does.refuse},
	{"offset in a register: part of a bool, store", allOf(is.inRegister, refusedFor("holds whether it is 0 as a whole")), does.answer, does.refuse},
	{"offset in a register: index that is not constant", allOf(is.inRegister, refusedFor("at an index that is not constant")), does.answer, does.refuse},
	{"offset in a register: atomic operation", allOf(is.inRegister, refusedFor("needs a field of the same type")), does.answer, does.refuse},
	{"offset in a register: array or struct that lacks something", allOf(is.inRegister, refusedFor("a copy of it can't be converted")), does.answer, does.refuse},
	{"array or struct that differs: load", allOf(is.load, is.aggregate, is.unequal), does.move, does.convertPart},
	{"array or struct that differs: store", allOf(is.store, is.aggregate, is.unequal), does.move, does.convertPart},
	{"array or struct that lacks something", allOf(is.inMemory, is.aggregate, refusedFor("a copy of it can't be converted")), does.move, does.refuse},
	{"array or struct with a bit-field in foreign byte order", allOf(is.inMemory, is.aggregate, refusedFor("is a bit-field in foreign byte order")), does.move, does.refuse},
	{"macro: foreign byte order", allOf(is.inRegister, refusedFor("the bit-field macros know nothing of that")), does.answer, does.refuse},
	{"no register and no stack to spare", allOf(is.store, refusedFor("neither a free register")), does.move, does.refuse},
	{"part of a number: load", allOf(is.load, is.partOf), does.move, does.convertPart},
	{"part of a number: store", allOf(is.store, is.partOf), does.move, does.convertPart},
	{"part of an unaligned number, bit-field in the layout: load", allOf(is.load, is.partOf, is.onlyThere, is.unalignedHere), does.refuse, does.convertPart},
	{"part of an unaligned number, bit-field in the layout: store", allOf(is.store, is.partOf, is.onlyThere, is.unalignedHere), does.refuse, does.convertPart},
	{"part of an unaligned number, bit-field in the layout: offset in a register", allOf(is.inRegister, is.onlyThere, is.unalignedHere), does.refuse, does.follow},
	{"macro: unaligned field in the layout", allOf(recordOf(reloc.ByteOffset, reloc.LeftShift), not(is.inMemory), is.onlyHere, is.unaligned), does.answerOtherwise, does.answer},
	{"macro: bit-field across units: size", allOf(recordOf(reloc.ByteSize), is.acrossUnits), does.answerOtherwise, does.answer},
	{"macro: bit-field across units: shift, big endian", allOf(recordOf(reloc.LeftShift), is.bigEndian, is.acrossUnits), does.answerOtherwise, does.answer},
}

func TestOracleCilium(t *testing.T) {
	t.Parallel()
	checkDifferences(t, ciliumDiffers, slices.Concat(subjects(t, "el"), subjects(t, "eb")), ciliumVerdicts)
}
