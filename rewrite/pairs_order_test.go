package rewrite_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// checkOrder rewrites an object with its records in another order, and reports an
// error if anything else than the same object comes of it.
func checkOrder(object, rewritten []byte, layout *reloc.Layout, options rewrite.Options) error {
	shuffled, err := shuffleRecords(object, rand.New(rand.NewPCG(uint64(len(object)), 0)))
	if err != nil {
		return err
	}
	other, _, err := rewrite.Rewrite(shuffled, layout, options)
	if err != nil {
		return fmt.Errorf("with the records in another order: %w", errorOf(err))
	}
	if !bytes.Equal(other, rewritten) {
		return errors.New("with the records in another order another object comes out")
	}
	return nil
}

// errorOf returns an error that is no refusal any more: the object was not refused
// with its records as they were.
func errorOf(err error) error { return errors.New(err.Error()) }

// shuffleRecords returns an object with the CO-RE records of each section in
// random order, as a linker or another compiler may leave them. What relocates the
// records stays where it is: it is the same for all of a section.
func shuffleRecords(object []byte, random *rand.Rand) ([]byte, error) {
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	section := file.Section(".BTF.ext")
	if section == nil {
		return nil, errors.New("no .BTF.ext")
	}
	shuffled := bytes.Clone(object)
	ext := shuffled[section.Offset : section.Offset+section.Size]
	word := func(at uint32) uint32 { return file.ByteOrder.Uint32(ext[at:]) }

	// struct btf_ext_header of libbpf has the offset and length of the records from
	// the end of the header at 24 and 28.
	start := word(4) + word(24)
	size, end := word(start), start+word(28)
	for at := start + 4; at < end; {
		count := word(at + 4)
		at += 8
		random.Shuffle(int(count), func(i, j int) { swapBytes(ext[at:], i, j, int(size)) })
		at += count * size
	}
	return shuffled, nil
}

// swapBytes exchanges two records of a table.
func swapBytes(table []byte, i, j, size int) {
	kept := bytes.Clone(table[i*size : (i+1)*size])
	copy(table[i*size:], table[j*size:(j+1)*size])
	copy(table[j*size:], kept)
}
