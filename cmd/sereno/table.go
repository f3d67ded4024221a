package main

import (
	"io"
	"strings"

	"charm.land/lipgloss/v2"
)

// Styles carry meaning that the words beside them carry too. On a terminal
// without colours, or with NO_COLOR set, they vanish.
var (
	good  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	warn  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	bad   = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	odd   = lipgloss.NewStyle().Foreground(lipgloss.Magenta)
	faint = lipgloss.NewStyle().Faint(true)
	bold  = lipgloss.NewStyle().Bold(true)
	plain = lipgloss.NewStyle()
)

// A cell is text that is inert already, and how it looks.
type cell struct {
	text  string
	style lipgloss.Style
}

func text(s string) cell { return cell{inert(s), plain} }

// A column has a heading; numbers are set to the right.
type column struct {
	head  string
	right bool
}

// A table is rows below headings. Columns are as wide as they must be.
type table struct {
	columns []column
	rows    [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// lines returns the table, headings first, each line cut to width if that is
// above 0.
func (t *table) lines(width int) []string {
	wide := make([]int, len(t.columns))
	for i, c := range t.columns {
		wide[i] = lipgloss.Width(c.head)
	}
	for _, row := range t.rows {
		for i, c := range row {
			wide[i] = max(wide[i], lipgloss.Width(c.text))
		}
	}
	lines := make([]string, 0, len(t.rows)+1)
	head := make([]cell, len(t.columns))
	for i, c := range t.columns {
		head[i] = cell{c.head, faint}
	}
	lines = append(lines, t.line(head, wide, width))
	for _, row := range t.rows {
		lines = append(lines, t.line(row, wide, width))
	}
	return lines
}

func (t *table) line(row []cell, wide []int, width int) string {
	var b strings.Builder
	for i, c := range row {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", wide[i]-lipgloss.Width(c.text))
		if t.columns[i].right {
			b.WriteString(pad)
		}
		b.WriteString(c.style.Render(c.text))
		if !t.columns[i].right && i < len(row)-1 {
			b.WriteString(pad)
		}
	}
	if width > 0 {
		return cut(b.String(), width)
	}
	return b.String()
}

// print writes the table.
func (t *table) print(w io.Writer) error {
	_, err := lipgloss.Fprintln(w, strings.Join(t.lines(0), "\n"))
	return err
}

// cut shortens a line to width.
func cut(line string, width int) string {
	return lipgloss.NewStyle().MaxWidth(width).Render(line)
}
