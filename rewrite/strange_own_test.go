package rewrite_test

import "testing"

// For a bit-field clang records the bytes in front of those that it loads or stores (see
// reloc.Field). What is on the stack there must not be taken for what is in the bit-field,
// nor what was in its bytes before for what is there after a store.
func TestStrangeOwnBits(t *testing.T) {
	f := strangeProgram{
		types: `struct md_desc { __u64 first; __u32 before; __s32 bits : 18; __u64 last; } PAI;`,
		program: `
			struct md_desc memory, *own = &memory;
			__builtin_memset(own, 0, sizeof(*own));
			OPAQUE(own);
			`,
		layout: `struct md_desc { __u64 first; __s32 bits, before; __u64 last; }`,
		area:   "0000000000000000" + "aaaaaaaa" + "bbbbbbbb" + "0300000000000000",
	}
	load, store := f, f
	load.program += `
		*((__u32 *)own + 3) = md->last | 0xff7d0000;
		barrier();
		own->before = 2;
		md->bits = own->bits;
		out = own->before;`
	load.out, load.after = 2, "0000000000000000"+"03000100"+"bbbbbbbb"+"0300000000000000"
	t.Run("load", load.check)
	store.program += `
		*((__u32 *)own + 3) = 0x20001;
		barrier();
		own->bits = md->last;
		barrier();
		md->bits = *((__u32 *)own + 3);
		out = own->bits;`
	store.out, store.after = 3, "0000000000000000"+"03000000"+"bbbbbbbb"+"0300000000000000"
	t.Run("store", store.check)
}

// A bit-field in any element of an array of copies is one of a copy.
func TestStrangeOwnArray(t *testing.T) {
	f := strangeProgram{
		types:  `struct md_desc { __u32 hash; __s32 delta : 12, drift : 20; __u16 port; __u8 flags : 5; } PAI;`,
		layout: `struct md_desc { __u16 port, delta; __u32 hash; __u8 flags; }`,
		area:   "0100feff" + "03000000" + "05aaaaaa",
	}
	f.program = `
		struct md_desc two[2] = {}, *own = two;
		OPAQUE(own);
		own[0].delta = md->delta;
		own[1].delta = md->delta - 1;
		own[1].drift = md->hash;
		own[1].flags = md->flags;
		OPAQUE(own);
		out = own[0].delta + (own[1].delta << 8) + (own[1].drift << 16) + own[1].flags;`
	f.out = 0x2fd03
	t.Run("stack", f.check)
	f.source = `struct md_desc two[3];`
	f.program = `
		struct md_desc *own = two;
		OPAQUE(own);
		own[2].delta = md->delta;
		own[2].flags = md->flags;
		OPAQUE(own);
		out = own[2].delta + own[2].flags;`
	f.out = 3
	t.Run("data", f.check)
}
