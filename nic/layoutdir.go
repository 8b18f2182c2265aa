//go:build linux

package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// LayoutDir is where the layouts of a machine's NICs are.
const LayoutDir = "/etc/xdp-load/layouts"

// LayoutDirsVariable is the environment variable that names more of them, separated by
// colons.
const LayoutDirsVariable = "XDP_LOAD_LAYOUTS"

// layoutDirectories returns the directories to look for layouts in: LayoutDir, and then those
// that the environment names.
func layoutDirectories() []string {
	dirs := []string{LayoutDir}
	for _, dir := range filepath.SplitList(os.Getenv(LayoutDirsVariable)) {
		if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// layoutExtensions are those that a layout may have, none included.
var layoutExtensions = []string{"", ".o", ".btf", ".ko"}

// layoutDir is a directory with layouts.
type layoutDir struct {
	path   string
	absent bool
	files  map[string][]string // by their names without an extension
}

type layoutDirs []layoutDir

func readLayoutDirs(paths []string) (layoutDirs, error) {
	dirs := make(layoutDirs, len(paths))
	for i, path := range paths {
		dirs[i] = layoutDir{path: path, files: make(map[string][]string)}
		entries, err := os.ReadDir(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			dirs[i].absent = true
			continue
		case err != nil:
			return nil, fmt.Errorf("layouts in %s: %w", path, errors.Unwrap(err))
		}
		for _, entry := range entries {
			for _, extension := range layoutExtensions {
				if name, has := strings.CutSuffix(entry.Name(), extension); has {
					dirs[i].files[name] = append(dirs[i].files[name], entry.Name())
				}
			}
		}
	}
	return dirs, nil
}

// named returns the path of the first file of a name, whatever its extension; empty if
// there is none.
func (dirs layoutDirs) named(name string) (string, error) {
	for i := range dirs {
		switch files := dirs[i].files[name]; len(files) {
		case 0:
		case 1:
			return filepath.Join(dirs[i].path, files[0]), nil
		default:
			return "", fmt.Errorf("there are several layouts %s in %s: %s: keep one", name, dirs[i].path, strings.Join(files, ", "))
		}
	}
	return "", nil
}

// forReceivers returns the path of the file for some interfaces: all have the same.
func (dirs layoutDirs) forReceivers(receivers []receiver) (string, error) {
	var path string
	for i, r := range receivers {
		own, err := dirs.forDriver(r.driver, r.firmware)
		switch {
		case err != nil:
			return "", err
		case i == 0:
			path = own
		case own != path:
			return "", fmt.Errorf("%w: %s of %s, %s of %s: name one for the bond", errSlavesDiffer,
				orNone(path), receivers[0].name, orNone(own), r.name)
		}
	}
	return path, nil
}

func orNone(path string) string {
	if path == "" {
		return "none"
	}
	return path
}

// forDriver returns the path of the file for a driver and its firmware.
func (dirs layoutDirs) forDriver(driver, firmware string) (string, error) {
	if driver == "" {
		return "", nil
	}
	longest := ""
	for version := range dirs.versions(driver) {
		if isVersionOf(version, firmware) && len(version) > len(longest) {
			longest = version
		}
	}
	if longest != "" {
		return dirs.named(driver + versionSeparator + longest)
	}
	return dirs.named(driver)
}

const versionSeparator = "@"

// versions returns those of a driver's firmware that files are named by, with one of the
// files each.
func (dirs layoutDirs) versions(driver string) map[string]string {
	versions := make(map[string]string)
	if driver == "" {
		return versions
	}
	for i := range dirs {
		for name, files := range dirs[i].files {
			if version, has := strings.CutPrefix(name, driver+versionSeparator); has {
				versions[version] = filepath.Join(dirs[i].path, files[0])
			}
		}
	}
	return versions
}

// isVersionOf reports whether a firmware's version starts with another one. None of its
// numbers and words is cut in two: 22.3 is no part of 22.31.
func isVersionOf(version, firmware string) bool {
	rest, starts := strings.CutPrefix(firmware, version)
	if !starts || version == "" {
		return false
	}
	last, _ := utf8.DecodeLastRuneInString(version)
	next, _ := utf8.DecodeRuneInString(rest)
	return rest == "" || !isWord(last) || !isWord(next)
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// places says of each directory what it does not have.
func (dirs layoutDirs) places(iface string, receivers []receiver) []Place {
	names := strings.Join(fileNames(iface, receivers), ", ")
	var places []Place
	for i := range dirs {
		place := Place{dirs[i].path, "no such directory"}
		if !dirs[i].absent {
			place.Why = "no file " + names + dirs[i:i+1].otherVersions(receivers)
		}
		places = append(places, place)
	}
	return places
}

// fileNames returns the names that a file may have, in the order that they are looked for,
// each once: the slaves of a bond may be alike.
func fileNames(iface string, receivers []receiver) []string {
	names := []string{iface}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, r := range receivers {
		if r.driver != "" && r.firmware != "" {
			add(r.driver + versionSeparator + r.firmware)
		}
		if r.driver != "" {
			add(r.driver)
		}
	}
	return names
}

// otherVersions names the files that are for other firmware.
func (dirs layoutDirs) otherVersions(receivers []receiver) string {
	var others []string
	for _, r := range receivers {
		for _, file := range dirs.versions(r.driver) {
			others = append(others, filepath.Base(file))
		}
	}
	slices.Sort(others)
	if others = slices.Compact(others); len(others) == 0 {
		return ""
	}
	return ", only for other firmware " + strings.Join(others, ", ")
}
