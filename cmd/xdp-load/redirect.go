//go:build linux

package main

import (
	"strconv"
	"strings"

	"github.com/xdp-load/xdp-load/loader"
)

// parseRedirects reads entries of cpumaps and devmaps such as "cpus:0-3=512,on_cpu".
func parseRedirects(texts []string) (all []loader.Redirect, err error) {
	for _, text := range texts {
		place, to, hasTo := strings.Cut(text, "=")
		name, keys, hasKeys := strings.Cut(place, ":")
		first, last, ok := parseKeys(keys)
		if !hasTo || !hasKeys || !ok || name == "" || to == "" {
			return nil, usagef("--redirect %q: MAP:KEYS=TO[,PROGRAM], as in cpus:0-3=512,on_cpu or ports:7=eth1", text)
		}
		redirect := loader.Redirect{Map: name}
		to, redirect.Program, _ = strings.Cut(to, ",")
		if queue, err := strconv.ParseUint(to, 10, 32); err == nil {
			redirect.Queue = uint32(queue)
		} else {
			redirect.Interface = to
		}
		for redirect.Key = first; ; redirect.Key++ {
			all = append(all, redirect)
			if redirect.Key == last {
				break
			}
		}
	}
	return all, nil
}

// mostKeys is more than a machine has CPUs, or a range of keys is meant to have.
const mostKeys = 1 << 16

// parseKeys reads "7" or "0-3".
func parseKeys(text string) (first, last uint32, ok bool) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	low, err := strconv.ParseUint(from, 10, 32)
	if err != nil {
		return 0, 0, false
	}
	high, err := strconv.ParseUint(to, 10, 32)
	return uint32(low), uint32(high), err == nil && low <= high && high-low < mostKeys
}
