//go:build linux

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// unsaidVerdict returns what the verifier says of a program that it refuses with
// EFAULT. cilium/ebpf v0.22 drops its log then, whatever the size (the end of
// newProgramWithOptions in prog.go), and tells of a bug in the verifier. Mostly it
// is none: as late as Linux 6.18, a program with too many branches is refused so,
// and so is a call of __bpf_trap. The program is loaded once more, by hand.
func unsaidVerdict(spec *ebpf.CollectionSpec, name string) (*ebpf.VerifierError, error) {
	program := spec.Programs[name].Copy()
	maps, err := associatedMaps(spec, program)
	if err != nil {
		return nil, err
	}
	defer maps.Close()

	types, err := btf.NewBuilder(nil, nil)
	if err != nil {
		return nil, err
	}
	if err := linkToKernel(program, types); err != nil {
		return nil, err
	}
	if err := checkLinked(program.Instructions); err != nil {
		return nil, err
	}
	return refusedLoad(program, types)
}

// associatedMaps makes the maps that a program uses. It uses them only to be
// verified: they are nobody else's, and program arrays are empty.
func associatedMaps(spec *ebpf.CollectionSpec, program *ebpf.ProgramSpec) (*ebpf.Collection, error) {
	used := make(map[string]*ebpf.MapSpec)
	for _, ins := range program.Instructions {
		m := spec.Maps[ins.Reference()]
		if !ins.IsLoadFromMap() || m == nil {
			continue
		}
		m = m.Copy()
		m.Pinning = ebpf.PinNone
		if m.Type == ebpf.ProgramArray {
			m.Contents = nil
		}
		used[ins.Reference()] = m
	}

	maps, err := ebpf.NewCollection(&ebpf.CollectionSpec{Maps: used, Types: spec.Types, ByteOrder: spec.ByteOrder})
	if err != nil {
		return nil, err
	}
	for name, m := range maps.Maps {
		if err := program.Instructions.AssociateMap(name, m); err != nil {
			maps.Close()
			return nil, err
		}
	}
	return maps, nil
}

// linkToKernel resolves the records and kfuncs that are left to the running
// kernel's types.
func linkToKernel(program *ebpf.ProgramSpec, types *btf.Builder) error {
	var (
		records  []*btf.CORERelocation
		recorded []*asm.Instruction
		kfuncs   []*asm.Instruction
	)
	for iter := program.Instructions.Iterate(); iter.Next(); {
		if record := btf.CORERelocationMetadata(iter.Ins); record != nil {
			records, recorded = append(records, record), append(recorded, iter.Ins)
		}
		if iter.Ins.IsKfuncCall() && iter.Ins.Constant == -1 {
			kfuncs = append(kfuncs, iter.Ins)
		}
	}
	if len(records) == 0 && len(kfuncs) == 0 {
		return nil
	}

	kernel, err := kernelTypes()
	if err != nil {
		return err
	}
	fixups, err := btf.CORERelocate(records, kernel, program.ByteOrder, types.Add)
	if err != nil {
		return err
	}
	for i := range fixups {
		if err := fixups[i].Apply(recorded[i]); err != nil {
			return err
		}
	}
	for _, call := range kfuncs {
		if err := linkKfunc(call, kernel[0]); err != nil {
			return err
		}
	}
	return nil
}

// kernelTypes returns the types of the kernel itself, and those of its modules.
func kernelTypes() ([]*btf.Spec, error) {
	cache := btf.NewCache()
	kernel, err := cache.Kernel()
	if err != nil {
		return nil, err
	}
	modules, err := cache.Modules()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	specs := []*btf.Spec{kernel}
	for _, module := range modules {
		types, err := cache.Module(module)
		if err != nil {
			return nil, err
		}
		specs = append(specs, types)
	}
	return specs, nil
}

func linkKfunc(call *asm.Instruction, kernel *btf.Spec) error {
	var function *btf.Func
	if err := kernel.TypeByName(call.Reference(), &function); err != nil {
		return err
	}
	id, err := kernel.TypeID(function)
	call.Constant = int64(id)
	return err
}

// checkLinked wants nothing to be left that only cilium/ebpf can link: what the
// verifier would say of that is not what it said.
func checkLinked(insns asm.Instructions) error {
	for iter := insns.Iterate(); iter.Next(); {
		ins := iter.Ins
		linked := ins.Reference() == "" || ins.IsFunctionReference() || ins.IsKfuncCall() ||
			ins.OpCode.Class().IsJump() || ins.IsLoadFromMap() && ins.Map() != nil
		if !linked {
			return fmt.Errorf("reference to %s", ins.Reference())
		}
	}
	return nil
}

// progLoadAttr is the part of union bpf_attr (include/uapi/linux/bpf.h) that is
// for BPF_PROG_LOAD, as far as it is of use here.
type progLoadAttr struct {
	progType, insnCount  uint32
	insns, license       uint64
	logLevel, logSize    uint32
	logBuf               uint64
	kernelVersion, flags uint32
	name                 [unix.BPF_OBJ_NAME_LEN]byte
	ifindex, attachType  uint32
	btf, funcInfoSize    uint32
	funcInfo             uint64
	funcInfoCount        uint32
	lineInfoSize         uint32
	lineInfo             uint64
	lineInfoCount        uint32
}

// refusedLoad loads a program for what the verifier says. It is an error if it is
// not refused with EFAULT.
func refusedLoad(program *ebpf.ProgramSpec, types *btf.Builder) (*ebpf.VerifierError, error) {
	funcInfo, lineInfo, err := btf.MarshalExtInfos(program.Instructions, types)
	if err != nil {
		return nil, err
	}
	handle, err := btf.NewHandle(types)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	var insns bytes.Buffer
	if err := program.Instructions.Marshal(&insns, program.ByteOrder); err != nil {
		return nil, err
	}

	// Before Linux 6.4 it is the end of a log that gets lost.
	log := make([]byte, 64<<20)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	address := func(data []byte) uint64 {
		pinner.Pin(unsafe.SliceData(data))
		return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data))))
	}
	attr := progLoadAttr{
		progType:      uint32(program.Type),
		insnCount:     uint32(insns.Len() / asm.InstructionSize),
		insns:         address(insns.Bytes()),
		license:       address(append([]byte(program.License), 0)),
		logLevel:      uint32(ebpf.LogLevelBranch),
		logSize:       uint32(len(log)),
		logBuf:        address(log),
		flags:         program.Flags,
		ifindex:       program.Ifindex,
		attachType:    uint32(program.AttachType),
		btf:           uint32(handle.FD()),
		funcInfoSize:  btf.FuncInfoSize,
		funcInfo:      address(funcInfo),
		funcInfoCount: uint32(len(funcInfo)) / btf.FuncInfoSize,
		lineInfoSize:  btf.LineInfoSize,
		lineInfo:      address(lineInfo),
		lineInfoCount: uint32(len(lineInfo)) / btf.LineInfoSize,
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	switch {
	case errno == 0:
		return nil, fmt.Errorf("loads without cilium/ebpf: %w", unix.Close(int(fd)))
	case errno != unix.EFAULT:
		return nil, errno
	}
	said := strings.TrimRight(unix.ByteSliceToString(log), "\n")
	return &ebpf.VerifierError{Cause: errno, Log: strings.Split(said, "\n")}, nil
}
