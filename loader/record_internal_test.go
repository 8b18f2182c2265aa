package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// A map is taken for a record only if nobody can change it any more, and if the object in it is
// the one that it tells of.
func TestForgedRecords(t *testing.T) {
	netlab.NeedRoot(t)
	m, err := (&Record{Digest: digestOf([]byte("an object")), object: []byte("another")}).store()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if record, err := recordIn(mapID(t, m)); record != nil || err == nil || !strings.Contains(err.Error(), "not the one that it tells of") {
		t.Errorf("Of another object: %+v, %v", record, err)
	}
	open, err := ebpf.NewMap(&ebpf.MapSpec{Name: recordMap, Type: ebpf.Array, KeySize: 4, ValueSize: recordPiece, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if record, err := recordIn(mapID(t, open)); record != nil || err != nil {
		t.Errorf("Not frozen: %+v, %v", record, err)
	}
}

func mapID(t *testing.T, m *ebpf.Map) ebpf.MapID {
	t.Helper()

	info, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Fatal("the map has no ID")
	}
	return id
}
