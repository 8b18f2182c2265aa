// Package refuse is the error about something that can't be done truthfully, with what
// to do about it.
package refuse

import "fmt"

// Error is a reason and a remedy for the access at hand.
type Error struct {
	Reason string // what is wrong
	Remedy string // what to do about it

	// Missing is what the other side lacks, if that is all that is wrong (optional).
	Missing string
}

func (e *Error) Error() string { return e.Reason + ": " + e.Remedy }

// Because returns an *Error with a reason that is formatted as by fmt.Sprintf.
func Because(remedy, format string, args ...any) error {
	return &Error{Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Remedies that several refusals share.
const (
	Recompile = "compile the object again from its source"
	SameType  = "declare the field in the program with the layout's type, in a flavour of the struct"
	Symbols   = "keep the symbols, strip with llvm-strip -g only"
	Function  = "access the field in a function of its own"
	Report    = "this access can't be rewritten, read the field into a variable of its own type instead"
)
