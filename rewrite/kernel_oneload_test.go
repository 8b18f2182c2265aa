package rewrite_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// kernelTranslated returns a program as the kernel runs it: verified, with the
// branches taken out that can't be taken. References to maps are those of one
// load, and left out.
func kernelTranslated(t *testing.T, program *ebpf.Program) asm.Instructions {
	t.Helper()
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	insns, err := info.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	for i, ins := range insns {
		if ins.IsLoadFromMap() {
			ins.Constant = 0
		}
		insns[i] = asm.Instruction{
			OpCode: ins.OpCode, Dst: ins.Dst, Src: ins.Src, Offset: ins.Offset, Constant: ins.Constant,
		}
	}
	return insns
}

func kernelSpell(insns asm.Instructions) []string {
	spelled := make([]string, len(insns))
	for i, ins := range insns {
		spelled[i] = fmt.Sprintf("%v", ins)
	}
	return spelled
}

// What the kernel makes of a rewritten program is what it makes of the same
// source compiled against the NIC's own header.
func TestKernelEqualsFixedOffsets(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	twins := 0
	for _, layout := range kernelAccepting(t, "oneload") {
		path := fmt.Sprintf("%s/programs/fixed/oneload-%s%s.o", testdata, layout, kernelEndian)
		if _, err := os.Stat(path); err != nil {
			continue // ../testdata/README.md says why
		}
		twins++
		t.Run(layout, func(t *testing.T) {
			rewritten := kernelLoad(t, kernelRewrite(t, "oneload"+kernelEndian, layout).object)
			fixed := kernelLoad(t, readFile(t, path))
			got := kernelTranslated(t, rewritten.Programs["oneload"])
			expected := kernelTranslated(t, fixed.Programs["oneload"])
			if !slices.Equal(got, expected) {
				t.Error(cmp.Diff(kernelSpell(expected), kernelSpell(got)))
			}
		})
	}
	if twins < 5 {
		t.Errorf("Only %d layouts have a program with fixed offsets", twins)
	}
}

// kernelLoadOf is a load: how many bytes, and where from.
type kernelLoadOf struct {
	base   asm.Register
	offset int16
	width  int
}

// kernelLoads returns all loads of a program, in order.
func kernelLoads(insns asm.Instructions) []kernelLoadOf {
	var loads []kernelLoadOf
	for _, ins := range insns {
		if ins.OpCode.Class() == asm.LdXClass {
			loads = append(loads, kernelLoadOf{ins.Src, ins.Offset, ins.OpCode.Size().Sizeof()})
		}
	}
	return loads
}

// Each md->field is one load. oneload.c reads every field of the header once,
// in the header's order, and nothing else. So all the loads that the kernel runs
// are the two of the context, for the guard, and then these eight, from the
// register that data_meta was loaded to.
func TestKernelOneLoad(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	for _, layout := range kernelAccepting(t, "oneload") {
		t.Run(layout, func(t *testing.T) {
			p := newKernelPair(t, kernelRewrite(t, "oneload"+kernelEndian, layout))
			insns := kernelTranslated(t, kernelLoad(t, p.object).Programs["oneload"])

			loads := kernelLoads(insns)
			if expected := 2 + len(kernelHeaderFields); len(loads) != expected {
				t.Fatalf("%d loads instead of %d:\n%v", len(loads), expected, insns)
			}
			if expected := p.loads(t, kernelHeaderFields, kernelMetaRegister(insns)); !slices.Equal(loads[2:], expected) {
				t.Errorf("Loads %v instead of %v", loads[2:], expected)
			}
			if jumps := kernelJumps(insns); jumps != 1 {
				t.Errorf("%d jumps instead of the guard's alone:\n%v", jumps, insns)
			}
			for _, ins := range insns {
				if ins.OpCode.Class().IsStore() || ins.IsFunctionCall() || ins.IsBuiltinCall() {
					t.Errorf("Neither a load nor arithmetic: %v", ins)
				}
			}
		})
	}
}

