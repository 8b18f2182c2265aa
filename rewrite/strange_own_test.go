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
