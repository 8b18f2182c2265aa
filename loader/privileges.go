package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrPrivileges is wrapped by errors about what only root may do.
var ErrPrivileges = errors.New("needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and CAP_SYS_ADMIN to mount a bpffs")

// explainPermission says which capabilities are missing if that is why the
// kernel said no.
func explainPermission(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	// EACCES is also how the verifier refuses a program.
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		return err
	}
	missing := missingCapabilities()
	if len(missing) == 0 {
		return err
	}
	return fmt.Errorf("%w; this process lacks %s: %w", ErrPrivileges, strings.Join(missing, ", "), err)
}

// wanted are the capabilities to load, attach and pin a program,
// capabilities(7). CAP_SYS_ADMIN stands for all of them.
var wanted = []struct {
	name string
	bit  uint
}{
	{"CAP_BPF", unix.CAP_BPF},
	{"CAP_PERFMON", unix.CAP_PERFMON},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
}

func missingCapabilities() []string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return nil
	}
	effective := uint64(sets[1].Effective)<<32 | uint64(sets[0].Effective)
	if effective&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return nil
	}

	var missing []string
	for _, capability := range wanted {
		if effective&(1<<capability.bit) == 0 {
			missing = append(missing, capability.name)
		}
	}
	return missing
}
