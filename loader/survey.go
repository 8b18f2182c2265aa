//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/nic"
)

// SurveyOptions say what Survey looks at.
type SurveyOptions struct {
	// Interface is the only interface to look at (optional). It is in the network
	// namespace of the calling thread.
	Interface string

	// AllNamespaces has it look at the interfaces in every network namespace that a
	// process is in or that has a name of ip-netns(8). It takes CAP_SYS_ADMIN.
	AllNamespaces bool
}

// Overview is which programs of XDP and TC there are on interfaces.
type Overview struct {
	Programs []ProgramStatus

	// Skipped are the reasons why something that is pinned among this package's pins, or the
	// programs in tcx, are passed over.
	Skipped []error

	// Gone says which attachments have gone with their interfaces since somebody last
	// looked. What was pinned of them is removed.
	Gone []string

	// Denied is how many processes this one may not ask for their network namespace: what
	// only they lead to is not among the Programs.
	Denied int
}

// ProgramStatus is a program of XDP or TC on an interface, by whomever.
type ProgramStatus struct {
	// Attachment has what concerns pins, and the record, as far as they are this
	// package's.
	Attachment

	// Namespace is the network namespace that the interface is in, by its name or one of
	// its processes, empty if it is that of the calling thread.
	Namespace string `json:"namespace,omitempty"`

	// Foreign says of a program that is not this package's what it is: "foreign" or
	// "libxdp dispatcher of 2 programs".
	Foreign string `json:"foreign,omitempty"`

	// Dispatched are the programs that a dispatcher of libxdp's runs, in their order.
	Dispatched []Dispatched `json:"dispatched,omitempty"`

	// Runs is how often the program has run, nil if the kernel does not count, which is
	// switched on by sysctl kernel.bpf_stats_enabled.
	Runs *Runs `json:"runs,omitempty"`

	// Maps are those that are pinned with the program.
	Maps []AttachedMap `json:"maps,omitempty"`
}

// Runs are the runs of a program.
type Runs struct {
	Count uint64        `json:"count"`
	Time  time.Duration `json:"nanoseconds"`
}

// AttachedMap is a map of a program on an interface.
type AttachedMap struct {
	Name string     `json:"name"`
	ID   ebpf.MapID `json:"id"`
	Type string     `json:"type"`
	Pins []string   `json:"pins"` // paths
}

// unreachable is the namespace of an interface that no process and no name leads to.
const unreachable = "one that no process and no name leads to"

// Survey returns which programs of XDP and TC there are on interfaces. Without CAP_NET_ADMIN
// those in tcx are left out, which Overview.Skipped says.
//
// Returns an error wrapping ErrPrivileges if it may not look, or nic.ErrNoInterface.
func Survey(opts SurveyOptions) (*Overview, error) {
	if opts.Interface != "" {
		target, err := nic.ByName(opts.Interface)
		if err != nil {
			return nil, err
		}
		opts.Interface = target.Interface
	}
	s := &survey{SurveyOptions: opts, found: make(map[ebpf.ProgramID]bool), looked: make(map[uint64]bool), counts: countsRuns()}
	pid, err := inLastingMounts(func() error { return withPins(s.look) })
	for i := range s.Programs {
		if program := &s.Programs[i]; program.Foreign == "" {
			program.MountsOf = pid
		}
	}
	return &s.Overview, explainPermission(err)
}

// survey is one run of Survey.
type survey struct {
	SurveyOptions
	Overview
	ours   []pinnedAttachment
	found  map[ebpf.ProgramID]bool
	looked map[uint64]bool // at the network namespaces of these inode numbers
	counts bool
	denied bool // whether Skipped says that of tcx
}

func (s *survey) look(pins *pinDir) (err error) {
	if pins != nil {
		pins.everywhere = s.AllNamespaces
	}
	if s.ours, s.Skipped, err = pins.attachments(); err != nil {
		return err
	}
	if pins != nil {
		s.Gone = pins.gone
	}
	if !s.AllNamespaces {
		return s.lookAtHooks("")
	}
	if s.Denied, err = eachNetworkNamespace(s.lookAtHooks); err != nil {
		return err
	}
	s.addUnreachable()
	return nil
}

