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
// lowest on, as declared in the same place. What it does not have counts as one.
var helperPointers = [...]uint8{
	31, 3, 7, 3, 5, 0, 1, 0, 0, 5, 1, 1, 3, 1, 0, 0, 1, 1, 1, 1,
	3, 3, 1, 0, 1, 11, 5, 3, 5, 3, 3, 1, 1, 3, 1, 0, 3, 1, 1, 1,
	1, 1, 0, 1, 1, 5, 1, 1, 1, 9, 1, 1, 3, 7, 1, 5, 3, 9, 1, 1,
	3, 1, 1, 1, 3, 1, 5, 3, 5, 3, 7, 7, 7, 5, 5, 1, 5, 1, 1, 1,
	0, 1, 7, 1, 3, 3, 1, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3,
	11, 3, 3, 3, 3, 9, 9, 7, 3, 0, 11, 11, 5, 5, 5, 5, 1, 0, 0, 3,
	4, 11, 1, 0, 3, 0, 11, 3, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	1, 3, 3, 3, 1, 7, 3, 3, 5, 5, 3, 1, 2, 1, 1, 0, 7, 3, 0, 1,
	0, 3, 1, 5, 7, 13, 2, 1, 0, 3, 3, 1, 1, 1, 1, 1, 1, 5, 1, 9,
	13, 6, 5, 5, 3, 1, 0, 0, 1, 5, 5, 13, 1, 3, 3, 3, 1, 9, 9, 1,
	1, 5, 5, 1, 3, 3, 3, 3, 0, 7, 7, 3,
}

// takesAddress reports whether a call takes an argument, 1 to 5, for an address: one that
// is not known to be a number does.
func (ins *instruction) takesAddress(argument int) bool {
	if ins.fromReg() || ins.src != 0 || ins.imm < 0 || ins.imm >= int64(len(helperPointers)) {
		return true
	}
	return helperPointers[ins.imm]&(1<<(argument-1)) != 0
}