// kernelLoadFor returns the load of a field: of its low-order bytes, as many as
// the program's field has, or of the fewest aligned bytes with all its bits.
func kernelLoadFor(base asm.Register, local, target kernelField) kernelLoadOf {
	if !target.isBitField {
		return kernelLoadOf{base, int16(target.bit / 8), int(min(local.bits, target.bits) / 8)}
	}
	width := uint32(8)
	for target.bit/width+1 != (target.bit+target.bits+width-1)/width {
		width *= 2
	}
	return kernelLoadOf{base, int16(target.bit / width * width / 8), int(width / 8)}
}

// loads returns the loads of those fields that the layout has: as wide as the
// narrower of the program's field and the layout's.
func (p *kernelPair) loads(t *testing.T, paths []string, base asm.Register) []kernelLoadOf {
	var loads []kernelLoadOf
	for _, path := range paths {
		local, _ := kernelFind(p.locals, path)
		if target, ok := kernelFind(p.targets, path); ok {
			loads = append(loads, kernelLoadFor(base, local, target))
		}
	}
	return loads
}

// kernelMetaRegister returns what the guard loads ctx->data_meta to: the
// destination of the program's first load.
func kernelMetaRegister(insns asm.Instructions) asm.Register {
	for _, ins := range insns {
		if ins.OpCode.Class() == asm.LdXClass {
			return ins.Dst
		}
	}
	return asm.R0
}

// kernelGuard is the guard as bpf/md_desc.h shows it: the instructions' classes
// and operators, up to the jump that leaves for NULL.
var kernelGuard = []string{
	"size", "load context", "copy", "add register", "load context", "jump if greater",
}

func kernelGuardStep(ins asm.Instruction) string {
	op := ins.OpCode
	switch {
	case op == asm.Mov.Op(asm.ImmSource):
		return "size"
	case op.Class() == asm.LdXClass && ins.Src == asm.R1:
		return "load context"
	case op == asm.Mov.Op(asm.RegSource):
		return "copy"
	case op == asm.Add.Op(asm.RegSource):
		return "add register"
	case op == asm.JGT.Op(asm.RegSource):
		return "jump if greater"
	}
	return fmt.Sprint(ins)
}

// What a descriptor costs: the six instructions of guard that bpf/md_desc.h
// shows, then a load for each field. The test for NULL costs nothing, or a jump
// with clang 14. The question whether a field exists costs a jump that is not taken if it does,
// and nothing otherwise: the verifier takes out what can't be reached, but before
// Linux 7.3 not a jump to what can.
//
// Counted in fields.c, which has them all, as every compiler and instruction
// set has it.
func TestKernelGuard(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	for _, name := range kernelPrograms(t) {
		if kernelSource(name) != "fields" {
			continue
		}
		for _, layout := range kernelAccepting(t, "fields") {
			t.Run(name+"/"+layout, func(t *testing.T) {
				p := newKernelPair(t, kernelRewrite(t, name, layout))
				insns := kernelTranslated(t, kernelLoad(t, p.object).Programs["fields"])
				p.checkGuard(t, insns)

				expected := p.loads(t, kernelHeaderFields, kernelMetaRegister(insns))
				if loads := kernelLoads(insns)[2:]; !slices.Equal(loads, expected) {
					t.Errorf("Loads %v instead of %v", loads, expected)
				}
				always := 1
				if strings.Contains(name, "clang14") {
					always++ // the test for NULL
				}
				if jumps := kernelJumps(insns); jumps != always && jumps != always+len(expected) {
					t.Errorf("%d jumps besides the guard's for %d fields", jumps-1, len(expected))
				}
			})
		}
	}
}

func (p *kernelPair) checkGuard(t *testing.T, insns asm.Instructions) {
	t.Helper()
	if got := insns[0].Constant; got != int64(p.size) {
		t.Errorf("The guard is for %d bytes, the descriptor has %d", got, p.size)
	}
	var steps []string
	for _, ins := range insns[:len(kernelGuard)] {
		steps = append(steps, kernelGuardStep(ins))
	}
	if !slices.Equal(steps, kernelGuard) {
		t.Errorf("The guard is %s", strings.Join(steps, ", "))
	}
}

// kernelJumps counts the conditional jumps.
func kernelJumps(insns asm.Instructions) int {
	jumps := 0
	for _, ins := range insns {
		switch ins.OpCode.JumpOp() {
		case asm.InvalidJumpOp, asm.Exit, asm.Ja, asm.Call:
		default:
			jumps++
		}
	}
	return jumps
}
