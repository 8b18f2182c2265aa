//go:build linux

package loader

import (
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// dispatcherName is that of the program by which libxdp runs several on an interface
// (xdp-dispatcher.c in xdp-tools), which it pins below dispatcherPins.
const (
	dispatcherName = "xdp_dispatcher"
	dispatcherPins = bpffs + "/xdp"
)

// Dispatched is a program that a dispatcher of libxdp's runs.
type Dispatched struct {
	Program   string         `json:"program"`
	ProgramID ebpf.ProgramID `json:"programID"`
	Tag       string         `json:"tag"` // the kernel's hash of its instructions
}

// whatForeign says what a program of somebody else is, and which others it runs.
func whatForeign(name string, ifindex int, id ebpf.ProgramID) (string, []Dispatched) {
	if name != dispatcherName {
		return "foreign", nil
	}
	var all []Dispatched
	for _, pin := range dispatchedPins(ifindex, id) {
		all = append(all, dispatchedAt(pin))
	}
	switch len(all) {
	case 0: // its pins are somewhere else
		return "libxdp dispatcher", nil
	case 1:
		return "libxdp dispatcher of 1 program", all
	}
	return fmt.Sprintf("libxdp dispatcher of %d programs", len(all)), all
}

// dispatchedPins returns where the programs are pinned that a dispatcher runs, in their
// order, of which there are ten at most (protocol.org of xdp-tools).
func dispatchedPins(ifindex int, dispatcher ebpf.ProgramID) []string {
	pins, _ := filepath.Glob(fmt.Sprintf("%s/dispatch-%d-%d/prog[0-9]-prog", dispatcherPins, ifindex, dispatcher))
	return pins
}

// dispatchedAt returns the program that is pinned at a path, as far as it may be looked at.
func dispatchedAt(path string) (d Dispatched) {
	program, err := ebpf.LoadPinnedProgram(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return d
	}
	defer program.Close()
	if info, err := program.Info(); err == nil {
		d.Program, d.Tag = programName(info), info.Tag
		d.ProgramID, _ = info.ID()
	}
	return d
}

// runsDispatcher reports whether the interface has a dispatcher that libxdp takes off.
func (h *hook) runsDispatcher() bool {
	return len(dispatchedPins(h.index, h.programs[0].id)) > 0
}
