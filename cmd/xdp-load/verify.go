//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/verify"
)

const verifyHelp = `Compare what is read of a driver with what the driver tells the stack, on live
traffic. An XDP program of xdp-load's own reads every field of struct md_desc of
each packet, and a TC program looks at what the driver made of the same packet:
the hash, the tag, the checksum, the stamp and the mark of its skb. A metadata
kfunc is asked, too, where there is one. What a field says of the packet's
headers has to be true of them. Packets pass as they are, and none is sent.

A program of xdp-load's on the interface does not run meanwhile: it is replaced
and put back, each in one step. With any other there, verify is refused.
Exits with 1 if a field differs.`

// verifying is what verify does.
type verifying struct {
	*flags
	packets int
	seconds float64
}

func newVerify(f *flags) *cobra.Command {
	v := &verifying{flags: f}
	cmd := &cobra.Command{
		Use:   "verify INTERFACE [FLAGS]",
		Short: "Compare what is read of a driver with the stack",
		Long:  verifyHelp,
		Example: `  xdp-load verify eth0
  xdp-load verify eth0 --packets 10000 --seconds 300
  xdp-load verify eth0 --json > report.json`,
		ValidArgsFunction: completeInterface,
		RunE: func(cmd *cobra.Command, args []string) error {
			args = v.takeInterface(args, 0)
			switch {
			case len(args) > 0:
				return usagef("unexpected argument %q", args[0])
			case v.iface == "":
				return usagef("no interface given: verify INTERFACE")
			case v.packets < 1:
				return usagef("--packets %d: at least one has to be compared", v.packets)
			case !(v.seconds > 0 && v.seconds < 1e9):
				return usagef("--seconds %v: more than none", v.seconds)
			}
			if err := v.sources.check(false); err != nil {
				return err
			}
			return v.run(cmd.OutOrStdout())
		},
	}
	v.addInterface(cmd)
	v.addAccessors(cmd)
	v.addNoKfuncs(cmd)
	cmd.Flags().IntVar(&v.packets, "packets", 1000, "stop after `N` packets")
	cmd.Flags().Float64Var(&v.seconds, "seconds", 60, "stop after `N` seconds, however many packets have come")
	return cmd
}

func (v *verifying) run(w io.Writer) error {
	target, driver, err := v.driverToVerify()
	if err != nil {
		return err
	}
	// Signals end the comparison, and not the process before all is as it was.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	report, err := verify.Run(ctx, verify.Options{
		Target:  target,
		Driver:  driver,
		Packets: v.packets,
		Timeout: time.Duration(v.seconds * float64(time.Second)),
		Started: v.warnReplaced,
	})
	if report == nil {
		return err
	}
	if printErr := v.print(w, report); printErr != nil {
		err = errors.Join(err, printErr)
	}
	if err != nil {
		return err
	}
	return report.Err()
}

// driverToVerify returns the interface with what its fields are read by.
func (v *verifying) driverToVerify() (*nic.Target, *loader.Driver, error) {
	target, err := nic.ByName(v.iface)
	if err != nil {
		return nil, nil, err
	}
	name, err := target.XDPDriver()
	switch {
	case errors.Is(err, nic.ErrSeveralDrivers):
		return nil, nil, fmt.Errorf("%w: verify each of them", err)
	case err != nil:
		return nil, nil, err
	case name == "":
		return nil, nil, fmt.Errorf("%s: %w: there is nothing to verify", v.iface, loader.ErrUnnamedDriver)
	}
	driver, err := v.driverOn(target)
	if err != nil {
		return nil, nil, err
	}
	driver.Name = name
	return target, driver, nil
}

func (v *verifying) warnReplaced(program string) {
	if program != "" {
		v.warn(fmt.Errorf("%s: %s does not run while packets are compared", v.iface, program))
	}
}

// verified is what verify prints as JSON.
type verified struct {
	Version string `json:"version"` // of xdp-load
	*verify.Report
}

func (v *verifying) print(w io.Writer, report *verify.Report) error {
	if v.json {
		return printJSON(w, verified{version(), report})
	}
	printObserved(w, report)
	if err := printFields(w, report); err != nil {
		return err
	}
	printNeverSeen(w, report)
	printLimits(w, report)
	printExamples(w, report)
	return nil
}

// printObserved says how many packets there were, and what became of those that are not
// compared.
func printObserved(w io.Writer, report *verify.Report) {
	p := &report.Packets
	fmt.Fprintf(w, "%s (%s), Linux %s: %s compared\n", report.Interface, report.Driver, report.Kernel, count(p.Compared, "packet", "packets"))
	for _, other := range []struct {
		packets uint64
		what    string
	}{
		{uint64(p.NoneFound), "without a descriptor"},
		{p.Unmatched, "not seen by XDP as they got to the stack"},
		{p.Ambiguous, "like others, with no metadata area to tell them apart"},
	} {
		if other.packets > 0 {
			fmt.Fprintf(w, "%s %s\n", count(int(other.packets), "packet", "packets"), other.what)
		}
	}
}

func printFields(w io.Writer, report *verify.Report) error {
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "FIELD\tAGREE\tDIFFER\tNOT COMPARED\tVALUES\tKFUNC\tFROM")
		for _, f := range report.Fields {
			if f.From == "" {
				fmt.Fprintf(w, "%s\tnot provided: %s%s\n", f.Name, f.Missing, inSkb(f))
				continue
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", f.Name, f.Agree, f.Differ, f.Uncompared, f.Values, kfuncSays(f.Kfunc), f.From)
		}
	})
}

func inSkb(f *verify.Field) string {
	if f.InSkb == 0 {
		return ""
	}
	return fmt.Sprintf(" (the skb had it in %s)", count(f.InSkb, "packet", "packets"))
}

func kfuncSays(k *verify.Kfunc) string {
	switch {
	case k == nil:
		return "-"
	case k.Differ > 0:
		return fmt.Sprintf("%d differ", k.Differ)
	}
	return "agrees"
}

// printNeverSeen says of which fields it is no proof that they agree.
func printNeverSeen(w io.Writer, report *verify.Report) {
	var fields []string
	for _, f := range report.Fields {
		if f.From != "" && f.Values == 0 && report.Packets.Compared > 0 {
			fields = append(fields, f.Name)
		}
	}
	if len(fields) > 0 {
		fmt.Fprintf(w, "no value in any packet: %s\n", strings.Join(fields, ", "))
	}
}

func printLimits(w io.Writer, report *verify.Report) {
	for _, f := range report.Fields {
		for _, l := range f.Limits {
			fmt.Fprintf(w, "%s: %s (%s)\n", f.Name, l.Why, count(l.Packets, "packet", "packets"))
		}
	}
}

// printExamples prints the first of the differences of each field.
func printExamples(w io.Writer, report *verify.Report) {
	for _, f := range report.Fields {
		if len(f.Examples) == 0 {
			continue
		}
		e := &f.Examples[0]
		fmt.Fprintf(w, "%s differs: %s\n", f.Name, e.Why)
		fmt.Fprintf(w, "  in %s of %s on queue %d\n", e.Headers, count(int(e.Length), "byte", "bytes"), e.Queue)
		fmt.Fprintf(w, "  descriptor  %s\n  packet      %s\n", inWords(e.Descriptor), inWords(e.Packet))
	}
}

// inWords puts spaces between each four bytes of hexadecimal digits.
func inWords(digits string) string {
	var words []string
	for len(digits) > 8 {
		words, digits = append(words, digits[:8]), digits[8:]
	}
	return strings.Join(append(words, digits), " ")
}
