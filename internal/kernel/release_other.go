//go:build !linux

// Package kernel tells which Linux runs.
package kernel

import "runtime"

// Release returns the name of the system, which is no release of Linux.
func Release() (string, error) { return runtime.GOOS, nil }
