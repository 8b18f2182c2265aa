//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// What is pinned of an attachment, in linkPins. The number is the kernel's of the link
// or of the program, which are unique on the machine: interfaces are not, since their
// names and numbers repeat across network namespaces, and both they and the namespace
// they are in can change while a program is attached. The link stays when its program is
// replaced; what belongs to the program comes and goes with that.
//
// What makes the attachment comes last: the link, or the program in the place of another.
// What is pinned of a program that no link attaches is what a killed load left.
const (
	pinsOfPrograms = "programs" // programs-PROGRAM/NAME: the program that is attached
	pinsOfMaps     = "maps"     // maps-PROGRAM/NAME: what it and the programs that it calls use
	pinsForMaps    = "redirect" // redirect-PROGRAM/NAME: programs for the cpumaps and devmaps that it redirects into
	pinOfRecord    = "record"   // record-PROGRAM: what it was rewritten for
	pinsByName     = "names"    // names-PROGRAM/NAME: a map on its way to where it is pinned by name; or a note on its way to be hook-PROGRAM
	pinOfHook      = "hook"     // hook-PROGRAM: where it is attached without a link, see pinHook
	pinOfLink      = "link"     // link-LINK
	pinOfTaken     = "taken"    // taken-LINK: another's, whose program is about to be replaced
	pinOfLent      = "lent"     // lent-LINK: a symbolic link with the number of the program that comes back
)

var (
	kindsOfProgram = []string{pinsOfPrograms, pinsOfMaps, pinsForMaps, pinOfRecord, pinsByName, pinOfHook}
	kindsOfLink    = []string{pinOfLink, pinOfTaken, pinOfLent}
)

func pinName[ID ~uint32](kind string, id ID) string { return fmt.Sprintf("%s-%d", kind, id) }

// parsePinName is the inverse of pinName.
func parsePinName(name string) (kind string, id uint32, ok bool) {
	kind, number, _ := strings.Cut(name, "-")
	n, err := strconv.ParseUint(number, 10, 32)
	id = uint32(n)
	ok = err == nil && (slices.Contains(kindsOfProgram, kind) || slices.Contains(kindsOfLink, kind)) && name == pinName(kind, id)
	return kind, id, ok
}

// errNotMade is wrapped by the error about what somebody else has pinned there.
var errNotMade = errors.New("not made by xdp-load: remove it")

// pinnedAttachment is an attachment that this package has pinned.
type pinnedAttachment struct {
	link    link.ID // 0 if the program is attached without one
	program ebpf.ProgramID
	home    ebpf.ProgramID // whose pins there are: another if program is in its place for a while
	at      Hook
	ifindex int    // in the network namespace that the interface is in
	netns   uint64 // inode number of that, 0 if it is not known, as of a link

	// Without a link:
	mode  Mode
	qdisc bool // whether the qdisc was added for it, or for another one of this package's
}

// isAway reports whether another program is in the place of the one that has its pins there.
func (p *pinnedAttachment) isAway() bool { return p.home != p.program }

// path returns where the link is pinned, or what stands for it.
func (p *pinnedAttachment) path() string {
	if p.link == 0 {
		return linkPins + "/" + pinName(pinOfHook, p.program)
	}
	return linkPins + "/" + pinName(pinOfLink, p.link)
}

// pinLink pins a link.
func (d *pinDir) pinLink(attached link.Link) (*pinnedAttachment, error) {
	pin, err := newPinnedLink(attached)
	if err != nil {
		return nil, err
	}
	if err := attached.Pin(d.path(linkPinsName, pinName(pinOfLink, pin.link))); err != nil {
		return nil, fmt.Errorf("pin link: %w", err)
	}
	return pin, nil
}

func newPinnedLink(attached link.Link) (*pinnedAttachment, error) {
	info, err := attached.Info()
	if err != nil {
		return nil, err
	}
	pin := &pinnedAttachment{link: info.ID, program: info.Program, home: info.Program}
	switch info.Type {
	case link.XDPType:
		pin.at, pin.ifindex = XDP, int(info.XDP().Ifindex)
	case link.TCXType:
		tcx := info.TCX()
		for at, attach := range tcxTypes {
			if uint32(attach) == uint32(tcx.AttachType) {
				pin.at, pin.ifindex = at, int(tcx.Ifindex)
			}
		}
	}
	if pin.at == "" {
		return nil, fmt.Errorf("no link of an XDP program, or one of TC, and %w", errNotMade)
	}
	return pin, nil
}

