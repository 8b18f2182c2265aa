package link_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

var compilers = []string{"clang-14", "clang-16", "clang-19", "clang-22"}

// compile compiles a source of testdata.
func compile(tb testing.TB, clang, target, source string) *elfobj.Object {
	tb.Helper()
	netlab.NeedTools(tb, clang, "gcc")
	triplet, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		tb.Fatal(err)
	}
	object := filepath.Join(tb.TempDir(), "compiled.o")
	out, err := exec.Command(clang, "-O2", "-g", "-target", target, "-mcpu=v3", "-Wall", "-Werror",
		"-isystem", "/usr/include/"+strings.TrimSpace(string(triplet)), "-c", "testdata/"+source+".c", "-o", object).CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	raw, err := os.ReadFile(object)
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, raw)
}

func parse(tb testing.TB, raw []byte) *elfobj.Object {
	tb.Helper()
	obj, err := elfobj.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return obj
}

func readExt(tb testing.TB, obj *elfobj.Object) *btfraw.Ext {
	tb.Helper()
	types, err := btfraw.Parse(obj.Section(".BTF").Data, nil)
	if err != nil {
		tb.Fatal(err)
	}
	ext, err := btfraw.ParseExt(obj.Section(".BTF.ext").Data, types)
	if err != nil {
		tb.Fatal(err)
	}
	return ext
}

func newSource(tb testing.TB, obj *elfobj.Object) *link.Source {
	tb.Helper()
	source, err := link.NewSource(obj)
	if err != nil {
		tb.Fatal(err)
	}
	return source
}
