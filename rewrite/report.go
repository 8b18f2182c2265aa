package rewrite

import (
	"slices"

	"github.com/xdp-load/xdp-load/reloc"
)

// Report says what was done to an object.
type Report struct {
	Layout string `json:"layout"`
	Edits  []Edit `json:"edits"`
}

// Edit is what became of one access.
type Edit struct {
	Access     reloc.Access     `json:"access"`
	Resolution reloc.Resolution `json:"resolution"`
	Before     Instructions     `json:"before"`
	After      Instructions     `json:"after"`

	// Poisoned is set if the layout has no such field: the access is replaced by
	// instructions that the verifier refuses where they can be reached.
	Poisoned bool `json:"poisoned,omitempty"`

	// Note says what the edit means where that is not plain from the
	// instructions, such as that a store truncates.
	Note string `json:"note,omitempty"`
}

// Changed reports whether the edit changes the object.
func (e *Edit) Changed() bool { return !slices.Equal(e.Before, e.After) }

// Poisoned returns the edits that poison an access.
func (r *Report) Poisoned() []Edit {
	var poisoned []Edit
	for _, edit := range r.Edits {
		if edit.Poisoned {
			poisoned = append(poisoned, edit)
		}
	}
	return poisoned
}

// Exact reports whether the program was compiled for exactly this layout: no
// access had to be changed.
func (r *Report) Exact() bool {
	return !slices.ContainsFunc(r.Edits, func(e Edit) bool { return e.Changed() })
}
