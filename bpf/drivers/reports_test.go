package drivers_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

// report is what xdp-load verify --json prints of packets, as it came, with what is right
// added to its examples by hand.
type report struct {
	Driver, Kernel string
	Fields         []struct {
		Field    string
		Examples []reported
	}
}

// reported is a packet of a report. Descriptor and Features are hexadecimal digits, and Want
// the fields that they tell, VLAN protocols in the byte order of the host. Without it the
// example is for people.
type reported struct {
	Descriptor, Features string
	LowBits              int
	Want                 map[string]uint64
}

// reportable is what a NIC writes: how many bytes, behind which in a report there is
// something else, and whether they start at a multiple of 8, so that the lower bits of the
// address say nothing of that.
type reportable struct {
	size    int
	aligned bool
}

var reportables = map[string]reportable{
	"ice":        {32, true},
	"igb":        {16, true},
	"mlx5_core":  {64, true},
	"virtio_net": {20, false},
	"vmxnet3":    {16, true},
}

// What was reported of a real NIC is read as it has to be, by the types of each kernel.
func TestReports(t *testing.T) {
	files, err := filepath.Glob("testdata/reports/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no reports", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { testReport(t, file) })
	}
}

func testReport(t *testing.T, file string) {
	var r report
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if reportables[r.Driver].size == 0 {
		t.Fatalf("driver %q: what it keeps is not known to be a NIC's", r.Driver)
	}
	packets := make(map[string]*reported)
	for _, f := range r.Fields {
		for i := range f.Examples {
			if packet := &f.Examples[i]; len(packet.Want) > 0 {
				packets[fmt.Sprintf("%s %d", f.Field, i+1)] = packet
			}
		}
	}
	if len(packets) == 0 {
		t.Error(`no example says what is right: add "want" to one`)
	}
	modelled, accessors := models[r.Driver], read(t, r.Driver)
	memory := memlab.New(t, modelled.memory)
	for _, k := range kernelsOf(t, r.Driver) {
		s := setting{memory, k.types}
		c := &comparison{t: t, accessors: load(t, accessors, k, lowerings(t)[0]), model: modelled.model(s)}
		for name, packet := range packets {
			if err := s.testReported(c, reportables[r.Driver], packet); err != nil {
				t.Errorf("%s, %s: %v", name, k.name, err)
			}
		}
	}
}

// testReported wants a packet to be read as it has to be, whatever else there is.
func (s *setting) testReported(c *comparison, what reportable, packet *reported) error {
	octets, err := packet.octets(what)
	if err != nil {
		return fmt.Errorf("descriptor %q: %w", packet.Descriptor, err)
	}
	features, err := strconv.ParseUint(packet.Features, 0, 64)
	if err != nil {
		return fmt.Errorf("features: %w", err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		ctx, descriptor := s.layReported(random, c.model, octets, what.aligned, features)
		if found := c.accessors.find(ctx); found != descriptor {
			return fmt.Errorf("the descriptor is at %#x instead of %#x", found, descriptor)
		}
		got := c.accessors.decode(descriptor, ctx)
		for field, want := range packet.Want {
			if field == "vlan_proto" {
				want = bigEndian(want, 2)
			}
			if got[field] != want {
				return fmt.Errorf("%s is %#x instead of %#x", field, got[field], want)
			}
		}
	}
	return nil
}

// octets returns the bytes that are the packet's own.
func (r *reported) octets(what reportable) ([]byte, error) {
	octets, err := hex.DecodeString(r.Descriptor)
	if err != nil {
		return nil, err
	}
	start := r.LowBits
	if what.aligned {
		start = 0
	}
	if start < 0 || start+what.size > len(octets) {
		return nil, fmt.Errorf("%d bytes, of which %d are wanted from %d on", len(octets), what.size, start)
	}
	return octets[start : start+what.size], nil
}

// layReported lays out what a driver keeps, with what a NIC wrote as the descriptor.
func (s *setting) layReported(random *rand.Rand, m model, octets []byte, aligned bool, features uint64) (ctx, descriptor uint64) {
	for descriptor == 0 { // there are scenes without one
		s.memory.Clear(random)
		ctx, descriptor, _ = m.lay(random)
		if descriptor == 0 {
			continue
		}
		rxq := s.view("xdp_rxq_info", s.view("xdp_buff", ctx).Get("rxq"))
		s.view("net_device", rxq.Get("dev")).Set("features", features)
		start := descriptor
		if aligned {
			start &^= 7
		}
		for i, octet := range octets {
			s.memory.Store(start+uint64(i), 1, uint64(octet))
		}
		descriptor = m.find(ctx)
	}
	return ctx, descriptor
}
