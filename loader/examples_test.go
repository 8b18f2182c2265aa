package loader_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// Of the files in these examples, balance.o is bpf/examples/balance.c, nic.o and other.o are the
// layouts nic_a.c and nic_b.c, and layouts/veth.o is nic.o once more.

// forNIC returns the options that most of the examples have.
func forNIC(layoutFile, iface string) loader.Options {
	layout, err := nic.OpenLayout(layoutFile, "")
	if err != nil {
		log.Panic(err)
	}
	return loader.Options{Layout: layout, Interface: iface}
}

// attachBalance attaches balance.o, by a link that outlives the process.
func attachBalance(iface string) *loader.Loaded {
	loaded, err := loader.LoadRewritten("balance.o", forNIC("nic.o", iface))
	if err != nil {
		log.Panic(err)
	}
	return loaded
}

// A map is filled before the first packet, and the attachment goes with the process.
func ExampleLoad() {
	object, err := os.Open("balance.o") // or bytes.NewReader of what is embedded
	if err != nil {
		log.Panic(err)
	}
	defer object.Close()
	layout, err := nic.OpenLayout("nic.o", "")
	if err != nil {
		log.Panic(err)
	}

	loaded, err := loader.Load(object, loader.Options{Layout: layout, Interface: "eth0", Unpinned: true})
	if err != nil {
		log.Panic(err)
	}
	defer loaded.Close()
	if err := loaded.Maps["packets"].Put(uint32(0), uint64(1000)); err != nil {
		log.Panic(err)
	}
	if err := loaded.Attach(); err != nil {
		log.Panic(err)
	}
	fmt.Println(loaded.Attachment.Program, "on", loaded.Attachment.Interface, "of", loaded.Attachment.Driver)
	// Output: balance on eth0 of veth
}

// Constants are there when the verifier looks.
func ExampleLoad_variables() {
	object, err := os.Open("constant.o")
	if err != nil {
		log.Panic(err)
	}
	defer object.Close()
	opts := forNIC("nic.o", "")
	opts.Variables = map[string]any{"wanted": uint32(0xcafe)}

	loaded, err := loader.Load(object, opts)
	if err != nil {
		log.Panic(err)
	}
	defer loaded.Close()
	var wanted uint32
	if err := loaded.Variables["wanted"].Get(&wanted); err != nil {
		log.Panic(err)
	}
	fmt.Printf("%#x\n", wanted)
	// Output: 0xcafe
}

// What bpf2go has generated takes programs and maps out of the collection.
func ExampleLoaded_Attach() {
	var objs struct {
		Balance *ebpf.Program `ebpf:"balance"`
		Packets *ebpf.Map     `ebpf:"packets"`
	}
	object, err := os.ReadFile("balance.o")
	if err != nil {
		log.Panic(err)
	}
	loaded, err := loader.Load(bytes.NewReader(object), forNIC("nic.o", "eth0"))
	if err != nil {
		log.Panic(err)
	}
	defer loaded.Close()
	if err := loaded.Assign(&objs); err != nil {
		log.Panic(err)
	}
	defer objs.Balance.Close()
	defer objs.Packets.Close()

	if err := loaded.Attach(); err != nil {
		log.Panic(err)
	}
	fmt.Println(loaded.Attachment.Pin != "", loader.Unload("eth0"))
	// Output: true <nil>
}

// The new program counts on in the map of the old one.
func ExampleLoaded_Replace() {
	old := attachBalance("eth0")
	defer old.Close()

	object, err := os.Open("balance.o")
	if err != nil {
		log.Panic(err)
	}
	defer object.Close()
	opts := forNIC("other.o", "eth0")
	opts.Collection.MapReplacements = map[string]*ebpf.Map{"packets": old.Maps["packets"]}
	next, err := loader.Load(object, opts)
	if err != nil {
		log.Panic(err)
	}
	defer next.Close()

	before := old.Attachment.ProgramID
	if err := next.Replace(old); err != nil {
		log.Panic(err)
	}
	fmt.Println(next.Replaced == before, next.Attachment.Record.Fields)
	if err := next.Detach(); err != nil {
		log.Panic(err)
	}
	// Output: true [{md->hash __u32 at 20}]
}

