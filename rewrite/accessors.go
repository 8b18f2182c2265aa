package rewrite

import "github.com/xdp-load/xdp-load/reloc"

// Accessors are what reads the fields that a driver keeps of a packet: functions of a BPF
// object, in which each load of the kernel's memory is one that the verifier takes.
//
// They get the descriptor's address in r1, as a number, and ctx in r2; the descriptor
// function gets ctx in r1, and its result is that address, or 0. The result is in r0; r0
// to r9 may be changed, and the stack below r10 is their own.
type Accessors struct {
	Name       string              // of the driver, for messages and the report
	Object     []byte              // a BPF object of the program's byte order
	Context    string              // struct that ctx is: "xdp_buff" or "sk_buff"
	Descriptor Accessor            // the descriptor function
	Fields     map[string]Accessor // by the field's name in struct md_desc
	Missing    map[string]string   // why a field of the file is not there on this kernel
	Lacks      map[string]string   // why others are there on no kernel, if the file says so
	Lowering   string              // how the kernel's memory is loaded, for the report; empty if it is not
}

// Accessor is a function that computes a number of a packet.
type Accessor struct {
	Function string       // its symbol in Object
	From     string       // where it has the number from, for the report
	Packet   bool         // whether it reads bytes beside the packet
	Context  bool         // whether it takes ctx as its second argument
	Start    bool         // whether it is run when the program starts; of all fields one may be
	Kfunc    string       // that it asks, which only programs bound to the device may (optional)
	Field    *reloc.Field // the number that it returns: size, signedness, byte order
}

// AskKfuncs reports whether kfuncs are asked for a field.
func (a *Accessors) AskKfuncs() bool {
	for _, accessor := range a.Fields {
		if accessor.Kfunc != "" {
			return true
		}
	}
	return false
}
