//go:build linux

package loader

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/nic"
)

// The kernel's metadata kfuncs ask the driver of one device, which has to be known when
// the program is loaded (Documentation/networking/xdp-rx-metadata.rst). The program runs on
// that device only, in its driver only, and can't be called by a tail call.

// BindToDevice has the programs of a specification that call metadata kfuncs loaded for a
// device, given by the number of its interface: with BPF_F_XDP_DEV_BOUND_ONLY.
func BindToDevice(spec *ebpf.CollectionSpec, ifindex int) {
	for _, program := range spec.Programs {
		if asksKfuncs(program) {
			program.Flags |= unix.BPF_F_XDP_DEV_BOUND_ONLY
			program.Ifindex = uint32(ifindex)
		}
	}
}

// asksKfuncs reports whether an XDP program calls a metadata kfunc.
func asksKfuncs(program *ebpf.ProgramSpec) bool {
	if program.Type != ebpf.XDP {
		return false
	}
	for i := range program.Instructions {
		if ins := &program.Instructions[i]; ins.IsKfuncCall() && insn.KfuncAsksDevice(ins.Reference()) {
			return true
		}
	}
	return false
}

// isBound reports whether a program is to be loaded for a device.
func isBound(spec *ebpf.CollectionSpec) bool {
	for _, program := range spec.Programs {
		if program.Flags&unix.BPF_F_XDP_DEV_BOUND_ONLY != 0 {
			return true
		}
	}
	return false
}

// bind binds the programs that call metadata kfuncs to the interface, if there is one.
func (o *Options) bind(spec *ebpf.CollectionSpec) error {
	if o.Interface == "" || !slices.ContainsFunc(slices.Collect(maps.Values(spec.Programs)), asksKfuncs) {
		return nil
	}
	target, err := nic.ByName(o.Interface)
	if err != nil {
		return err
	}
	BindToDevice(spec, target.Index)
	return nil
}

// checkBound refuses a program that is bound to another device than a target, as after the
// interface has got another name. Attaching it the kernel would refuse it, too, but it
// updates a link with it, as of Linux 6.18: the kfuncs would then ask a driver that does not
// have the packet (bpf_xdp_link_update in net/core/dev.c has no bpf_offload_dev_match).
func checkBound(target *nic.Target, program *ebpf.ProgramSpec) error {
	if program.Flags&unix.BPF_F_XDP_DEV_BOUND_ONLY == 0 || int(program.Ifindex) == target.Index {
		return nil
	}
	return fmt.Errorf("%w: program %s is for interface number %d, and %s has number %d: try again",
		ErrBoundElsewhere, program.Name, program.Ifindex, target.Interface, target.Index)
}
