package rewrite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// A rewritten object carries a mark: a type in its BTF that nothing refers to and
// that says what each access was resolved to, a member for each.
//
//	union xdp_load_rewritten {
//		struct md_desc *type_size__0__is_32;
//		struct md_desc *byte_off__0_1__u32_at_20;
//		struct nic_tag *nested__byte_off__0_0__u16_at_2;
//	};
//
// The records can't tell any more, and without it the object would pass for one that
// fits every layout. A type survives what is done to objects: libbpf and cilium/ebpf
// ignore it, linkers keep and number it with the others (as each pointer follows its
// root type), stripping spares .BTF, and kernels take it since 5.9: names of members
// are C's, and no longer than maxMarkName.

// markSize is the size of the type in bytes: that of a pointer.
const markSize = 8

// maxMarkName is the length of the longest name that kernels before 6.1 take, with
// a KSYM_NAME_LEN of 128 (__btf_name_valid in kernel/bpf/btf.c).
const maxMarkName = 127

// Parts of a member's name: nestedPart if the access was adopted, kind, access
// string, identity.
const (
	partSeparator = "__"
	nestedPart    = "nested"
)

// mark is what an object was rewritten for at a time.
type mark []resolved

// resolved is an access that has no record any more.
type resolved struct {
	access   reloc.Access
	nested   bool
	identity string
}

