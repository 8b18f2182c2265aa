package netlab

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// Feature is something of the kernel that tests need and older ones lack.
type Feature struct {
	major, minor uint32 // Linux has it from this version on
	what         string
	try          func() error // fails on a kernel without it
	compiled     bool         // only kernels that compile programs have it
}

// since returns what Linux has from a version on.
func since(major, minor uint32, what string, try func() error) Feature {
	return Feature{major: major, minor: minor, what: what, try: sync.OnceValue(try)}
}

// whereCompiled returns a feature that kernels that only interpret programs lack, whatever
// their version.
func whereCompiled(feature Feature) Feature {
	feature.compiled = true
	return feature
}

var (
	// LiveFrames is what NIC.Deliver needs.
	LiveFrames = since(5, 18, "bpf_prog_test_run that sends frames", func() error {
		action, err := runXDP(&ebpf.RunOptions{Data: make([]byte, 14), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
		if err == nil && action == xdpDrop {
			// A frame that is sent comes to no action.
			return errors.New("the flag is ignored")
		}
		return err
	})

	// RunContext is the struct xdp_md by which bpf_prog_test_run takes a metadata
	// area. Run does without.
	RunContext = since(5, 15, "bpf_prog_test_run with a struct xdp_md", func() error {
		_, err := runXDP(&ebpf.RunOptions{Data: make([]byte, 14), Context: xdpMD{DataEnd: 14}})
		return err
	})

	// LargeMetadata is room for more than SmallMetadata bytes.
	LargeMetadata = since(6, 8, "metadata areas of more than 32 bytes", func() error {
		const size = SmallMetadata + 4
		_, err := runXDP(&ebpf.RunOptions{Data: make([]byte, size+14), Context: xdpMD{Data: size, DataEnd: size + 14}})
		return err
	})

	// InstructionsV4 are those that clang writes with -mcpu=v4.
	InstructionsV4 = since(6, 6, "programs compiled with -mcpu=v4", func() error {
		return loadXDP(0, asm.StoreImm(asm.RFP, -4, 1, asm.Word), asm.LoadMemSX(asm.R0, asm.RFP, -4, asm.Word), asm.Return())
	})

	// Loop is the helper bpf_loop. That for the elements of a map is older.
	Loop = whereCompiled(since(5, 17, "bpf_loop", func() error {
		return features.HaveProgramHelper(ebpf.XDP, asm.FnLoop)
	}))

	// Timers are those of programs.
	Timers = whereCompiled(since(5, 15, "bpf_timer_init", func() error {
		return features.HaveProgramHelper(ebpf.XDP, asm.FnTimerInit)
	}))

	// Fragments is XDP for packets of several buffers, SEC("xdp.frags").
	Fragments = since(5, 18, `programs in SEC("xdp.frags")`, func() error {
		return loadXDP(unix.BPF_F_XDP_HAS_FRAGS, asm.Mov.Imm(asm.R0, xdpDrop), asm.Return())
	})

	// BoundMaps are maps that programs hold without a reference in their code.
	BoundMaps = since(5, 10, "BPF_PROG_BIND_MAP", tryBoundMap)

	// DriverFeatures is what drivers tell that they can do.
	DriverFeatures = since(6, 3, "the netlink family netdev", func() error {
		conn, err := genetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.GetFamily("netdev")
		return err
	})

	// HashFunction is the kfunc that asks a driver for the hash.
	HashFunction = kernelFunction(6, 3, "bpf_xdp_metadata_rx_hash")

	// MetadataFunctions are the three kfuncs that ask a driver.
	MetadataFunctions = kernelFunction(6, 8, "bpf_xdp_metadata_rx_vlan_tag")

	// FunctionTailCalls are tail calls from functions that a program calls.
	FunctionTailCalls = whereCompiled(since(5, 10, "tail calls from functions that a program calls", func() error {
		_, err := theCaller()
		return err
	}))

	// BoundTailCalls are tail calls from programs that are bound to a device.
	BoundTailCalls = since(6, 15, "tail calls from programs that are bound to a device", loadBoundCaller)

	// Casts are what the memory of the kernel is read through: bpf_rdonly_cast, and a type
	// that has no end for the verifier, which came shortly before this kfunc.
	Casts = whereCompiled(since(6, 5, "bpf_rdonly_cast to a type without an end", kernelFunction(6, 5, "bpf_dynptr_clone").try))

	// VoidCasts are those to nothing at all.
	VoidCasts = whereCompiled(since(6, 17, "bpf_rdonly_cast to void", func() error {
		kernel, err := btf.LoadKernelSpec()
		if err != nil {
			return err
		}
		var enum *btf.Enum
		return kernel.TypeByName("bpf_features", &enum)
	}))
	// ContextCast is the kfunc that returns the kernel's own context of a program.
	ContextCast = kernelFunction(6, 2, "bpf_cast_to_kern_ctx")

	// Extensions are programs that take the place of a function of another, as those do that
	// libxdp's dispatcher runs.
	Extensions = whereCompiled(since(5, 10, "programs that extend others", tryExtension))

	// KillableNotifications let somebody else decide about a process's system calls, each asked
	// about once.
	KillableNotifications = since(5, 19, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", func() error {
		// With no filter to read, a flag that is known leads to another error.
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
			unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0)
		if errno != unix.EFAULT {
			return errno
		}
		return nil
	})

	// FetchingAtomics are atomic operations that return what was there.
	FetchingAtomics = since(5, 12, "atomic operations that fetch", func() error {
		return loadXDP(0,
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
			asm.FetchAdd.Mem(asm.RFP, asm.R1, asm.DWord, -8),
			asm.Mov.Imm(asm.R0, xdpDrop),
			asm.Return(),
		)
	})

	// TAIClock is the helper that returns the time of CLOCK_TAI.
	TAIClock = since(6, 1, "bpf_ktime_get_tai_ns", func() error {
		return features.HaveProgramHelper(ebpf.XDP, asm.FnKtimeGetTaiNs)
	})

	// Trap is the kfunc that clang calls where a program has no meaning.
	Trap = kernelFunction(6, 16, "__bpf_trap")

	// ModuleTypes are the types of drivers that are modules.
	ModuleTypes = since(5, 11, "types of modules", func() error {
		files, err := os.ReadDir("/sys/kernel/btf")
		if err == nil && len(files) < 2 {
			return errors.New("there are those of the kernel only")
		}
		return err
	})

	// BondXDP is XDP on bonds, where there are bonds at all: NeedBonds.
	BondXDP = since(5, 15, "XDP on bonds", func() error {
		bonding, err := btf.LoadKernelModuleSpec("bonding")
		if err != nil {
			return err
		}
		var function *btf.Func
		return bonding.TypeByName("bond_xdp", &function)
	})

	// VethBuff is what the driver veth keeps of a packet for an XDP program.
	VethBuff = since(6, 3, "struct veth_xdp_buff", func() error {
		veth, err := btf.LoadKernelModuleSpec("veth")
		if errors.Is(err, os.ErrNotExist) { // it is built in
			veth, err = btf.LoadKernelSpec()
		}
		if err != nil {
			return err
		}
		var buff *btf.Struct
		return veth.TypeByName("veth_xdp_buff", &buff)
	})

	// IgbZeroCopy is what AF_XDP needs to receive into a program's own memory.
	IgbZeroCopy = moduleFunction(6, 14, "AF_XDP without copying of the driver igb", "igb", "igb_clean_rx_irq_zc")
	// VirtioZeroCopy is the same, offered since it sends in this way, too.
	VirtioZeroCopy = moduleFunction(6, 13, "AF_XDP without copying of the driver virtio_net", "virtio_net", "xsk_wakeup")

	// VirtioMetadata is the kfunc of the hash. The stack knows of checked sums under XDP
	// in the same kernels.
	VirtioMetadata = moduleFunction(6, 10, "metadata of the driver virtio_net", "virtio_net", "virtnet_xdp_rx_hash")

	// Vmxnet3XDP is native mode.
	Vmxnet3XDP = moduleFunction(6, 6, "XDP of the driver vmxnet3", "vmxnet3", "vmxnet3_xdp")

	// TCX attaches TC programs by links.
	TCX = since(6, 6, "TC programs attached by links", func() error {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type:         ebpf.SchedCLS,
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		})
		if err != nil {
			return err
		}
		defer program.Close()
		const nowhere = 1 << 30
		_, err = link.AttachTCX(link.TCXOptions{Program: program, Interface: nowhere, Attach: ebpf.AttachTCXIngress})
		if errors.Is(err, unix.ENODEV) {
			return nil
		}
		return err
	})
)

