package insn

import (
	"maps"
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
		for _, size := range slices.Collect(maps.Values(sizeArguments[number])) {
			if parameter := parameters[size-1]; strings.Contains(parameter, "*") || !sizeName.MatchString(parameter) {
				t.Errorf("%s has its size in %s", name, parameter)
			}
		}
	}
}

var sizeName = regexp.MustCompile(`size|len|_sz$`)
