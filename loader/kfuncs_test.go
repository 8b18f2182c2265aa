package loader_test

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// Programs that call kfuncs, be they there or weak and not, load and do what they say.
func TestKfuncs(t *testing.T) {
	netlab.Need(t, netlab.ContextCast)
	loaded, err := loader.LoadRewritten(ownProgram("casts"), loader.Options{Layout: layout(t, "exact")})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Collection.Close()
	for program, want := range map[string]uint32{"casts": 3, "asks": 1} {
		got, err := loaded.Collection.Programs[program].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
		if err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", program, got, err, want)
		}
	}
}

// A kfunc that is something else is refused, by its name.
func TestKfuncOfAnotherPrototype(t *testing.T) {
	netlab.Need(t, netlab.ContextCast)
	_, err := loader.LoadRewritten(ownProgram("casts_wrong"), loader.Options{Layout: layout(t, "exact")})
	if err == nil || !strings.Contains(err.Error(), `kfunc "bpf_cast_to_kern_ctx": `) {
		t.Errorf("%v", err)
	}
}
