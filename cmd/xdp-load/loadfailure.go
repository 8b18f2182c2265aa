//go:build linux

package main

import (
	"errors"

	"github.com/xdp-load/xdp-load/loader"
)

// addLoading adds what an error about loading has.
func (f *failure) addLoading(err error) {
	var nowhere *loader.NoSourceError
	if errors.As(err, &nowhere) {
		f.Places = nowhere.Places
	}
	var byVerifier *loader.RefusalError
	if errors.As(err, &byVerifier) && len(f.Refusals) == 0 {
		f.Refusals = []refusal{verifiersRefusal(byVerifier)}
	}
}

func verifiersRefusal(e *loader.RefusalError) refusal {
	r := refusal{Program: e.Program, Source: e.Source, Accessor: e.Accessor, Reason: e.Reason}
	if e.Edit != nil {
		r.Field = e.Edit.Access.Path
		if e.Edit.Poisoned {
			_, r.Remedy = e.Edit.Missing()
		}
	}
	return r
}
