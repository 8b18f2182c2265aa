package accessor_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// skb is a struct sk_buff of random contents, by the kernel's BTF.
type skb struct {
	memory []byte
	types  *btf.Spec
}

// member returns a member of a struct, where it starts, and how many bits it has.
func (s *skb) member(tb testing.TB, of, name string) (bit, bits uint32) {
	tb.Helper()
	var typ *btf.Struct
	if err := s.types.TypeByName(of, &typ); err != nil {
		tb.Fatal(err)
	}
	bit, bits, ok := find(typ, name)
	if !ok {
		tb.Fatalf("struct %s has no %s", of, name)
	}
	return bit, bits
}

func find(typ btf.Type, name string) (bit, bits uint32, ok bool) {
	var members []btf.Member
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Struct:
		members = typ.Members
	case *btf.Union:
		members = typ.Members
	}
	for _, member := range members {
		if member.Name == name {
			size, err := btf.Sizeof(member.Type)
			bits := uint32(member.BitfieldSize)
			if bits == 0 {
				bits = uint32(8 * size)
			}
			return uint32(member.Offset), bits, err == nil
		}
		if member.Name == "" {
			if bit, bits, ok := find(member.Type, name); ok {
				return uint32(member.Offset) + bit, bits, true
			}
		}
	}
	return 0, 0, false
}

// get returns a member of a struct at an offset, and put changes it, bit by bit.
func (s *skb) get(tb testing.TB, at uint32, of, name string) (value uint64) {
	first, bits := s.member(tb, of, name)
	for i := range bits {
		bit := 8*at + first + i
		value |= uint64(s.memory[bit/8]>>(bit%8)&1) << i
	}
	return value
}

func (s *skb) put(tb testing.TB, at uint32, of, name string, value uint64) {
	first, bits := s.member(tb, of, name)
	for i := range bits {
		bit := 8*at + first + i
		s.memory[bit/8] = s.memory[bit/8]&^(1<<(bit%8)) | byte(value>>i&1)<<(bit%8)
	}
}

const headAt, infoAt = 4096, 8192

// want returns what bpf/drivers/veth.c reads of it.
func (s *skb) want(tb testing.TB) map[string]uint64 {
	get := func(name string) uint64 { return s.get(tb, 0, "sk_buff", name) }
	summed := get("ip_summed")
	want := map[string]uint64{
		"hash": get("hash"), "hash_type": 8 * get("l4_hash"), "mark": get("mark"),
		"csum": 0, "csum_status": summed, "vlan_proto": get("vlan_proto"), "vlan_tci": 0,
		"rx_timestamp": s.get(tb, infoAt, "skb_shared_info", "hwtstamps"),
	}
	if summed == 2 {
		want["csum"] = get("csum")
	}
	if summed == 3 {
		want["csum_status"] = 1
	}
	if want["vlan_proto"] != 0 {
		want["vlan_tci"] = get("vlan_tci")
	}
	if s.get(tb, infoAt, "skb_shared_info", "tx_flags")&(1<<5) != 0 {
		want["rx_timestamp"] = 0
	}
	return want
}

// all returns accessors lowered in all ways, by these.
func all(tb testing.TB, driver string) map[string]*rewrite.Accessors {
	tb.Helper()
	netlab.NeedRoot(tb)
	kernel := newKernel(tb, read(tb, vmlinux))
	object, err := drivers.Object(driver, binary.LittleEndian)
	if err != nil {
		tb.Fatal(err)
	}
	file := readFile(tb, object)
	portable, err := file.Portable()
	if err != nil {
		tb.Fatal(err)
	}
	lowered := map[string]*rewrite.Accessors{"portable": portable}
	for _, lowering := range lowerings {
		if lowered[string(lowering)], err = file.Resolve(kernel, accessor.Options{Lowering: lowering}); err != nil {
			tb.Fatal(err)
		}
		if missing := lowered[string(lowering)].Missing; len(missing) > 0 {
			tb.Fatal(missing)
		}
	}
	return lowered
}

// veth's accessors read a struct sk_buff as the kernel has it, and find no descriptor where
// none is.
func TestKernelVeth(t *testing.T) {
	netlab.NeedRoot(t)
	types, err := btf.LoadSpecFromReader(bytes.NewReader(read(t, vmlinux)))
	if err != nil {
		t.Fatal(err)
	}
	for name, accessors := range all(t, "veth") {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, accessors, slices.Sorted(maps.Keys(accessors.Fields)), 1, nil)
			if name != string(accessor.Probe) {
				checkCasts(t, r)
			}
			for seed := range uint64(500) {
				random := rand.New(rand.NewPCG(seed, 0))
				s := &skb{memory: make([]byte, 64<<10), types: types}
				for i := range 12 << 10 {
					s.memory[i] = byte(random.Uint32())
				}
				s.put(t, 0, "sk_buff", "head", r.start+headAt)
				s.put(t, 0, "sk_buff", "end", infoAt-headAt)
				if random.IntN(2) == 0 {
					s.put(t, 0, "sk_buff", "vlan_proto", 0)
				}
				r.fill(t, s.memory)
				got := r.run(t, r.start)
				if got["descriptor"] != 0 {
					t.Fatalf("descriptor %#x in a test run", got["descriptor"])
				}
				delete(got, "descriptor")
				if truncate(got, accessors); !maps.Equal(got, s.want(t)) {
					t.Fatalf("seed %d: %v instead of %v", seed, got, s.want(t))
				}
			}
		})
	}
}

// In a TC program the same is read from ctx.
func TestKernelTC(t *testing.T) {
	for name, accessors := range all(t, "skb") {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, accessors, slices.Sorted(maps.Keys(accessors.Fields)), 1, nil)
			if name != string(accessor.Probe) {
				checkCasts(t, r)
			}
			context := make([]byte, 192) // struct __sk_buff
			binary.NativeEndian.PutUint32(context[8:], 0xabcd1234)
			r.context = context
			for _, descriptor := range []uint64{1, 0, ^uint64(0)} { // which is nowhere
				got := r.run(t, descriptor)
				if got["descriptor"] == 0 {
					t.Error("a packet without a descriptor")
				}
				delete(got, "descriptor")
				truncate(got, accessors)
				want := map[string]uint64{"mark": 0xabcd1234, "hash": 0, "hash_type": 0, "csum": 0, "csum_status": 0, "vlan_proto": 0, "vlan_tci": 0, "rx_timestamp": 0}
				if !maps.Equal(got, want) {
					t.Errorf("%v instead of %v", got, want)
				}
			}
		})
	}
}

// checkCasts wants the verifier to have made nothing of what saves registers over casts,
// and of the casts no calls.
func checkCasts(t *testing.T, r *runner) {
	t.Helper()
	info, err := r.collection.Programs["program"].Info()
	if err != nil {
		t.Fatal(err)
	}
	insns, err := info.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	inAccessor := false
	for i := range insns {
		ins := &insns[i]
		if function := btf.FuncMetadata(ins); function != nil {
			inAccessor = function.Name != "program"
		}
		if inAccessor && (ins.Dst == asm.RFP || ins.Src == asm.RFP || ins.OpCode.JumpOp() == asm.Call && ins.OpCode.Class().IsJump()) {
			t.Errorf("instruction %d: %v", i, ins)
		}
	}
}
