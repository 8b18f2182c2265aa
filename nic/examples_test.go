package nic_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/xdp-load/xdp-load/nic"
)

func ExampleByName() {
	target, err := nic.ByName("lo")
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(target.Interface, target.Index)

	_, err = nic.ByName("no-such-nic")
	fmt.Println(errors.Is(err, nic.ErrNoInterface))
	// Output:
	// lo 1
	// true
}

func ExampleAll() {
	targets, err := nic.All()
	if err != nil {
		log.Panic(err)
	}
	for _, target := range targets {
		if target.Index == 1 {
			fmt.Println(target.Interface)
		}
	}
	// Output: lo
}

func ExampleOpenLayout() {
	layout, err := nic.OpenLayout("../bpf/examples/nic_b-el.o", "")
	if err != nil {
		log.Panic(err)
	}
	size, err := layout.SizeOf("md_desc")
	fmt.Println(size, err)
	// Output: 32 <nil>
}

// A layout that is embedded, or comes over the network, is in no file.
func ExampleReadLayout() {
	object, err := os.ReadFile("../bpf/examples/nic_b-el.o")
	if err != nil {
		log.Panic(err)
	}
	layout, err := nic.ReadLayout("nic_b", bytes.NewReader(object), nil)
	if err != nil {
		log.Panic(err)
	}
	fmt.Println(layout.Name(), layout.ByteOrder())

	_, err = nic.ReadLayout("nic_c", strings.NewReader("struct md_desc;"), nil)
	fmt.Println(err != nil)
	// Output:
	// nic_b LittleEndian
	// true
}

func ExampleHeader() {
	layout, err := nic.OpenLayout("../bpf/examples/nic_a-el.o", "")
	if err != nil {
		log.Panic(err)
	}
	header, err := nic.Header(layout, "What NIC A writes.")
	if err != nil {
		log.Panic(err)
	}
	for line := range strings.Lines(header) {
		if strings.Contains(line, "hash") {
			fmt.Print(line)
		}
	}
	// Output:
	// 	__u32 hash_type;     /* 8 */
	// 	__u32 hash;          /* 12 */
	// _Static_assert(offsetof(struct md_desc, hash_type) == 8, "offset of hash_type");
	// _Static_assert(sizeof(((struct md_desc *)0)->hash_type) == 4, "size of hash_type");
	// _Static_assert(offsetof(struct md_desc, hash) == 12, "offset of hash");
	// _Static_assert(sizeof(((struct md_desc *)0)->hash) == 4, "size of hash");
}

func ExampleDescriptors() {
	layout, err := nic.OpenLayout("../bpf/examples/nic_a-el.o", "")
	if err != nil {
		log.Panic(err)
	}
	descriptors, err := nic.Descriptors(layout)
	if err != nil {
		log.Panic(err)
	}
	for _, d := range descriptors {
		fmt.Printf("struct %s, %d bytes\n%s", d.Name, d.Size, d.ByteMap())
	}
	// Output:
	// struct md_desc, 40 bytes
	//     0       1       2       3       4       5       6       7
	//    +-------------------------------+-------------------------------+
	//  0 |valid                          |mark                           |
	//    +-------------------------------+-------------------------------+
	//  8 |hash_type                      |hash                           |
	//    +-------------------------------+-------------------------------+
	// 16 |csum_status                    |csum                           |
	//    +-------------------------------+-------------------------------+
	// 24 |rx_timestamp                                                   |
	//    +---------------+---------------+-------------------------------+
	// 32 |vlan_proto     |vlan_tci       |reserved                       |
	//    +---------------+---------------+-------------------------------+
}

func ExampleKfuncs() {
	fmt.Println(nic.Kfuncs())
	// Output: [bpf_xdp_metadata_rx_timestamp bpf_xdp_metadata_rx_hash bpf_xdp_metadata_rx_vlan_tag]
}

// The types of the kernel that runs are in /sys/kernel/btf.
func ExampleKernelTypes() {
	kernel, err := nic.KernelTypes()
	if err != nil {
		log.Panic(err)
	}
	structs, err := kernel.Structs("xdp_buff")
	fmt.Println(len(structs), err)
	// Output: 1 <nil>
}

// A directory with the types of another kernel is laid out as /sys/kernel/btf.
func ExampleNewKernel() {
	kernel := nic.NewKernel(nic.KernelBTF)
	fmt.Println(kernel.File("veth"))
	// Output: /sys/kernel/btf/veth
}

func ExampleNewKernels() {
	for _, kernel := range nic.NewKernels("/kernels/6.12/btf", "/kernels/6.18/btf") {
		fmt.Println(kernel.Name())
	}
	// Output:
	// /kernels/6.12/btf
	// /kernels/6.18/btf
}

func ExampleLayoutSource() {
	fmt.Println(nic.LayoutSource("nic.o"))
	fmt.Println(nic.LayoutSource("prog:producer"))
	// Output:
	// layout file nic.o
	// program BTF producer
}
