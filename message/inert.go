package message

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How long values may be, in characters.
const (
	maxName   = 120
	maxReason = 500
	maxURL    = 1000
)

// plain makes one harmless line of text from elsewhere, of at most a number of
// characters.
func plain(s string, most int) string {
	if len(s) > 4*utf8.UTFMax*most { // what is cut off anyway need not be read
		s = s[:4*utf8.UTFMax*most]
	}
	return cut(strings.Join(strings.Fields(inert(spaces(s))), " "), most)
}

// spaces makes a space of what ends a line or moves to the right.
func spaces(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\r', '\t', '\v', '\f', '\u0085', '\u00a0', '\u2028', '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// inert shows what cannot be seen as an escape: control characters, marks that
// turn the reading direction, what has no width.
func inert(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t' || r == '\u00a0':
			b.WriteByte(' ')
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// cut shortens s to a number of characters, and shows that it did.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == most {
			return strings.TrimRight(s[:i], " ") + "…"
		}
	}
	return s
}
