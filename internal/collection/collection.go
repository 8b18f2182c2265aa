// Package collection reads objects with cilium/ebpf as libbpf does. That one takes
// more than cilium/ebpf v0.22 does, above all of what its linker makes of several
// files (bpftool gen object), and takes some of it for something else: the object is
// given another form before cilium/ebpf reads it.
package collection

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Read reads an object. Of the running kernel it asks only for the options that it was
// configured with, and only if the object has __kconfig externs of such that are weak,
// or characters or text, which cilium/ebpf would not resolve when it loads the object.
//
// It returns the errors of ebpf.LoadCollectionSpecFromReader.
func Read(object io.ReaderAt) (*ebpf.CollectionSpec, error) {
	raw, err := io.ReadAll(io.NewSectionReader(object, 0, math.MaxInt64))
	if err != nil {
		return nil, err
	}
	readable, err := readable(raw)
	if err != nil {
		return nil, err
	}
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(readable))
}

// readable returns an object in the form that cilium/ebpf takes.
func readable(object []byte) ([]byte, error) {
	r, err := newReading(object)
	if err != nil {
		return nil, err
	}
	for _, form := range forms {
		if err := form.give(r); err != nil {
			return nil, fmt.Errorf("%s: %w", form.subject, err)
		}
	}
	return r.bytes(), nil
}

// forms are what is given to an object, in this order.
var forms = []struct {
	subject string
	give    func(*reading) error
}{
	{"code that is not loaded", (*reading).dropUnloaded},
	{"license", (*reading).keepOneLicense},
	{"weak symbols", (*reading).makeWeakGlobal},
	{"addresses of functions", (*reading).makeAddressesSectionBased},
	{"static functions", (*reading).renameFunctions},
	{"hidden functions", (*reading).makeHiddenStatic},
	{"variables", (*reading).placeVariables},
	{"__kconfig", (*reading).defineExterns},
}

// reading is an object on its way to cilium/ebpf.
type reading struct {
	object *elfobj.Object
	types  *btf.Spec   // nil if there are none
	ext    *btfraw.Ext // nil if there is none

	edit *btfraw.Edit // of the types, nil as long as they are as they were
}

func newReading(object []byte) (*reading, error) {
	obj, err := elfobj.Parse(object)
	if err != nil {
		return nil, err
	}
	r := &reading{object: obj}
	section := obj.Section(".BTF")
	if section == nil {
		return r, nil
	}
	if r.types, err = btf.LoadSpecFromReader(bytes.NewReader(section.Data)); err != nil {
		return nil, fmt.Errorf(".BTF: %w", err)
	}
	if ext := obj.Section(".BTF.ext"); ext != nil {
		raw, err := btfraw.Parse(section.Data, nil)
		if err != nil {
			return nil, err
		}
		if r.ext, err = btfraw.ParseExt(ext.Data, raw); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// dropUnloaded takes code out that libbpf passes over. cilium/ebpf counts the
// instructions of functions only to find those that the records of .BTF.ext are about.
func (r *reading) dropUnloaded() error {
	_, err := code.DropUnloaded(r.object, r.ext)
	return err
}

// change returns the edit of the object's types.
func (r *reading) change() (_ *btfraw.Edit, err error) {
	if r.edit == nil {
		r.edit, err = btfraw.NewEdit(r.object.Section(".BTF").Data)
	}
	return r.edit, err
}

func (r *reading) bytes() []byte {
	if r.edit != nil {
		r.object.Section(".BTF").Data = r.edit.Bytes()
	}
	return r.object.Bytes()
}
