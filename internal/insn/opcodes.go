package insn

// The parts of an opcode, named as in the kernel's
// Documentation/bpf/standardization/instruction-set.rst.
const (
	ClassLD, ClassLDX, ClassST, ClassSTX       = 0, 1, 2, 3
	ClassALU, ClassJMP, ClassJMP32, ClassALU64 = 4, 5, 6, 7

	ModeABS, ModeIND, ModeMEM, ModeMEMSX, ModeATOMIC = 0x20, 0x40, 0x60, 0x80, 0xc0

	OpADD, OpSUB, OpMUL, OpDIV, OpOR, OpAND, OpLSH   = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60
	OpRSH, OpNEG, OpMOD, OpXOR, OpMOV, OpARSH, OpEND = 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0

	OpJA, OpJEQ, OpJGT, OpJGE, OpJSET, OpJNE, OpJSGT     = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60
	OpJSGE, OpCALL, OpEXIT, OpJLT, OpJLE, OpJSLT, OpJSLE = 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0
	OpJCOND                                              = 0xe0

	// The immediate of an atomic operation: one of the operations above, with
	// AtomicFetch if the old value comes back, or one of the others.
	AtomicFetch, AtomicXchg, AtomicCmpxchg = 0x01, 0xe1, 0xf1
	AtomicLoadAcquire, AtomicStoreRelease  = 0x100, 0x110

	PseudoCall, PseudoKfunc = 1, 2 // the src of a call: of a function of the object, of the kernel
	PseudoFunc              = 4    // the src of LDDW: the address of a function of the object
)

// LDDW is the opcode of the one instruction that takes two slots: a 64-bit immediate
// into a register.
const LDDW = 0x18
