package main

import "slices"

// kernel is one of Debian's.
type kernel struct {
	series string // "6.18"
	suite  string // that has it: "trixie-backports"
	*architecture
	built *builtModule // nil if there is none
}

// builtModule is a module that Debian leaves out, and that is built from the kernel's source.
type builtModule struct {
	name     string
	source   string // its directory
	option   string // the kernel's, by which it is a module
	compiler string // the package of what the kernel was compiled by
}

// netdevsim makes NICs that take programs to run them.
var netdevsim = &builtModule{"netdevsim", "drivers/net/netdevsim", "CONFIG_NETDEVSIM", "gcc-14"}

// kernels are those that the tests run on, oldest first.
var kernels = []kernel{
	{"5.10", "bullseye", amd64, nil},
	{"6.1", "bookworm", amd64, nil},
	{"6.12", "trixie", amd64, netdevsim},
	{"6.12", "trixie", s390x, nil},
	{"6.18", "trixie-backports", amd64, nil},
	{"7.3", "trixie-backports", amd64, nil},
}

// trees are what a kernel of this kind is run with.
func (a *architecture) trees() []*tree {
	var trees []*tree
	if a.emulator != nil {
		trees = append(trees, a.emulator.tree)
	}
	if a.toolTree != nil {
		trees = append(trees, a.toolTree)
	}
	return trees
}

// name is the kernel's, as in "6.18" and "6.12-s390x".
func (k kernel) name() string {
	if k.architecture == amd64 {
		return k.series
	}
	return k.series + "-" + k.arch
}

// allModules are those to load, in this order.
func (k kernel) allModules() []string {
	if k.built == nil {
		return k.modules
	}
	return append(slices.Clone(k.modules), k.built.name)
}

// architecture is a kind of machine, and what is tested on it.
type architecture struct {
	arch     string    // what Go and Debian call it
	emulator *emulator // a private one, nil for the machine's
	qemu     string    // the machine's
	devices  []string  // arguments for it: the character devices "console" and "port" are connected
	append   string    // to the kernel's command line
	port     string    // the file of what is connected to "port", for results
	nics     []nic     // that tests have to themselves
	modules  []string  // loaded before the tests, with what they depend on; may be built in
	toolTree *tree     // with the tools, nil for the machine's own
	tools    []string  // commands that tests start
	compiled []compiled
	suites   []suite
}

// compiled is what a test compiles, and the same test in the machines, which have no compilers,
// takes from a directory.
type compiled struct {
	pkg  string   // the test's
	test string   // its name
	flag string   // that the test is given with the directory to write to
	args []string // further ones
	dir  string   // in the initrd
	runs string   // a command in it (optional)
}

// suite is a package whose tests run in the virtual machines.
type suite struct {
	pkg  string   // its directory
	of   string   // what tells it from another one of the package, in results (optional)
	run  string   // which tests, as go test -run takes it; all if empty
	skip string   // which of them not
	args []string // further ones
}

// name is what results call the suite.
func (s suite) name() string {
	if s.of == "" {
		return s.pkg
	}
	return s.pkg + " " + s.of
}

// architectures has each by its name.
var architectures = map[string]*architecture{amd64.arch: amd64, s390x.arch: s390x}

// middleSets are what some of the compilers make of a program: of the instruction
// sets, all but the oldest and the newest.
const middleSets = "^TestKernel/-clang(14-v[23]|16|19-v[12]|22-v[123])-"

// loaderElsewhere are tests of the loader that do not run in the machines: those that compile;
// those that stop processes while they load, or have several load at once, for which the
// machines are too slow; what can't be undone; programs that the verifier takes minutes for;
// and what is not about the kernel.
const loaderElsewhere = "^Example|^TestFits$|^TestKnownDriversHere$|^TestSimultaneousOnSeveral$|^TestLinked|^TestKilled|^TestEveryStepFails$|^TestSteps|^TestLockedDown$|^TestExplainRefusal$/^(lengthy|branchy)$"

