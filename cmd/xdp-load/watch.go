//go:build linux

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
		Use:   "watch [--interval TIME] [INTERFACE...]",
		Short: "Reload programs when their targets change",
		Long: `Watch the interfaces, or all that have a program of xdp-load's, until told to
end. When an interface, a driver, or the file of a layout has changed so that
the program would be another, it is replaced as by reload. What can't be
replaced stays. Each decision is a line on stderr.`,
		Example: `  xdp-load watch
  xdp-load watch eth0 eth1`,
		ValidArgsFunction: completeInterfaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval <= 0 {
				return usagef("--interval %v: it has to be positive", interval)
			}
			ctx, _ := signal.NotifyContext(cmd.Context(), os.Interrupt, unix.SIGTERM) // until the process ends, as signals come twice
			return loader.KeepUpToDate(ctx, loader.KeepOptions{
				Interfaces: args, Find: f.foundAgain, Log: slog.New(f.logHandler(slog.LevelInfo)), Interval: interval,
			})
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", 10*time.Second, "look every so often (`TIME`) without being told of a change")
	return cmd
}
