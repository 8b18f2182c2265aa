package loader

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/collection"
	"github.com/xdp-load/xdp-load/rewrite"
)

// contexts are the structs of the kernel that ctx is, by the type of a program. A program
// that replaces a function is given what that is given.
var contexts = map[ebpf.ProgramType]string{
	ebpf.XDP:          "xdp_buff",
	ebpf.SchedCLS:     "sk_buff",
	ebpf.SchedACT:     "sk_buff",
	ebpf.SocketFilter: "sk_buff",
	ebpf.CGroupSKB:    "sk_buff",
	ebpf.LWTIn:        "sk_buff",
	ebpf.LWTOut:       "sk_buff",
	ebpf.LWTXmit:      "sk_buff",
	ebpf.LWTSeg6Local: "sk_buff",
	ebpf.SkSKB:        "sk_buff",
}

// Hook is where in the way of an interface's packets programs run.
type Hook string

const (
	XDP     Hook = "xdp"     // before the network stack
	Ingress Hook = "ingress" // in TC, on the way in
	Egress  Hook = "egress"  // in TC, on the way out
)

// HookOf returns where a program is attached to an interface, empty if nowhere. Of TC it is
// the way in if the program does not say.
func HookOf(program *ebpf.ProgramSpec) Hook {
	switch {
	case program.Type == ebpf.XDP && program.AttachType == ebpf.AttachXDP:
		return XDP
	case program.Type != ebpf.SchedCLS:
		return ""
	case program.AttachType == ebpf.AttachNone || program.AttachType == ebpf.AttachTCXIngress:
		return Ingress
	case program.AttachType == ebpf.AttachTCXEgress:
		return Egress
	}
	return ""
}

// checkPrograms refuses programs that read what a driver keeps of a packet, and that the
// kernel would refuse for it, or that never see such a packet. isLoaded is as in
// rewrittenSpec.
func checkPrograms(rewritten []byte, accessors []*rewrite.Accessors, report *rewrite.Report, isLoaded func(string) bool) error {
	spec, err := collection.Read(bytes.NewReader(rewritten))
	if err != nil {
		return fmt.Errorf("read rewritten object: %w", err)
	}
	given := make(map[string]string)
	for _, a := range accessors {
		given[a.Name] = a.Context
	}
	refused := &rewrite.RefusedError{Driver: report.Driver, Edits: report.Edits}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		program := spec.Programs[name]
		if isLoaded != nil && !isLoaded(name) {
			continue
		}
		edit := firstRead(program, report, given)
		if edit == nil {
			continue
		}
		if reason, remedy := unfit(program, edit.Driver, given); reason != "" {
			refused.Refusals = append(refused.Refusals, rewrite.Refusal{Access: *edit.Access, Reason: reason, Remedy: remedy})
		}
	}
	if len(refused.Refusals) == 0 {
		return nil
	}
	return refused
}

// firstRead returns the first access by which a program, or a function that it calls,
// reads what a driver keeps, of those that it can read if there are some: programs of
// another kind have copies of a function. It is nil if there is none.
func firstRead(program *ebpf.ProgramSpec, report *rewrite.Report, given map[string]string) (first *rewrite.Edit) {
	functions := functionsOf(program)
	for i := range report.Edits {
		edit := &report.Edits[i]
		switch {
		case edit.Driver == "" || !functions[edit.Access.Program]:
		case given[edit.Driver] == contexts[program.Type]:
			return edit
		case first == nil:
			first = edit
		}
	}
	return first
}

// functionsOf returns the names of the functions that a program consists of.
func functionsOf(program *ebpf.ProgramSpec) map[string]bool {
	functions := map[string]bool{program.Name: true}
	for i := range program.Instructions {
		if function := btf.FuncMetadata(&program.Instructions[i]); function != nil {
			functions[function.Name] = true
		}
	}
	return functions
}

// unfit says why a program can't read the fields of a driver, whose accessors are given a
// struct, and what to do about it. Both are empty if it can.
func unfit(program *ebpf.ProgramSpec, driver string, given map[string]string) (reason, remedy string) {
	switch {
	case program.Type != ebpf.Extension && contexts[program.Type] != given[driver]:
		return fmt.Sprintf("program %s, in SEC(%q), is not given the struct %s that the accessors of %s read", program.Name, program.SectionName, given[driver], driver),
			"read the fields in an XDP program or one of TC"
	case program.AttachType == ebpf.AttachXDPCPUMap || program.AttachType == ebpf.AttachXDPDevMap:
		return fmt.Sprintf("program %s, in SEC(%q), is given packets that have left the driver, and nothing of what it keeps of them", program.Name, program.SectionName),
			"read the fields in the program on the interface, and pass them on in front of the packet, in a struct of the program's own"
	}
	if !gplCompatible[program.License] {
		return fmt.Sprintf("the licence %q of program %s is not compatible with the GPL, and only programs with one that is may read the kernel's memory", program.License, program.Name),
			`say SEC("license") = "GPL", or "Dual MIT/GPL", "Dual BSD/GPL", "Dual MPL/GPL"`
	}
	return "", ""
}

// gplCompatible are the licences of license_is_gpl_compatible in include/linux/license.h.
var gplCompatible = map[string]bool{
	"GPL": true, "GPL v2": true, "GPL and additional rights": true,
	"Dual BSD/GPL": true, "Dual MIT/GPL": true, "Dual MPL/GPL": true,
}
