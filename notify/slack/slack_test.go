package slack

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"

	"sereno/notify"
	"sereno/notify/notifytest"
)

const token = "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"

func TestKind(t *testing.T) {
	for _, format := range []string{"blocks", "text"} {
		t.Run(format, func(t *testing.T) {
			notifytest.Run(t, Kind{}, notifytest.Fixture{
				Far: notifytest.HTTP{Settings: func(base string) string {
					return `{"url": "` + base + "/services/" + token + `", "format": "` + format + `"}`
				}}.Far,
				Secrets: []string{token},
				Bad: map[string]string{
					`{}`:                                    "url: it is missing",
					`{"url": "hooks.slack.com/services/x"}`: "https://",
					`{"url": "https://a/", "format": "markdown"}`: "blocks or text",
					`{"url": "https://a/", "channel": "#ops"}`:    "channel",
				},
				Shaped: true,
				Shown:  shown,
			})
		})
	}
}

// shown is what a person reads, after it was checked that none of it can be
// markup.
func shown(t *testing.T, part notifytest.Sent) string {
	t.Helper()
	var m message
	d := json.NewDecoder(strings.NewReader(string(part.Body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("no message: %v", err)
	}
	if m.Text == "" || m.Mrkdwn || m.UnfurlLinks || m.UnfurlMedia {
		t.Errorf("the text of the message is %q, read as mark-up: %v", m.Text, m.Mrkdwn)
	}
	bare := strings.NewReplacer("<https://sereno.example/incidents/42>", "", "<https://sereno.example/links/abc?t=x%26y>", "").Replace(m.Text)
	if strings.ContainsAny(bare, "<>") {
		t.Errorf("the text %q has mark-up in it", m.Text)
	}
	unescape := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
	if len(m.Blocks) == 0 {
		if n := len(utf16.Encode([]rune(m.Text))); n > 40_000 {
			t.Errorf("a text of %d", n)
		}
		return unescape.Replace(bare)
	}
	if len(m.Blocks) > 50 {
		t.Errorf("%d blocks", len(m.Blocks))
	}
	var out []string
	for i, b := range m.Blocks {
		limit := map[string]int{"header": 150, "section": 3000}[b.Type]
		switch b.Type {
		case "header", "section":
			if b.Text.Type != "plain_text" || strings.TrimSpace(b.Text.Text) == "" || len(utf16.Encode([]rune(b.Text.Text))) > limit {
				t.Errorf("a %s of type %s with %d characters: %q", b.Type, b.Text.Type, len(utf16.Encode([]rune(b.Text.Text))), b.Text.Text)
			}
			if i > 0 || len(m.Blocks) == 1 || !strings.HasSuffix(b.Text.Text, "…") {
				out = append(out, b.Text.Text)
			}
		case "context":
			if text := b.Elements[0].Text; text != "<https://sereno.example/incidents/42|Open> · <https://sereno.example/links/abc?t=x%26y|Acknowledge>" &&
				text != "<https://sereno.example/incidents/42|Open>" {
				t.Errorf("links: %q", text)
			}
		default:
			t.Errorf("a block of type %q", b.Type)
		}
	}
	return strings.Join(out, "\n")
}

func TestAnswers(t *testing.T) {
	notifytest.Answers(t, Kind{}, func(base string) string { return `{"url": "` + base + "/services/" + token + `"}` }, "testdata/answers.txt")
}

func TestALinkCannotBreakOut(t *testing.T) {
	c := &channel{settings: settings{Format: "blocks"}}
	m := notifytest.Message(notify.Opened)
	m.Open = "https://sereno.example/a?b=1&c=<!channel>|x> <!here>"
	blocks := c.write(m).Blocks
	text := blocks[len(blocks)-1].Elements[0].Text
	if want := "<https://sereno.example/a?b=1&amp;c=%3C!channel%3E%7Cx%3E%20%3C!here%3E|Open>"; !strings.HasPrefix(text, want) {
		t.Errorf("%q", text)
	}
}