// lookAtHooks adds the programs in the network namespace of the calling thread.
func (s *survey) lookAtHooks(namespace string) error {
	hooks, err := allHooks()
	if err != nil {
		return err
	}
	for i := range hooks {
		s.looked[hooks[i].netns] = true
		if hooks[i].denied && !s.denied {
			s.denied = true
			s.Skipped = append(s.Skipped, errDenied)
		}
		if s.Interface != "" && hooks[i].name != s.Interface {
			continue
		}
		if err := s.lookAtHook(&hooks[i], namespace); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) lookAtHook(h *hook, namespace string) error {
	if len(h.programs) == 0 {
		return nil
	}
	target, err := nic.ByName(h.name)
	if errors.Is(err, nic.ErrNoInterface) { // it has gone, or has another name, since
		return nil
	}
	if err != nil {
		return err
	}
	for _, program := range h.programs {
		at := slices.IndexFunc(s.ours, func(pin pinnedAttachment) bool { return pin.program == program.id && h.runs(pin) })
		if at < 0 {
			s.addForeign(h, program, target, namespace)
			continue
		}
		s.found[program.id] = true
		s.addOurs(&s.ours[at], target, program.mode, namespace)
	}
	return nil
}

func (s *survey) addOurs(pin *pinnedAttachment, target *nic.Target, mode Mode, namespace string) {
	attachment, err := describe(pin, target, mode)
	if err != nil {
		s.Skipped = append(s.Skipped, err)
		return
	}
	status := ProgramStatus{Attachment: *attachment, Namespace: namespace}
	status.Maps, err = pin.attachedMaps(attachment.Record)
	if err != nil {
		s.Skipped = append(s.Skipped, fmt.Errorf("%s: maps of program %d: %w", target.Interface, pin.program, err))
	}
	if program, _, err := pin.openProgram(); err == nil {
		status.Runs = s.runsOf(program)
		program.Close()
	}
	s.Programs = append(s.Programs, status)
}

// addForeign adds a program of somebody else, as far as this process may look at it.
func (s *survey) addForeign(h *hook, hooked hookedProgram, target *nic.Target, namespace string) {
	status := ProgramStatus{
		Attachment: Attachment{
			Interface: target.Interface, Index: target.Index, Driver: target.Driver,
			Hook: h.at, Mode: hooked.mode, ProgramID: hooked.id,
		},
		Namespace: namespace,
		Foreign:   "foreign",
	}
	if program, err := ebpf.NewProgramFromID(hooked.id); err == nil {
		defer program.Close()
		if info, err := program.Info(); err == nil {
			status.Program, status.Tag, status.Loaded = programName(info), info.Tag, loadTime(info)
			status.Foreign, status.Dispatched = whatForeign(status.Program, h.index, hooked.id)
		}
		status.Runs = s.runsOf(program)
		if record, err := RecordOf(program); err == nil {
			status.Record, status.Foreign = record, cmp.Or(record.Owner, "xdp-load, with its pins in another mount namespace")
		}
	}
	if id, err := h.linkOf(hooked.id); err == nil {
		status.LinkID = id
	}
	s.Programs = append(s.Programs, status)
}

// addUnreachable adds what is attached in network namespaces that are not to be found. What
// was attached without a link in one that is, is there no more: the next look from there
// sweeps it away.
func (s *survey) addUnreachable() {
	for i := range s.ours {
		if pin := &s.ours[i]; !s.found[pin.program] && !s.looked[pin.netns] {
			s.addOurs(pin, &nic.Target{Index: pin.ifindex}, "", unreachable)
		}
	}
}

// countsRuns reports whether the kernel counts the runs of all programs.
func countsRuns() bool {
	enabled, err := os.ReadFile("/proc/sys/kernel/bpf_stats_enabled")
	return err == nil && strings.TrimSpace(string(enabled)) != "0"
}

// runsOf returns how often a program has run, nil if that was never counted.
func (s *survey) runsOf(program *ebpf.Program) *Runs {
	stats, err := program.Stats()
	if err != nil || !s.counts && stats.RunCount == 0 {
		return nil
	}
	return &Runs{stats.RunCount, stats.Runtime}
}

// attachedMaps returns the maps that are pinned with a program, and where: the record
// says where those are that are pinned by name.
func (p *pinnedAttachment) attachedMaps(record *Record) ([]AttachedMap, error) {
	dir := linkPins + "/" + pinName(pinsOfMaps, p.home)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []AttachedMap
	for _, file := range files {
		m, err := mapAt(dir + "/" + file.Name())
		if err != nil {
			return all, err
		}
		if record != nil {
			byName := filepath.Join(record.PinPath, file.Name())
			if named, err := mapAt(byName); err == nil && named.ID == m.ID {
				m.Pins = append(m.Pins, byName)
			}
		}
		m.Name = file.Name()
		all = append(all, *m)
	}
	return all, nil
}

// mapAt returns the map that is pinned at a path.
func mapAt(path string) (*AttachedMap, error) {
	m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	id, _ := info.ID()
	return &AttachedMap{ID: id, Type: m.Type().String(), Pins: []string{path}}, nil
}
