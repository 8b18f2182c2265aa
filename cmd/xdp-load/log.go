package main

import (
	"log/slog"
	"os"
)

// newLog returns where decisions are logged, nowhere without --verbose.
func (f *flags) newLog() *slog.Logger {
	switch f.verbose {
	case 0:
		return slog.New(slog.DiscardHandler)
	case 1:
		return slog.New(f.logHandler(slog.LevelInfo))
	}
	return slog.New(f.logHandler(slog.LevelDebug))
}

// logHandler writes what is logged to stderr, as JSON if that is wanted.
func (f *flags) logHandler(level slog.Level) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if f.json {
		return slog.NewJSONHandler(os.Stderr, options)
	}
	return slog.NewTextHandler(os.Stderr, options)
}
