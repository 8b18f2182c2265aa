package rewrite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/reloc"
)

// ErrRefused is wrapped by the error about accesses that can't be rewritten
// truthfully for a layout.
var ErrRefused = errors.New("refused")

// ErrNoDescriptor is wrapped by the error about a layout that defines none of
// the root types that a program accesses.
var ErrNoDescriptor = errors.New("defines no such type")

// RefusedError lists the accesses that were refused, in the order of the
// object. It wraps ErrRefused.
type RefusedError struct {
	Layout   string // as in Report
	Driver   string
	Refusals []Refusal
	Edits    []Edit // of the accesses that were not refused

	OtherSource []int // see Report
}

// Refusal is one access and why it can't be rewritten.
type Refusal struct {
	Access reloc.Access `json:"access"`
	Reason string       `json:"reason"` // what is wrong, with the layout's side of it
	Remedy string       `json:"remedy"` // what to do about it

	// Missing is what the layout or the driver lacks, if that is all that is wrong: Reason
	// without what it has instead.
	Missing string `json:"-"`

	// Unrecorded says that the compiler recorded nothing of the access: of Access only
	// the place is set, with the root type for a path, and Record is -1.
	Unrecorded bool `json:"unrecorded,omitempty"`
}

// String returns the refusal on one line: where, what, why, what to do.
func (r *Refusal) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", r.Access.Source, r.Access.Path, r.Reason, r.Remedy)
}

// Error returns one line, about the first access.
func (e *RefusedError) Error() string {
	line := fmt.Sprintf("%s (%s)", e.Refusals[0].String(), e.Source())
	if more := len(e.Refusals) - 1; more > 0 {
		line += fmt.Sprintf(", and %d more", more)
	}
	return line
}

// Short returns what and why, about the first access.
func (e *RefusedError) Short() string {
	first := &e.Refusals[0]
	return first.Access.Path + ": " + cmp.Or(first.Missing, first.Reason)
}

// Source returns what the accesses were refused for: "layout NAME" or "driver NAME".
func (e *RefusedError) Source() string { return sourceName(e.Layout, e.Driver) }

// Source returns what the object was rewritten for: "layout NAME" or "driver NAME".
func (r *Report) Source() string { return sourceName(r.Layout, r.Driver) }

func sourceName(layout, driver string) string {
	if driver != "" {
		return "driver " + driver
	}
	return "layout " + layout
}

// Details returns a line for each access beyond the first.
func (e *RefusedError) Details() string {
	var b strings.Builder
	for _, refusal := range e.Refusals[1:] {
		fmt.Fprintln(&b, refusal.String())
	}
	return b.String()
}

func (e *RefusedError) Unwrap() error { return ErrRefused }

// AccessError is an error that came up with one access, and is no refusal of it: it
// wraps reloc.ErrAmbiguous, say, if the layout contradicts itself.
type AccessError struct {
	Access reloc.Access
	Err    error
}

// Error puts the source line before the reason.
func (e *AccessError) Error() string { return fmt.Sprintf("%s: %v", e.Access.Source, e.Err) }

func (e *AccessError) Unwrap() error { return e.Err }

// withoutSpare returns the result of a plan without the refusals in functions that
// are not going to be loaded.
func (r *rewriting) withoutSpare(edits []Edit, err error) ([]Edit, error) {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return edits, err
	}
	refused.Refusals = slices.DeleteFunc(refused.Refusals, func(refusal Refusal) bool { return !r.options.loads(&refusal.Access) })
	if len(refused.Refusals) == 0 {
		return refused.Edits, nil
	}
	return nil, refused
}
