package insn_test

import (
	"math/rand/v2"
	"testing"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// A set of slots has what a map would have.
func TestSlots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var slots insn.Slots
	wanted := make(map[int]bool)
	for range 10_000 {
		slot := random.IntN(300)
		if random.IntN(3) == 0 {
			slots.Remove(slot)
			delete(wanted, slot)
		} else {
			slots.Add(slot)
			wanted[slot] = true
		}
		if probe := random.IntN(400) - 50; slots.Has(probe) != wanted[probe] {
			t.Fatalf("slot %d: %t", probe, slots.Has(probe))
		}
		if slots.IsEmpty() != (len(wanted) == 0) {
			t.Fatalf("of %d slots: empty is %t", len(wanted), slots.IsEmpty())
		}
	}
	if !insn.SlotsOf().IsEmpty() || !insn.SlotsOf(64).Has(64) || insn.SlotsOf(64).Has(0) {
		t.Error("a set is not of the slots that it was made of")
	}
	for slot := range wanted {
		slots.Remove(slot)
	}
	if !slots.IsEmpty() {
		t.Error("it is not empty, and everything was removed")
	}
}
