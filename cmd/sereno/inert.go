package main

import (
	"fmt"
	"strings"
	"unicode"
)

// inert makes text from elsewhere (names, reasons, addresses) harmless for a
// terminal: what is not printable is shown as an escape, so that nobody's
// device name moves the cursor or hides a line.
func inert(s string) string {
	if !strings.ContainsFunc(s, hostile) && strings.ToValidUTF8(s, "") == s {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && s[i] != "\uFFFD"[0]:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !hostile(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func hostile(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// inertLines is inert for a text of our own that has lines.
func inertLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = inert(lines[i])
	}
	return strings.Join(lines, "\n")
}
