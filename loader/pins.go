package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// What is pinned of an attachment, in linkPins. ID is that of the link, which is
// unique on the machine: interfaces are not, since their names and numbers repeat
// across network namespaces, and both they and the namespace they are in can change
// while a program is attached.
//
// The link comes last. Without it the others are what a killed load left.
const (
	pinsOfPrograms = "programs" // programs-ID/NAME: the program that is attached
	pinsOfMaps     = "maps"     // maps-ID/NAME: what it and the programs that it calls use
	pinOfLink      = "link"     // link-ID
)

func pinName(kind string, id link.ID) string { return fmt.Sprintf("%s-%d", kind, id) }

// parsePinName is the inverse of pinName.
func parsePinName(name string) (kind string, id link.ID, ok bool) {
	kind, number, _ := strings.Cut(name, "-")
	n, err := strconv.ParseUint(number, 10, 32)
	ok = err == nil && slices.Contains([]string{pinsOfPrograms, pinsOfMaps, pinOfLink}, kind) && name == pinName(kind, link.ID(n))
	return kind, link.ID(n), ok
}

// pinnedLink is a link that this package has pinned.
type pinnedLink struct {
	id      link.ID
	program ebpf.ProgramID
	ifindex int // in the network namespace that the interface is in
}

// path returns where the link is pinned.
func (p *pinnedLink) path() string { return linkPins + "/" + pinName(pinOfLink, p.id) }

// pinLink pins a link.
func (d *pinDir) pinLink(attached link.Link) (*pinnedLink, error) {
	pin, err := newPinnedLink(attached)
	if err != nil {
		return nil, err
	}
	if err := attached.Pin(d.path(linkPinsName, pinName(pinOfLink, pin.id))); err != nil {
		return nil, fmt.Errorf("pin link: %w", err)
	}
	return pin, nil
}

func newPinnedLink(attached link.Link) (*pinnedLink, error) {
	info, err := attached.Info()
	if err != nil {
		return nil, err
	}
	if info.Type != link.XDPType {
		return nil, errors.New("not a link of an XDP program, and not made by xdp-load: remove it")
	}
	return &pinnedLink{info.ID, info.Program, int(info.XDP().Ifindex)}, nil
}

// pinProgram pins the program that a link attaches. Program.Pin would make the pin
// that of the caller's handle, which moves it if the caller pins that, too.
func (d *pinDir) pinProgram(id link.ID, program *ebpf.Program, name string) error {
	dir := d.path(linkPinsName, pinName(pinsOfPrograms, id))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
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
func (d *pinDir) pinMaps(id link.ID, maps map[string]*ebpf.Map) (map[string]string, error) {
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

// links returns the links that this package has pinned, in whatever network
// namespace they are attached, and why something else that is pinned there was
// skipped. It sweeps away what is of no link that is attached.
func (d *pinDir) links() (pins []pinnedLink, skipped []error, err error) {
	switch {
	case d == nil, d.mount != nil: // no link of an attachment is in that yet
		return nil, nil, nil
	case d.untrusted != nil:
		return nil, []error{d.untrusted}, nil
	}
	files, err := os.ReadDir(linkPins)
	if err != nil {
		return nil, nil, err
	}
	attached := make(map[link.ID]bool)
	for _, file := range files {
		kind, id, ok := parsePinName(file.Name())
		if ok && kind != pinOfLink {
			continue
		}
		if !ok {
			skipped = append(skipped, fmt.Errorf("%s/%s: not made by xdp-load: remove it", linkPins, file.Name()))
			continue
		}
		pin, err := openPin(id)
		switch {
		case err != nil:
			attached[id] = true // for all that is known
			skipped = append(skipped, err)
		case pin.ifindex != 0:
			attached[id] = true
			pins = append(pins, *pin)
		}
	}
	for _, file := range files {
		if _, id, ok := parsePinName(file.Name()); ok && !attached[id] {
			d.remove(id)
		}
	}
	return pins, skipped, nil
}

func openPin(id link.ID) (*pinnedLink, error) {
	path := linkPins + "/" + pinName(pinOfLink, id)
	pinned, err := openLink(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer pinned.Close()
	pin, err := newPinnedLink(pinned)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pin, nil
}

// openLink opens a pinned link. On a read-only bpffs the kernel opens no link; its
// ID leads to it, too, for who has CAP_SYS_ADMIN.
func openLink(id link.ID) (link.Link, error) {
	pinned, err := link.LoadPinnedLink(linkPins+"/"+pinName(pinOfLink, id), nil)
	if !errors.Is(err, unix.EROFS) {
		return pinned, err
	}
	byID, idErr := link.NewFromID(id)
	if idErr != nil {
		return nil, fmt.Errorf("%w: to detach it, bpftool link detach id %d", err, id)
	}
	return byID, nil
}

// detach detaches a pinned link and removes what is pinned of the attachment. The
// link is detached even if another process holds it open. Killed in between, the
// pins are swept away later.
func (d *pinDir) detach(id link.ID) error {
	pinned, err := openLink(id)
	if err != nil {
		return err
	}
	defer pinned.Close()
	if err := pinned.Detach(); err != nil {
		return fmt.Errorf("detach link: %w", err)
	}
	d.remove(id)
	return nil
}

// remove removes what is pinned of an attachment.
func (d *pinDir) remove(id link.ID) {
	for _, kind := range []string{pinsOfPrograms, pinsOfMaps, pinOfLink} {
		_ = os.RemoveAll(d.path(linkPinsName, pinName(kind, id)))
	}
}

// program opens the program that a link attaches, and returns its name. Only who
// has CAP_SYS_ADMIN could open it by its ID.
func (p *pinnedLink) openProgram() (*ebpf.Program, string, error) {
	dir := linkPins + "/" + pinName(pinsOfPrograms, p.id)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, "", err
	}
	if len(files) != 1 {
		return nil, "", fmt.Errorf("%s: %d programs instead of one", dir, len(files))
	}
	name := files[0].Name()
	program, err := ebpf.LoadPinnedProgram(dir+"/"+name, &ebpf.LoadPinOptions{ReadOnly: true})
	return program, name, err
}

// maps returns the IDs of the maps of an attachment.
func (p *pinnedLink) maps() (map[ebpf.MapID]bool, error) {
	dir := linkPins + "/" + pinName(pinsOfMaps, p.id)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ids := make(map[ebpf.MapID]bool)
	for _, file := range files {
		m, err := ebpf.LoadPinnedMap(dir+"/"+file.Name(), &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, file.Name(), err)
		}
		info, err := m.Info()
		m.Close()
		if err != nil {
			return nil, err
		}
		if id, ok := info.ID(); ok {
			ids[id] = true
		}
	}
	return ids, nil
}
