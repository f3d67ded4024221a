package teams

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sereno/notify"
	"sereno/notify/notifytest"
)

const signature = "qS1gnature_of-the-w0rkflow"

func settingsFor(base string) string {
	return `{"url": "` + base + `/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=` + signature + `"}`
}

func TestKind(t *testing.T) {
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far: notifytest.HTTP{
			Settings: settingsFor,
			Good:     func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusAccepted) },
		}.Far,
		Secrets: []string{signature, "0123456789abcdef0123456789abcdef"},
		Bad: map[string]string{
			`{}`: "url: it is missing",
			`{"url": "https://outlook.office.com/webhook/x"}`:                       "switched off",
			`{"url": "https://contoso.webhook.office.com/webhookb2/x"}`:             "make a workflow",
			`{"url": "https://a/", "title": "x"}`:                                   "title",
			`{"url": "prod-1.westeurope.logic.azure.com:443/workflows/x?sig=hush"}`: "url",
		},
		Shown: shown,
		Limit: func(t *testing.T, part notifytest.Sent) {
			if len(part.Body) > 27_000 {
				t.Errorf("%d bytes", len(part.Body))
			}
		},
	})
}

// shown is what a person reads, after it was checked that none of it is in a
// place where Teams reads mark-up.
func shown(t *testing.T, part notifytest.Sent) string {
	t.Helper()
	var m message
	d := json.NewDecoder(strings.NewReader(string(part.Body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("no message: %v", err)
	}
	if m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
		t.Fatalf("%+v", m)
	}
	c := m.Attachments[0].Content
	if c.Type != "AdaptiveCard" || len(c.Body) == 0 {
		t.Fatalf("%+v", c)
	}
	var out []string
	for _, b := range c.Body {
		if b.Type != "RichTextBlock" || len(b.Inlines) != 1 || b.Inlines[0].Type != "TextRun" || b.Inlines[0].Text == "" || strings.Contains(b.Inlines[0].Text, "\n") {
			t.Errorf("%+v", b)
		}
		out = append(out, b.Inlines[0].Text)
	}
	for _, a := range c.Actions {
		if a.Type != "Action.OpenUrl" || !strings.HasPrefix(a.URL, "https://sereno.example/") {
			t.Errorf("%+v", a)
		}
	}
	return strings.Join(out, "\n")
}

func TestAnswers(t *testing.T) { notifytest.Answers(t, Kind{}, settingsFor, "testdata/answers.txt") }

func TestWhatDoesNotFitIsSaid(t *testing.T) {
	m := notifytest.Message(notify.Opened)
	for what, text := range map[string]string{
		"many lines":   m.Title + "\n" + strings.Repeat("a line\n", 3000),
		"one line":     m.Title + "\n" + strings.Repeat("\"", 100_000),
		"long words":   m.Title + "\n" + strings.Repeat(strings.Repeat("ü", 3000)+"\n", 20),
		"a long title": strings.Repeat("title ", 10_000),
	} {
		m := m
		if m.Text = text; what == "a long title" {
			m.Title = text
		}
		body, err := json.Marshal(write(m))
		if err != nil {
			t.Fatal(err)
		}
		seen := shown(t, notifytest.Sent{Body: body})
		if len(body) > 27_000 || len(body) < 5_000 || !strings.HasSuffix(seen, "… the rest was left out") {
			t.Errorf("%s: %d bytes, ending with %q", what, len(body), seen[max(len(seen)-60, 0):])
		}
	}
}
