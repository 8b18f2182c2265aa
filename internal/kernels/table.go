package main

// kernel is one of Debian's.
type kernel struct {
	series string // "6.18"
	suite  string // that has it: "trixie-backports"
}

// kernels are those that the tests run on, oldest first.
var kernels = []kernel{
	{"5.10", "bullseye"},
	{"6.1", "bookworm"},
	{"6.12", "trixie"},
	{"6.18", "trixie-backports"},
	{"7.3", "trixie-backports"},
}

// modules are loaded before the tests, with what they depend on. What is built
// into a kernel may be named all the same.
var modules = []string{"veth"}

// devices are arguments for QEMU.
var devices = []string{}

// tools are commands that tests start.
var tools = []string{"bpftool", "ip", "nsenter", "prlimit", "setpriv", "sh", "sleep", "unshare"}

// suite is a package whose tests run in the virtual machines.
type suite struct {
	pkg  string // its directory
	run  string // which tests, as go test -run takes it; all if empty
	skip string // which of them not
}

var suites = []suite{
	{pkg: "cmd/xdp-load", run: "^TestScript$/^(altname|load)$"},
	{pkg: "internal/netlab"},
	{
		pkg: "loader",
		// Those that compile; the one that stops processes while they load, for
		// which they are too slow here; programs that the verifier takes minutes
		// for; and most of the layouts with kfuncs.
		skip: "^TestLinked|^TestKilled$|^TestExplainRefusal$/^(lengthy|branchy)$|" +
			"^TestProducer$/^(reordered|narrow|wide|nested|flavour|packed|swapped|bitfield|nic_a)$",
	},
	{
		pkg: "rewrite",
		run: "^TestKernel|InTheKernel$",
		// Those that compile, that are about other loaders, or not about a kernel;
		// and what some of the compilers make of a program: of the instruction
		// sets, all but the oldest and the newest.
		skip: "^TestKernel(Cases|BitFields|Loaders.*|Refusals|Decode)$|" +
			"^TestKernel/-clang(14-v[23]|16|19-v[12]|22-v[123])-",
	},
}
