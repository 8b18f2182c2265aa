package loader

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A kernel says which level of lockdown holds as lockdown_read of
// security/lockdown/lockdown.c does.
func TestLockdown(t *testing.T) {
	for said, confidential := range map[string]bool{
		"[none] integrity confidentiality\n": false,
		"none [integrity] confidentiality\n": false,
		"none integrity [confidentiality]\n": true,
	} {
		file := filepath.Join(t.TempDir(), "lockdown")
		if err := os.WriteFile(file, []byte(said), 0o644); err != nil {
			t.Fatal(err)
		}
		for lowering, refused := range map[accessor.Lowering]bool{accessor.Zero: false, accessor.Carrier: false, accessor.Probe: confidential} {
			l := &load{report: &rewrite.Report{Driver: "veth", Lowering: string(lowering), Edits: []rewrite.Edit{{Driver: "veth"}}}}
			if err := l.checkLockdown(file); errors.Is(err, ErrLockdown) != refused {
				t.Errorf("%q, %s: %v", said, lowering, err)
			}
			l.report.Edits = nil // a program that reads nothing of it
			if err := l.checkLockdown(file); err != nil {
				t.Errorf("%q, %s, nothing read: %v", said, lowering, err)
			}
		}
	}
	l := &load{report: &rewrite.Report{Lowering: string(accessor.Probe), Edits: []rewrite.Edit{{Driver: "veth"}}}}
	if err := l.checkLockdown(filepath.Join(t.TempDir(), "nothing")); err != nil {
		t.Errorf("Without lockdown: %v", err)
	}
}
