package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// ownPrograms are the effects of the programs in own.c, each of which may have
// several.
var ownPrograms = map[string]ownEffect{
	"built": {copied: func(in ownInput) fields { return fields{"hash": in.hash, "mark": in.md("mark")} }},
	"used": {
		copied:   func(in ownInput) fields { return fields{"hash": in.md("hash"), "mark": in.md("mark") + 1} },
		variable: "got_used", value: func(in ownInput) uint64 { return in.md("hash") + uint64(uint32(in.md("mark")+1)) },
	},
	"lacking":    {copied: func(in ownInput) fields { return fields{"rx_timestamp": in.hash, "vlan_tci": in.mark, "csum": 3} }},
	"all":        {copied: ownInput.all},
	"moved":      {variable: "got_moved", value: ownInput.sum, area: func(_ ownInput, area []byte) []byte { return area[4:] }},
	"assigned":   {copied: ownInput.all},
	"written":    {area: ownInput.written},
	"filled":     {copied: ownInput.both},
	"read_there": {variable: "got_read_there", value: func(in ownInput) uint64 { return in.hash + in.md("mark") }},
	"called_back": {copied: func(in ownInput) fields {
		return fields{"hash": in.md("hash"), "mark": 2 * in.md("mark")}
	}},
	"macro":        {variable: "got_macro", value: func(in ownInput) uint64 { return in.md("hash") + in.mark }},
	"in_value":     {copied: ownInput.both},
	"in_cpu_value": {copied: ownInput.marks},
	"in_value_all": {copied: ownInput.all},
	"updated":      {variable: "got_updated", value: ownInput.sum},
	"in_global":    {copied: ownInput.both},
	"in_static":    {copied: ownInput.marks},
	"in_plain_global": {variable: "got_plain_global", value: func(in ownInput) uint64 {
		return in.hash + in.md("mark")
	}},
	"in_constant":     {variable: "got_constant", value: func(in ownInput) uint64 { return 77 + 0x12345678 + in.md("mark") }},
	"in_data":         {variable: "got_initial", value: func(in ownInput) uint64 { return 1 + 5 + in.md("hash") }},
	"in_record":       {record: ownInput.both, around: true},
	"in_plain_record": {record: ownInput.all},
	"reserved":        {record: func(in ownInput) fields { return fields{"hash": in.hash, "mark": in.mark} }},
	"put_out":         {record: ownInput.all},
	"two_copies":      {variable: "got_difference", value: func(in ownInput) uint64 { return in.md("mark") - in.mark }},
}

// ownEffect is what a program does; what is not set does not happen.
type ownEffect struct {
	copied   func(ownInput) fields // what is in copy_NAME
	variable string
	value    func(ownInput) uint64 // of the variable
	record   func(ownInput) fields // what is in a ring buffer record
	around   bool                  // whether the record has words around it
	area     func(ownInput, []byte) []byte
}

// fields are the fields of a descriptor that are not zero.
type fields map[string]uint64

// ownInput is what a program runs on.
type ownInput struct {
	*kernelPair
	t          *testing.T
	area       []byte
	hash, mark uint64 // in_hash, in_mark
}

// md returns a field of the descriptor as the program reads it, 0 if it is not
// there.
func (in ownInput) md(path string) uint64 {
	if _, exists := kernelFind(in.targets, path); !exists {
		return 0
	}
	return in.value(in.t, path, in.area)
}

func (in ownInput) sum() uint64 { return in.md("hash") + in.md("mark") }

func (in ownInput) both() fields { return fields{"hash": in.md("hash"), "mark": in.md("mark")} }

func (in ownInput) marks() fields { return fields{"hash": in.md("mark"), "mark": in.md("mark")} }

// all returns what md_desc_copy copies.
func (in ownInput) all() fields {
	all := make(fields)
	for _, path := range append([]string{"ptype"}, kernelHeaderFields...) {
		all[path] = in.md(path)
	}
	return all
}

func (in ownInput) written(area []byte) []byte {
	written := bytes.Clone(area)
	for path, value := range map[string]uint64{"hash": in.hash, "mark": in.mark} {
		target, _ := kernelFind(in.targets, path)
		local, _ := kernelFind(in.locals, path)
		target.write(written, local.convert(value))
	}
	return written
}

// spell returns a descriptor with these fields, laid out as in the program.
func (in ownInput) spell(of fields) []byte {
	md := make([]byte, 40)
	for path, value := range of {
		local, _ := kernelFind(in.locals, path)
		local.write(md, local.convert(value))
	}
	return md
}

// around returns a descriptor between the words that programs put around it.
func around(md []byte) []byte {
	return slices.Concat(bytes.Repeat([]byte{0x11}, 8), md, bytes.Repeat([]byte{0x22}, 8))
}

// An own copy has its fields where the program has them, what is beside it stays
// as it is, and so does the metadata area where nothing is stored.
func TestKernelOwn(t *testing.T) {
	eachOwn(t, "own", func(t *testing.T, p *kernelPair, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
		records, err := ringbuf.NewReader(loaded.Maps["events"])
		if err != nil {
			t.Fatal(err)
		}
		defer records.Close()
		in := ownInput{p, t, area, uint64(uint32(random.Uint64())), uint64(uint32(random.Uint64()))}
		for _, name := range slices.Sorted(maps.Keys(ownPrograms)) {
			kernelClear(t, loaded)
			err := errors.Join(loaded.Variables["in_hash"].Set(uint32(in.hash)), loaded.Variables["in_mark"].Set(uint32(in.mark)))
			if err != nil {
				t.Fatal(err)
			}
			action, after := kernelRun(t, loaded.Programs[name], area)
			if action != kernelXDPPass {
				t.Errorf("%s returned %d", name, action)
			}
			in.check(name, loaded, after, readRecord(t, records))
		}
	})
}

// readRecord returns a record, nil if there is none.
func readRecord(t *testing.T, records *ringbuf.Reader) []byte {
	t.Helper()
	records.SetDeadline(time.Now())
	record, err := records.Read()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return record.RawSample
}

// check compares the effects of a program with what they have to be.
func (in ownInput) check(name string, loaded *ebpf.Collection, after, record []byte) {
	in.t.Helper()
	effect := ownPrograms[name]
	differ := func(what string, got, want []byte) {
		in.t.Helper()
		if !bytes.Equal(got, want) {
			in.t.Errorf("%s: %s\n%x instead of\n%x, metadata\n%x", name, what, got, want, in.area)
		}
	}
	expected := in.area
	if effect.area != nil {
		expected = effect.area(in, in.area)
	}
	differ("metadata", after, expected)
	if effect.copied != nil {
		got := make([]byte, 56)
		if err := loaded.Variables["copy_"+name].Get(got); err != nil {
			in.t.Fatal(err)
		}
		differ("own copy", got, around(in.spell(effect.copied(in))))
	}
	if effect.value != nil {
		var got uint64
		if err := loaded.Variables[effect.variable].Get(&got); err != nil {
			in.t.Fatal(err)
		}
		differ(effect.variable, binary.BigEndian.AppendUint64(nil, got), binary.BigEndian.AppendUint64(nil, effect.value(in)))
	}
	want := []byte(nil)
	if effect.record != nil {
		if want = in.spell(effect.record(in)); effect.around {
			want = around(want)
		}
	}
	differ("record", record, want)
}
