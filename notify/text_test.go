package notify

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sereno"
)

func TestLineAndLines(t *testing.T) {
	for _, c := range []struct{ name, text, line, lines string }{
		{"plain", "core-sw1", "core-sw1", "core-sw1"},
		{"line ends", "a\r\nb\rc\u2028d\ne", "a b c d e", "a\nb\nc\nd\ne"},
		{"tabs and spaces", " a\t\t b ", "a b", " a   b "},
		{"control", "a\x00b\x1b[31m\x7f", "a\ufffdb\ufffd[31m\ufffd", "a\ufffdb\ufffd[31m\ufffd"},
		{"direction", "a\u202eb\u2066c\u200fd", "a\ufffdb\ufffdc\ufffdd", "a\ufffdb\ufffdc\ufffdd"},
		{"not UTF-8", "a\xff\xc0b", "a\ufffdb", "a\ufffdb"},
		{"joined pictures", "👩‍👧 ö é", "👩‍👧 ö é", "👩‍👧 ö é"},
		{"invisible", "a\ufeff\u00adb\u2060c", "ab\ufffdc", "ab\ufffdc"},
	} {
		if got := Line(c.text); got != c.line {
			t.Errorf("%s: the line %q; it should be %q", c.name, got, c.line)
		}
		if got := Lines(c.text); got != c.lines {
			t.Errorf("%s: the lines %q; they should be %q", c.name, got, c.lines)
		}
	}
}

func TestLinesAreInertWhateverTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		lines := Lines(text)
		if Lines(lines) != lines || Line(Line(text)) != Line(text) {
			t.Fatalf("%q becomes %q, and that something else", text, lines)
		}
		if strings.Contains(Line(text), "\n") || !utf8.ValidString(lines) {
			t.Fatalf("%q becomes %q", text, Line(text))
		}
		for _, r := range lines {
			if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q has %U", lines, r)
			}
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"äöüß", 3, "äö…"},
		{"ae\u0301x", 3, "ae…"}, // not the accent without what follows, nor half of it
		{"", 3, ""},
		{"abc", 0, "…"},
	} {
		if got := Cut(c.text, c.most); got != c.want {
			t.Errorf("%q cut to %d is %q, not %q", c.text, c.most, got, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name  string
		text  string
		limit int
		most  int
		want  []string
	}{
		{"it fits", "one\ntwo\n", 10, 3, []string{"one\ntwo"}},
		{"on lines", "one\ntwo\nthree\n", 8, 3, []string{"one\ntwo", "three"}},
		{"exactly", "one\ntwo\nthree\n", 7, 3, []string{"one\ntwo", "three"}},
		{"a long line on words", "one two three", 8, 3, []string{"one two", "three"}},
		{"a long word", "abcdefgh", 3, 3, []string{"abc", "def", "gh"}},
		{"pictures count two", "👍👍👍", 4, 3, []string{"👍👍", "👍"}},
		{"not between a letter and its accent", "abe\u0301d", 3, 3, []string{"ab", "e\u0301d"}},
		{"nothing", "", 3, 3, nil},
		{"nothing but lines", "\n\n\n", 3, 3, nil},
		{"the rest is left out, and it is said", strings.Repeat("line\n", 30), 40, 2, []string{
			strings.TrimSuffix(strings.Repeat("line\n", 8), "\n"), "line\nline\nline\n… the rest was left out",
		}},
	} {
		if got := Split(c.text, c.limit, c.most, UTF16); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q\ninstead of %q", c.name, got, c.want)
		}
	}
}

// TestSplitKeepsAllThatFits: whatever a text is, no piece is too long, none is
// cut within a rune, and together they have all its letters, in order.
// TestSplitNeverCutsARune: also where nothing but what clings fits.
func TestSplitNeverCutsARune(t *testing.T) {
	for _, text := range []string{"\u200d👍", "a\u0301\u0302\u0303", "👍\u200d👍"} {
		for limit := 1; limit < 4; limit++ {
			pieces := Split(text, limit, 100, UTF16)
			if got := strings.Join(pieces, ""); got != text || !utf8.ValidString(pieces[0]) {
				t.Errorf("%q, at most %d: %q", text, limit, pieces)
			}
		}
	}
}

// TestSplitKeepsPicturesWhole: what is joined to one picture is not cut in two.
func TestSplitKeepsPicturesWhole(t *testing.T) {
	family := "👩\u200d👩\u200d👧"
	for limit := 8; limit < 20; limit++ {
		for _, piece := range Split(strings.Repeat(family, 5), limit, 100, UTF16) {
			if strings.Count(piece, family)*len(family) != len(piece) {
				t.Errorf("at most %d: %q", limit, piece)
			}
		}
	}
}