var amd64 = &architecture{
	arch:     "amd64",
	emulator: newEmulator,
	devices:  []string{"-machine", "q35", "-serial", "chardev:console", "-serial", "chardev:port"},
	append:   "console=ttyS0 no_timer_check", // whose ticks come late where QEMU has to wait
	port:     "/dev/ttyS1",
	nics: []nic{
		{device: "igb", wire: "virtio-net-pci"},
		// Of its own driver the one at the other end would go when that is unloaded.
		// AF_XDP's zero copy takes a device that leaves addresses to the kernel.
		{device: "virtio-net-pci,mq=on,rss=on,hash=on,vectors=6,iommu_platform=on,disable-legacy=on", wire: "igb", queues: 2},
		{device: "vmxnet3", wire: "virtio-net-pci", queues: 1}, // the tap says which sums are right
	},
	modules: []string{"veth", "virtio_pci", "virtio_net", "igb", "vmxnet3", "bonding", "tun", "sch_ingress", "cls_bpf"},
	tools:   []string{"bpftool", "ethtool", "ip", "nsenter", "prlimit", "setpriv", "sh", "sleep", "tc", "unshare", "xdp-loader"},
	compiled: []compiled{
		{pkg: "bpf/drivers", test: "TestPortable", flag: "-portable.write", dir: guestPortable, runs: "relocate"},
		{pkg: "rewrite", test: "TestDriverRandom", flag: "-driver.write", args: []string{"-driver.count", "16"}, dir: guestRandom},
	},
	suites: []suite{
		{pkg: "cmd/xdp-load", run: "^TestScript$/^(altname|bond|dispatcher|load)$"},
		{
			pkg: "bpf/drivers",
			// Those that compile, or are not about a kernel; and TestPortableMissing, which has
			// libbpf read the kernel's types some hundred times for each driver.
			skip: "^Test(OutOfTree|PortableMissing|Fields|Objects|NativeObject|NoObject|Implements|Table|Reports)$",
			args: []string{"-own", "-foreign", "2000", "-portable.read", "/" + guestPortable},
		},
		{pkg: "internal/memlab"},
		{pkg: "internal/netlab"},
		{pkg: "nic", run: "^Test(XDPDriver|FindLayoutOfBond|Bus|Features)$"},
		{pkg: "verify", skip: "^TestBrokenVeth$"}, // what is wrong is found out on NICs
		{
			pkg: "loader",
			// Most of the layouts with kfuncs, too.
			skip: loaderElsewhere + "|^TestProducer$/^(reordered|narrow|wide|nested|flavour|packed|swapped|bitfield|nic_a)$",
			args: []string{"-nics"},
		},
		{
			pkg: "rewrite",
			run: "^TestKernel|InTheKernel$|^TestDriverRandom$",
			// Those that compile, that are about other loaders, or not about a kernel.
			skip: "^TestKernel(Cases|BitFields|Loaders.*|Refusals|Decode)$|" + middleSets,
			args: []string{"-driver.read", "/" + guestRandom},
		},
		{pkg: "internal/example", skip: "^TestSpreadOverCPUs$"}, // the machines have one CPU
		{pkg: "examples/receive", args: []string{"-nics"}},
		{pkg: "loader", of: "(locked down)", run: "^TestLockedDown$", args: []string{"-nics"}}, // for good
	},
}

// s390x is big-endian. Of the two consoles that it has by the service processor, the
// kernel's is to be the one for lines (conmode_setup in arch/s390/kernel/setup.c); the
// other is a terminal. What the kernel says before it knows of consoles is on both:
// that this processor has no random numbers for its addresses, if it is to have any.
var s390x = &architecture{
	arch:    "s390x",
	qemu:    "qemu-system-s390x",
	devices: []string{"-machine", "s390-ccw-virtio", "-device", "sclplmconsole,chardev=console", "-device", "sclpconsole,chardev=port"},
	append:  "conmode=sclp nokaslr",
	port:    "/dev/ttysclp0",
	modules: []string{"veth", "bonding", "tun", "sch_ingress", "cls_bpf"},
	toolTree: &tree{
		source:   source{"s390x", "bookworm"},
		name:     "tools/bookworm-s390x",
		packages: []string{"bpftool", "coreutils", "dash", "ethtool", "iproute2", "util-linux"},
	},
	tools: []string{"bpftool", "ethtool", "ip", "nsenter", "prlimit", "setpriv", "sh", "sleep", "tc", "unshare"},
	compiled: []compiled{
		{pkg: "rewrite", test: "TestPairs", flag: "-pairs.write", args: []string{"-pairs.count", "300"}, dir: guestPairs},
	},
	suites: []suite{
		{pkg: "cmd/xdp-load", run: "^TestScript$/^(altname|bond|dispatcher|load|replace)$"},
		{
			pkg: "bpf/drivers",
			run: "^Test(Bnxt|I40e|Ice|Igb|Igc|Ionic|Ixgbe|Ixgbevf|Mlx4|Mlx5|Nfp|Qede|Sfc|SfcSiena|Skb|Veth|VirtioNet|" + // which it has
				"ForeignMemory)$",
			args: []string{"-own", "-foreign", "1000"},
		},
		{pkg: "internal/memlab"},
		{pkg: "internal/netlab", skip: "^TestDeliver$"}, // 100,000 packets
		{
			pkg: "loader",
			// Those of NICs, and those that take longest, of which others say as much of the
			// byte order.
			skip: loaderElsewhere + "|^Test(Capabilities|FiltersAllOrNone|HookMoved|InterfaceMoves|IPNetnsExec|Keep(ByName|Interfaces|RestoresEach|Several|Unclear)|KnownDrivers.*|LoadAttachDetach|LoadedRefusals|NICs|NotOursElsewhere|Occupied|PinDirOfOthers|Refused|ReplaceLoaded|Sentinels|StatusOfOwnLinks.*|Survey.*|TC(Killed|NoPriorityLeft|Qdisc|XDenied|XWithoutLink)|UnloadOthers|UnloadUnreachable|UserNamespace|WithoutSysAdmin)$|" +
				"^TestTC$/^clsact",
			args: []string{"-driver.packets", "1000", "-replace.kills", "8"},
		},
		{
			pkg:  "rewrite",
			run:  "^TestKernel(Decode|Values|Shapes|Stores|Copies)$|^TestPairs$",
			skip: middleSets,
			args: []string{"-pairs.read", "/" + guestPairs},
		},
	},
}
