package rewrite_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// pairCompiler is a compiler and the instruction set it compiles for.
type pairCompiler struct {
	version int
	cpu     string
}

// pairCompilers are what is installed for the tests, those that are used most
// several times.
var pairCompilers = []pairCompiler{
	{19, "v1"}, {19, "v2"}, {19, "v3"}, {19, "v4"}, {19, "v3"}, {19, "v4"}, {19, "v1"}, {19, "v2"},
	{14, "v1"}, {14, "v3"}, {16, "v2"}, {16, "v3"},
	{22, "v1"}, {22, "v2"}, {22, "v3"}, {22, "v4"}, {22, "v3"}, {22, "v4"},
}

func (c pairCompiler) String() string { return fmt.Sprintf("clang-%d -mcpu=%s", c.version, c.cpu) }

// describesEnums reports whether the compiler's BTF tells signed enumerations
// from unsigned ones, and has those of 8 bytes.
func (c pairCompiler) describesEnums() bool { return c.version > 14 }

// debianHeaders is <asm>, which Debian keeps in a directory of the machine's
// architecture, where clang does not look for other targets.
var debianHeaders, _ = filepath.Glob("/usr/include/*-linux-gnu/asm")

// What the compiler says of a source is in files that are named after its contents:
// the object, or the function that has an access which it can't record.
const (
	compiledObject     = ".o"
	compiledUnrecorded = ".unrecorded"
)

// compile returns the object of a source. dir is for its files, which are there
// already if there is no compiler.
func (c pairCompiler) compile(dir, source string) ([]byte, error) {
	file := filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(source))))
	if *pairsRead == "" {
		if err := c.run(file, source); err != nil {
			return nil, err
		}
	}
	if function, err := os.ReadFile(file + compiledUnrecorded); err == nil {
		return nil, &unrecordedError{string(function)}
	}
	return os.ReadFile(file + compiledObject)
}

// run runs the compiler. file is what its files are called, up to their extension.
func (c pairCompiler) run(file, source string) error {
	if err := os.WriteFile(file+".c", []byte(source), 0o600); err != nil {
		return err
	}
	target := "bpfel"
	if pairsBigEndian() {
		target = "bpfeb"
	}
	args := []string{"-O2", "-g", "-target", target, "-mcpu=" + c.cpu, "-w", "-fno-crash-diagnostics", "-Itestdata/pairs", "-I../testdata/programs"}
	for _, asm := range debianHeaders {
		args = append(args, "-isystem", filepath.Dir(asm))
	}
	clang := exec.Command(fmt.Sprintf("clang-%d", c.version), append(args, "-c", file+".c", "-o", file+compiledObject)...)
	output, err := clang.CombinedOutput()
	if err != nil && bytes.Contains(output, []byte("Unsupported field expression")) {
		var name []byte
		if function := clangFunction.FindSubmatch(output); function != nil {
			name = function[1]
		}
		return os.WriteFile(file+compiledUnrecorded, name, 0o600)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", clang, err, output)
	}
	return nil
}

// clangFunction matches where clang says which function it was compiling.
var clangFunction = regexp.MustCompile(`Running pass .*MemberAccess.* on function \W*(\w+)`)

// unrecordedError is clang's fatal error about a bit-field that it can't record
// the access to. pairLeaf.recorded foresees most of them.
type unrecordedError struct{ function string } // empty if clang does not say

func (e *unrecordedError) Error() string {
	return "clang can't record an access to a bit-field in " + e.function
}

// object compiles the programs that are left, without the uses that the compiler
// can't compile, and which it marks. It returns nil if no program is left.
func (b *pairBatch) object(dir string) ([]byte, error) {
	for b.isAnyLeft() {
		object, err := b.compiler.compile(dir, pairsSource(b.pairs, b.isLeft))
		var unrecorded *unrecordedError
		if !errors.As(err, &unrecorded) {
			return object, err
		}
		if !b.leaveOut(unrecorded.function, (*accessPair).crossesBytes) && !b.leaveOut(unrecorded.function, (*accessPair).isBits) {
			return nil, err
		}
	}
	return nil, nil
}

// leaveOut leaves out uses of some fields, in the pair of a function or in all.
// It reports whether there were any.
func (b *pairBatch) leaveOut(function string, these func(*accessPair, pairPath) bool) bool {
	left := false
	for _, p := range b.pairs {
		isCalled := func(program pairProgram) bool { return program.isCalled(p.number, function) }
		if function != "" && !slices.ContainsFunc(p.programs, isCalled) {
			continue
		}
		for _, program := range p.programs {
			if !b.isLeft(p, program) {
				continue
			}
			for i := range program.uses {
				use := &program.uses[i]
				if use.refused == "" && (these(p, use.path) || these(p, use.other)) {
					use.refused, left = pairsUnrecorded, true
				}
			}
		}
	}
	return left
}

