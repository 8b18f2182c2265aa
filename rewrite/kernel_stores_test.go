package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// What a program stores is in the layout's field afterwards, as much of it as
// fits, and no other byte has changed.
func TestKernelStores(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	random := kernelRandom(t)
	for _, name := range kernelPrograms(t) {
		if kernelSource(name) != "store" {
			continue
		}
		for _, layout := range kernelAccepting(t, "store") {
			t.Run(name+"/"+layout, func(t *testing.T) {
				p := newKernelPair(t, kernelRewrite(t, name, layout))
				loaded := kernelLoad(t, p.object)
				for _, area := range kernelAreas(t, random, p.size, 0) {
					p.checkStore(t, loaded, area, random)
				}
				p.checkNoStore(t, loaded, make([]byte, p.size-4))
				p.checkProduce(t, loaded, random)
			})
		}
	}
}

// checkStore runs store.c's store, which writes every field.
func (p *kernelPair) checkStore(t *testing.T, loaded *ebpf.Collection, area []byte, random *rand.ChaCha8) {
	t.Helper()
	kernelClear(t, loaded)
	stored := kernelSetInput(t, loaded, random)
	stored["hash_type"] = 0x19
	stored["csum_status"] = 2                                                     // MD_CSUM_COMPLETE
	stored["vlan_proto"] = uint64(binary.NativeEndian.Uint16([]byte{0x81, 0x00})) // bpf_htons(ETH_P_8021Q)

	expected := bytes.Clone(area)
	for _, path := range kernelHeaderFields {
		p.store(t, expected, path, stored[path])
	}
	_, after := kernelRun(t, loaded.Programs["store"], area)
	if !bytes.Equal(after, expected) {
		t.Errorf("Stored %#x: metadata\n%x instead of\n%x, before:\n%x", stored, after, expected, area)
	}
	if results := kernelResults(t, loaded); results["found"] != 1 {
		t.Error("Not found")
	}
}

// store does what the program is to do to a field, if the layout has it.
func (p *kernelPair) store(t *testing.T, area []byte, path string, value uint64) {
	t.Helper()
	local, _ := kernelFind(p.locals, path)
	if field, ok := kernelFind(p.targets, path); ok {
		field.write(area, local.convert(value))
	}
}

// checkNoStore runs store.c's store on an area that is too small.
func (p *kernelPair) checkNoStore(t *testing.T, loaded *ebpf.Collection, area []byte) {
	t.Helper()
	kernelClear(t, loaded)
	_, after := kernelRun(t, loaded.Programs["store"], area)
	if !bytes.Equal(after, area) {
		t.Errorf("Stored without a descriptor: %x", after)
	}
	if results := kernelResults(t, loaded); results["found"] != 0 {
		t.Error("Found")
	}
}

// checkProduce runs store.c's produce, which makes an area of the layout's size
// where there is none, and writes two fields.
func (p *kernelPair) checkProduce(t *testing.T, loaded *ebpf.Collection, random *rand.ChaCha8) {
	t.Helper()
	kernelClear(t, loaded)
	stored := kernelSetInput(t, loaded, random)
	stored["mark"] = 42

	action, after := kernelRun(t, loaded.Programs["produce"], nil)
	if action != kernelXDPPass || len(after) != p.size {
		t.Fatalf("produce returned %d and %d bytes of metadata instead of %d", action, len(after), p.size)
	}
	expected := bytes.Clone(after) // nobody has written the other bytes
	for _, path := range []string{"hash", "mark"} {
		p.store(t, expected, path, stored[path])
	}
	if !bytes.Equal(after, expected) {
		t.Errorf("Produced %#x: metadata\n%x instead of\n%x", stored, after, expected)
	}
}

// kernelSetInput sets the variables that store.c takes its values from to
// random ones, and returns these by field.
func kernelSetInput(t *testing.T, loaded *ebpf.Collection, random *rand.ChaCha8) map[string]uint64 {
	t.Helper()
	input := make(map[string]uint64)
	for _, path := range []string{"rx_timestamp", "hash", "csum", "vlan_tci", "mark"} {
		variable := loaded.Variables["in_"+path]
		value := random.Uint64()
		input[path] = value << (64 - variable.Size()*8) >> (64 - variable.Size()*8)

		var err error
		switch variable.Size() {
		case 2:
			err = variable.Set(uint16(value))
		case 4:
			err = variable.Set(uint32(value))
		case 8:
			err = variable.Set(value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return input
}
