package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
)

// stdout is where commands print. It keeps the first error of writing, which the
// printing functions of fmt and cobra leave unasked for.
type stdout struct {
	io.Writer
	failed error
}

func (o *stdout) Write(data []byte) (int, error) {
	n, err := o.Writer.Write(data)
	o.failed = cmp.Or(o.failed, err)
	return n, err
}

// check returns err, the error of a command, or says that not all that it printed has
// been written.
func (o *stdout) check(err error) error {
	if o.failed == nil || err != nil && !errors.Is(err, o.failed) {
		return err
	}
	return fmt.Errorf("stdout: %w (all else is done)", withoutPath(o.failed))
}
