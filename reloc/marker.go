package reloc

import "github.com/xdp-load/xdp-load/internal/btfraw"

// Marker is the name of the struct of which md_desc() of md_desc.h asks whether it
// exists, in front of everything else: it does if descriptors come from the driver, and
// not from the metadata area.
const Marker = "xdp_load_source"

// RewrittenMark is the name of the type that says in a rewritten object for what it was
// rewritten.
const RewrittenMark = "xdp_load_rewritten"

// IsMarker reports whether the access is one that md_desc() makes to Marker: the question,
// or the load that stands for what the driver has. A layout has no say in what these come
// to, as one that includes md_desc.h declares the struct, too.
func (a *Access) IsMarker() bool { return btfraw.EssentialName(a.RootName()) == Marker }