func ExampleLoaded_Detach() {
	loaded := attachBalance("eth0")
	defer loaded.Close()

	fmt.Println(loaded.Detach())
	fmt.Println(errors.Is(loaded.Detach(), loader.ErrNotAttached))
	// Output:
	// <nil>
	// true
}

// A program that is not pinned goes when it is closed.
func ExampleLoaded_Close() {
	opts := forNIC("nic.o", "eth0")
	opts.Unpinned = true
	loaded, err := loader.LoadRewritten("balance.o", opts)
	if err != nil {
		log.Panic(err)
	}
	loaded.Close()

	attached, _, err := loader.Status()
	fmt.Println(len(attached), err)
	// Output: 0 <nil>
}

func ExampleLoadRewritten() {
	layout, err := nic.OpenLayout("nic.o", "")
	if err != nil {
		log.Panic(err)
	}
	loaded, err := loader.LoadRewritten("balance.o", loader.Options{Layout: layout, Interface: "eth0"})
	if err != nil {
		log.Panic(err)
	}
	loaded.Close() // the program stays attached

	for i := range loaded.Report.Edits {
		edit := &loaded.Report.Edits[i]
		fmt.Println(edit.Access.Path, edit.Resolution.String())
	}
	fmt.Println(loader.Unload("eth0"))
	// Output:
	// struct md_desc 40
	// md->hash __u32 at 12
	// <nil>
}

// Each interface has its own layout, and gets its own program.
func ExampleLoadOnAll() {
	all, err := loader.LoadOnAll("balance.o", []loader.Options{forNIC("nic.o", "eth0"), forNIC("other.o", "eth1")})
	if err != nil {
		log.Panic(err)
	}
	for _, loaded := range all {
		defer loaded.Close()
		fmt.Println(loaded.Attachment.Interface, loaded.Attachment.Record.Fields)
		if err := loaded.Detach(); err != nil {
			log.Panic(err)
		}
	}
	// Output:
	// eth0 [{md->hash __u32 at 12}]
	// eth1 [{md->hash __u32 at 20}]
}

func ExamplePreview() {
	plan, err := loader.Preview("balance.o", forNIC("nic.o", "eth0"))
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(plan.Program, "for", plan.Target.Interface, "if", plan.Conditions[0])
	// Output: balance for eth0 if the verifier and the driver accept it
}

func ExamplePreviewOnAll() {
	_, err := loader.PreviewOnAll("balance.o", []loader.Options{forNIC("nic.o", "eth0"), forNIC("nic.o", "eth2")})
	fmt.Println(errors.Is(err, nic.ErrNoInterface))
	// Output: true
}

// The layout has become another, and the file of the object is not needed any more.
func ExampleReload() {
	defer attachBalance("eth0").Close()

	reloaded, err := loader.Reload("eth0", func(record *loader.Record) (loader.Options, error) {
		return forNIC("other.o", record.Driver), nil
	})
	if err != nil {
		log.Panic(err)
	}
	defer reloaded.Close()
	fmt.Println(reloaded.Attachment.Record.Fields)
	if err := reloaded.Detach(); err != nil {
		log.Panic(err)
	}
	// Output: [{md->hash __u32 at 20}]
}

// Programs that this process, or another, has attached itself are among those that Status tells.
func ExampleStatus() {
	pinned := attachBalance("eth0")
	defer pinned.Close()
	own, err := loader.LoadRewritten("balance.o", forNIC("other.o", ""))
	if err != nil {
		log.Panic(err)
	}
	defer own.Close()
	eth1, err := nic.ByName("eth1")
	if err != nil {
		log.Panic(err)
	}
	attached, err := link.AttachXDP(link.XDPOptions{Program: own.Programs["balance"], Interface: eth1.Index})
	if err != nil {
		log.Panic(err)
	}
	defer attached.Close()

	attachments, _, err := loader.Status()
	if err != nil {
		log.Panic(err)
	}
	for _, a := range attachments {
		fmt.Println(a.Interface, a.Program, a.Record.Layout, a.Pin != "")
	}
	fmt.Println(pinned.Detach())
	// Output:
	// eth0 balance nic.o true
	// eth1 balance other.o false
	// <nil>
}