func TestSplitKeepsAllThatFits(t *testing.T) {
	letters := func(text string) string { return strings.Join(strings.Fields(text), "") }
	rapid.Check(t, func(t *rapid.T) {
		text := Lines(rapid.StringOf(rapid.RuneFrom([]rune("ab \nöé👍\u0301👩\u200d&<"))).Draw(t, "text"))
		limit := rapid.IntRange(2, 30).Draw(t, "limit")
		pieces := Split(text, limit, 1000, UTF16)
		for _, p := range pieces {
			if n := len(utf16.Encode([]rune(p))); n > limit || strings.TrimSpace(p) == "" || !utf8.ValidString(p) {
				t.Fatalf("%q of %q has %d of %d", p, text, n, limit)
			}
		}
		if got := letters(strings.Join(pieces, "")); got != letters(text) {
			t.Fatalf("%q became %q", text, pieces)
		}
		const room = 60 // for the words that say that there was more
		few := Split(text, room, 2, Bytes)
		if len(few) > 2 {
			t.Fatalf("%d pieces", len(few))
		}
		for _, p := range few {
			if len(p) > room {
				t.Fatalf("%q has %d bytes", p, len(p))
			}
		}
	})
}

func TestDecode(t *testing.T) {
	type nested struct {
		A string `json:"a"`
	}
	type settings struct {
		URL   string            `json:"url"`
		Port  int               `json:"port"`
		On    bool              `json:"on"`
		To    []string          `json:"to"`
		More  map[string]string `json:"more"`
		In    *nested           `json:"in"`
		Level []sereno.Severity `json:"level"`
		Not   string
	}
	for _, c := range []struct{ settings, want string }{
		{``, ""},
		{`null`, ""},
		{`{}`, ""},
		{`{"url": "x", "port": 1, "on": true, "to": ["a"], "more": {"b": "c"}, "in": {"a": "b"}, "level": ["low"]}`, ""},
		{`{"ulr": "hunter2"}`, `ulr: there is no setting "ulr"; did you mean "url"?`},
		{`{"URL": "x"}`, `URL: there is no setting "URL"; did you mean "url"?`},
		{`{"Not": "x", "nonsense": 1}`, "Not: there is no setting \"Not\"; there are in, level, more, on, port, to, url\nnonsense: there is no setting \"nonsense\"; there are in, level, more, on, port, to, url"},
		{`{"url": 42}`, "url: it is a text (in quotes), not a number"},
		{`{"url": ["hunter2"], "port": "hunter2", "on": "yes"}`, "on: it is true or false, not a text\nport: it is a whole number, not a text\nurl: it is a text (in quotes), not a list"},
		{`{"port": 1.5}`, "port: it is a whole number"},
		{`{"port": 99999999999999999999}`, "port: it is a whole number"},
		{`{"to": "hunter2"}`, "to: it is a list of which each is a text (in quotes), not a text"},
		{`{"more": {"hunter2": 1}}`, "more: it is a text (in quotes), not a number"},
		{`{"in": {"hunter2": 1}}`, "in: it is a map of names and values"},
		{`{"level": ["lw"]}`, `level: "lw" is no severity; there are low, medium, high, critical`},
		{`[]`, "the settings are a map of names and values"},
		{`{"url": }`, "the settings are a map of names and values"},
	} {
		var s settings
		err := Decode(json.RawMessage(c.settings), &s)
		got := ""
		if err != nil {
			got = err.Error()
			if sereno.KindOf(err) != sereno.Invalid {
				t.Errorf("%s: an error of kind %d", c.settings, sereno.KindOf(err))
			}
		}
		if got != c.want {
			t.Errorf("%s: %s\ninstead of %s", c.settings, got, c.want)
		}
	}
	var s settings
	if err := Decode(json.RawMessage(`{"url": "x", "port": 7, "in": {"a": "b"}}`), &s); err != nil || s.URL != "x" || s.Port != 7 || s.In.A != "b" {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestCheckURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://example.com": true, "http://127.0.0.1:9099/hook?a=b": true, "http://[::1]:80/": true, "https://user:pw@example.com/": true,
		"": false, "example.com": false, "ftp://example.com": false, "file:///etc/passwd": false, "http://": false, "https://exa mple.com": false,
		"https://example.com/#x": false, "javascript:alert(1)": false, "http://a/\r\nX: y": false, "unix:///run/x": false, "http://:80/": false,
	} {
		err := CheckURL("url", url)
		if (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && len(url) > 3 && strings.Contains(strings.ReplaceAll(err.Error(), "https://example.com/path", ""), url) {
			t.Errorf("%q is repeated: %v", url, err)
		}
	}
}