// pairsUnrecorded stands for a refusal by the compiler.
const pairsUnrecorded = "not recorded by clang"

// crossesBytes reports whether a bit-field reaches the end of a byte.
func (p *accessPair) crossesBytes(path pairPath) bool {
	local, _ := p.local.find(path)
	return local.pairScalar != nil && local.bits > 0 && local.within/8 != (local.within+local.bits)/8
}

func (p *accessPair) isBits(path pairPath) bool {
	local, _ := p.local.find(path)
	return local.pairScalar != nil && local.bits > 0
}

// isCalled reports whether a function is the program's, or one that it calls.
func (p *pairProgram) isCalled(number int, function string) bool {
	return callingProgram(function) == p.name(number)
}

// callingProgram returns the name of the program that a function is, or is called by.
func callingProgram(function string) string {
	name, _, _ := strings.Cut(function, "_")
	return name
}

// uses reports whether a program of the pair has a use that was not refused.
func (p *accessPair) uses(program pairProgram) bool { return program.isUsed() }

// isUsed reports whether the program has a use that was not refused.
func (p pairProgram) isUsed() bool {
	return slices.ContainsFunc(p.uses, func(u pairUse) bool { return u.refused == "" })
}

// pairBatch is pairs that are compiled together.
type pairBatch struct {
	compiler pairCompiler
	pairs    []*accessPair
	computed bool // see Computed

	// left are the programs, by name, that were in no object yet of which nothing is
	// refused.
	left map[string]bool
}

// isLeft reports whether a program of a pair has uses, and is left.
func (b *pairBatch) isLeft(p *accessPair, program pairProgram) bool {
	return b.left[program.name(p.number)] && program.isUsed()
}

func (b *pairBatch) isAnyLeft() bool { return b.isAnyLeftBut(nil) }

// isAnyLeftBut reports whether a program is left that is none of those taken out.
func (b *pairBatch) isAnyLeftBut(takenOut map[string]bool) bool {
	return slices.ContainsFunc(b.pairs, func(p *accessPair) bool {
		return slices.ContainsFunc(p.programs, func(program pairProgram) bool {
			return b.isLeft(p, program) && !takenOut[program.name(p.number)]
		})
	})
}

// pairFailure is what a pair came to instead of what it should have.
type pairFailure struct {
	pair   *accessPair
	index  int      // of the program, if that is known
	use    *pairUse // nil if that is not known
	kind   string   // stays the same while the pair is made smaller
	detail string
	object []byte // rewritten, nil if it was not
	report *rewrite.Report
}

func (f *pairFailure) program() *pairProgram { return &f.pair.programs[f.index] }

// check compiles the pairs, rewrites and runs them. It marks the uses that were
// refused.
func (b *pairBatch) check(dir string) ([]pairFailure, error) {
	b.left = make(map[string]bool)
	for _, p := range b.pairs {
		for _, program := range p.programs {
			b.left[program.name(p.number)] = true
		}
	}
	return b.checkLeft(dir)
}

// checkLeft checks the programs that are left: those of which nothing is refused at
// once, and the others without what is.
func (b *pairBatch) checkLeft(dir string) ([]pairFailure, error) {
	var failures []pairFailure
	for b.isAnyLeft() {
		object, found, err := b.rewrite(dir)
		failures = append(failures, found...)
		if err != nil {
			return b.apart(dir, "rewrite", err, failures)
		}
		if object.rewritten != nil && *pairsWrite == "" {
			spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object.rewritten))
			if err != nil {
				return b.apart(dir, "read", err, failures)
			}
			if found, err = b.run(spec); err != nil {
				return nil, err
			}
			for _, failure := range found {
				failure.object, failure.report = object.rewritten, object.report
				failures = append(failures, failure)
			}
		}
		b.left = object.takenOut
	}
	return failures, nil
}

// run loads the programs of an object and runs them.
func (b *pairBatch) run(spec *ebpf.CollectionSpec) ([]pairFailure, error) {
	loaded, failures, err := b.load(spec)
	if err != nil {
		return nil, err
	}
	defer loaded.Close()
	for _, p := range b.pairs {
		found, err := p.run(loaded)
		if err != nil {
			return nil, err
		}
		failures = append(failures, found...)
	}
	return failures, nil
}