// Survey sees programs by whomever.
func ExampleSurvey() {
	loaded := attachBalance("eth0")
	defer loaded.Close()

	overview, err := loader.Survey(loader.SurveyOptions{Interface: "eth0"})
	if err != nil {
		log.Panic(err)
	}
	for _, program := range overview.Programs {
		fmt.Println(program.Program, program.Mode, program.Maps[0].Name, program.Maps[0].Type)
	}
	fmt.Println(loaded.Detach())
	// Output:
	// balance native packets Array
	// <nil>
}

func ExampleUnload() {
	attachBalance("eth0").Close()

	fmt.Println(loader.Unload("eth0"))
	fmt.Println(loader.Unload("eth0"))
	// Output:
	// <nil>
	// eth0: no program attached by xdp-load, nor any other XDP or TC program
}

func ExampleUnloadAll() {
	attachBalance("eth0").Close()
	attachBalance("eth1").Close()

	unloaded, _, err := loader.UnloadAll()
	fmt.Println(unloaded, err)
	// Output: [eth0 eth1] <nil>
}

func ExampleUnloadProgram() {
	loaded := attachBalance("eth0")
	loaded.Close()

	fmt.Println(loader.UnloadProgram(loaded.Attachment.ProgramID))
	// Output: <nil>
}

func ExampleRecordOf() {
	loaded := attachBalance("eth0")
	defer loaded.Close()
	program, err := ebpf.NewProgramFromID(loaded.Attachment.ProgramID)
	if err != nil {
		log.Panic(err)
	}
	defer program.Close()

	record, err := loader.RecordOf(program)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(record.Program, record.Layout, record.Fields)
	if err := loaded.Detach(); err != nil {
		log.Panic(err)
	}
	// Output: balance nic.o [{md->hash __u32 at 12}]
}

// A program that the caller has loaded says what it was rewritten for.
func ExampleBindRecord() {
	object, err := os.ReadFile("balance.o")
	if err != nil {
		log.Panic(err)
	}
	opts := forNIC("nic.o", "eth0")
	spec, _, err := loader.RewrittenSpec(bytes.NewReader(object), opts)
	if err != nil {
		log.Panic(err)
	}
	balance, err := ebpf.NewCollection(spec)
	if err != nil {
		log.Panic(err)
	}
	defer balance.Close()

	if err := loader.BindRecord(balance.Programs["balance"], bytes.NewReader(object), opts); err != nil {
		log.Panic(err)
	}
	record, err := loader.RecordOf(balance.Programs["balance"])
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(record.Layout, record.Driver)
	// Output: nic.o veth
}

// An object that was rewritten ahead for the kernel's kfuncs belongs to one interface.
func ExampleBindToDevice() {
	accessors, err := (&loader.Driver{Name: "toy", Kfuncs: nic.Kfuncs()}).Portable(nil)
	if err != nil {
		log.Panic(err)
	}
	object, err := os.Open("balance.o")
	if err != nil {
		log.Panic(err)
	}
	defer object.Close()
	spec, _, err := loader.RewrittenSpec(object, loader.Options{Accessors: accessors})
	if err != nil {
		log.Panic(err)
	}

	loader.BindToDevice(spec, 7)
	fmt.Println(spec.Programs["balance"].Ifindex)
	// Output: 7
}

// What is rewritten ahead is an ordinary object.
func ExampleRewrite() {
	object, err := os.ReadFile("balance.o")
	if err != nil {
		log.Panic(err)
	}
	rewritten, report, err := loader.Rewrite(object, forNIC("nic.o", ""))
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(report.Layout, len(report.Edits), "accesses", os.WriteFile("balance-nic.o", rewritten, 0o644))
	// Output: nic.o 2 accesses <nil>
}

func ExampleRewrittenSpec() {
	object, err := os.Open("balance.o")
	if err != nil {
		log.Panic(err)
	}
	defer object.Close()

	spec, report, err := loader.RewrittenSpec(object, forNIC("nic.o", ""))
	if err != nil {
		log.Panic(err)
	}
	var objs struct {
		Packets *ebpf.Map `ebpf:"packets"`
	}
	if err := spec.LoadAndAssign(&objs, nil); err != nil {
		log.Panic(loader.ExplainRefusal(err, spec, report))
	}
	fmt.Println(objs.Packets.Type(), objs.Packets.Close())
	// Output: Array <nil>
}

