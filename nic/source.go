package nic

import "strings"

// SourceKind is a kind of source.
type SourceKind string

// The kinds of source.
const (
	LayoutFile      SourceKind = "layout file" // of the metadata area
	ModuleBTF       SourceKind = "module BTF"  // the same, in the BTF of the driver's module
	ProgramBTF      SourceKind = "program BTF" // the same, in the BTF of a loaded program
	DriverAccessors SourceKind = "accessors"   // of what the driver keeps
	MetadataKfuncs  SourceKind = "kfuncs"      // that the driver is asked by, as there are no accessors
	Computed        SourceKind = "software"    // alone
)

// Source says where the fields of programs on a target come from. The zero value is none.
type Source struct {
	Kind SourceKind `json:"kind"`

	// Name is the path of a layout or an accessor file, or what the kernel calls the program,
	// or the driver whose accessors come with xdp-load.
	Name string `json:"name"`
}

// String describes the source, as in "layout file /etc/xdp-load/layouts/veth.o".
func (s Source) String() string {
	switch s.Kind {
	case "":
		return "none"
	case DriverAccessors:
		return "accessors for " + s.Name
	case MetadataKfuncs:
		return "metadata kfuncs of " + s.Name
	case Computed:
		return "software, as there is nothing for " + s.Name
	}
	return string(s.Kind) + " " + s.Name
}

// LayoutSource returns the source that OpenLayout reads.
func LayoutSource(file string) Source {
	if program, is := strings.CutPrefix(file, programPrefix); is {
		return Source{ProgramBTF, program}
	}
	return Source{LayoutFile, file}
}

// Place is where a source was looked for, and why there is none.
type Place struct {
	Place string `json:"place"`
	Why   string `json:"why"`
}

// String returns "place: why".
func (p Place) String() string { return p.Place + ": " + p.Why }
