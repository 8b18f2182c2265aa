package loader

import (
	"encoding/binary"
	"sync"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
)

// shipped returns an accessor file that comes with xdp-load, by its name in package drivers.
// It is read once.
func shipped(name string, order binary.ByteOrder) (*accessor.File, error) {
	key := shippedFile{name, endianness(order).target}
	read, _ := shippedFiles.LoadOrStore(key, sync.OnceValues(func() (*accessor.File, error) {
		raw, err := drivers.Object(name, order)
		if err != nil {
			return nil, err
		}
		return accessor.Read(name, raw)
	}))
	return read.(func() (*accessor.File, error))()
}

type shippedFile struct{ name, target string }

var shippedFiles sync.Map
