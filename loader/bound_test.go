package loader_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// askedRecord is struct asked of asked.c.
type askedRecord struct {
	Driver       driverFields
	Kernel       producerSaid
	Done, Called uint64
}

// The fields that a driver's accessors lack are what the kernel's metadata kfuncs say, if
// its device has these: of a driver without accessors all of them, and of one with a file
// the others. A packet without a descriptor has none, and neither has a program that is
// called by a tail call.
func TestKfuncsAsked(t *testing.T) {
	for name, test := range map[string]struct {
		driver     loader.Driver
		isPortable bool
	}{
		"no accessors":            {loader.Driver{Name: "toy"}, false},
		"the mark":                {loader.Driver{Name: "veth", File: ownProgram("marks")}, false},
		"the mark, on any kernel": {loader.Driver{Name: "veth", File: ownProgram("marks")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			netlab.Need(t, netlab.MetadataFunctions)
			netlab.Need(t, netlab.BoundTailCalls)
			lab := newDriverLab(t)
			driver := &test.driver
			driver.Kfuncs = lab.kfuncs()
			object, err := os.ReadFile(ownProgram("asked"))
			if err != nil {
				t.Fatal(err)
			}
			open := driver.Accessors
			if test.isPortable {
				open = driver.Portable
			}
			accessors, err := open(object)
			if err != nil {
				t.Fatal(err)
			}
			spec, report, err := loader.RewrittenSpec(bytes.NewReader(object), loader.Options{Accessors: accessors, Interface: "nic0"})
			if err != nil {
				t.Fatal(err)
			}
			programs := lab.load(spec, report)
			lab.attachXDP(programs.Programs["received"])
			lab.tag()
			asked := programs.Maps["asked"]
			lab.send(*driverPackets, func(i int) bool { return producerLookup[askedRecord](t, asked, i).Done > 0 })
			for i, record := range producerLookupAll[askedRecord](t, asked, *driverPackets) {
				lab.checkAsked(i, driver.File != "", record)
			}
		})
	}
}

// kfuncs returns those that the lab's NIC has.
func (l *lab) kfuncs() []string {
	l.Helper()

	target, err := nic.ByName("nic0")
	if err != nil {
		l.Fatal(err)
	}
	kfuncs, err := target.Kfuncs()
	if err != nil || len(kfuncs) != len(nic.Kfuncs()) {
		l.Fatalf("a veth has %v, %v", kfuncs, err)
	}
	return kfuncs
}

// checkAsked compares what was read of a packet with what was sent, and with what the
// kfuncs say. Where the mark is read, a packet without has no descriptor.
func (l *driverLab) checkAsked(i int, isMarkRead bool, r askedRecord) {
	l.Helper()

	sent := driverSent(i)
	want := driverFields{Seen: 1}
	isFound := !isMarkRead || sent.Mark != 0
	if isFound {
		want = driverFields{
			RxTimestamp: r.Kernel.Timestamp, Hash: r.Kernel.Hash, HashType: r.Kernel.HashType,
			VlanTCI: sent.VlanTCI, VlanProto: sent.VlanProto, Seen: 1, Found: 1,
		}
	}
	called := uint64(0)
	if isFound {
		called = 1
	}
	if isFound && isMarkRead {
		want.Mark = sent.Mark
	}
	switch {
	case r.Done != 1 || r.Called != called:
		l.Fatalf("Packet %d: written down %d times, and %d times by what is called", i, r.Done, r.Called)
	case r.Driver != want:
		l.Fatalf("Packet %d: read\n%+v instead of\n%+v", i, r.Driver, want)
	case r.Kernel.Hash == 0 || r.Kernel.VlanTCI != sent.VlanTCI || r.Kernel.VlanProto != sent.VlanProto || (r.Kernel.VlanError != 0) != (sent.VlanProto == [2]byte{}):
		l.Fatalf("Packet %d: the kernel says %+v", i, r.Kernel)
	}
}

