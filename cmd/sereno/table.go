package main

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// A tone carries a meaning that the words beside it carry too. On a terminal
// without colours, or with NO_COLOR set, tones vanish.
type tone uint8

const (
	plain tone = iota
	faint
	bold
	good
	warn
	bad
	odd
)

var tones = [...]struct{ begin, end string }{
	faint: marks(lipgloss.NewStyle().Faint(true)),
	bold:  marks(lipgloss.NewStyle().Bold(true)),
	good:  marks(lipgloss.NewStyle().Foreground(lipgloss.Green)),
	warn:  marks(lipgloss.NewStyle().Foreground(lipgloss.Yellow)),
	bad:   marks(lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)),
	odd:   marks(lipgloss.NewStyle().Foreground(lipgloss.Magenta)),
}

// marks are what a style puts around a text. Rendering each cell by its style
// would take longer than looking at the hosts of a large table.
func marks(style lipgloss.Style) struct{ begin, end string } {
	begin, end, _ := strings.Cut(style.Render("x"), "x")
	return struct{ begin, end string }{begin, end}
}

// paint returns s in this tone.
func (t tone) paint(s string) string {
	if t == plain || s == "" {
		return s
	}
	return tones[t].begin + s + tones[t].end
}

// A cell is text that is inert already, and its tone.
type cell struct {
	text string
	tone tone
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
	lines := make([]string, 0, len(t.rows)+1)
	for line := range t.all() {
		if width > 0 {
			line = cut(line, width)
		}
		lines = append(lines, line)
	}
	return lines
}

// all yields the lines of the table, headings first. Columns at the end in which
// no row says anything are left out.
func (t *table) all() iter.Seq[string] {
	said := 0
	for _, row := range t.rows {
		for i, c := range row {
			if c.text != "" {
				said = max(said, i+1)
			}
		}
	}
	wide := make([]int, len(t.columns))
	head := make([]cell, len(t.columns))
	for i, c := range t.columns {
		if i >= said && len(t.rows) > 0 {
			break
		}
		head[i] = cell{c.head, faint}
		wide[i] = breadth(c.head)
	}
	for _, row := range t.rows {
		for i, c := range row {
			wide[i] = max(wide[i], breadth(c.text))
		}
	}
	return func(yield func(string) bool) {
		if !yield(t.line(head, wide)) {
			return
		}
		for _, row := range t.rows {
			if !yield(t.line(row, wide)) {
				return
			}
		}
	}
}

func (t *table) line(row []cell, wide []int) string {
	for len(row) > 0 && row[len(row)-1].text == "" {
		row = row[:len(row)-1]
	}
	var b strings.Builder
	for i, c := range row {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := wide[i] - breadth(c.text)
		if t.columns[i].right {
			spaces(&b, pad)
		}
		b.WriteString(c.tone.paint(c.text))
		if !t.columns[i].right && i < len(row)-1 {
			spaces(&b, pad)
		}
	}
	return b.String()
}

func spaces(b *strings.Builder, n int) {
	for range n {
		b.WriteByte(' ')
	}
}

// breadth is how many columns of a terminal a text takes.
func breadth(s string) int {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return lipgloss.Width(s)
		}
	}
	return len(s)
}

// print writes the table.
func (t *table) print(w io.Writer) error {
	buffered := bufio.NewWriterSize(colored(w), 64<<10)
	for line := range t.all() {
		buffered.WriteString(line)
		buffered.WriteByte('\n')
	}
	return buffered.Flush()
}

// colored returns a writer that leaves out the colours which w cannot show.
func colored(w io.Writer) io.Writer { return colorprofile.NewWriter(w, os.Environ()) }

// say writes one line.
func say(w io.Writer, line string) error {
	_, err := fmt.Fprintln(colored(w), line)
	return err
}

// cut shortens a line to width.
func cut(line string, width int) string { return ansi.Truncate(line, width, "") }
