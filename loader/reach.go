package loader

import (
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// reach is what a program of an object needs, by name: itself, what the program
// arrays start with that it or one of these calls through, the programs for the cpumaps and
// devmaps that it or one of these redirects into, and their maps.
type reach struct {
	spec     *ebpf.CollectionSpec
	programs map[string]bool
	maps     map[string]bool
}

func reachOf(spec *ebpf.CollectionSpec, program string) *reach {
	r := &reach{spec: spec, programs: make(map[string]bool), maps: make(map[string]bool)}
	r.addProgram(program)
	return r
}

func (r *reach) addProgram(name string) {
	program := r.spec.Programs[name]
	if program == nil || r.programs[name] {
		return
	}
	r.programs[name] = true
	for m := range mapsOf(program) {
		r.addMap(m)
	}
}

// addMap adds a map, with the programs and the maps that it starts with.
func (r *reach) addMap(name string) {
	m := r.spec.Maps[name]
	if m == nil || r.maps[name] {
		return
	}
	r.maps[name] = true
	for program, spec := range r.spec.Programs {
		if isFor(m, spec) && !isOptional(spec) {
			r.addProgram(program)
		}
	}
	for _, entry := range m.Contents {
		value, isName := entry.Value.(string)
		switch {
		case !isName:
		case m.Type == ebpf.ProgramArray:
			r.addProgram(value)
		default:
			r.addMap(value)
		}
	}
}

// mapsOf returns the names of the maps that a program's instructions refer to.
func mapsOf(program *ebpf.ProgramSpec) map[string]bool {
	maps := make(map[string]bool)
	for i := range program.Instructions {
		if ins := &program.Instructions[i]; ins.IsLoadFromMap() && ins.Reference() != "" {
			maps[ins.Reference()] = true
		}
	}
	return maps
}

// functions returns what reports whether the programs have a function of a name.
func (r *reach) functions() func(name string) bool {
	functions := make(map[string]bool)
	for name := range r.programs {
		functions[name] = true
		for i := range r.spec.Programs[name].Instructions {
			if function := btf.FuncMetadata(&r.spec.Programs[name].Instructions[i]); function != nil {
				functions[function.Name] = true
			}
		}
	}
	return func(name string) bool { return functions[name] }
}

// reduced returns the specification without the programs that are not reached, and
// without the maps that only these use. Maps that no program uses stay, as they may
// be for user space.
func (r *reach) reduced() *ebpf.CollectionSpec {
	spec := r.spec.Copy()
	for name, program := range r.spec.Programs {
		if r.programs[name] {
			continue
		}
		delete(spec.Programs, name)
		for m := range mapsOf(program) {
			if !r.maps[m] {
				delete(spec.Maps, m)
			}
		}
	}
	for name, m := range spec.Maps {
		if !r.maps[name] && startsWith(m, func(value string) bool { return spec.Programs[value] == nil && spec.Maps[value] == nil }) {
			delete(spec.Maps, name)
		}
	}
	for name, variable := range spec.Variables {
		if spec.Maps[variable.SectionName] == nil {
			delete(spec.Variables, name)
		}
	}
	return spec
}

// isCalled reports whether a program array starts with a program.
func isCalled(spec *ebpf.CollectionSpec, name string) bool {
	for _, m := range spec.Maps {
		if m.Type == ebpf.ProgramArray && startsWith(m, func(value string) bool { return value == name }) {
			return true
		}
	}
	return false
}

// startsWith reports whether one of the programs or maps that a map starts with has
// such a name.
func startsWith(m *ebpf.MapSpec, is func(string) bool) bool {
	return slices.ContainsFunc(m.Contents, func(entry ebpf.MapKV) bool {
		value, isName := entry.Value.(string)
		return isName && is(value)
	})
}

// redirectMaps are the maps that programs redirect into, and what programs for them say where
// they are attached. Their values have room for a program if they are of sizeofRedirect bytes:
// struct bpf_cpumap_val and bpf_devmap_val.
var redirectMaps = map[ebpf.MapType]ebpf.AttachType{
	ebpf.CPUMap:     ebpf.AttachXDPCPUMap,
	ebpf.DevMap:     ebpf.AttachXDPDevMap,
	ebpf.DevMapHash: ebpf.AttachXDPDevMap,
}

const sizeofRedirect = 8

// isFor reports whether a program is one that a map can have.
func isFor(m *ebpf.MapSpec, program *ebpf.ProgramSpec) bool {
	attach, ok := redirectMaps[m.Type]
	return ok && m.ValueSize == sizeofRedirect && program.Type == ebpf.XDP && program.AttachType == attach
}

// mapOf says what maps programs are for, by where they are attached.
var mapOf = map[ebpf.AttachType]string{ebpf.AttachXDPCPUMap: "cpumap", ebpf.AttachXDPDevMap: "devmap"}

// isOptional reports whether a program is loaded only if somebody asks for it, as
// libbpf has it (bpf_program__autoload).
func isOptional(program *ebpf.ProgramSpec) bool { return strings.HasPrefix(program.SectionName, "?") }
