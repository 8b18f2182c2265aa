package main

import (
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/loader"
)

func newWatch(f *flags) *cobra.Command {
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch [INTERFACE...]",
		Short: "Replace programs when what they were rewritten for has changed",
		Long: `Watch the interfaces, or all that have a program that xdp-load has attached, until it is
told to end. When an interface, a driver, or the file of a layout has changed so that the
program would be another, it is replaced as by reload. What can't be replaced stays.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval <= 0 {
				return usagef("--interval %v: it has to be positive", interval)
			}
			ctx, _ := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM) // until the process ends, as signals come twice
			return loader.KeepUpToDate(ctx, loader.KeepOptions{
				Interfaces: args, Find: foundAgain, Log: slog.New(f.logHandler()), Interval: interval,
			})
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", 10*time.Second, "how often to look without being told of a change")
	return cmd
}

// logHandler returns where decisions are logged.
func (f *flags) logHandler() slog.Handler {
	if f.json {
		return slog.NewJSONHandler(os.Stderr, nil)
	}
	return slog.NewTextHandler(os.Stderr, nil)
}
