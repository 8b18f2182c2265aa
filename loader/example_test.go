package loader_test

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// loadBalance is the README's example of LoadRewritten.
func loadBalance() error {
	layout, err := nic.OpenLayout("nic.o", "")
	if err != nil {
		return err
	}
	loaded, err := loader.LoadRewritten("balance.o", loader.Options{
		Layout:    layout,
		Interface: "eth0",
	})
	if err != nil {
		return err
	}
	defer loaded.Close() // the program stays attached

	fmt.Println(len(loaded.Report.Edits), "accesses rewritten")
	packets := loaded.Maps["packets"]
	fmt.Println(packets)
	return nil
}

// loadBalanceForDriver is the README's example of FindSource.
func loadBalanceForDriver() error {
	target, err := nic.ByName("eth0")
	if err != nil {
		return err
	}
	kfuncs, err := target.Kfuncs() // for fields that are not read otherwise
	if err != nil {
		return err
	}
	opts, err := loader.FindSource(target, nic.Search{}, &loader.Driver{Kfuncs: kfuncs})
	if err != nil {
		return err
	}
	opts.Interface = target.Interface
	loaded, err := loader.LoadRewritten("balance.o", opts)
	if err != nil {
		return err
	}
	defer loaded.Close()
	return nil
}

// What bpf2go generates, as far as the README's example needs it.
var _BalanceBytes []byte

type balanceObjects struct {
	Balance *ebpf.Program `ebpf:"balance"`
	Packets *ebpf.Map     `ebpf:"packets"`
}

func (o *balanceObjects) Close() error { return errors.Join(o.Balance.Close(), o.Packets.Close()) }

// attachBalanceObjects is the README's example of Load. It calls attached before it takes the
// program off.
func attachBalanceObjects(attached func()) error {
	layout, err := nic.OpenLayout("nic.o", "")
	if err != nil {
		return err
	}

	loaded, err := loader.Load(bytes.NewReader(_BalanceBytes), loader.Options{
		Layout:    layout,
		Interface: "eth0",
		Unpinned:  true, // the attachment goes with this process, or with loaded.Close
	})
	if err != nil {
		return err
	}
	defer loaded.Close()
	var objs balanceObjects
	if err := loaded.Assign(&objs); err != nil {
		return err
	}
	defer objs.Close()
	if err := loaded.Attach(); err != nil {
		return err
	}
	attached()
	return nil
}

// loadBalanceObjects is the README's example of RewrittenSpec.
func loadBalanceObjects() error {
	layout, err := nic.OpenLayout("nic.o", "")
	if err != nil {
		return err
	}
	opts := loader.Options{Layout: layout}

	spec, report, err := loader.RewrittenSpec(bytes.NewReader(_BalanceBytes), opts)
	if err != nil {
		return err
	}
	var objs balanceObjects
	if err := spec.LoadAndAssign(&objs, nil); err != nil {
		return loader.ExplainRefusal(err, spec, report)
	}
	defer objs.Close()
	if err := loader.BindRecord(objs.Balance, bytes.NewReader(_BalanceBytes), opts); err != nil {
		return err
	}
	return nil
}

func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var fromReadme [][]string
	for _, block := range strings.Split(string(readme), "```go\n")[1:] {
		code, _, _ := strings.Cut(block, "```")
		fromReadme = append(fromReadme, strings.Split(strings.TrimSpace(code), "\n"))
	}
	if len(fromReadme) != 4 {
		t.Fatalf("README.md has %d blocks of Go", len(fromReadme))
	}
	for _, lines := range fromReadme {
		indented := "\t" + strings.ReplaceAll(strings.Join(lines, "\n\t"), "\n\t\n", "\n\n") + "\n"
		if !strings.Contains(string(source), indented) {
			t.Errorf("README.md shows what this file does not run:\n%s", indented)
		}
	}

	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("eth0"); err != nil {
		t.Fatal(err)
	}
	_BalanceBytes = examplesInPlace(t)
	examples := []func() error{loadBalance}
	if netlab.Has(netlab.Casts) {
		examples = append(examples, loadBalanceForDriver)
	}
	for _, load := range examples {
		if err := load(); err != nil {
			t.Fatal(err)
		}
		attached, _, err := loader.Status()
		if err != nil || len(attached) != 1 || attached[0].Program != "balance" {
			t.Fatalf("attached is %+v, %v", attached, err)
		}
		if err := loader.Unload("eth0"); err != nil {
			t.Fatal(err)
		}
	}
	err = attachBalanceObjects(func() {
		attached, _, err := loader.Status()
		if netlab.Has(netlab.BoundMaps) && (err != nil || len(attached) != 1 || attached[0].Program != "balance") {
			t.Errorf("attached is %+v, %v", attached, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := loadBalanceObjects(); err != nil {
		t.Fatal(err)
	}
}

// examplesInPlace puts the examples' objects into a new working directory, where
// the code above wants them, and returns the program. A thread in a namespace has
// a working directory of its own, so that no other test is moved.
func examplesInPlace(t *testing.T) []byte {
	balance, err := os.ReadFile("../bpf/examples/balance" + endian)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := os.ReadFile("../bpf/examples/nic_a" + endian)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string][]byte{"balance.o": balance, "nic.o": layout} {
		if err := os.WriteFile(name, object, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return balance
}
