package config

import (
	"fmt"
	"strings"
)

// A Mistake is one thing that is wrong in a file.
type Mistake struct {
	File string `json:"file"` // as it was named by whoever asked
	Line int    `json:"line"` // from 1
	Text string `json:"text"` // one sentence: what, where, what to do
}

func (m Mistake) String() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Text) }

// Errors are all mistakes of a file, sorted by line. There is at least one.
type Errors []Mistake

// shown is how many mistakes Error prints: enough to work on, and not a log
// full of one indentation gone wrong above 100,000 devices.
const shown = 100

// Error gives one line per mistake, the first 100 of them.
func (e Errors) Error() string {
	var b strings.Builder
	for i, m := range e {
		if i == shown {
			fmt.Fprintf(&b, "\n… and %d more", len(e)-shown)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(m.String())
	}
	return b.String()
}