// load loads the programs that the kernel takes.
func (b *pairBatch) load(spec *ebpf.CollectionSpec) (*ebpf.Collection, []pairFailure, error) {
	var failures []pairFailure
	for {
		loaded, err := ebpf.NewCollection(spec)
		if err == nil {
			return loaded, failures, nil
		}
		failure := pairFailure{kind: "load", detail: lastLines(err)}
		for _, p := range b.pairs {
			for i, program := range p.programs {
				if name := program.name(p.number); strings.HasPrefix(err.Error(), "program "+name+":") {
					failure.pair, failure.index = p, i
					delete(spec.Programs, name)
				}
			}
		}
		if failure.pair == nil {
			return nil, nil, err
		}
		failures = append(failures, failure)
	}
}

// apart finds the pairs that an error is about by checking each alone.
func (b *pairBatch) apart(dir, kind string, err error, failures []pairFailure) ([]pairFailure, error) {
	if errors.As(err, new(*exec.ExitError)) || errors.As(err, new(*exec.Error)) || *pairsRead != "" {
		return nil, err // of the compiler, or there is none
	}
	if len(b.pairs) == 1 {
		p := b.pairs[0]
		isLeft := func(program pairProgram) bool { return b.isLeft(p, program) }
		return append(failures, pairFailure{pair: p, index: slices.IndexFunc(p.programs, isLeft), kind: kind, detail: err.Error()}), nil
	}
	for _, p := range b.pairs {
		alone := pairBatch{b.compiler, []*accessPair{p}, b.computed, b.left}
		found, err := alone.checkLeft(dir)
		if err != nil {
			return nil, err
		}
		failures = append(failures, found...)
	}
	return failures, nil
}

// lastLines returns an error, with the end of the verifier's log if it is that.
func lastLines(err error) string {
	var refused *ebpf.VerifierError
	if !errors.As(err, &refused) {
		return err.Error()
	}
	log := refused.Log[max(0, len(refused.Log)-25):]
	return fmt.Sprintf("%v\n%s", err, strings.Join(log, "\n"))
}

// pairObject is what became of an object.
type pairObject struct {
	rewritten []byte // nil if nothing was left to rewrite
	report    *rewrite.Report
	takenOut  map[string]bool // programs, by name
}

// rewrite compiles the programs that are left and rewrites them for their targets. Of
// those of which something is refused it marks the uses, and takes the programs out of
// the object: they have to be compiled without these uses, the others need not be.
func (b *pairBatch) rewrite(dir string) (pairObject, []pairFailure, error) {
	raw, err := pairsBTF(b.pairs)
	if err != nil {
		return pairObject{}, nil, err
	}
	layout, err := reloc.NewLayout("pairs", raw, nil)
	if err != nil {
		return pairObject{}, nil, err
	}
	object, err := b.object(dir)
	if err != nil || object == nil {
		return pairObject{}, nil, err
	}
	takenOut, failures := make(map[string]bool), []pairFailure(nil)
	for {
		rewritten, report, err := rewrite.Rewrite(object, layout, b.options())
		var refused *rewrite.RefusedError
		if !errors.As(err, &refused) {
			if err == nil && !without("order") {
				err = checkOrder(object, rewritten, layout, b.options())
			}
			return pairObject{rewritten, report, takenOut}, failures, err
		}
		found, err := b.refuseAll(refused.Refusals)
		failures = append(failures, found...)
		if err != nil {
			return pairObject{}, failures, err
		}
		for _, refusal := range refused.Refusals {
			takenOut[callingProgram(refusal.Access.Program)] = true
		}
		if !b.isAnyLeftBut(takenOut) {
			return pairObject{takenOut: takenOut}, failures, nil
		}
		object, err = withoutFunctions(object, func(name string) bool { return takenOut[callingProgram(name)] })
		if err != nil {
			return pairObject{}, failures, err
		}
	}
}

// options returns what the pairs are rewritten with.
func (b *pairBatch) options() rewrite.Options {
	options := rewrite.Options{Types: []string{"pair*"}}
	if without("shortening") {
		options = rewrite.Unshortened(options)
	}
	if b.computed {
		options = rewrite.Computed(asm.Mov.Reg(asm.R6, asm.R0), asm.FnKtimeGetNs.Call(), asm.Mov.Reg(asm.R0, asm.R6))(options)
	}
	return options
}

