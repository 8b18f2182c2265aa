package btfraw_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Each table is moved by another distance, and back.
func TestMoved(t *testing.T) {
	distance := map[btfraw.Table]uint32{btfraw.FuncInfo: 800, btfraw.LineInfo: 1600, btfraw.COREReloInfo: 2400}
	for _, object := range objects(t) {
		types, ext := parse(t, object)
		original := bytes.Clone(ext.Bytes())
		visited := make(map[btfraw.Table]int)
		moved, err := ext.Moved(types, func(table btfraw.Table, _ string, offset uint32) (uint32, error) {
			visited[table]++
			return offset + distance[table], nil
		})
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		if !bytes.Equal(ext.Bytes(), original) {
			t.Errorf("%s: what was moved from changed", object)
		}

		lines := 0
		for name, all := range ext.Lines {
			lines += len(all)
			for i, line := range all {
				line.InsnOffset += distance[btfraw.LineInfo]
				if moved.Lines[name][i] != line {
					t.Errorf("%s: %v, want %v", object, moved.Lines[name][i], line)
				}
			}
		}
		for i, record := range ext.CORERelos() {
			record.InsnOffset += distance[btfraw.COREReloInfo]
			if moved.CORERelo(i) != record {
				t.Errorf("%s: %v, want %v", object, moved.CORERelo(i), record)
			}
		}
		if visited[btfraw.FuncInfo] == 0 || visited[btfraw.LineInfo] != lines || visited[btfraw.COREReloInfo] != ext.CountCORERelos() {
			t.Errorf("%s: visited %v, of %d lines and %d records", object, visited, lines, ext.CountCORERelos())
		}

		back, err := moved.Moved(types, func(table btfraw.Table, _ string, offset uint32) (uint32, error) {
			return offset - distance[table], nil
		})
		if err != nil || !bytes.Equal(back.Bytes(), original) {
			t.Errorf("%s: other bytes come back (%v)", object, err)
		}
	}
}

func TestMovedRefuses(t *testing.T) {
	types, ext := parse(t, "../../testdata/programs/fields-eb.o")
	errNowhere := errors.New("nowhere")
	for table := range 3 {
		for name, where := range map[string]func(uint32) (uint32, error){
			"nowhere":   func(uint32) (uint32, error) { return 0, errNowhere },
			"to one":    func(uint32) (uint32, error) { return 8, nil },
			"backwards": func(offset uint32) (uint32, error) { return 1<<20 - offset, nil },
		} {
			switch {
			case name != "nowhere" && table == int(btfraw.FuncInfo): // it has one record
				continue
			case name == "to one" && table == int(btfraw.LineInfo): // see TestWithoutDoubleLines
				continue
			}
			moved, err := ext.Moved(types, func(of btfraw.Table, _ string, offset uint32) (uint32, error) {
				if int(of) == table {
					return where(offset)
				}
				return offset, nil
			})
			if err == nil || moved != nil || name == "nowhere" != errors.Is(err, errNowhere) {
				t.Errorf("table %d, %s: %v", table, name, err)
			}
		}
	}
}

func noEnd(string) uint32 { return math.MaxUint32 }

// Of the lines that end up at one instruction the last is left that is named.
func TestWithoutDoubleLines(t *testing.T) {
	for _, object := range objects(t) {
		types, ext := parse(t, object)
		if unchanged, _ := ext.WithoutDoubleLines(noEnd); !bytes.Equal(unchanged, ext.Bytes()) {
			t.Errorf("%s: lost lines that are there once", object)
		}
		const together = 64 // bytes
		moved, err := ext.Moved(types, func(table btfraw.Table, _ string, offset uint32) (uint32, error) {
			if table == btfraw.LineInfo {
				offset = offset / together * together
			}
			return offset, nil
		})
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		data, where := moved.WithoutDoubleLines(noEnd)
		left, err := btfraw.ParseExt(data, types)
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		want := make(map[string][]btfraw.Line)
		for name, lines := range moved.Lines {
			for _, line := range lines {
				last := len(want[name]) - 1
				switch {
				case last < 0 || want[name][last].InsnOffset != line.InsnOffset:
					want[name] = append(want[name], line)
				case !line.Inherited:
					want[name][last] = line
				}
			}
		}
		if diff := cmp.Diff(want, left.Lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", object, diff)
		}
		if left.CountCORERelos() != ext.CountCORERelos() || len(left.Functions) != len(ext.Functions) {
			t.Errorf("%s: other tables changed", object)
		}
		checkMoved(t, object, moved.Bytes(), data, where)
	}
}

// Tables on top of each other can't be moved each on its own.
func TestMovedRefusesOverlap(t *testing.T) {
	object := "../../testdata/programs/fields-el.o"
	types, ext := parse(t, object)
	damaged := bytes.Clone(ext.Bytes())
	copy(damaged[8:], damaged[16:24]) // func_info's place is that of line_info
	overlapping, err := btfraw.ParseExt(damaged, types)
	if err != nil {
		t.Fatal(err)
	}
	stay := func(_ btfraw.Table, _ string, offset uint32) (uint32, error) { return offset, nil }
	if moved, err := overlapping.Moved(types, stay); err == nil || moved != nil {
		t.Errorf("moved, with error %v", err)
	}
}

// Of what is taken out at the end of a section no line is left.
func TestWithoutLinesBeyondEnd(t *testing.T) {
	const end = 24
	for _, object := range objects(t) {
		types, ext := parse(t, object)
		data, _ := ext.WithoutDoubleLines(func(string) uint32 { return end })
		left, err := btfraw.ParseExt(data, types)
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		for section, lines := range ext.Lines {
			want := slices.DeleteFunc(slices.Clone(lines), func(line btfraw.Line) bool { return line.InsnOffset >= end })
			if diff := cmp.Diff(want, left.Lines[section], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, section %s (-want +got):\n%s", object, section, diff)
			}
		}
	}
}
