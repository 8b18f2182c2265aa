package verify

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/bpf/observe"
)

// Of what observe.c hands over, each part is where the compiler has put it. struct observation
// starts with a struct note.
func TestObservationLayout(t *testing.T) {
	types, err := btf.LoadSpecFromReader(bytes.NewReader(observe.Programs()))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		of     any
		fields map[string]string // by member
	}{
		"md_desc": {mdDesc{}, map[string]string{"rx_timestamp": "RxTimestamp", "hash": "Hash", "hash_type": "HashType", "csum": "Csum", "csum_status": "CsumStatus",
			"vlan_tci": "VlanTCI", "vlan_proto": "VlanProto", "mark": "Mark", "ptype": "Ptype"}},
		"said": {said{}, map[string]string{"rx_timestamp": "RxTimestamp", "hash": "Hash", "hash_type": "HashType", "vlan_tci": "VlanTCI", "vlan_proto": "VlanProto",
			"timestamp_error": "TimestampError", "hash_error": "HashError", "vlan_error": "VlanError"}},
		"note": {rawObservation{}, map[string]string{"md": "XDP", "said": "Said", "words": "Words", "features": "Features", "low_bits": "LowBits", "found": "Found",
			"queue": "Queue", "tag_proto": "TagProto", "tag_tci": "TagTCI"}},
	} {
		var c *btf.Struct
		if err := types.TypeByName(name, &c); err != nil {
			t.Fatal(err)
		}
		in := reflect.TypeOf(test.of)
		for _, member := range c.Members {
			if test.fields[member.Name] == "" {
				continue
			}
			field, _ := in.FieldByName(test.fields[member.Name])
			size, err := btf.Sizeof(member.Type)
			if err != nil {
				t.Fatal(err)
			}
			if int(field.Offset) != int(member.Offset/8) || int(field.Type.Size()) != size {
				t.Errorf("struct %s: %s has %d bytes at %d, and in C %d at %d", name, field.Name, field.Type.Size(), field.Offset, size, member.Offset/8)
			}
			delete(test.fields, member.Name)
		}
		if len(test.fields) > 0 {
			t.Errorf("struct %s has no %v", name, test.fields)
		}
		whole := int(in.Size())
		if skb, has := in.FieldByName("Skb"); has {
			whole = int(skb.Offset)
		}
		if whole != int(c.Size) {
			t.Errorf("struct %s has %d bytes, and in C %d", name, whole, c.Size)
		}
	}
	if size := binary.Size(rawObservation{}); size != int(reflect.TypeFor[rawObservation]().Size()) {
		t.Errorf("%d bytes without padding", size)
	}
}

// Of what looks like an address of the kernel's the lower bits are not for others.
func TestAddressesAreHidden(t *testing.T) {
	var seen rawObservation
	for i, word := range []uint64{0xffff888012345678, 1<<64 - 1, 0x1234} {
		binary.NativeEndian.PutUint64(seen.Words[8*i:], word)
	}
	descriptor := observed(t, seen, ethernet).descriptor()
	for i, want := range []uint64{0xffff000000000000, 1<<64 - 1, 0x1234, 0} {
		if got := binary.NativeEndian.Uint64(descriptor[8*i:]); got != want {
			t.Errorf("%#x instead of %#x", got, want)
		}
	}
}

func TestShortObservation(t *testing.T) {
	if o, err := parseObservation(make([]byte, 100)); err == nil || o != nil {
		t.Error(o, err)
	}
}
