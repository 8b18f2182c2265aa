package rewrite_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Actions that programs return: enum xdp_action, and TC_ACT_OK.
const (
	kernelXDPAborted = 0
	kernelXDPPass    = 2
	kernelTCOK       = 0
)

// kernelMaxMetadata is the largest metadata area that bpf_prog_test_run takes.
const kernelMaxMetadata = netlab.MaxMetadata

// kernelBTFs have the types of the kernel, which take a while to read. One is for one
// test at a time.
var kernelBTFs = sync.Pool{New: func() any { return btf.NewCache() }}

// kernelPacket is what follows the metadata.
var kernelPacket = bytes.Repeat([]byte{0xee}, 64)

// kernelSpec reads an object as every user of cilium/ebpf does.
func kernelSpec(t *testing.T, object []byte) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// kernelLoad loads an object into the kernel, without anything of ours.
func kernelLoad(t *testing.T, object []byte) *ebpf.Collection {
	t.Helper()
	kernelBTF := kernelBTFs.Get().(*btf.Cache)
	defer kernelBTFs.Put(kernelBTF)
	loaded, err := ebpf.NewCollectionWithOptions(kernelSpec(t, object), ebpf.CollectionOptions{Cache: kernelBTF})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(loaded.Close)
	return loaded
}

// kernelRun runs an XDP program on a packet with a metadata area in front of
// it. It returns the program's action and the metadata area as it is then.
func kernelRun(t *testing.T, program *ebpf.Program, metadata []byte) (uint32, []byte) {
	t.Helper()
	outcome, err := netlab.Run(program, metadata, kernelPacket)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(outcome.Packet, kernelPacket) {
		t.Errorf("The packet behind the metadata was changed: %x", outcome.Packet)
	}
	return outcome.Action, outcome.Metadata
}

// kernelClear sets all global variables to zero.
func kernelClear(t *testing.T, loaded *ebpf.Collection) {
	t.Helper()
	if bss := loaded.Maps[".bss"]; bss != nil {
		if err := bss.Put(uint32(0), make([]byte, bss.ValueSize())); err != nil {
			t.Fatal(err)
		}
	}
}

// kernelResults returns the global variables, sign-extended where they are
// signed. Input of the program is not among them.
func kernelResults(t *testing.T, loaded *ebpf.Collection) map[string]uint64 {
	t.Helper()
	results := make(map[string]uint64)
	for name, variable := range loaded.Variables {
		if variable.Size() != 8 || kernelIsInput(name) {
			continue
		}
		var value uint64
		if err := variable.Get(&value); err != nil {
			t.Fatal(err)
		}
		results[name] = value
	}
	return results
}
