package drivers_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/libbpf"
)

// What TestPortable compiles, for a machine that has no compilers: the programs, before they
// are given accessors, and libbpf.
var (
	portableWrite = flag.String("portable.write", "", "leave in this `directory` what -portable.read needs, and test nothing")
	portableRead  = flag.String("portable.read", "", "take what is compiled from a `directory` that -portable.write has written")
)

// relocateIn is where a directory has the program with libbpf in it.
func relocateIn(dir string) string { return filepath.Join(dir, "relocate") }

func writePortable(t *testing.T) {
	if err := os.MkdirAll(*portableWrite, 0o755); err != nil {
		t.Fatal(err)
	}
	libbpf.Write(t, relocateIn(*portableWrite))
	for _, driver := range drivers.Names() {
		p, _ := fieldsOf(t, driver)
		if err := os.WriteFile(filepath.Join(*portableWrite, driver+".o"), compile(t, p.source()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// compiled returns the object before it is given accessors.
func (p *portable) compiled(t *testing.T, driver string) []byte {
	t.Helper()
	if *portableRead == "" {
		return compile(t, p.source())
	}
	object, err := os.ReadFile(filepath.Join(*portableRead, driver+".o"))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func portableLoader(t *testing.T) *libbpf.Loader {
	t.Helper()
	if *portableRead == "" {
		return libbpf.Build(t)
	}
	return libbpf.Built(t, relocateIn(*portableRead))
}
