//go:build linux

package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

// driverOn returns the driver of an interface, whose name is not looked up yet, with the
// kfuncs that it has.
func (s *sources) driverOn(target *nic.Target) (driver *loader.Driver, err error) {
	driver = s.driver("")
	driver.Object, driver.Program = s.object, s.program
	if !s.noKfuncs {
		driver.Kfuncs, err = target.Kfuncs()
	}
	return driver, err
}

// origin returns what the flags say, for the record of a program.
func (s *sources) origin() (origin loader.Origin, err error) {
	origin.Lowering, origin.NoKfuncs = s.lower, s.noKfuncs
	origin.Software = s.software
	layout := ""
	switch {
	case len(s.layouts) == 0:
	case nic.LayoutSource(s.layouts[0]).Kind == nic.ProgramBTF:
		origin.Layout = s.layouts[0]
	default:
		layout = s.layouts[0]
	}
	for _, file := range []struct {
		flag string
		to   *string
	}{{layout, &origin.Layout}, {s.base, &origin.Base}, {s.accessors, &origin.Accessors}} {
		if file.flag == "" {
			continue
		}
		if *file.to, err = filepath.Abs(file.flag); err != nil {
			return origin, err
		}
	}
	return origin, nil
}

// sourcesFrom returns the flags that a record was made with.
func sourcesFrom(record *loader.Record) *sources {
	origin := &record.Origin
	s := &sources{object: record.OriginalObject(), program: record.Program, base: origin.Base, types: record.Types, accessors: origin.Accessors, lower: origin.Lowering, software: origin.Software, noKfuncs: origin.NoKfuncs}
	if origin.Layout != "" {
		s.layouts = []string{origin.Layout}
	}
	return s
}

// foundAgain returns how to look again for what a program on an interface was rewritten for.
func (s *sources) foundAgain(iface string) loader.Find {
	return func(record *loader.Record) (loader.Options, error) {
		again := sourcesFrom(record)
		again.log = s.log
		return again.sourceOf(iface)
	}
}

// sourceOf returns what the programs on an interface are to be rewritten for.
func (s *sources) sourceOf(iface string) (opts loader.Options, err error) {
	opts.Types, opts.Log = s.types, s.log
	if opts.Origin, err = s.origin(); err != nil {
		return opts, err
	}
	if len(s.layouts) > 0 {
		s.log.Info("source", "interface", iface, "kind", "given", "name", s.layouts[0])
		opts.Layout, err = s.openLayout(s.layouts[0])
		return opts, err
	}
	target, err := nic.ByName(iface)
	if err != nil {
		return opts, err
	}
	origin := opts.Origin
	opts, err = s.find(target)
	opts.Types, opts.Log, opts.Origin = s.types, s.log, origin
	if s.found == nil {
		s.found = make(map[string]nic.Source)
	}
	s.found[target.Interface] = target.Source
	return opts, err
}

// find looks for the source of an interface, and notes it in the target.
func (s *sources) find(target *nic.Target) (opts loader.Options, err error) {
	driver, err := s.driverOn(target)
	if err != nil {
		return opts, err
	}
	opts, err = loader.FindSource(target, nic.Search{Log: s.log}, driver)
	switch {
	case errors.Is(err, nic.ErrNoSlaves):
		return opts, fmt.Errorf("%w: add its slaves first, or say where they keep each field, --layout FILE", err)
	case errors.Is(err, nic.ErrSeveralDrivers):
		return opts, fmt.Errorf("%w: a program reads what one driver keeps: load it on each slave instead of the bond, or say where all keep each field, --layout FILE", err)
	case errors.Is(err, loader.ErrUnnamedDriver):
		return opts, fmt.Errorf("%w: say where this NIC keeps each field, --layout FILE", err)
	case errors.Is(err, loader.ErrNoSource):
		return opts, fmt.Errorf("%w: say where this NIC keeps each field, --layout FILE, or how its driver is read, --accessors FILE", err)
	}
	return opts, err
}

// layoutOn returns the layout of an interface, and what it is.
func (s *sources) layoutOn(iface string) (*reloc.Layout, string, error) {
	target, err := nic.ByName(iface)
	if err != nil {
		return nil, "", err
	}
	places, err := target.FindLayout(nic.Search{Log: s.log})
	if err == nil && target.Layout == nil {
		err = &loader.NoSourceError{Interface: target.Interface, Places: places, Err: errors.New("what its driver keeps has none: give one, --layout FILE")}
	}
	title := fmt.Sprintf("The metadata area of %s%s, by %s", target.Interface, inParentheses(target.Driver, target.Firmware), target.Source)
	return target.Layout, title, err
}
