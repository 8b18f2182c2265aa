package drivers_test

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

// model is a driver without its hardware: what it leaves in memory of a packet, and what
// that means. Here it is said from what the hardware and the driver define, not from the C
// file that it is compared with, and in other terms: the descriptors of the hardware by
// the offsets of their data sheets.
type model interface {
	// lay lays out what the driver keeps of a packet, at random, and returns the
	// address of its xdp_buff, that of the descriptor, and those of all pointers that
	// lead there.
	lay(random *rand.Rand) (ctx, descriptor uint64, pointers []uint64)

	// find returns the address of the descriptor, or 0, in any memory.
	find(ctx uint64) uint64

	// decode returns the value of each field, in any memory.
	decode(descriptor, ctx uint64) map[string]uint64
}

// modelled is a driver of which there is a model, and the memory that it takes, in bytes.
type modelled struct {
	memory int
	model  func(setting) model
	values map[string][]uint64 // of a field, each of which has to come up
	lacks  map[string][]string // fields of which a kernel's driver knows nothing, by series, sorted
}

var models = map[string]modelled{
	"bnxt_en":       bnxtModel,
	"ena":           enaModel,
	"fbnic":         fbnicModel,
	"fsl_dpaa2_eth": dpaa2Model,
	"gve":           gveModel,
	"hv_netvsc":     netvscModel,
	"i40e":          i40eModel,
	"ice":           iceModel,
	"idpf":          idpfModel,
	"igb":           igbModel,
	"igc":           igcModel,
	"ionic":         ionicModel,
	"ixgbe":         ixgbeModel,
	"ixgbevf":       ixgbevfModel,
	"mana":          manaModel,
	"mlx4_en":       mlx4Model,
	"mlx5_core":     mlx5Model,
	"mvneta":        mvnetaModel,
	"mvpp2":         mvpp2Model,
	"nfp":           nfpModel,
	"qede":          qedeModel,
	"rvu-nicpf":     otx2Model,
	"sfc":           sfcModel,
	"sfc_siena":     sfcModel,
	"skb":           skbModel,
	"stmmac":        stmmacModel,
	"tsnep":         tsnepModel,
	"veth":          vethModel,
	"virtio_net":    virtioNetModel,
	"vmxnet3":       vmxnet3Model,
}

// setting is what models are made of.
type setting struct {
	memory *memlab.Memory
	types  *memlab.Types
}

func (s *setting) place(name string, more int) *memlab.Struct {
	return s.memory.Place(s.types, name, more)
}

func (s *setting) view(name string, address uint64) *memlab.Struct {
	return s.memory.Struct(s.types, name, address)
}

const scenes = 1500

// testModel compares the accessors of a driver with its model: in scenes as the driver
// leaves them, in scenes in which a pointer leads nowhere, and from a descriptor that is
// nowhere.
func testModel(t *testing.T, driver string) {
	file, modelled := read(t, driver), models[driver]
	memory := memlab.New(t, modelled.memory)
	lowerings := lowerings(t)
	for _, k := range needKernels(t, driver) {
		for _, lowering := range lowerings {
			t.Run(k.name+"/"+string(lowering), func(t *testing.T) {
				modelled.compare(t, memory, k, load(t, file, k, lowering))
			})
		}
	}
}

// compare compares the accessors of a driver on a kernel with its model.
func (m *modelled) compare(t *testing.T, memory *memlab.Memory, k kernel, accessors *accessors) {
	t.Helper()
	c := &comparison{t, accessors, m.model(setting{memory, k.types}), make(map[string]map[uint64]bool)}
	random := rand.New(rand.NewPCG(1, 2))
	for range scenes {
		memory.Clear(random)
		c.scene(random, memory)
	}
	c.checkSeen(m.values)
}

type comparison struct {
	t         *testing.T
	accessors *accessors
	model     model
	seen      map[string]map[uint64]bool // numbers, by field
}