// loadBoundCaller loads a program that is bound to a device and has a program array.
func loadBoundCaller() error {
	ns, err := New()
	if err != nil {
		return err
	}
	defer ns.Close()
	nic, err := ns.AddNIC("bound")
	if err != nil {
		return err
	}
	array, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer array.Close()
	return ns.Do(func() error {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.XDP, Flags: unix.BPF_F_XDP_DEV_BOUND_ONLY, Ifindex: uint32(nic.Index),
			Instructions: asm.Instructions{
				asm.LoadMapPtr(asm.R2, array.FD()), asm.Mov.Imm(asm.R3, 0), asm.FnTailCall.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return(),
			},
		})
		if err != nil {
			return err
		}
		return program.Close()
	})
}

// kernelFunction returns the feature that the kernel has a kfunc.
func kernelFunction(major, minor uint32, name string) Feature {
	return whereCompiled(since(major, minor, name, func() error {
		kernel, err := btf.LoadKernelSpec()
		if err != nil {
			return err
		}
		var function *btf.Func
		return kernel.TypeByName(name, &function)
	}))
}

// moduleFunction returns a feature that is there if a module has a function.
func moduleFunction(major, minor uint32, what, module, name string) Feature {
	return since(major, minor, what, func() error {
		types, err := btf.LoadKernelModuleSpec(module)
		if err != nil {
			return err
		}
		var function *btf.Func
		return types.TypeByName(name, &function)
	})
}

