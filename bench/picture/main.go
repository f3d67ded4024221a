// Command picture draws what a terminal shows (tmux capture-pane -e, on
// standard input) as an SVG on standard output, for the manual. Pictures are
// taken from the running program, so that they cannot say what it does not.
package main

import (
	"bufio"
	"fmt"
	"html"
	"os"
	"strings"
	"unicode/utf8"
)

const (
	cell, line = 8.4, 19.0 // of a character, in pixels
	margin     = 16.0
)

var colours = map[string]string{"31": "#ff6b6b", "32": "#63d297", "33": "#f2c14e", "34": "#6cb6ff", "36": "#56c8d8"}

// A pen is how the next characters are drawn.
type pen struct{ bold, faint, colour string }

// set obeys one SGR sequence, such as "0;2" (ECMA-48, 8.3.117).
func (p *pen) set(codes string) {
	for code := range strings.SplitSeq(codes, ";") {
		switch code {
		case "", "0":
			*p = pen{}
		case "1":
			p.bold = ` font-weight="bold"`
		case "2":
			p.faint = ` fill-opacity="0.6"`
		case "22":
			p.bold, p.faint = "", ""
		case "39":
			p.colour = ""
		default:
			if c := colours[code]; c != "" {
				p.colour = ` fill="` + c + `"`
			}
		}
	}
}

func main() {
	var body strings.Builder
	var p pen
	rows, columns, last := 0, 0, 0
	for in := bufio.NewScanner(os.Stdin); in.Scan(); rows++ {
		column := 0
		for i, part := range strings.Split(in.Text(), "\x1b[") {
			if i > 0 {
				codes, rest, ok := strings.Cut(part, "m")
				if !ok {
					continue
				}
				p.set(codes)
				part = rest
			}
			if strings.TrimSpace(part) != "" {
				fmt.Fprintf(&body, `<text x="%.1f" y="%.1f"%s%s%s>%s</text>`+"\n",
					margin+cell*float64(column), margin+line*float64(rows)+14, p.bold, p.faint, p.colour, html.EscapeString(part))
				last = rows + 1
			}
			column += utf8.RuneCountInString(part)
		}
		columns = max(columns, column)
	}
	width, height := 2*margin+cell*float64(columns), 2*margin+line*float64(last)
	fmt.Printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#d7dde5" xml:space="preserve">
<rect width="100%%" height="100%%" rx="8" fill="#11161d"/>
%s</svg>
`, width, height, width, height, body.String())
}
