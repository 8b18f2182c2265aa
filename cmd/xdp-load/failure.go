package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// failure is what --json prints of an error, as is said in docs/json.md.
type failure struct {
	Message     string    `json:"message"`
	Help        string    `json:"help,omitempty"`
	Layout      string    `json:"layout,omitempty"`
	Driver      string    `json:"driver,omitempty"`
	Refusals    []refusal `json:"refusals,omitempty"`
	VerifierLog []string  `json:"verifierLog,omitempty"`

	Places []nic.Place `json:"places,omitempty"` // where no source was found
}

// refusal is what was refused at one place of a program.
type refusal struct {
	Program  string       `json:"program,omitempty"`
	Source   reloc.Source `json:"source,omitzero"`
	Field    string       `json:"field,omitempty"`
	Accessor reloc.Source `json:"accessor,omitzero"` // line of the driver's accessor, if that was refused
	Reason   string       `json:"reason"`
	Remedy   string       `json:"remedy,omitempty"`
}

// fail prints the error of a command on stderr and returns the exit code.
func (f *flags) fail(cmd *cobra.Command, err error) int {
	var usage *usageError
	isUsage := errors.As(err, &usage)
	help := ""
	if isUsage {
		help = cmd.CommandPath() + " --help"
	}
	if f.json {
		printLine(map[string]failure{"error": newFailure(err, help)})
	} else {
		printFailure(err, help)
	}
	if isUsage {
		return exitUsage
	}
	return exitRefused
}

func printFailure(err error, help string) {
	fmt.Fprintf(os.Stderr, "xdp-load: %v\n", err)
	if help != "" {
		fmt.Fprintf(os.Stderr, "Try '%s'.\n", help)
	}
	var detailed interface{ Details() string }
	if errors.As(err, &detailed) {
		fmt.Fprint(os.Stderr, detailed.Details())
	}
}

// warn says on stderr what is no error.
func (f *flags) warn(err error) {
	if f.json {
		printLine(map[string]failure{"warning": newFailure(err, "")})
		return
	}
	fmt.Fprintf(os.Stderr, "xdp-load: warning: %v\n", err)
}

// printLine prints JSON on one line of stderr.
func printLine(value any) {
	encoder := json.NewEncoder(os.Stderr)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // there is no other place to say that it failed
}

func newFailure(err error, help string) failure {
	all := failure{Message: err.Error(), Help: help, Refusals: refusalsOf(err)}
	var refused *rewrite.RefusedError
	if errors.As(err, &refused) {
		all.Layout, all.Driver = refused.Layout, refused.Driver
	}
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		all.VerifierLog = verifier.Log
	}
	all.addLoading(err)
	return all
}

// refusalsOf returns what an error says was refused, and where.
func refusalsOf(err error) []refusal {
	var refused *rewrite.RefusedError
	if errors.As(err, &refused) {
		list := make([]refusal, len(refused.Refusals))
		for i := range refused.Refusals {
			r := &refused.Refusals[i]
			list[i] = refusal{Program: r.Access.Program, Source: r.Access.Source, Field: r.Access.Path, Reason: r.Reason, Remedy: r.Remedy}
		}
		return list
	}
	var ofAccess *rewrite.AccessError
	if errors.As(err, &ofAccess) {
		access := &ofAccess.Access
		return []refusal{{Program: access.Program, Source: access.Source, Field: access.Path, Reason: ofAccess.Err.Error()}}
	}
	return nil
}

// wantsJSON reports whether a command line has --json, for one that could not be read
// up to there.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}
