// Package meta reads what is in front of a packet: what a NIC, or a program such as
// bpf/examples/receive.c, has written there for whoever gets the packet, an AF_XDP
// socket among them. Where each field is, a layout says.
package meta

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/xdp-load/xdp-load/reloc"
)

// tagKey is that of the struct tags that NewDecoder reads.
const tagKey = "meta"

// ErrDoesNotFit is wrapped by NewDecoder's error about a variable that can't hold what the
// layout has.
var ErrDoesNotFit = errors.New("does not fit")

// Decoder reads fields of a struct in front of packets into variables. It looks each
// field up once, when it is made; what it does for a packet is a load and a store for each,
// and allocates nothing. It is for one goroutine.
type Decoder struct {
	size  int                  // of the struct
	area  int                  // what is taken up by it: a multiple of 4
	steps []func(front []byte) // one for each field
	has   map[string]bool
}

// NewDecoder returns a decoder that writes to the fields of *into, those with a tag that
// says what of the layout's struct they are for:
//
//	var packet struct {
//		Hash  uint32 `meta:"hash"`
//		Queue uint16 `meta:"rx.queue"`      // of a struct in the struct
//		Time  uint64 `meta:"rx_timestamp,optional"`
//	}
//	decoder, err := meta.NewDecoder(layout, "md_meta", &packet)
//
// name is that of the struct, whose flavours count as well. The layout is that of the
// object which writes it, read with nic.OpenLayout.
//
// Numbers come out as those of the host, whatever byte order their types declare, and so do
// bit-fields. A variable has to have room for all that its field can hold: it is unsigned
// if that is, and signed if that is. A field that is optional, and that the layout does not
// have, stays as it is.
//
// Returns an error wrapping reloc.ErrNoStruct, reloc.ErrNoField, reloc.ErrAmbiguous or
// ErrDoesNotFit.
func NewDecoder(layout *reloc.Layout, name string, into any) (*Decoder, error) {
	pointer := reflect.ValueOf(into)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() || pointer.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("decode into %T: give the address of a struct", into)
	}
	size, err := sizeOf(layout, name)
	if err != nil {
		return nil, err
	}
	d := &Decoder{size: size, area: (size + 3) &^ 3, has: make(map[string]bool)}
	variables := pointer.Elem()
	for i := range variables.NumField() {
		if err := d.add(layout, name, variables.Type().Field(i), variables.Field(i)); err != nil {
			return nil, err
		}
	}
	if len(d.has) == 0 {
		return nil, fmt.Errorf("decode into %T: no field has a tag such as `%s:\"hash\"`", into, tagKey)
	}
	return d, nil
}

// sizeOf returns the size of a layout's struct. By it the start of the struct is found: flavours
// of different sizes are not one layout.
func sizeOf(layout *reloc.Layout, name string) (int, error) {
	structs, err := layout.Structs(name)
	if err != nil {
		return 0, err
	}
	if len(structs) == 0 {
		return 0, fmt.Errorf("layout %s: %w: struct %s", layout.Name(), reloc.ErrNoStruct, name)
	}
	for _, typ := range structs[1:] {
		if typ.Size != structs[0].Size {
			return 0, fmt.Errorf("layout %s: %w: struct %s has %d bytes, and struct %s has %d: keep the one that is written",
				layout.Name(), reloc.ErrAmbiguous, structs[0].Name, structs[0].Size, typ.Name, typ.Size)
		}
	}
	return int(structs[0].Size), nil
}

// add adds a field of the struct that is decoded into, if it has a tag.
func (d *Decoder) add(layout *reloc.Layout, name string, declared reflect.StructField, variable reflect.Value) error {
	tag, ok := declared.Tag.Lookup(tagKey)
	if !ok {
		return nil
	}
	path, option, _ := strings.Cut(tag, ",")
	if option != "" && option != "optional" {
		return fmt.Errorf("field %s: %q in its tag: there is \"optional\"", declared.Name, option)
	}
	at, err := layout.FieldNamed(name, path)
	if errors.Is(err, reloc.ErrNoField) && option == "optional" {
		d.has[path] = false
		return nil
	}
	if err != nil {
		return err
	}
	step, err := d.stepFor(variable, declared, at, layout.ByteOrder())
	if err != nil {
		return fmt.Errorf("layout %s: %s of struct %s into %s: %w", layout.Name(), path, name, declared.Name, err)
	}
	d.steps = append(d.steps, step)
	d.has[path] = true
	return nil
}

// Size returns how many bytes Decode reads: the size of the struct, rounded up to a multiple
// of 4.
func (d *Decoder) Size() int { return d.area }

// Has reports whether the layout has a field that the decoder was asked for.
func (d *Decoder) Has(path string) bool { return d.has[path] }

// Decode reads the struct from the bytes in front of a packet. It starts Size before their
// end, since the kernel has metadata areas of multiples of 4 only: what a struct has less
// is behind it. Decode reports whether there are enough bytes, and reads nothing if not.
func (d *Decoder) Decode(front []byte) bool {
	if len(front) < d.area {
		return false
	}
	front = front[len(front)-d.area:]
	for _, step := range d.steps {
		step(front)
	}
	return true
}
