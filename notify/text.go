package notify

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxAnswer is how many characters of what a far end said are shown.
const MaxAnswer = 200

// Line makes one line of any text: line ends and tabs become single spaces, and
// what is not UTF-8, control characters and marks that turn the reading
// direction become U+FFFD.
func Line(text string) string {
	return strings.Join(strings.FieldsFunc(Lines(text), func(r rune) bool { return r == '\n' || r == ' ' }), " ")
}

// Lines makes any text harmless as Line does, and keeps its lines, which end
// with \n.
func Lines(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\r', r == '\u0085', r == '\u2028', r == '\u2029':
			return '\n'
		case r == '\t':
			return ' '
		case r == '\u200c', r == '\u200d': // join letters and pictures
			return r
		case r == '\u00ad', r == '\ufeff':
			return -1
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r):
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// Cut returns the first most characters of a text, the last of them an ellipsis
// if there were more.
func Cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	runes := []rune(text)[:max(most-1, 0)]
	for len(runes) > 0 && clings(runes[len(runes)-1]) {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// UTF16 is how many UTF-16 code units a rune has, which is what Telegram and
// Microsoft count.
func UTF16(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

// Bytes is how many bytes a rune has in UTF-8.
func Bytes(r rune) int { return max(utf8.RuneLen(r), 1) }

// Runes counts characters.
func Runes(rune) int { return 1 }

// Split cuts a text into pieces of at most limit, as size counts runes, at most
// most of them: where a line ends if it can be, else where a word ends, never
// within a character. Pieces do not end with a line end. What does not fit into
// the last piece is left out, and the piece says so. An empty text is no piece.
func Split(text string, limit, most int, size func(rune) int) []string {
	var pieces []string
	for rest := strings.Trim(text, "\n"); rest != ""; {
		end := fit(rest, limit, size)
		if len(pieces) == most-1 && end < len(rest) {
			room := 0
			for _, r := range leftOut {
				room += size(r)
			}
			end = fit(rest, max(limit-room, 1), size)
			return append(pieces, strings.TrimRight(rest[:end], " \n")+leftOut)
		}
		if piece := strings.TrimRight(rest[:end], " \n"); piece != "" {
			pieces = append(pieces, piece)
		}
		rest = strings.TrimLeft(rest[end:], "\n")
		if end > 0 && rest != "" {
			rest = strings.TrimPrefix(rest, " ")
		}
	}
	return pieces
}

const leftOut = "\n… the rest was left out"

// fit returns how many bytes of a text make its first piece; more than none.
func fit(text string, limit int, size func(rune) int) int {
	used, line, word, whole := 0, 0, 0, 0 // whole: the latest place between two characters
	var before rune
	for i, r := range text {
		if i > 0 && !clings(r) && before != '\u200d' {
			whole = i
		}
		before = r
		if used += size(r); used > limit {
			switch {
			case r == '\n', r == ' ':
				return max(i, 1)
			case line > 0:
				return line
			case word > 0:
				return word
			case whole > 0:
				return whole
			}
			if i > 0 {
				return i
			}
			return utf8.RuneLen(r) // nothing fits: one rune at least
		}
		switch r {
		case '\n':
			line = i
		case ' ':
			word = i
		}
	}
	return len(text)
}

// clings reports whether a rune is drawn together with the one before it.
func clings(r rune) bool {
	return r == '\u200d' || unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) || r >= 0x1f3fb && r <= 0x1f3ff
}
