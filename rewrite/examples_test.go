package rewrite_test

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

func ExampleRewrite() {
	object, err := os.ReadFile("../bpf/examples/balance-el.o")
	if err != nil {
		log.Panic(err)
	}
	layout, err := nic.OpenLayout("../bpf/examples/nic_b-el.o", "")
	if err != nil {
		log.Panic(err)
	}
	rewritten, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
	if err != nil {
		log.Panic(err)
	}
	for i := range report.Edits {
		edit := &report.Edits[i]
		fmt.Println(edit.Access.Path, edit.Resolution.String())
	}

	// Once more it is what it is, and for another layout it is refused.
	again, _, err := rewrite.Rewrite(rewritten, layout, rewrite.Options{})
	fmt.Println(string(again) == string(rewritten), err)
	other, err := nic.OpenLayout("../bpf/examples/nic_a-el.o", "")
	if err != nil {
		log.Panic(err)
	}
	_, _, err = rewrite.Rewrite(rewritten, other, rewrite.Options{})
	fmt.Println(errors.Is(err, rewrite.ErrRefused))
	// Output:
	// struct md_desc 32
	// md->hash __u32 at 20
	// true <nil>
	// true
}

// The accessors are those that come with xdp-load, for any kernel.
func ExampleRewriteForDriver() {
	object, err := os.ReadFile("../bpf/examples/balance-el.o")
	if err != nil {
		log.Panic(err)
	}
	raw, err := os.ReadFile("../bpf/drivers/veth-el.o")
	if err != nil {
		log.Panic(err)
	}
	file, err := accessor.Read("veth", raw)
	if err != nil {
		log.Panic(err)
	}
	accessors, err := file.Portable()
	if err != nil {
		log.Panic(err)
	}
	_, report, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{accessors}, rewrite.Options{})
	if err != nil {
		log.Panic(err)
	}
	for i := range report.Edits {
		fmt.Printf("%s: %q\n", report.Edits[i].Access.Path, report.Edits[i].From)
	}
	// Output:
	// md_desc(ctx): ""
	// md->hash: "sk_buff.hash, if the NIC or a socket made one"
}
