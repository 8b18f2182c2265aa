package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/drivertypes"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

// comparison is a driver on a kernel, compared with the same on the newest kernel that is
// known.
type comparison struct {
	driver string
	known  string // the latter kernel
	absent string // why the driver can't be compared, if so
	fields int    // that the driver has now

	lost    []string // fields with the reason
	gained  []string
	changed []string // what the accessors read, as it was and as it is
}

func (c *comparison) isClean() bool { return len(c.lost) == 0 && len(c.changed) == 0 }

func (c *comparison) String() string {
	var b strings.Builder
	if c.absent != "" {
		fmt.Fprintf(&b, "%s: not compared: %s\n", c.driver, c.absent)
		return b.String()
	}
	if c.isClean() {
		fmt.Fprintf(&b, "%s: %d fields, none lost since %s\n", c.driver, c.fields, c.known)
	}
	for _, what := range []struct {
		happened string
		list     []string
	}{{"lost since " + c.known, c.lost}, {"changed since " + c.known, c.changed}, {"gained since " + c.known, c.gained}} {
		for _, line := range what.list {
			fmt.Fprintf(&b, "%s: %s: %s\n", c.driver, what.happened, line)
		}
	}
	return b.String()
}

// compare compares a driver on a kernel with what is checked in of it.
func compare(testdata, driver string, kernel *nic.Kernel) (*comparison, error) {
	c := &comparison{driver: driver}
	vmlinux, err := kernel.Types()
	if err != nil {
		return nil, err
	}
	files, err := drivertypes.Files(testdata, driver, vmlinux.ByteOrder())
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		c.absent = "no kernel's types of this byte order are in " + testdata
		return c, nil
	}
	newest := files[len(files)-1]
	c.known = newest.Kernel
	before, err := readKnown(newest)
	if err != nil {
		return nil, err
	}
	after, module, err := openModule(driver, kernel)
	if err != nil {
		return nil, err
	}
	if after == nil {
		c.absent = "there is no " + kernel.File(module)
		return c, nil
	}
	return c, c.compare(before, after)
}

func readKnown(file drivertypes.File) (*reloc.Layout, error) {
	raw, err := os.ReadFile(file.Path)
	if err != nil {
		return nil, err
	}
	return reloc.NewLayout(file.Kernel, raw, nil)
}

// openModule returns the types that a driver has on a kernel, nil if its module is not there
// and it is not built in, and the module's name.
func openModule(name string, kernel *nic.Kernel) (types *reloc.Layout, module string, err error) {
	vmlinux, err := kernel.Types()
	if err != nil {
		return nil, "", err
	}
	d, err := newDriver(name, vmlinux)
	if err != nil || d.file.Context == "sk_buff" {
		return vmlinux, "", err
	}
	types, err = kernel.Module(d.file.Module)
	if err != nil || types != vmlinux {
		return types, d.file.Module, err
	}
	sources, err := d.sources(vmlinux)
	if err != nil || count(sources) == 0 {
		return nil, d.file.Module, err
	}
	return vmlinux, d.file.Module, nil
}

// driver is the accessor file of a driver, for programs of a kernel's byte order.
type driver struct{ file, kfuncs *accessor.File }

func newDriver(name string, kernel *reloc.Layout) (d driver, err error) {
	if d.file, err = readAccessors(name, kernel); err == nil {
		d.kfuncs, err = readAccessors(drivers.Kfuncs, kernel)
	}
	return d, err
}

func readAccessors(name string, kernel *reloc.Layout) (*accessor.File, error) {
	raw, err := drivers.Object(name, kernel.ByteOrder())
	if err != nil {
		return nil, err
	}
	return accessor.Read(name, raw)
}

func (d driver) sources(kernel *reloc.Layout) (map[string]accessor.Source, error) {
	return accessor.Sources(d.file, d.kfuncs, kernel, drivers.Fields)
}

func count(sources map[string]accessor.Source) (there int) {
	for _, source := range sources {
		if source.From != "" {
			there++
		}
	}
	return there
}

func (c *comparison) compare(before, after *reloc.Layout) error {
	old, err := newDriver(c.driver, before)
	if err != nil {
		return err
	}
	now, err := newDriver(c.driver, after)
	if err != nil {
		return err
	}
	if err := c.compareFields(old, now, before, after); err != nil {
		return err
	}
	return c.compareReads(before, after)
}

// compareFields notes which fields are no longer there, or no longer read.
func (c *comparison) compareFields(old, now driver, before, after *reloc.Layout) error {
	had, err := old.sources(before)
	if err != nil {
		return err
	}
	has, err := now.sources(after)
	if err != nil {
		return err
	}
	c.fields = count(has)
	c.noteFields(had, has)
	return nil
}

func (c *comparison) noteFields(had, has map[string]accessor.Source) {
	reasons := make(map[string][]string)
	for _, field := range drivers.Fields {
		was, is := had[field].From, has[field].From
		switch {
		case was == is:
		case is == "":
			reasons[has[field].Reason] = append(reasons[has[field].Reason], field)
		case was == accessor.FromDescriptor:
			c.lost = append(c.lost, field+", which a kfunc is asked for now")
		default:
			c.gained = append(c.gained, field)
		}
	}
	for reason, fields := range reasons {
		c.lost = append(c.lost, strings.Join(fields, ", ")+": "+reason)
	}
	slices.Sort(c.lost)
}

// compareReads notes the numbers that accessors read, and that are of another kind. They may
// be read right all the same.
func (c *comparison) compareReads(before, after *reloc.Layout) error {
	old, err := c.reads(before)
	if err != nil {
		return err
	}
	now, err := c.reads(after)
	if err != nil {
		return err
	}
	for path, was := range old {
		if is := now[path]; is != "" && is != was {
			c.changed = append(c.changed, fmt.Sprintf("%s: %s, was %s", path, is, was))
		}
	}
	slices.Sort(c.changed)
	return nil
}

// reads returns what a kernel has for each number that accessors read, by its path.
func (c *comparison) reads(kernel *reloc.Layout) (map[string]string, error) {
	raw, err := drivers.Object(c.driver, kernel.ByteOrder())
	if err != nil {
		return nil, err
	}
	accesses, err := reloc.Read(raw)
	if err != nil {
		return nil, err
	}
	reads := make(map[string]string)
	for i := range accesses {
		access := &accesses[i]
		resolution, err := access.Resolve(kernel)
		if err == nil && access.Kind == reloc.ByteOffset && resolution.Field != nil {
			reads[access.Path] = spell(resolution.Field)
		}
	}
	return reads, nil
}

// spell says of a field what an accessor may have taken for granted.
func spell(field *reloc.Field) string {
	switch {
	case field.Class == reloc.Pointer, field.Class == reloc.Aggregate: // of which no more is kept
		return "a " + field.Class.String()
	case field.BitSize > 0:
		return fmt.Sprintf("%s of %d bits", kindOf(field), field.BitSize)
	}
	return fmt.Sprintf("%s of %d bytes", kindOf(field), field.Size)
}

func kindOf(field *reloc.Field) string {
	kind := field.Class.String()
	if field.Signed {
		kind = "signed " + kind
	}
	if field.Order != reloc.Native {
		kind = field.Order.String() + " " + kind
	}
	return kind
}
