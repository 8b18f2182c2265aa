//go:build linux

package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

// running is what the command run does.
type running struct {
	*flags
	program, meta, packet string
	repeat                int
}

func newRun(f *flags) *cobra.Command {
	r := &running{flags: f}
	cmd := &cobra.Command{
		Use:   "run --layout FILE [FLAGS] prog.o",
		Short: "Run a program on a packet, without a NIC",
		Long: `Run a program on a packet with a metadata area in front of it, in the kernel and
without a NIC. Show what it returns, and what it has changed.`,
		Example: `  xdp-load run --layout nic.o --meta 00000000cafe0000 prog.o
  xdp-load run --layout nic.o --meta @area.bin --packet @packet.bin prog.o`,
		ValidArgsFunction: completeObject,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneObject(cmd, args); err != nil {
				return err
			}
			return r.run(cmd.OutOrStdout(), args[0])
		},
	}
	r.addLayout(cmd)
	cmd.Flags().StringVar(&r.program, "program", "", "run the XDP program of this `NAME`, if the object has several")
	cmd.Flags().StringVar(&r.meta, "meta", "", "the metadata area: `BYTES` in hexadecimal digits, or @FILE")
	cmd.Flags().StringVar(&r.packet, "packet", strings.Repeat("00", 64), "the packet: `BYTES` in hexadecimal digits, or @FILE")
	cmd.Flags().Lookup("packet").DefValue = "64 zeros"
	cmd.Flags().IntVar(&r.repeat, "repeat", 1, "run it `N` times")
	return cmd
}

func (r *running) run(w io.Writer, path string) error {
	if len(r.layouts) == 0 {
		return usagef("no layout given: --layout FILE says where the metadata area has each field; no driver has the packet")
	}
	if err := r.sources.check(false); err != nil {
		return err
	}
	if r.repeat < 1 {
		return usagef("--repeat %d: at least once", r.repeat)
	}
	input := loader.Input{Repeat: r.repeat}
	var err error
	if input.Metadata, err = bytesOf("--meta", r.meta); err != nil {
		return err
	}
	if input.Packet, err = bytesOf("--packet", r.packet); err != nil {
		return err
	}
	opts, err := r.source(nil)
	if err != nil {
		return err
	}
	opts.Program = r.program
	outcome, err := loader.Run(path, opts, input)
	if err != nil {
		return err
	}
	r.warnUnaccessed(path, outcome.Report)
	if r.json {
		return printJSON(w, newRan(outcome))
	}
	return printOutcome(w, &input, outcome)
}

// bytesOf reads what a flag gives, in digits or in a file.
func bytesOf(flag, value string) ([]byte, error) {
	if path, isFile := strings.CutPrefix(value, "@"); isFile {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", flag, path, withoutPath(err))
		}
		return data, nil
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(value), ""))
	if err != nil {
		return nil, usagef("%s %q: two hexadecimal digits for each byte, or @FILE", flag, value)
	}
	return data, nil
}

// ran is what run prints as JSON, bytes in hexadecimal digits.
type ran struct {
	Report      *rewrite.Report `json:"report"`
	Program     string          `json:"program"`
	Action      uint32          `json:"action"`
	ActionName  string          `json:"actionName,omitempty"`
	Metadata    string          `json:"metadata"`
	Packet      string          `json:"packet"`
	Nanoseconds time.Duration   `json:"nanoseconds"`
	Variables   []ranVariable   `json:"variables"`
}

type ranVariable struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func newRan(o *loader.Outcome) *ran {
	r := &ran{
		Report: o.Report, Program: o.Program, Action: o.Action, ActionName: o.ActionName,
		Metadata: hex.EncodeToString(o.Metadata), Packet: hex.EncodeToString(o.Packet),
		Nanoseconds: o.Duration, Variables: []ranVariable{},
	}
	for _, v := range o.Variables {
		r.Variables = append(r.Variables, ranVariable{v.Name, hex.EncodeToString(v.Before), hex.EncodeToString(v.After)})
	}
	return r
}

func printOutcome(w io.Writer, input *loader.Input, o *loader.Outcome) error {
	if err := printEdits(w, o.Report); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s returns %d%s\n", o.Program, o.Action, inParentheses(o.ActionName, ""))
	return table(w, func(w io.Writer) {
		printChanged(w, "metadata area", input.Metadata, o.Metadata)
		printChanged(w, "packet", input.Packet, o.Packet)
		for _, v := range o.Variables {
			printChanged(w, v.Name, v.Before, v.After)
		}
	})
}

// printChanged prints what was before and is now, if that is something else.
func printChanged(w io.Writer, what string, before, after []byte) {
	if string(before) != string(after) {
		fmt.Fprintf(w, "%s\t%s\t-> %s\n", what, orDash(hex.EncodeToString(before)), orDash(hex.EncodeToString(after)))
	}
}
