// Package kernel tells which Linux runs.
package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Release returns what uname -r prints.
func Release() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}
