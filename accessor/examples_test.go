package accessor_test

import (
	"fmt"
	"log"
	"os"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/reloc"
)

// exampleFile returns the accessors that come with xdp-load for a driver.
func exampleFile(driver string) *accessor.File {
	raw, err := os.ReadFile("../bpf/drivers/" + driver + "-el.o")
	if err != nil {
		log.Panic(err)
	}
	file, err := accessor.Read(driver, raw)
	if err != nil {
		log.Panic(err)
	}
	return file
}

// exampleKernel returns the types of a kernel, as far as a driver's accessors look at them.
func exampleKernel(name string) *reloc.Layout {
	raw, err := os.ReadFile("../bpf/drivers/testdata/" + name + ".btf")
	if err != nil {
		log.Panic(err)
	}
	kernel, err := reloc.NewLayout(name, raw, nil)
	if err != nil {
		log.Panic(err)
	}
	return kernel
}

func ExampleRead() {
	raw, err := os.ReadFile("../bpf/drivers/igc-el.o")
	if err != nil {
		log.Panic(err)
	}
	file, err := accessor.Read("igc.o", raw)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(file.Drivers, file.Module, file.Context, file.Fields["hash"].From)
	// Output: [igc] igc xdp_buff igc_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on
}

// What programs on igc can read depends on the kernel.
func ExampleSources() {
	fields := []string{"hash", "mark"}
	sources, err := accessor.Sources(exampleFile("igc"), exampleFile("kfuncs"), exampleKernel("igc-6.18.15"), fields)
	if err != nil {
		log.Panic(err)
	}
	for _, field := range fields {
		fmt.Printf("%s: %s%s\n", field, sources[field].From, sources[field].Reason)
	}
	// Output:
	// hash: descriptor
	// mark: the descriptor has none
}

func ExampleComplete() {
	igc, err := exampleFile("igc").Portable()
	if err != nil {
		log.Panic(err)
	}
	veth, err := exampleFile("veth").Portable()
	if err != nil {
		log.Panic(err)
	}
	both, err := accessor.Complete(igc, veth)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(both.Name, both.Fields["hash"].From, both.Fields["mark"].From)
	// Output: igc igc_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on sk_buff.mark
}
