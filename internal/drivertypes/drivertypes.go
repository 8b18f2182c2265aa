// Package drivertypes finds the types of kernels that accessor files are tested with: BTF
// that is cut down to what a driver's file reads, under bpf/drivers/testdata.
package drivertypes

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// File is what a driver's accessors read of a kernel's types.
type File struct {
	Path    string
	Kernel  string // "6.12.117", or with another machine in front, "arm64-6.12.117"
	Without bool   // the accessors find nothing there that they could read
}

// without is the directory of such kernels.
const without = "without"

// Path returns where the types of a kernel are for a driver's file, in a directory, and
// where they are if the accessors find nothing there.
func Path(dir, driver, kernel string) (path, ifWithout string) {
	name := driver + "-" + kernel + ".btf"
	return filepath.Join(dir, name), filepath.Join(dir, without, name)
}

// Files returns the files for a driver in a directory, of kernels of a byte order, those of
// the oldest first.
func Files(dir, driver string, order binary.ByteOrder) ([]File, error) {
	var files []File
	path, ifWithout := Path(dir, driver, "*")
	for _, pattern := range []string{path, ifWithout} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if is, err := isOf(order, path); err != nil {
				return nil, err
			} else if !is {
				continue
			}
			name := filepath.Base(path)
			kernel := name[len(driver)+1 : len(name)-len(".btf")]
			files = append(files, File{path, kernel, pattern == ifWithout})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return Compare(a.Kernel, b.Kernel) })
	return files, nil
}

// isOf reports whether BTF is of a byte order: what struct btf_header of linux/btf.h starts
// with tells.
func isOf(order binary.ByteOrder, path string) (bool, error) {
	const magic = 0xeb9f
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	var start [2]byte
	if _, err := io.ReadFull(file, start[:]); err != nil {
		return false, fmt.Errorf("%s: no BTF: %w", path, err)
	}
	return order.Uint16(start[:]) == magic, nil
}

// release is a kernel's: the machine and the numbers of the series.
var release = regexp.MustCompile(`^(?:(.*)-)?(\d+)\.(\d+)\b`)

// Series returns "6.12" for "6.12.117", and "6.12 arm64" for "arm64-6.12.117". What is no
// release stays as it is.
func Series(kernel string) string {
	match := release.FindStringSubmatch(kernel)
	switch {
	case match == nil:
		return kernel
	case match[1] != "":
		return match[2] + "." + match[3] + " " + match[1]
	}
	return match[2] + "." + match[3]
}

// Compare orders kernels by their series, and by their names where that is the same.
func Compare(a, b string) int {
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), cmp.Compare(a, b))
}

func numbers(kernel string) []int {
	match := release.FindStringSubmatch(kernel)
	if match == nil {
		return nil
	}
	major, _ := strconv.Atoi(match[2])
	minor, _ := strconv.Atoi(match[3])
	return []int{major, minor}
}