// pinHook notes where a program is going to be attached without a link. There is nothing
// to pin: a symbolic link has it in its text, as /proc/PID/ns/net has the namespace.
func (d *pinDir) pinHook(pin *pinnedAttachment) (err error) {
	if pin.netns, err = ownNetworkNamespace(); err != nil {
		return err
	}
	return os.Symlink(pin.hookText(), d.path(linkPinsName, pinName(pinOfHook, pin.program)))
}

const (
	hookFormat = "net:[%d]:%d"
	ownQdisc   = ":qdisc"
)

// hookText is the network namespace and the interface, the hook of TC or the mode of XDP if
// that is not the usual one, and whether the qdisc goes with the attachment.
func (p *pinnedAttachment) hookText() string {
	text := fmt.Sprintf(hookFormat, p.netns, p.ifindex)
	switch {
	case p.at != XDP:
		text += ":" + string(p.at)
	case p.mode != Native:
		text += ":" + string(p.mode)
	}
	if p.qdisc {
		text += ownQdisc
	}
	return text
}

func openHook(program ebpf.ProgramID) (*pinnedAttachment, error) {
	pin := &pinnedAttachment{program: program, home: program, at: XDP, mode: Native}
	text, err := os.Readlink(pin.path())
	if err != nil {
		return nil, err
	}
	_, err = fmt.Sscanf(text, hookFormat, &pin.netns, &pin.ifindex)
	place, hasQdisc := strings.CutSuffix(strings.TrimPrefix(text, pin.hookText()), ownQdisc)
	place = strings.TrimPrefix(place, ":")
	switch _, isTC := tcParents[Hook(place)]; {
	case isTC:
		pin.at, pin.mode, pin.qdisc = Hook(place), Clsact, hasQdisc
	case place != "":
		pin.mode = Mode(place)
	}
	if err != nil || pin.hookText() != text || pin.at == XDP && pin.mode.flag() == 0 {
		return nil, fmt.Errorf("%s: %w", pin.path(), errNotMade)
	}
	return pin, nil
}

