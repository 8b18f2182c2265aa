package loader

import (
	"bytes"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/collection"
)

// unboundIn says of the programs of an object that the kernel lets nobody bind to a device
// why it does not, by their names: program arrays, cpumaps and devmaps take no such programs
// (bpf_prog_map_compatible in kernel/bpf/core.c), and what replaces a function is bound as
// that is.
func unboundIn(object []byte) map[string]string {
	spec, err := collection.Read(bytes.NewReader(object))
	if err != nil {
		return nil // what is wrong with it, its rewriting says
	}
	unbound := make(map[string]string)
	for name, program := range spec.Programs {
		switch {
		case program.Type == ebpf.Extension:
			unbound[name] = fmt.Sprintf("program %s is for another program's function", name)
		case program.AttachType == ebpf.AttachXDPCPUMap, program.AttachType == ebpf.AttachXDPDevMap:
			unbound[name] = fmt.Sprintf("program %s is for a map, whose programs can't be", name)
		case isCalled(spec, name):
			unbound[name] = fmt.Sprintf("program %s is in a program array, whose programs can't be", name)
		}
	}
	return unbound
}
