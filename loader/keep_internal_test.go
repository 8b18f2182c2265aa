package loader

import "testing"

// An attachment is the same as long as its link is, whatever program that attaches, or, without
// one, as its program is.
func TestIsSame(t *testing.T) {
	for _, test := range []struct {
		a, b Attachment
		want bool
	}{
		{Attachment{LinkID: 1, ProgramID: 2}, Attachment{LinkID: 1, ProgramID: 3}, true},
		{Attachment{LinkID: 1, ProgramID: 2}, Attachment{LinkID: 2, ProgramID: 3}, false},
		{Attachment{ProgramID: 2}, Attachment{ProgramID: 2}, true},
		{Attachment{ProgramID: 2}, Attachment{ProgramID: 3}, false},
	} {
		if got := test.a.isSame(test.b); got != test.want {
			t.Errorf("%+v and %+v: %t", test.a, test.b, got)
		}
	}
}
