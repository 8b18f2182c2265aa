package flow

// helperArguments says how many arguments the kernel's helper functions take,
// by number, as libbpf's bpf_helper_defs.h declares them. Numbers that it does
// not name take five. There will be no more: newer functions are kfuncs.
var helperArguments = [...]uint8{
	5, 2, 4, 2, 3, 0, 5, 0, 0, 5, 5, 5, 3, 3, 0, 0, 2, 1, 3, 1,
	4, 4, 2, 2, 1, 5, 4, 3, 5, 3, 3, 3, 2, 3, 1, 0, 3, 2, 3, 2,
	2, 1, 0, 3, 2, 3, 1, 1, 2, 5, 4, 3, 4, 4, 2, 4, 3, 5, 2, 2,
	4, 2, 2, 4, 3, 2, 5, 4, 5, 4, 4, 4, 4, 4, 4, 3, 4, 1, 4, 1,
	0, 2, 4, 2, 5, 5, 1, 3, 2, 2, 4, 4, 3, 1, 1, 1, 1, 1, 1, 5,
	5, 4, 3, 3, 3, 4, 4, 4, 2, 1, 5, 5, 3, 3, 3, 3, 2, 1, 0, 4,
	4, 5, 1, 1, 3, 0, 5, 3, 1, 2, 4, 3, 2, 2, 2, 2, 1, 1, 1, 1,
	1, 4, 4, 4, 3, 4, 2, 3, 3, 5, 4, 1, 4, 2, 1, 2, 4, 2, 0, 2,
	0, 3, 1, 5, 4, 5, 3, 4, 1, 3, 2, 3, 1, 1, 1, 1, 3, 4, 1, 4,
	5, 4, 3, 3, 2, 1, 0, 1, 1, 4, 4, 5, 3, 3, 2, 3, 1, 4, 4, 2,
	2, 5, 5, 3, 3, 3, 2, 2, 0, 4, 4, 2,
}

// helperPointers says which of their arguments are addresses, a bit for each from the
// lowest on, as declared in the same place: but for the ctx and for maps, which the
// verifier knows from any other address. All are of what it does not have.
var helperPointers = [...]uint8{
	31, 2, 6, 2, 5, 0, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
	2, 2, 0, 0, 0, 8, 4, 0, 5, 2, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0,
	0, 0, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 5, 0, 4, 2, 9, 1, 1,
	1, 1, 1, 1, 2, 0, 4, 2, 4, 2, 5, 5, 4, 4, 4, 0, 4, 0, 0, 0,
	0, 0, 5, 0, 2, 2, 1, 2, 2, 2, 1, 1, 0, 1, 1, 1, 1, 0, 1, 2,
	11, 2, 2, 2, 2, 9, 9, 6, 2, 0, 11, 8, 5, 5, 5, 5, 1, 0, 0, 2,
	4, 8, 0, 0, 2, 0, 11, 3, 1, 1, 2, 0, 1, 1, 0, 0, 1, 1, 1, 1,
	1, 3, 3, 3, 1, 6, 2, 3, 5, 5, 3, 0, 2, 1, 1, 0, 6, 2, 0, 1,
	0, 3, 1, 4, 6, 13, 2, 1, 0, 1, 3, 1, 1, 0, 0, 1, 1, 5, 1, 9,
	13, 6, 5, 4, 2, 0, 0, 0, 0, 4, 4, 13, 0, 3, 3, 2, 1, 9, 8, 1,
	1, 5, 5, 1, 3, 3, 3, 3, 0, 2, 6, 2,
}

// takesAddress reports whether a call takes an argument, 1 to 5, for an address: one that
// is not known to be a number does.
func (ins *instruction) takesAddress(argument int) bool {
	if ins.fromReg() || ins.src != 0 || ins.imm < 0 || ins.imm >= int64(len(helperPointers)) {
		return true
	}
	return helperPointers[ins.imm]&(1<<(argument-1)) != 0
}
