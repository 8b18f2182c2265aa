package nic

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/reloc"
)

// programPrefix is what a layout's name starts with if it is in the BTF of a loaded program.
const programPrefix = "prog:"

// ErrNoProgram is wrapped by OpenLayout's error about a program that is not loaded.
var ErrNoProgram = errors.New("no such program is loaded")

var errNotLoaded = fmt.Errorf("%w: xdp-load status and bpftool prog list those that are", ErrNoProgram)

// readProgram reads a layout from the BTF that a program was loaded with, given by its ID or
// its name. Several programs of a name have to be loaded with the same BTF.
//
// What was compiled with md_desc.h is refused: the struct in its BTF is the one that it was
// compiled for, and not what it writes. It wraps ErrNoProgram if there is none, and
// ErrNoDescriptor for one that was loaded without the struct: cilium/ebpf leaves out
// what no function and no map has, while libbpf, bpftool and ip link load all.
func readProgram(program string) (*reloc.Layout, error) {
	raw, err := programBTF(program)
	if err != nil {
		return nil, fmt.Errorf("layout %s%s: %w", programPrefix, program, err)
	}
	return reloc.NewLayout(programPrefix+program, raw, nil)
}

func programBTF(program string) ([]byte, error) {
	if program == "" {
		return nil, fmt.Errorf("%w: give its ID or its name, %sNAME", ErrNoProgram, programPrefix)
	}
	if id, err := strconv.ParseUint(program, 10, 32); err == nil {
		loaded, err := openProgram(ebpf.ProgramID(id))
		if err != nil {
			return nil, err
		}
		return loaded.types()
	}
	named, err := programsNamed(program)
	if err != nil {
		return nil, err
	}
	var first []byte
	for i := range named {
		raw, err := named[i].types()
		switch {
		case err != nil:
			return nil, fmt.Errorf("program %d: %w", named[i].id, err)
		case i > 0 && !bytes.Equal(first, raw):
			return nil, fmt.Errorf("programs %d and %d have this name, and different BTF: give the ID of one", named[0].id, named[i].id)
		}
		first = raw
	}
	return first, nil
}

// loadedProgram is what is looked at of a program.
type loadedProgram struct {
	id   ebpf.ProgramID
	info *ebpf.ProgramInfo
}

func openProgram(id ebpf.ProgramID) (*loadedProgram, error) {
	program, err := ebpf.NewProgramFromID(id)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errNotLoaded
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("look at a loaded program: %w: that takes CAP_SYS_ADMIN: give its object instead, or be root", err)
	case err != nil:
		return nil, err
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return nil, err
	}
	return &loadedProgram{id, info}, nil
}

// programsNamed returns the loaded programs of a name. Of a long one, which the kernel cuts
// off, ebpf.ProgramInfo has the whole, by its BTF.
func programsNamed(name string) ([]*loadedProgram, error) {
	var named []*loadedProgram
	for id := ebpf.ProgramID(0); ; {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, os.ErrNotExist) {
			break
		} else if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("list loaded programs: %w: that takes CAP_SYS_ADMIN: give the program's object instead, or be root", err)
		} else if err != nil {
			return nil, err
		}
		program, err := openProgram(id)
		if errors.Is(err, ErrNoProgram) {
			continue // it has gone since
		}
		if err != nil {
			return nil, err
		}
		if program.info.Name == name {
			named = append(named, program)
		}
	}
	if len(named) == 0 {
		return nil, errNotLoaded
	}
	return named, nil
}

// types returns the BTF that a program was loaded with.
func (p *loadedProgram) types() ([]byte, error) {
	id, ok := p.info.BTFID()
	if !ok || id == 0 {
		return nil, fmt.Errorf("it was loaded without BTF: compile it with -g, and load it with what passes BTF on")
	}
	handle, err := btf.NewHandleFromID(id)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	spec, err := handle.Spec(nil)
	if err != nil {
		return nil, err
	}
	var types []btf.Type
	hasDescriptor, isOurs := false, false
	for typ, err := range spec.All() {
		if err != nil {
			return nil, err
		}
		if _, isStruct := typ.(*btf.Struct); isStruct {
			hasDescriptor = hasDescriptor || btfraw.EssentialName(typ.TypeName()) == reloc.Descriptor
		}
		isOurs = isOurs || slices.Contains([]string{reloc.Marker, reloc.RewrittenMark}, typ.TypeName())
		types = append(types, typ)
	}
	switch {
	case !hasDescriptor:
		return nil, fmt.Errorf("%w in its BTF: compile it with a variable of the struct, as clang leaves out what nothing uses, and load it with what passes all BTF on; or give its object", ErrNoDescriptor)
	case isOurs:
		return nil, fmt.Errorf("it was compiled with md_desc.h, and what it writes is where xdp-load has put it: give the layout that it was rewritten for")
	}
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		return nil, err
	}
	return builder.Marshal(nil, nil)
}
