package discord

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"sereno/notify"
	"sereno/notify/notifytest"
)

const token = "123456789012345678/abcDEF-token_of.the-webhook"

func settingsFor(base string) string {
	return `{"url": "` + base + "/api/webhooks/" + token + `", "username": "Night watch", "thread": "987654321"}`
}

func TestKind(t *testing.T) {
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far: notifytest.HTTP{
			Settings: settingsFor,
			Good: func(w http.ResponseWriter, r *http.Request, _ []byte) {
				if got := r.URL.Query(); got.Get("wait") != "true" || got.Get("thread_id") != "987654321" {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				fmt.Fprint(w, `{"id": "1", "type": 0, "content": "…"}`)
			},
			Busy: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "31")
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(w, `{"message": "You are being rate limited.", "retry_after": 30, "global": false}`)
			},
		}.Far,
		Secrets: []string{token, "abcDEF-token_of.the-webhook"},
		Bad: map[string]string{
			`{}`: "url: it is missing",
			`{"url": "https://a/", "username": "Discord"}`:  "username",
			`{"url": "https://a/", "username": "a\nb"}`:     "username",
			`{"url": "https://a/", "thread": "general"}`:    "thread",
			`{"url": "https://a/", "webhook_url": "x"}`:     "webhook_url",
			`{"url": "https://a/", "thread": 987654321012}`: "thread: it is a text (in quotes)",
		},
		Shaped: true,
		Shown:  shown,
		Limit: func(t *testing.T, part notifytest.Sent) {
			m := read(t, part)
			length := func(s string) int { return len(utf16.Encode([]rune(s))) }
			if n := length(m.Content); n == 0 || n > 2000 {
				t.Errorf("a content of %d", n)
			}
			for _, e := range m.Embeds {
				if n := length(e.Description); n == 0 || n > 4096 {
					t.Errorf("a description of %d", n)
				}
			}
		},
	})
}

func read(t *testing.T, part notifytest.Sent) message {
	t.Helper()
	var m message
	d := json.NewDecoder(strings.NewReader(string(part.Body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("no message: %v", err)
	}
	if !strings.Contains(string(part.Body), `"allowed_mentions":{"parse":[]}`) {
		t.Error("the message may call people")
	}
	return m
}

var (
	links   = regexp.MustCompile(`\[(Open|Acknowledge)\]\(<https://sereno\.example/[^<>()\s]*>\)`)
	markup  = regexp.MustCompile(`(?m)^\s*[-+#>]|^\s*\d+\.\s|:\w*[A-Za-z_]\w*:|:100:|:1234:|://`)
	escaped = regexp.MustCompile(`\\([^0-9A-Za-z\s])`)
)

// shown is what a person reads, after it was checked that none of it can be
// mark-up.
func shown(t *testing.T, part notifytest.Sent) string {
	t.Helper()
	m := read(t, part)
	content := strings.TrimLeft(m.Content, "🔴🟠🟡🔵✅👀 ")
	content, bold := strings.CutPrefix(content, "**")
	content, ends := strings.CutSuffix(content, "**")
	if !bold || !ends {
		t.Errorf("the content is %q", m.Content)
	}
	var out strings.Builder
	out.WriteString(content)
	for _, e := range m.Embeds {
		out.WriteString("\n" + links.ReplaceAllString(e.Description, ""))
	}
	rest := escaped.ReplaceAllString(out.String(), "x")
	if strings.ContainsAny(rest, "\\*_~|`<[]@") || markup.MatchString(rest) {
		t.Errorf("mark-up is left in %q", rest)
	}
	return escaped.ReplaceAllString(out.String(), "$1")
}

func TestAnswers(t *testing.T) { notifytest.Answers(t, Kind{}, settingsFor, "testdata/answers.txt") }

func TestNoMoreIsEscapedThanNeeded(t *testing.T) {
	for text, want := range map[string]string{
		"core-sw1 is down since 12:03:04 CET (192.0.2.1, 50 % lost)": "core-sw1 is down since 12:03:04 CET (192.0.2.1, 50 % lost)",
		"Reason: no answer: lost\n:":                                 "Reason: no answer: lost\n:",
		"- a\n  - b\n1. c\n> d\n# e\n-# f":                           "\\- a\n  \\- b\n1\\. c\n\\> d\n\\# e\n\\-# f",
		":smile: :100: https://a.example/_x_":                        `\:smile: \:100: https\://a.example/\_x\_`,
		"*b* ~~s~~ ||s|| `c` [x](y) <@1> @here":                      "\\*b\\* \\~\\~s\\~\\~ \\|\\|s\\|\\| \\`c\\` \\[x\\](y) \\<\\@1> \\@here",
	} {
		if got := escape(text); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
}

func TestALinkCannotBreakOut(t *testing.T) {
	m := notifytest.Message(notify.Opened)
	m.Open = "https://sereno.example/a)[x](https://evil.example/<>"
	d := (&channel{}).write(m).Embeds[0].Description
	if !strings.Contains(d, "[Open](<https://sereno.example/a%29[x]%28https://evil.example/%3C%3E>)") {
		t.Errorf("%q", d)
	}
}
