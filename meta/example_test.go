package meta_test

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/meta"
	"github.com/xdp-load/xdp-load/nic"
)

type consumer struct {
	decoder *meta.Decoder
	packet  meta.Packet
}

func newConsumer() (*consumer, error) {
	layout, err := nic.OpenLayout("receive.o", "")
	if err != nil {
		return nil, err
	}
	c := new(consumer) // with a meta.Packet, or a struct of one's own with tags: `meta:"hash"`
	c.decoder, err = meta.NewDecoder(layout, meta.PacketStruct, &c.packet)
	return c, err
}

// worker says who is to have a packet, given the bytes in front of it in its frame.
func (c *consumer) worker(front []byte, workers uint32) uint32 {
	c.decoder.Decode(front)
	if c.packet.Fields&meta.Hash == 0 {
		return 0
	}
	return c.packet.Hash % workers
}

// docs/examples.md shows the code above.
func TestDocs(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := blockOf(t, "go"); !strings.Contains(string(source), "\n"+code) {
		t.Errorf("docs/examples.md shows what this file does not run:\n%s", code)
	}

	object, err := os.ReadFile("../bpf/examples/receive-el.o")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("receive.o", object, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := newConsumer()
	if err != nil {
		t.Fatal(err)
	}
	front := make([]byte, 256)
	binary.LittleEndian.PutUint32(front[256-24:], 7*4+3)
	for fields, want := range map[byte]uint32{0: 0, byte(meta.Hash): 3} {
		front[255] = fields
		if got := c.worker(front, 4); got != want {
			t.Errorf("worker %d instead of %d", got, want)
		}
	}
}

// docs/examples.md shows C that compiles.
func TestDocsInC(t *testing.T) {
	netlab.NeedTools(t, "gcc")
	compileC(t, blockOf(t, "c")+"int main(int argc, char **argv) { return vlan_of(argv[argc - 1]); }\n")
}

// blockOf returns the first block of docs/examples.md in a language.
func blockOf(t *testing.T, language string) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/examples.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(doc), "```"+language+"\n")
	code, _, _ := strings.Cut(after, "```")
	if !found {
		t.Fatalf("docs/examples.md shows no %s", language)
	}
	return code
}
