//go:build linux

package loader

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// ErrNoRecord is wrapped by the error about a program that does not say what it was
// rewritten for.
var ErrNoRecord = errors.New("no record of what it was rewritten for")

// Record is what a program on an interface was rewritten for, and from. It is in a map
// of the kernel that the program holds: it goes when the program does, and is found from
// everywhere.
type Record struct {
	// Object is the absolute path of the object's file, empty if it was in none, and Digest
	// the SHA-256 of the object, in hexadecimal digits.
	Object string `json:"object"`
	Digest string `json:"digest"`

	// Program is the name of the program, and Types and PinPath are the Options' Types,
	// and where maps were pinned by name.
	Program string   `json:"program"`
	Types   []string `json:"types,omitempty"`
	PinPath string   `json:"pinPath"`

	// With are the names of the other programs of the object that were loaded with it, and
	// share its maps.
	With []string `json:"with,omitempty"`

	// Redirects are those of the Options.
	Redirects []Redirect `json:"redirects,omitempty"`

	// MapReplacements are the names of the maps that the caller had given.
	MapReplacements []string `json:"mapReplacements,omitempty"`

	// Variables are the values of those that the caller has set, in the byte order of the
	// machine.
	Variables map[string][]byte `json:"variables,omitempty"`

	// Owner is the command and the number of the process that has attached the program by
	// a link of its own, or is about to. It is empty for what this package has pinned.
	Owner string `json:"owner,omitempty"`

	// Origin is that of the Options.
	Origin Origin `json:"origin,omitzero"`

	// Layout, or else Source, is the layout, by the path in Origin or as the report calls it,
	// or the driver or drivers that the fields come from.
	Layout string `json:"layout,omitempty"`
	Source string `json:"source,omitempty"`

	// Driver, Firmware and Kernel are those of the target: see nic.Target and
	// uname(2).
	Driver   string `json:"driver,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	Kernel   string `json:"kernel"`

	// Fields are those that the program reads or writes.
	Fields []RecordedField `json:"fields"`

	// Rewritten is the SHA-256 of the rewritten object, in hexadecimal digits.
	Rewritten string `json:"rewritten"`

	object []byte
}

// RecordedField is a field of the descriptor in a program, such as "md->hash", and
// where it comes from on the target: "__u32 at 8" in the metadata area, or what the driver
// keeps.
type RecordedField struct {
	Field string `json:"field"`
	From  string `json:"from"`
}

// OriginalObject returns what was in the object's file when the program was loaded.
func (r *Record) OriginalObject() []byte { return slices.Clone(r.object) }

// newRecord returns the record of a load for a target.
func (l *load) newRecord(target *nic.Target) (*Record, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, err
	}
	record := &Record{
		Object:    l.path,
		Digest:    digestOf(l.object),
		Program:   l.Program,
		Types:     slices.Clone(l.Types),
		With:      l.with,
		Redirects: l.Redirects,
		PinPath:   l.Collection.Maps.PinPath,
		Origin:    l.Origin,
		Layout:    cmp.Or(l.Origin.Layout, l.report.Layout),
		Source:    l.report.Driver,
		Driver:    target.Driver,
		Firmware:  target.Firmware,
		Kernel:    unix.ByteSliceToString(name.Release[:]),
		Fields:    recordedFields(l.report),
		Rewritten: l.digest,
		object:    l.object,
	}
	for name := range l.Collection.MapReplacements {
		record.MapReplacements = append(record.MapReplacements, name)
	}
	slices.Sort(record.MapReplacements)
	for name := range l.Options.Variables {
		if variable := l.spec.Variables[name]; variable != nil {
			if record.Variables == nil {
				record.Variables = make(map[string][]byte)
			}
			record.Variables[name] = variable.Value
		}
	}
	return record, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// recordedFields returns the fields that are accessed in the descriptor, each once.
func recordedFields(report *rewrite.Report) []RecordedField {
	fields, known := []RecordedField{}, make(map[RecordedField]bool)
	for i := range report.Edits {
		edit := &report.Edits[i]
		if edit.Access.Kind != reloc.ByteOffset || edit.Own != "" {
			continue
		}
		field := RecordedField{edit.Access.Path, originOf(edit)}
		if !known[field] {
			known[field] = true
			fields = append(fields, field)
		}
	}
	return fields
}

// originOf says where the field of an edit comes from.
func originOf(edit *rewrite.Edit) string {
	switch {
	case edit.Poisoned:
		return "not there"
	case edit.From != "":
		return edit.From
	case edit.Driver != "":
		return edit.Driver
	}
	return edit.Resolution.String()
}

// The map of a record is a frozen array. Its elements are the pieces of a JSON object and,
// behind its newline, the object that was loaded; the last one is filled up with zeros. It is
// not compressed: that takes a twentieth of the processor time of a load.
const (
	recordMap   = "xdp_load_record" // as long as the kernel lets a name be
	recordPiece = 4096
)

// storedRecord is the JSON object.
type storedRecord struct {
	*Record
	Size int `json:"size"` // in bytes, of the object
}

// store makes a map of the record.
func (r *Record) store() (*ebpf.Map, error) {
	data, err := json.Marshal(storedRecord{r, len(r.object)})
	if err != nil {
		return nil, err
	}
	data = slices.Concat(data, []byte{'\n'}, r.object)
	spec := &ebpf.MapSpec{
		Name: recordMap, Type: ebpf.Array, Flags: unix.BPF_F_RDONLY_PROG,
		KeySize: 4, ValueSize: recordPiece,
	}
	for piece := range slices.Chunk(data, recordPiece) {
		if len(piece) < recordPiece {
			piece = append(piece, make([]byte, recordPiece-len(piece))...)
		}
		spec.Contents = append(spec.Contents, ebpf.MapKV{Key: spec.MaxEntries, Value: piece})
		spec.MaxEntries++
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("map of the record: %w", err)
	}
	if err := m.Freeze(); err != nil {
		m.Close()
		return nil, fmt.Errorf("map of the record: %w", err)
	}
	return m, nil
}

// readRecord is the inverse of store.
func readRecord(m *ebpf.Map) (*Record, error) {
	var data []byte
	for piece := range m.MaxEntries() {
		value, err := m.LookupBytes(piece)
		if err != nil {
			return nil, err
		}
		data = append(data, value...)
	}
	text, object, _ := bytes.Cut(data, []byte{'\n'})
	stored := storedRecord{Record: new(Record)}
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, err
	}
	stored.object = object[:max(0, min(stored.Size, len(object)))]
	if digestOf(stored.object) != stored.Digest {
		return nil, errors.New("the object in it is not the one that it tells of")
	}
	return stored.Record, nil
}

// bindRecord has a program hold the map of a record: see BPF_PROG_BIND_MAP, since Linux
// 5.10. Before, it is only pinned.
func (d *pinDir) bindRecord(program *ebpf.Program, id ebpf.ProgramID, record *Record) error {
	m, err := record.store()
	if err != nil {
		return err
	}
	defer m.Close()
	if err := bindMap(program, m); err != nil {
		return err
	}
	if err := m.Pin(d.path(linkPinsName, pinName(pinOfRecord, id))); err != nil {
		return fmt.Errorf("pin the map of the record: %w", err)
	}
	return nil
}

// record reads the record that is pinned with a program.
func (p *pinnedAttachment) record() (*Record, error) {
	m, err := ebpf.LoadPinnedMap(linkPins+"/"+pinName(pinOfRecord, p.home), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return readRecord(m)
}

// RecordOf returns the record that a program holds, whoever has attached it. It takes
// CAP_SYS_ADMIN.
//
// Returns an error wrapping ErrNoRecord if it has none.
func RecordOf(program *ebpf.Program) (*Record, error) {
	info, err := program.Info()
	if err != nil {
		return nil, err
	}
	ids, _ := info.MapIDs()
	for _, id := range slices.Backward(ids) { // what was bound last counts
		record, err := recordIn(id)
		if record != nil || err != nil {
			return record, err
		}
	}
	return nil, fmt.Errorf("program %s: %w", info.Name, ErrNoRecord)
}

// recordIn reads a record, nil if the map has none.
func recordIn(id ebpf.MapID) (*Record, error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil || info.Name != recordMap || !info.Frozen() {
		return nil, err
	}
	record, err := readRecord(m)
	if err != nil {
		return nil, fmt.Errorf("map %d, %s: %w", id, recordMap, err)
	}
	return record, nil
}