// refuseAll marks what was refused.
func (b *pairBatch) refuseAll(refusals []rewrite.Refusal) ([]pairFailure, error) {
	var failures []pairFailure
	gone := b.leftOut()
	for i := range refusals {
		failure, err := b.refuse(&refusals[i], gone)
		if err != nil {
			return failures, err
		}
		if failure != nil {
			failures = append(failures, *failure)
		}
	}
	return failures, nil
}

// refuse marks what was refused, so that it is left out from then on. It returns
// a failure if that is not allowed. gone are the uses that had been left out when
// it was refused.
func (b *pairBatch) refuse(refusal *rewrite.Refusal, gone map[*pairUse]bool) (*pairFailure, error) {
	for _, p := range b.pairs {
		for i, program := range p.programs {
			if !program.isCalled(p.number, refusal.Access.Program) {
				continue
			}
			uses := p.refusedIn(&program, refusal, gone)
			if len(uses) == 0 {
				break
			}
			mayRefuse := func(u *pairUse) bool {
				return p.mayRefuse(&program, u, refusal.Reason) || b.computed && pairsNoRoom.MatchString(refusal.Reason)
			}
			if allowed := slices.DeleteFunc(slices.Clone(uses), func(u *pairUse) bool { return !mayRefuse(u) }); len(allowed) > 0 {
				leaveOutAs(refusal.Reason, allowed)
				return nil, nil
			}
			if leaveOutAs(refusal.Reason, uses[:1]) {
				return &pairFailure{pair: p, index: i, use: uses[0], kind: "refused", detail: refusal.String()}, nil
			}
			return nil, nil
		}
	}
	return nil, fmt.Errorf("the refusal names nothing that %q accesses: %s", refusal.Access.Program, refusal.String())
}

// leftOut returns the uses that were refused so far.
func (b *pairBatch) leftOut() map[*pairUse]bool {
	gone := make(map[*pairUse]bool)
	for _, p := range b.pairs {
		for _, program := range p.programs {
			for i := range program.uses {
				if use := &program.uses[i]; use.refused != "" {
					gone[use] = true
				}
			}
		}
	}
	return gone
}

// leaveOutAs marks uses as refused. It reports whether one was not yet, by another
// record of the same use.
func leaveOutAs(reason string, uses []*pairUse) bool {
	first := false
	for _, use := range uses {
		if use.refused == "" {
			use.refused, first = reason, true
		}
	}
	return first
}

// refusedIn returns the uses of a program that a refusal can be about. One without
// a record names no field: then it is what gets an address or may be either, or
// any.
func (p *accessPair) refusedIn(program *pairProgram, refusal *rewrite.Refusal, gone map[*pairUse]bool) []*pairUse {
	var named, escaping, all []*pairUse
	for i := range program.uses {
		use := &program.uses[i]
		if gone[use] {
			continue
		}
		all = append(all, use)
		if use.isNamed(p.local.tag, refusal.Access.Path) {
			named = append(named, use)
		}
		if use.escapes() {
			escaping = append(escaping, use)
		}
	}
	// What is wrong with an own copy alone comes first.
	slices.SortStableFunc(named, func(a, b *pairUse) int { return -cmp.Compare(a.side.at(0), b.side.at(0)) })
	switch {
	case len(named) > 0:
		return named
	case len(escaping) > 0:
		return escaping
	}
	return all
}

// escapes reports whether what accesses a field has no record of it.
func (u *pairUse) escapes() bool {
	return u.side == pairEitherSide || slices.Contains([]pairWay{pairTaken, pairProbed, pairBeside}, u.way)
}

// isNamed reports whether a path as reloc spells it is one of the use's, or
// leads to an array with its element.
func (u *pairUse) isNamed(root, spelled string) bool {
	for _, path := range []pairPath{u.path, u.other} {
		full := root + "->" + path.String()
		if len(path) > 0 && (full == spelled || strings.HasPrefix(full, spelled+"[") || strings.HasPrefix(full, spelled+".")) {
			return true
		}
	}
	return false
}

// run runs the programs of a pair over each of their areas.
func (p *accessPair) run(loaded *ebpf.Collection) ([]pairFailure, error) {
	var failures []pairFailure
	for i, program := range p.programs {
		for _, area := range program.areas {
			if loaded.Programs[program.name(p.number)] == nil {
				break
			}
			found, err := p.runProgram(loaded, i, area)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", program.name(p.number), err)
			}
			if len(found) > 0 {
				failures = append(failures, found...)
				break
			}
		}
	}
	return failures, nil
}