func (c *comparison) scene(random *rand.Rand, memory *memlab.Memory) {
	c.t.Helper()
	ctx, descriptor, pointers := c.model.lay(random)
	if found := c.model.find(ctx); found != descriptor {
		c.t.Fatalf("the model finds the descriptor at %#x instead of %#x", found, descriptor)
	}
	if random.IntN(4) == 0 {
		memory.Store(pointers[random.IntN(len(pointers))], 8, memlab.Wild[random.IntN(len(memlab.Wild))])
	}
	if random.IntN(16) == 0 {
		descriptor = memlab.Wild[random.IntN(len(memlab.Wild))]
	}
	if got, want := c.accessors.find(ctx), c.model.find(ctx); got != want {
		c.t.Fatalf("the descriptor is at %#x instead of %#x", got, want)
	} else if got == 0 && !memlab.NullFaults() {
		return // what is read by NULL is something, and no program asks for it
	}
	wanted := c.model.decode(descriptor, ctx)
	for field, got := range c.accessors.decode(descriptor, ctx) {
		want, ok := wanted[field]
		if !ok || got != want {
			c.t.Fatalf("%s is %#x instead of %#x", field, got, want)
		}
		c.note(field, want)
	}
}

func (c *comparison) note(field string, number uint64) {
	if c.seen[field] == nil {
		c.seen[field] = make(map[uint64]bool)
	}
	c.seen[field][number] = true
}

// checkSeen wants that each field has had a value, and some fields every value.
func (c *comparison) checkSeen(values map[string][]uint64) {
	for _, field := range c.accessors.names {
		if len(c.seen[field]) < 2 {
			c.t.Errorf("%s was always the same", field)
		}
		for _, number := range values[field] {
			if !c.seen[field][number] {
				c.t.Errorf("%s was never %d", field, number)
			}
		}
	}
}

// alignedPriv is where netdev_priv() is before 6.10: NETDEV_ALIGN.
const alignedPriv = 32

// privateOf returns the address of a device's private data, as netdev_priv() does.
func (s *setting) privateOf(device uint64) uint64 {
	dev := s.view("net_device", device)
	if dev.Has("priv") {
		return dev.At("priv")
	}
	size := s.types.Size("net_device")
	return device + uint64((size+alignedPriv-1)/alignedPriv*alignedPriv)
}

// placeDevice takes memory for a device with its private data.
func (s *setting) placeDevice(private int) *memlab.Struct {
	return s.place("net_device", alignedPriv+private)
}

// around returns the struct of a type that has the receive queue of a buff as a member.
func (s *setting) around(ctx uint64, name, member string) *memlab.Struct {
	rxq := s.view("xdp_buff", ctx).Get("rxq")
	return s.view(name, rxq-uint64(s.view(name, 0).Offset(member)))
}

// little returns a number that a NIC keeps as little-endian.
func (s *setting) little(address uint64, size int) uint64 {
	return bits.ReverseBytes64(bigEndian(s.memory.Load(address, size), size)) >> (64 - 8*size)
}

// storeLittle stores a number as a NIC does that is little-endian.
func (s *setting) storeLittle(address uint64, size int, number uint64) {
	for i := range size {
		s.memory.Store(address+uint64(i), 1, number>>(8*i)&0xff)
	}
}

// timecounter returns the time of a clock in nanoseconds: timecounter_cyc2time().
func (s *setting) timecounter(tc *memlab.Struct, cycles uint64) uint64 {
	clock := s.view("cyclecounter", tc.Get("cc"))
	mask, mult, shift := clock.Get("mask"), clock.Get("mult"), clock.Get("shift")&63
	last, ns, frac := tc.Get("cycle_last"), tc.Get("nsec"), tc.Get("frac")
	if ahead := (cycles - last) & mask; ahead <= mask/2 {
		return ns + (ahead*mult+frac)>>shift
	}
	return ns - ((last-cycles)&mask*mult-frac)>>shift
}

// rarely returns a number that is 0 now and then.
func rarely(random *rand.Rand, number uint64) uint64 {
	if random.IntN(4) == 0 {
		return 0
	}
	return number
}

// chance returns true in one of n cases.
func chance(random *rand.Rand, n int) bool { return random.IntN(n) == 0 }
