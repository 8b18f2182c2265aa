package main

import (
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// layout opens the one layout that the command line gives.
func (f *flags) layout() (*reloc.Layout, error) {
	switch {
	case len(f.layouts) == 0 || f.layouts[0] == "":
		return nil, usagef("no layout given: --layout FILE says where this NIC keeps each field")
	case len(f.layouts) == 1:
		return nic.OpenLayout(f.layouts[0], f.base)
	}
	return nil, usagef("more than one --layout: only check takes several")
}

// rewritten rewrites the object in a file for the layout on the command line.
func (f *flags) rewritten(path string) ([]byte, *rewrite.Report, error) {
	layout, err := f.layout()
	if err != nil {
		return nil, nil, err
	}
	object, err := readObject(path)
	if err != nil {
		return nil, nil, err
	}
	return f.rewrite(path, object, layout)
}

func (f *flags) rewrite(path string, object []byte, layout *reloc.Layout) ([]byte, *rewrite.Report, error) {
	out, report, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: f.types})
	if err != nil {
		return nil, nil, inObject(path, err)
	}
	f.warnUnaccessed(path, report)
	return out, report, nil
}
