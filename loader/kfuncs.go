//go:build linux

package loader

import (
	"sync"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/nic"
)

// linkKfuncs links the calls of kfuncs that the running kernel has, as far as it can:
// why it can't is what cilium/ebpf will say.
func linkKfuncs(spec *ebpf.CollectionSpec) {
	types := sync.OnceValues(nic.KernelTypes)
	collection.LinkKfuncs(spec, func(name string) []collection.Function {
		kernel, err := types()
		if err != nil {
			return nil
		}
		functions, err := kernel.Functions(name)
		if err != nil {
			return nil
		}
		found := make([]collection.Function, len(functions))
		for i, function := range functions {
			found[i] = collection.Function(function)
		}
		return found
	})
}
