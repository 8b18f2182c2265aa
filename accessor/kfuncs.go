package accessor

import (
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// Implements returns the functions that the driver has for metadata kfuncs, by the kfuncs'
// names, as far as the BTF of its module, or of a kernel that it is built into, tells. Such
// a function has the prototype of the kfunc, as they are members of struct xdp_metadata_ops,
// and its name starts with the same word as one of the structs that the file declares:
// "virtnet_xdp_rx_hash" and "struct virtnet_info". A device may still lack what its driver
// has: nic.Target.Kfuncs asks for that.
func (f *File) Implements(kernel *reloc.Layout, kfuncs []string) (map[string]string, error) {
	found := make(map[string]string)
	if f.Context != "xdp_buff" { // nobody else may call them
		return found, nil
	}
	for _, kfunc := range kfuncs {
		functions, err := kernel.FunctionsLike(kfunc)
		if err != nil {
			return nil, err
		}
		for _, function := range functions {
			if slices.Contains(f.words, firstWord(function)) {
				found[kfunc] = function
			}
		}
	}
	return found, nil
}

// firstWord returns what names in the kernel start with to tell whose they are.
func firstWord(name string) string {
	word, _, _ := strings.Cut(name, "_")
	return word
}

// structWords returns the first words of the names of all structs that the object
// declares.
func (o *object) structWords() (words []string, err error) {
	for typ, err := range o.types.All() {
		if err != nil {
			return nil, err
		}
		if s, ok := typ.(*btf.Struct); ok && s.Name != "" {
			words = append(words, firstWord(s.Name))
		}
	}
	slices.Sort(words)
	return slices.Compact(words), nil
}
