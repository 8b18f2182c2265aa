//go:build !linux

package nic

// mappedVmlinux returns nil: no Linux runs.
func mappedVmlinux() []byte { return nil }