// readMarks reads the marks of the object. The accesses in them lead to nested types as
// well as those that have records.
func (r *rewriting) readMarks() error {
	types, err := r.recorded.Types.AnyTypesByName(reloc.RewrittenMark)
	if errors.Is(err, btf.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r.marks = make([]mark, len(types))
	for i, typ := range types {
		if r.marks[i], err = r.readMark(typ); err != nil {
			return fmt.Errorf("damaged mark of what it was rewritten for: %w", err)
		}
		for n := range r.marks[i] {
			r.recorded.Resolved = append(r.recorded.Resolved, r.marks[i][n].access)
		}
	}
	return nil
}

// checkMarks compares with the layout the marks that have a root type to resolve, or
// one that the layout defines. It reports whether there are such, and refuses an object
// that was rewritten for another layout.
func (r *rewriting) checkMarks() (marked bool, err error) {
	for _, mark := range r.marks {
		roots := r.rootsOf(mark)
		concerned, err := r.concerned(roots)
		if err == nil && concerned {
			marked = true
			if err = r.checkSource(mark); err == nil {
				err = r.checkMark(mark, roots)
			}
		}
		if err != nil {
			return false, err
		}
	}
	return marked, nil
}

// unaccessed returns the descriptor's structs of which no field is accessed, as far
// as they are to be resolved.
func (r *rewriting) unaccessed() ([]string, error) {
	if !r.options.isRoot(reloc.Descriptor) {
		return nil, nil
	}
	return r.recorded.Unaccessed(reloc.Descriptor)
}

func (r *rewriting) readMark(typ btf.Type) (mark, error) {
	union, ok := typ.(*btf.Union)
	if !ok {
		return nil, fmt.Errorf("%s is no union", reloc.TypeString(typ))
	}
	mark := make(mark, len(union.Members))
	for i := range union.Members {
		if err := mark[i].read(&union.Members[i], r.object); err != nil {
			return nil, fmt.Errorf("%s: %w", union.Members[i].Name, err)
		}
	}
	return mark, nil
}

func (m *resolved) read(member *btf.Member, object *elfobj.Object) (err error) {
	pointer, ok := member.Type.(*btf.Pointer)
	if !ok {
		return fmt.Errorf("%s is no pointer", reloc.TypeString(member.Type))
	}
	parts := strings.Split(member.Name, partSeparator)
	if m.nested = parts[0] == nestedPart; m.nested {
		parts = parts[1:]
	}
	if len(parts) != 3 {
		return errors.New("made by a newer version of this program")
	}
	kind, ok := reloc.KindNamed(parts[0])
	if !ok {
		return fmt.Errorf("no kind %q", parts[0])
	}
	m.identity = parts[2]
	m.access, err = reloc.NewAccess(pointer.Target, strings.ReplaceAll(parts[1], "_", ":"), kind, object.Order)
	return err
}

// rootsOf returns the names of the root types that the accesses of a mark were chosen
// by: of its own, or, if all of them are nested, of all marks, since they lead there.
func (r *rewriting) rootsOf(m mark) map[string]bool {
	roots := make(map[string]bool)
	for i := range m {
		if !m[i].nested {
			roots[m[i].access.RootName()] = true
		}
	}
	if len(roots) > 0 {
		return roots
	}
	for _, other := range r.marks {
		for i := range other {
			roots[other[i].access.RootName()] = roots[other[i].access.RootName()] || !other[i].nested
		}
	}
	for i := range m {
		delete(roots, m[i].access.RootName())
	}
	return roots
}

// concerned reports whether one of some root types is to be resolved, or is one of the
// layout's.
func (r *rewriting) concerned(roots map[string]bool) (bool, error) {
	for i := range r.recorded.Resolved {
		access := &r.recorded.Resolved[i]
		if !roots[access.RootName()] {
			continue
		}
		defined, err := access.DefinedIn(r.layout)
		if err != nil || defined || r.options.choosesRoot(access) {
			return err == nil, err
		}
	}
	return false, nil
}

// checkMark wants every access of a mark to come to the same in the layout.
func (r *rewriting) checkMark(m mark, roots map[string]bool) error {
	m = slices.DeleteFunc(slices.Clone(m), func(one resolved) bool { return one.access.IsMarker() })
	if len(m) == 0 {
		return nil
	}
	layout, accesses := r.layout, make([]reloc.Access, len(m))
	for i := range m {
		accesses[i] = m[i].access
	}
	recorded := &reloc.Recorded{Accesses: accesses, Resolved: r.recorded.Resolved}
	if err := recorded.Adopt(layout, func(name string) bool { return roots[name] }); err != nil {
		return err
	}
	if err := checkDefined(layout, accesses); err != nil {
		return err
	}
	var other error // than in where a field of a root type is
	for i := range accesses {
		resolution, err := accesses[i].Resolve(layout)
		if errors.Is(err, reloc.ErrByteOrder) || errors.Is(err, reloc.ErrAmbiguous) {
			return err
		}
		err = r.compare(&m[i], &resolution, err)
		if err != nil && accesses[i].Kind == reloc.ByteOffset && !m[i].nested {
			return err
		}
		other = cmp.Or(other, err)
	}
	return other
}

// compare refuses an access that comes to something else in the layout, or to nothing
// for a reason.
func (r *rewriting) compare(m *resolved, resolution *reloc.Resolution, why error) error {
	what, was, is := m.access.Path, reloc.SpellIdentity(m.identity), ""
	if m.access.Kind != reloc.ByteOffset {
		what = fmt.Sprintf("%s of %s", m.access.Kind, what)
	}
	if why == nil {
		identity := r.identity(&m.access, resolution)
		if identity == m.identity {
			return nil
		}
		if is = reloc.SpellIdentity(identity); is == was {
			is += " of other members"
		}
		why = fmt.Errorf("in %s it is %s", r.source(), is)
	}
	return &anotherLayoutError{fmt.Sprintf("the object was rewritten for a layout where %s is %s, and %v: take the object as the compiler made it",
		what, was, why)}
}

// anotherLayoutError is about an object that was rewritten for another layout.
type anotherLayoutError struct{ text string }

func (e *anotherLayoutError) Error() string { return e.text }
func (e *anotherLayoutError) Unwrap() error { return ErrRefused }

// mark puts a mark into the object's BTF, of what the accesses come to in the layout.
func (r *rewriting) mark() error {
	section := r.object.Section(".BTF")
	types, err := btfraw.NewEdit(section.Data)
	if err != nil {
		return err
	}
	w := &markWriter{types: types, pointers: make(map[uint32]btf.TypeID), marked: make(map[asked]bool), identity: r.identity}
	for i := range r.edits {
		edit := &r.edits[i]
		if edit.Own != "" || edit.Access.IsMarker() && (r.drivers == nil || edit.Access.Kind != reloc.ByteOffset) {
			continue // it is the same for all layouts
		}
		if r.isUnasked(edit.Access) {
			continue // it is there for programs that are bound to the device
		}
		record := r.ext.CORERelo(edit.Access.Record)
		if err := w.add(edit, &record); err != nil {
			return &RefusedError{Layout: r.layout.Name(), Refusals: []Refusal{{Access: *edit.Access, Reason: err.Reason, Remedy: err.Remedy}}}
		}
	}
	if len(w.members) == 0 {
		return nil
	}
	if _, err := types.Union(reloc.RewrittenMark, markSize, w.members); err != nil {
		return fmt.Errorf("mark of what it is rewritten for: %w", err)
	}
	section.Data = types.Bytes()
	return nil
}

// markWriter collects the members of a mark.
type markWriter struct {
	types    *btfraw.Edit
	pointers map[uint32]btf.TypeID // by the ID of the root type
	members  []btfraw.Member
	marked   map[asked]bool
	identity func(*reloc.Access, *reloc.Resolution) string // what an access came to
}

// asked is what the records of equal accesses have in common.
type asked struct {
	root   uint32
	access string
	kind   uint32
	driver string // of which md_desc() gets the descriptor
}

func (w *markWriter) add(edit *Edit, record *btfraw.CORERelo) *refuse.Error {
	same := asked{record.TypeID, record.AccessString, record.Kind, ""}
	if edit.Access.IsMarker() {
		same.driver = w.identity(edit.Access, edit.Resolution)
	}
	if w.marked[same] {
		return nil
	}
	w.marked[same] = true
	name, err := memberName(edit, record, w.identity(edit.Access, edit.Resolution))
	if err != nil {
		return err
	}
	pointer, ok := w.pointers[record.TypeID]
	if !ok {
		pointer = w.types.Pointer(btf.TypeID(record.TypeID))
		w.pointers[record.TypeID] = pointer
	}
	w.members = append(w.members, btfraw.Member{Name: name, Type: pointer})
	return nil
}

func memberName(edit *Edit, record *btfraw.CORERelo, identity string) (string, *refuse.Error) {
	parts := []string{edit.Access.Kind.String(), strings.ReplaceAll(record.AccessString, ":", "_"), identity}
	if edit.Access.Adopted() {
		parts = slices.Insert(parts, 0, nestedPart)
	}
	name := strings.Join(parts, partSeparator)
	if len(name) > maxMarkName {
		return "", &refuse.Error{Reason: fmt.Sprintf("its path, %s, is longer than a name in BTF can be, which it has to be part of", record.AccessString), Remedy: "nest the types less deeply"}
	}
	return name, nil
}