func (p *accessPair) runProgram(loaded *ebpf.Collection, index int, area pairArea) ([]pairFailure, error) {
	program := &p.programs[index]
	name := program.name(p.number)
	outputs, found := make([]uint64, program.slots()), []uint64{0}
	for suffix, value := range map[string][]uint64{"_in": area.inputs, "_out": outputs, "_found": found} {
		if err := setVariable(loaded, name+suffix, value); err != nil {
			return nil, err
		}
	}
	if err := p.setOwn(loaded, program, area); err != nil {
		return nil, err
	}
	after, err := runOn(loaded.Programs[name], area.metadata)
	if err != nil {
		return nil, err
	}
	if err := getVariable(loaded, name+"_found", found); err != nil {
		return nil, err
	}
	if found[0] != 1 {
		return []pairFailure{{pair: p, index: index, kind: "guard",
			detail: fmt.Sprintf("no descriptor in %d bytes, the layout's has %d", len(area.metadata), p.target.size)}}, nil
	}
	if err := getVariable(loaded, name+"_out", outputs); err != nil {
		return nil, err
	}
	expectedOutputs, expected := p.expect(program, area)
	p.leavePadding(program, pairDescriptor, expected.metadata, after)
	failures := p.compareArea(index, area, after, expected.metadata)
	if program.kind == pairOwns {
		kept, err := p.compareOwn(loaded, index, area, expected)
		if err != nil {
			return nil, err
		}
		failures = append(failures, kept...)
	}
	for i := range program.uses {
		use := &program.uses[i]
		if got, expected := outputs[use.slot], expectedOutputs[use.slot]; got != expected {
			failures = append(failures, pairFailure{pair: p, index: index, use: use, kind: "value",
				detail: fmt.Sprintf("%s: read %#x instead of %#x, input %#x, metadata %x", use.path, got, expected, area.inputs[use.slot], area.metadata)})
		}
	}
	if first := program.firstHeld(); !slices.Equal(outputs[first:], expectedOutputs[first:]) {
		failures = append(failures, pairFailure{pair: p, index: index, kind: "held",
			detail: fmt.Sprintf("%#x is in variables that were %#x", outputs[first:], expectedOutputs[first:])})
	}
	return failures, nil
}

// setVariable writes a global variable that the compiler may have left out, for
// want of accesses that were not refused.
func setVariable(loaded *ebpf.Collection, name string, value []uint64) error {
	variable := loaded.Variables[name]
	if variable == nil {
		return nil
	}
	if len(value) == 1 && variable.Size() == 8 {
		return variable.Set(value[0])
	}
	return variable.Set(value)
}

func getVariable(loaded *ebpf.Collection, name string, value []uint64) error {
	variable := loaded.Variables[name]
	if variable == nil {
		return nil
	}
	if len(value) == 1 && variable.Size() == 8 {
		return variable.Get(&value[0])
	}
	return variable.Get(value)
}

// runOn runs a program on a metadata area and returns the area as it is then.
func runOn(program *ebpf.Program, metadata []byte) ([]byte, error) {
	outcome, err := netlab.Run(program, metadata, kernelPacket)
	if err != nil {
		return nil, err
	}
	if outcome.Action != kernelXDPPass {
		return nil, fmt.Errorf("returned %d", outcome.Action)
	}
	if !bytes.Equal(outcome.Packet, kernelPacket) {
		return nil, fmt.Errorf("the packet behind the metadata was changed: %x", outcome.Packet)
	}
	return outcome.Metadata, nil
}

// compareArea compares the metadata area with what the program was to make of
// it.
func (p *accessPair) compareArea(index int, area pairArea, after, expected []byte) []pairFailure {
	if bytes.Equal(after, expected) {
		return nil
	}
	failure := pairFailure{pair: p, index: index, kind: "area",
		detail: fmt.Sprintf("metadata\n\t%x instead of\n\t%x, before\n\t%x", after, expected, area.metadata)}
	for i := range p.programs[index].uses {
		use := &p.programs[index].uses[i]
		_, target, exists := p.resolve(p.accessed(use))
		isHere := use.side.at(area.inputs[use.slot]) == pairDescriptor
		if use.refused == "" && use.stores && isHere && exists && target.read(after) != target.read(expected) {
			failure.use = use
			failure.detail = fmt.Sprintf("%s holds %#x instead of %#x, input %#x: %s", use.path,
				target.read(after), target.read(expected), area.inputs[use.slot], failure.detail)
			break
		}
	}
	return []pairFailure{failure}
}