// ownNetworkNamespace returns the inode number of the calling thread's.
func ownNetworkNamespace() (uint64, error) {
	info, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// pinProgram pins the program that is attached. Program.Pin would make the pin
// that of the caller's handle, which moves it if the caller pins that, too.
func (d *pinDir) pinProgram(id ebpf.ProgramID, program *ebpf.Program, name string) error {
	dir := d.path(linkPinsName, pinName(pinsOfPrograms, id))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return pinProgramAgain(program, dir, name)
}

// pinProgramAgain pins a program that may be pinned elsewhere, too.
func pinProgramAgain(program *ebpf.Program, dir, name string) error {
	clone, err := program.Clone()
	if err != nil {
		return err
	}
	defer clone.Close()
	if err := clone.Pin(dir + "/" + name); err != nil {
		return fmt.Errorf("pin program %s: %w", name, err)
	}
	return nil
}

// pinMaps pins the maps that a program uses. It returns where, by their names.
//
// To programs alone maps are not what they were: once no file descriptor and no pin
// is left, the kernel empties program arrays and cancels timers (map_release_uref of
// struct bpf_map_ops).
func (d *pinDir) pinMaps(id ebpf.ProgramID, maps map[string]*ebpf.Map) (map[string]string, error) {
	dir := pinName(pinsOfMaps, id)
	if err := os.Mkdir(d.path(linkPinsName, dir), 0o700); err != nil {
		return nil, err
	}
	paths := make(map[string]string, len(maps))
	for name, m := range maps {
		file := mapPinName(name)
		if err := pinAgain(m, d.path(linkPinsName, dir, file)); err != nil {
			return nil, fmt.Errorf("pin map %s: %w", name, err)
		}
		paths[name] = linkPins + "/" + dir + "/" + file
	}
	return paths, nil
}

// pinAgain pins a map that may be pinned elsewhere, too: Map.Pin would move that pin.
func pinAgain(m *ebpf.Map, path string) error {
	clone, err := m.Clone()
	if err != nil {
		return err
	}
	defer clone.Close()
	return clone.Pin(path)
}

// mapPinName returns the name of a map in a bpffs, which allows of no dots, as
// libbpf spells it (sanitize_pin_path).
func mapPinName(name string) string { return strings.ReplaceAll(name, ".", "_") }

// attachments returns what this package has attached and pinned, in whatever network
// namespace, and why something else that is pinned there was skipped. It finishes what a
// killed process has left: it sweeps away what is of no attachment any more, and puts back a
// program that another was in the place of.
func (d *pinDir) attachments() (pins []pinnedAttachment, skipped []error, err error) {
	switch {
	case d == nil, d.mount != nil: // nothing of an attachment is in that yet
		return nil, nil, nil
	case d.untrusted != nil:
		return nil, []error{d.untrusted}, nil
	}
	files, err := os.ReadDir(linkPins)
	if err != nil {
		return nil, nil, err
	}
	unknown := false
	for _, file := range files {
		kind, id, ok := parsePinName(file.Name())
		if !ok {
			skipped = append(skipped, fmt.Errorf("%s/%s: %w", linkPins, file.Name(), errNotMade))
			continue
		}
		pin, err := d.open(kind, id)
		if err != nil {
			unknown = unknown || !errors.Is(err, errNotMade)
			skipped = append(skipped, err)
		} else if pin != nil {
			pins = append(pins, *pin)
		}
	}
	if !unknown && !d.loading { // else any program may be that of the link that could not be opened
		d.sweep(files, pins)
	}
	return pins, skipped, nil
}

// lookAt returns a hook of an interface with the programs that are in the way of another, and
// the attachment that it runs, nil if it runs none of this package's. The other results are
// those of attachments.
func (d *pinDir) lookAt(iface string, at Hook) (there *hook, ours *pinnedAttachment, skipped []error, err error) {
	all, skipped, err := d.attachments() // first: it may put a program back
	if err != nil {
		return nil, nil, nil, err
	}
	there, err = hookByName(iface, at)
	if err != nil {
		return nil, nil, nil, err
	}
	if found := slices.IndexFunc(all, there.runs); found >= 0 {
		ours = &all[found]
	}
	if ours != nil || len(uncertain(skipped)) == 0 {
		there.keepOnly(ours)
	}
	return there, ours, skipped, nil
}

// sweep removes, of the files in linkPins, those that are of no attachment.
func (d *pinDir) sweep(files []os.DirEntry, pins []pinnedAttachment) {
	attached, lent := make(map[uint32]bool), make(map[uint32]bool)
	for i := range pins {
		attached[uint32(pins[i].home)] = true
		lent[uint32(pins[i].link)] = pins[i].isAway()
	}
	for _, file := range files {
		kind, id, ok := parsePinName(file.Name())
		isLeft := slices.Contains(kindsOfProgram, kind) && (!attached[id] || kind == pinsByName) || kind == pinOfLent && !lent[id]
		if ok && isLeft {
			if kind == pinOfHook {
				finishTakingOff(ebpf.ProgramID(id))
			}
			_ = os.RemoveAll(linkPins + "/" + file.Name())
		}
	}
}

// open returns the attachment that a link, or what stands for one, makes. It returns nil
// if there is none, any more or yet, or if the pin is of another kind.
func (d *pinDir) open(kind string, id uint32) (pin *pinnedAttachment, err error) {
	switch kind {
	case pinOfHook:
		return d.openAttachedHook(ebpf.ProgramID(id))
	case pinOfTaken:
		if isTaken := d.finishTaking(link.ID(id)); !isTaken {
			return nil, nil
		}
	case pinOfLink:
	default:
		return nil, nil
	}
	path := linkPins + "/" + pinName(pinOfLink, id)
	pinned, err := openLink(link.ID(id))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer pinned.Close()
	if pin, err = newPinnedLink(pinned); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if pin.link != link.ID(id) {
		return nil, fmt.Errorf("%s: link %d, and %w", path, pin.link, errNotMade)
	}
	if pin.ifindex == 0 {
		d.gone = append(d.gone, fmt.Sprintf("link %d, program %s: the interface is gone, with its network namespace perhaps, or somebody has detached the link", id, pin.title()))
		_ = os.Remove(path)
		return nil, nil
	}
	if pin.home = homeOf(pin); pin.isAway() {
		_ = pin.takeBack(pinned) // else it stays away, which is told of it
	}
	return pin, nil
}

// homeOf returns the program that has its pins with a link, though another may be in its
// place for a while: lent-LINK says so then.
func homeOf(pin *pinnedAttachment) ebpf.ProgramID {
	if exists(linkPins + "/" + pinName(pinsOfPrograms, pin.program)) {
		return pin.program
	}
	var home ebpf.ProgramID
	text, err := os.Readlink(linkPins + "/" + pinName(pinOfLent, pin.link))
	if err != nil {
		return pin.program
	}
	if _, err := fmt.Sscanf(text, "%d", &home); err != nil {
		return pin.program
	}
	return home
}

// finishTakingOff removes the qdisc that was added for a program that is attached no more, if
// its interface is in this network namespace.
func finishTakingOff(program ebpf.ProgramID) {
	pin, err := openHook(program)
	if err != nil {
		return
	}
	if netns, err := ownNetworkNamespace(); err == nil && netns == pin.netns {
		pin.removeQdisc()
	}
}

// openLink opens a pinned link. On a read-only bpffs the kernel opens no link; its
// ID leads to it, too, for who has CAP_SYS_ADMIN. It wraps errNotMade if what is pinned there
// is no link.
func openLink(id link.ID) (link.Link, error) {
	path := linkPins + "/" + pinName(pinOfLink, id)
	pinned, err := link.LoadPinnedLink(path, nil)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return pinned, err
	}
	if kind := pinnedKind(path); kind != "" && kind != "link" {
		return nil, fmt.Errorf("no link, and %w", errNotMade)
	}
	if !errors.Is(err, unix.EROFS) {
		return nil, err
	}
	byID, idErr := link.NewFromID(id)
	if idErr != nil {
		return nil, fmt.Errorf("%w: to detach it, bpftool link detach id %d", err, id)
	}
	return byID, nil
}

