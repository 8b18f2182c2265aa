package insn

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// A declaration in libbpf's bpf_helper_defs.h.
var helperDeclaration = regexp.MustCompile(`\(\*(?: const )?(bpf_\w+)\)\((.*)\) = \(void \*\) (\d+);`)

// What is known of helpers is what libbpf declares them to be.
func TestHelpers(t *testing.T) {
	header, err := os.ReadFile("/usr/include/bpf/bpf_helper_defs.h")
	if err != nil {
		t.Fatal(err) // package libbpf-dev
	}
	declarations := helperDeclaration.FindAllStringSubmatch(string(header), -1)
	if len(declarations) < 200 {
		t.Fatalf("only %d helpers", len(declarations))
	}
	for _, declaration := range declarations {
		name, parameters := declaration[1], strings.Split(declaration[2], ", ")
		number, err := strconv.ParseInt(declaration[3], 10, 64)
		if err != nil || number >= int64(len(helperArguments)) {
			t.Fatalf("%s: %d, %v", name, number, err)
		}
		switch {
		case strings.HasSuffix(declaration[2], "..."):
			parameters = append(parameters, "", "", "")[:5]
		case declaration[2] == "void":
			parameters = nil
		}
		if int(helperArguments[number]) != len(parameters) {
			t.Errorf("%s takes %d arguments, want %d", name, helperArguments[number], len(parameters))
		}
		for n, parameter := range parameters {
			address := asm.Register(n + 1)
			isAddress := strings.Contains(parameter, "*")
			takes := (&Instruction{Op: 0x85, Imm: number}).TakesAddress(n + 1)
			if takes && parameter != "" && !isAddress {
				t.Errorf("%s takes an address for %s", name, parameter)
			}
			if _, isSized := SizeArgument(number, address); isSized && !takes {
				t.Errorf("%s has a size of %s", name, parameter)
			}
			if outputs[number] == address && (!takes || strings.HasPrefix(parameter, "const ")) {
				t.Errorf("%s fills %s", name, parameter)
			}
		}
		for _, size := range sizeArguments[number] {
			if size == 0 {
				continue
			}
			if parameter := parameters[size-1]; strings.Contains(parameter, "*") || !sizeName.MatchString(parameter) {
				t.Errorf("%s has its size in %s", name, parameter)
			}
		}
	}
}

var sizeName = regexp.MustCompile(`size|len|_sz$`)

// What moves the packet is what its name says.
func TestMovers(t *testing.T) {
	header, err := os.ReadFile("/usr/include/bpf/bpf_helper_defs.h")
	if err != nil {
		t.Fatal(err) // package libbpf-dev
	}
	names := make(map[int64]string)
	for _, declaration := range helperDeclaration.FindAllStringSubmatch(string(header), -1) {
		number, err := strconv.ParseInt(declaration[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		names[number] = declaration[1]
	}
	var got []string
	for number, name := range names {
		ins := Instruction{Op: ClassJMP | OpCALL, Imm: number}
		if ins.MovesPacket() {
			got = append(got, strings.TrimPrefix(name, "bpf_"))
		}
		if ins.TailCalls() != (name == "bpf_tail_call") {
			t.Errorf("%s: a tail call is %v", name, ins.TailCalls())
		}
	}
	slices.Sort(got)
	// bpf_helper_changes_pkt_data of Linux 6.18.
	want := strings.Fields(`clone_redirect l3_csum_replace l4_csum_replace lwt_push_encap lwt_seg6_action
		lwt_seg6_adjust_srh lwt_seg6_store_bytes msg_pop_data msg_pull_data msg_push_data skb_adjust_room
		skb_change_head skb_change_proto skb_change_tail skb_pull_data skb_store_bytes skb_vlan_pop
		skb_vlan_push store_hdr_opt xdp_adjust_head xdp_adjust_meta xdp_adjust_tail`)
	if !slices.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
}
