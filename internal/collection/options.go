package collection

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/xdp-load/xdp-load/internal/kernel"
)

// kernelOptions returns the options that the running kernel was configured with, and
// their values, from where libbpf and cilium/ebpf look for them.
func kernelOptions() (map[string]string, error) {
	file, err := openConfig()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines io.Reader = file
	if strings.HasSuffix(file.Name(), ".gz") {
		if lines, err = gzip.NewReader(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	options := make(map[string]string)
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		if name, value, isSet := strings.Cut(scanner.Text(), "="); isSet && strings.HasPrefix(name, optionPrefix) {
			options[name] = value
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return options, nil
}

func openConfig() (*os.File, error) {
	release, err := kernel.Release()
	if err != nil {
		return nil, err
	}
	paths := []string{"/boot/config-" + release, "/proc/config.gz"}
	for _, path := range paths {
		if file, err := os.Open(path); err == nil {
			return file, nil
		}
	}
	return nil, fmt.Errorf("the kernel's value of this option is in %s, and neither can be read", strings.Join(paths, " or "))
}
