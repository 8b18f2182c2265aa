package nic

import (
	"fmt"
	"slices"
	"strings"
)

// How a byte map is drawn.
const (
	rowBytes  = 8 // in a line
	byteWidth = 8 // characters, with the line on its left
)

// ByteMap draws a descriptor: 8 bytes in a line, and a box for each run of bytes that
// belongs to the same fields, with their names. Dots are bytes that nothing uses.
//
//	   0       1       2       3       4       5       6       7
//	  +-------+-------+---------------+-------------------------------+
//	0 |format |owner  |. . . . . . . .|hash                           |
//	  +-------+-------+---------------+-------------------------------+
func (d *Descriptor) ByteMap() string {
	m := byteMap{fields: d.Fields, size: int(d.Size), at: make([][]int, d.Size)}
	for i := range d.Fields {
		f := &d.Fields[i]
		for at := f.Bit / 8; at < min((f.Bit+f.Bits+7)/8, d.Size); at++ {
			m.at[at] = append(m.at[at], i)
		}
	}
	return m.draw()
}

type byteMap struct {
	fields []Field
	size   int
	at     [][]int // the fields of each byte
}

func (m *byteMap) draw() string {
	var b strings.Builder
	b.WriteString(m.margin(""))
	for i := range min(rowBytes, m.size) {
		fmt.Fprintf(&b, " %-*d", byteWidth-1, i)
	}
	b.WriteString("\n")
	for row := 0; row < m.size; row += rowBytes {
		m.line(&b, row)
		m.boxes(&b, row)
	}
	m.line(&b, (m.size+rowBytes-1)/rowBytes*rowBytes)
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

func (m *byteMap) margin(text string) string {
	return fmt.Sprintf("%*s ", len(fmt.Sprint(max(m.size-1, 0)/rowBytes*rowBytes)), text)
}

// exists reports whether there is such a byte.
func (m *byteMap) exists(at int) bool { return at >= 0 && at < m.size }

// same reports whether two bytes are in one box.
func (m *byteMap) same(a, b int) bool {
	return m.exists(a) && m.exists(b) && slices.Equal(m.at[a], m.at[b])
}

// wall reports whether there is a wall on the left of a byte of a row, or behind its last.
func (m *byteMap) wall(row, column int) bool {
	at := row + column
	left, right := column > 0 && m.exists(at-1), column < rowBytes && m.exists(at)
	if left && right {
		return !m.same(at-1, at)
	}
	return left || right
}

// floor reports whether there is a line above a byte of a row.
func (m *byteMap) floor(row, column int) bool {
	if column < 0 || column >= rowBytes {
		return false
	}
	above, below := row-rowBytes+column, row+column
	return (m.exists(above) || m.exists(below)) && !m.same(above, below)
}

// line draws what is above a row.
func (m *byteMap) line(b *strings.Builder, row int) {
	b.WriteString(m.margin(""))
	for column := 0; column <= rowBytes; column++ {
		left, right := m.floor(row, column-1), m.floor(row, column)
		vertical := m.wall(row-rowBytes, column) || m.wall(row, column)
		switch {
		case !left && !right && vertical:
			b.WriteByte('|')
		case left && right && !vertical:
			b.WriteByte('-')
		case left || right:
			b.WriteByte('+')
		default:
			b.WriteByte(' ')
		}
		if column < rowBytes {
			fill := " "
			if right {
				fill = "-"
			}
			b.WriteString(strings.Repeat(fill, byteWidth-1))
		}
	}
	b.WriteString("\n")
}

// boxes draws a row.
func (m *byteMap) boxes(b *strings.Builder, row int) {
	b.WriteString(m.margin(fmt.Sprint(row)))
	end := min(row+rowBytes, m.size)
	for at := row; at < end; {
		next := at + 1
		for next < end && m.same(at, next) {
			next++
		}
		width := (next-at)*byteWidth - 1
		fmt.Fprintf(b, "|%-*s", width, m.text(at, width))
		at = next
	}
	b.WriteString("|\n")
}

// text returns what is in a box, from its first byte in a row on.
func (m *byteMap) text(at, width int) string {
	switch {
	case len(m.at[at]) == 0:
		return strings.Repeat(". ", width/2) + "."
	case at%rowBytes == 0 && m.same(at-1, at):
		return "" // it goes on
	}
	text := m.fields[m.at[at][0]].Path
	for i, field := range m.at[at][1:] {
		between := ","
		if before := &m.fields[m.at[at][i]]; m.fields[field].Bit < before.Bit+before.Bits {
			between = "/" // of a union
		}
		text += between + m.fields[field].Path
	}
	if len(text) > width {
		text = text[:width-1] + "~"
	}
	return text
}