// compiles fails on a kernel that only interprets programs.
var compiles = sync.OnceValue(func() error {
	program, err := newXDP(0, asm.Mov.Imm(asm.R0, xdpDrop), asm.Return())
	if err != nil {
		return err
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return err
	}
	_, err = info.JitedSize()
	return err
})

// Compiles reports whether the running kernel compiles programs, rather than only interpret
// them.
func Compiles() bool { return compiles() == nil }

// Has reports whether the running kernel has a feature.
func Has(feature Feature) bool {
	return feature.try() == nil && (!feature.compiled || Compiles())
}

// Need skips a test on a kernel that is too old for a feature, or that only interprets
// programs and so lacks it, and says so. A feature that is missing from another one fails the
// test.
func Need(tb testing.TB, feature Feature) {
	tb.Helper()

	NeedRoot(tb)
	if feature.compiled {
		needCompiler(tb, feature.what)
	}
	missing := feature.try()
	if missing == nil {
		return
	}
	version, err := features.LinuxVersionCode()
	if err != nil {
		tb.Fatal(err)
	}
	if version >= feature.major<<16+feature.minor<<8 {
		tb.Fatalf("Linux %d.%d lacks %s: %v", version>>16, version>>8&0xff, feature.what, missing)
	}
	tb.Skipf("needs Linux %d.%d: %s", feature.major, feature.minor, feature.what)
}

// needCompiler skips a test that needs a kernel that compiles programs. Those that tests run on
// do, but for Debian's for s390x.
func needCompiler(tb testing.TB, what string) {
	tb.Helper()
	err := compiles()
	switch {
	case err == nil:
	case errors.Is(err, ebpf.ErrNotSupported) && runtime.GOARCH == "s390x":
		tb.Skipf("needs a kernel that compiles programs: %s", what)
	default:
		tb.Fatalf("does the kernel compile programs? %v", err)
	}
}

// runXDP runs an XDP program that drops what it gets.
func runXDP(run *ebpf.RunOptions) (action uint32, err error) {
	program, err := newXDP(0, asm.Mov.Imm(asm.R0, xdpDrop), asm.Return())
	if err != nil {
		return 0, err
	}
	defer program.Close()
	return program.Run(run)
}

func loadXDP(flags uint32, insns ...asm.Instruction) error {
	program, err := newXDP(flags, insns...)
	if err != nil {
		return err
	}
	return program.Close()
}

func newXDP(flags uint32, insns ...asm.Instruction) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Flags: flags, Instructions: insns})
}

func tryBoundMap() error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()}})
	if err != nil {
		return err
	}
	defer program.Close()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer m.Close()
	return program.BindMap(m)
}

// tryExtension loads a program that takes the place of another's function.
func tryExtension() error {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	function := func(name string) *btf.Func {
		return &btf.Func{Name: name, Type: &btf.FuncProto{Return: number}, Linkage: btf.GlobalFunc}
	}
	returned := func(name string) asm.Instructions {
		return asm.Instructions{btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, xdpDrop), function(name)).WithSymbol(name), asm.Return()}
	}
	main := asm.Instructions{btf.WithFuncMetadata(asm.Call.Label("extended"), function("main")).WithSymbol("main"), asm.Return()}
	extended, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: append(main, returned("extended")...)})
	if err != nil {
		return err
	}
	defer extended.Close()
	extension, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Extension, License: "GPL", AttachTarget: extended, AttachTo: "extended", Instructions: returned("extension"),
	})
	if err != nil {
		return err
	}
	return extension.Close()
}