// pinnedKind says what is at a path for certain: a map, a program, a link, or something that
// bpf(2) does not pin, "other". It is empty if that can't be told.
func pinnedKind(path string) string {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return "other"
	}
	readOnly := &ebpf.LoadPinOptions{ReadOnly: true}
	if m, err := ebpf.LoadPinnedMap(path, readOnly); err == nil {
		m.Close()
		return "map"
	}
	if program, err := ebpf.LoadPinnedProgram(path, readOnly); err == nil {
		program.Close()
		return "program"
	}
	if pinned, err := link.LoadPinnedLink(path, nil); err == nil {
		pinned.Close()
		return "link"
	}
	return ""
}

// detach detaches a program and removes what is pinned of it. A link is detached even if
// another process holds it open. Killed in between, the pins are swept away later.
func (d *pinDir) detach(pin *pinnedAttachment) error {
	if pin.link == 0 {
		return d.detachHook(pin)
	}
	pinned, err := openLink(pin.link)
	if err != nil {
		return err
	}
	defer pinned.Close()
	if err := pinned.Detach(); err != nil {
		return fmt.Errorf("detach link: %w", err)
	}
	_ = os.Remove(pin.path())
	_ = os.Remove(linkPins + "/" + pinName(pinOfLent, pin.link))
	d.remove(pin.home)
	return nil
}

func (d *pinDir) detachHook(pin *pinnedAttachment) error {
	program, _, err := pin.openProgram()
	if errors.Is(err, os.ErrNotExist) { // somebody has removed it
		program, err = ebpf.NewProgramFromID(pin.program)
	}
	if err != nil {
		return err
	}
	defer program.Close()
	if err := pin.takeOff(program); err != nil {
		return err
	}
	d.remove(pin.program)
	return nil
}

// remove removes what is pinned of a program that is attached no more.
func (d *pinDir) remove(program ebpf.ProgramID) {
	for _, kind := range kindsOfProgram {
		_ = os.RemoveAll(d.path(linkPinsName, pinName(kind, program)))
	}
}

// openProgram opens the program that is attached, and returns its name. Only who
// has CAP_SYS_ADMIN could open it by its ID.
func (p *pinnedAttachment) openProgram() (*ebpf.Program, string, error) {
	dir := linkPins + "/" + pinName(pinsOfPrograms, p.home)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, "", err
	}
	if len(files) != 1 {
		return nil, "", fmt.Errorf("%s: %d programs instead of one: unload it", dir, len(files))
	}
	name := files[0].Name()
	program, err := ebpf.LoadPinnedProgram(dir+"/"+name, &ebpf.LoadPinOptions{ReadOnly: true})
	return program, name, err
}

// maps returns the IDs of the maps of an attachment.
func (p *pinnedAttachment) maps() (map[ebpf.MapID]bool, error) {
	dir := linkPins + "/" + pinName(pinsOfMaps, p.home)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ids := make(map[ebpf.MapID]bool)
	for _, file := range files {
		m, err := mapAt(dir + "/" + file.Name())
		if err != nil {
			return nil, err
		}
		ids[m.ID] = true
	}
	return ids, nil
}
