package elfobj

import (
	"bytes"
	"slices"
)

// Clone returns a copy that shares nothing with the object.
func (obj *Object) Clone() *Object {
	clone := *obj
	clone.header, clone.headers = bytes.Clone(obj.header), bytes.Clone(obj.headers)
	clone.Symbols = slices.Clone(obj.Symbols)
	clone.Sections = make([]*Section, len(obj.Sections))
	for i, section := range obj.Sections {
		copied := *section
		copied.Data = bytes.Clone(section.Data)
		clone.Sections[i] = &copied
	}
	return &clone
}

// Draft returns a clone of the object, and what makes the object what has become of it.
// Sections of the object stay the same pointers, so that a caller may hold on to them.
func (obj *Object) Draft() (draft *Object, adopt func()) {
	draft = obj.Clone()
	originals := make(map[*Section]*Section, len(obj.Sections))
	for i, section := range draft.Sections {
		originals[section] = obj.Sections[i]
	}
	return draft, func() {
		for i, section := range draft.Sections {
			if original := originals[section]; original != nil {
				*original = *section
				draft.Sections[i] = original
			}
		}
		*obj = *draft
	}
}