// What SEC() says decides.
func ExampleHookOf() {
	for _, attachType := range []ebpf.AttachType{ebpf.AttachNone, ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		fmt.Println(loader.HookOf(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, AttachType: attachType}))
	}
	fmt.Println(loader.HookOf(&ebpf.ProgramSpec{Type: ebpf.XDP, AttachType: ebpf.AttachXDP}))
	// Output:
	// ingress
	// ingress
	// egress
	// xdp
}

// An error that is no refusal of the verifier's stays as it is.
func ExampleExplainRefusal() {
	err := loader.ExplainRefusal(os.ErrPermission, nil, nil)

	var refusal *loader.RefusalError
	fmt.Println(err, errors.As(err, &refusal))
	// Output: permission denied false
}

// Where the fields come from is looked for as the command does.
func ExampleFindSource() {
	target, err := nic.ByName("eth0")
	if err != nil {
		log.Panic(err)
	}
	opts, err := loader.FindSource(target, nic.Search{Dirs: []string{"layouts"}}, new(loader.Driver))
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(target.Source, opts.Layout.Name())
	// Output: layout file layouts/veth.o layouts/veth.o
}

func ExampleDescribe() {
	target, err := nic.ByName("eth0")
	if err != nil {
		log.Panic(err)
	}
	description, err := loader.Describe(target, nic.Search{Dirs: []string{"layouts"}}, new(loader.Driver))
	if err != nil {
		log.Panic(err)
	}
	field := description.Layouts[0].Fields[3]
	fmt.Println(description.Driver, field.Path, field.Type, field.Where())
	// Output: veth hash __u32 12-15
}

func ExampleKnownDrivers() {
	known, err := loader.KnownDrivers(nic.NewKernel(nic.KernelBTF))
	if err != nil {
		log.Panic(err)
	}
	for _, driver := range known {
		if driver.Driver == "mlx5_core" {
			fmt.Println(driver.Module)
		}
	}
	// Output: mlx5_core
}

func ExampleSoftware() {
	fmt.Println(loader.Software())
	// Output: [hash rx_timestamp]
}

// Does one object fit all drivers of a fleet?
func ExampleFits() {
	object, err := os.ReadFile("balance.o")
	if err != nil {
		log.Panic(err)
	}
	kernel := nic.NewKernel(nic.KernelBTF) // or a directory with the types of another
	fleet := []*loader.Driver{{Name: "veth", Kernel: kernel}, {Name: "toy", Kernel: kernel}}
	for i, fit := range loader.Fits(object, fleet) {
		fmt.Println(fleet[i].Name, fit.Err == nil, errors.Is(fit.Err, loader.ErrNoAccessors))
	}
	// Output:
	// veth true false
	// toy false true
}

// A program is run on a packet with metadata in front of it, without a NIC.
func ExampleRun() {
	outcome, err := loader.Run("balance.o", forNIC("other.o", ""), loader.Input{
		Metadata: make([]byte, 32),
		Packet:   make([]byte, 64),
	})
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(outcome.Program, outcome.ActionName)
	// Output: balance XDP_PASS
}

// While a process runs this, programs follow their targets.
func ExampleKeepUpToDate() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := loader.KeepUpToDate(ctx, loader.KeepOptions{
		Find: func(iface string) loader.Find {
			return func(*loader.Record) (loader.Options, error) { return forNIC("nic.o", iface), nil }
		},
		Log: slog.New(slog.DiscardHandler),
	})
	fmt.Println(err)
	// Output: <nil>
}

// What a driver keeps of a packet is read by accessors.
func ExampleDriver_Accessors() {
	accessors, err := (&loader.Driver{Name: "veth"}).Accessors(nil)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(accessors[0].Name, accessors[0].Fields["hash"].From)
	// Output: veth sk_buff.hash, if the NIC or a socket made one
}

// Is the program on an interface still what it would be if it were loaded now?
func ExampleAttachment_Changes() {
	loaded := attachBalance("eth0")
	defer loaded.Close()

	changes, err := loaded.Attachment.Changes(func(*loader.Record) (loader.Options, error) {
		return forNIC("other.o", ""), nil
	})
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(changes.Outdated, changes.Differences)
	if err := loaded.Detach(); err != nil {
		log.Panic(err)
	}
	// Output: true [layout was nic.o, is other.o md->hash was __u32 at 12, is __u32 at 20]
}