// A program that asks kfuncs is for the interface that it was loaded for, and for native mode
// there.
func TestBound(t *testing.T) {
	netlab.Need(t, netlab.MetadataFunctions)
	lab := newDriverLab(t)
	other, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	accessors, err := (&loader.Driver{Name: "toy", Kfuncs: lab.kfuncs()}).Accessors(nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := loader.Options{Accessors: accessors, Interface: "nic0", Program: "received"}
	plan, err := loader.Preview("../bpf/examples/balance"+endian, loader.Options{Accessors: accessors, Interface: "nic0"})
	if err != nil || !plan.Bound {
		t.Errorf("%+v, %v", plan, err)
	}
	opts.Program = ""
	loaded, err := loader.LoadRewritten("../bpf/examples/balance"+endian, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	defer lab.unload("nic0")
	if !loaded.Bound {
		t.Error("it is not said to be bound")
	}
	balance := loaded.Programs["balance"]
	for mode, flags := range map[string]link.XDPAttachFlags{"native": link.XDPDriverMode, "generic": link.XDPGenericMode} {
		attached, err := link.AttachXDP(link.XDPOptions{Program: balance, Interface: other.Index, Flags: flags})
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s mode of another: %v", mode, err)
		}
		if err == nil {
			attached.Close()
		}
	}
	array, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer array.Close()
	if err := array.Put(uint32(0), balance); !errors.Is(err, unix.EINVAL) {
		t.Errorf("into a program array: %v", err)
	}
	if _, err := loader.LoadRewritten("../bpf/examples/balance"+endian, opts); !errors.Is(err, loader.ErrOccupied) {
		t.Errorf("a second one: %v", err)
	}
}

// Without an interface nothing is bound, unless the caller does it.
func TestBindToDevice(t *testing.T) {
	accessors, err := (&loader.Driver{Name: "toy", Kfuncs: nic.Kfuncs()}).Portable(nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := os.ReadFile("../bpf/examples/balance" + endian)
	if err != nil {
		t.Fatal(err)
	}
	spec, _, err := loader.RewrittenSpec(bytes.NewReader(object), loader.Options{Accessors: accessors})
	if err != nil {
		t.Fatal(err)
	}
	balance := spec.Programs["balance"]
	if balance.Flags != 0 || balance.Ifindex != 0 {
		t.Errorf("flags %#x, interface %d", balance.Flags, balance.Ifindex)
	}
	loader.BindToDevice(spec, 7)
	if balance.Flags != unix.BPF_F_XDP_DEV_BOUND_ONLY || balance.Ifindex != 7 {
		t.Errorf("flags %#x, interface %d", balance.Flags, balance.Ifindex)
	}
}

// What only kfuncs tell is not there in a program that a program array starts with, and
// nowhere if they are not to be asked.
func TestKfuncsNotThere(t *testing.T) {
	netlab.Need(t, netlab.HashFunction)
	object, err := os.ReadFile(ownProgram("calls"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		driver loader.Driver
		want   string
	}{
		"in a program array": {loader.Driver{Name: "toy", Kfuncs: nic.Kfuncs()},
			"md->hash: driver toy tells the hash of a packet only by bpf_xdp_metadata_rx_hash, which is asked in programs that are bound to the device, and program last_called is in a program array, whose programs can't be, and the program can reach it: guard it with bpf_core_field_exists(md->hash)"},
		"another kfunc":       {loader.Driver{Name: "toy", Kfuncs: []string{"bpf_xdp_metadata_rx_vlan_tag"}}, "driver toy has no hash of a packet, it has vlan_tci, vlan_proto"},
		"not asked":           {loader.Driver{Name: "veth", File: ownProgram("marks")}, "driver veth has no hash of a packet, it has mark"},
		"nothing to be asked": {loader.Driver{Name: "toy"}, "driver toy: no accessors, there are some for"},
	} {
		accessors, err := test.driver.Accessors(object)
		if err == nil {
			_, _, err = loader.Rewrite(object, loader.Options{Accessors: accessors})
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v instead of %q", name, err, test.want)
		}
	}
}
