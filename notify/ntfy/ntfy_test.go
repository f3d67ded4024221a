package ntfy

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"sereno"
	"sereno/notify"
	"sereno/notify/notifytest"
)

const (
	topic    = "watch-5ecret-topic"
	token    = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"
	password = "hunter2 ü:%40"
)

func good(authorization string) func(w http.ResponseWriter, r *http.Request, body []byte) {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		if r.URL.Path != "/" || r.Header.Get("Authorization") != authorization {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"id":"sPs71M8A2T","time":1790000000,"expires":1790043200,"event":"message","topic":"x","message":"x"}`+"\n")
	}
}

func withToken(base string) string {
	return `{"base_url": "` + base + `", "topic": "` + topic + `", "token": "` + token + `", "tags": ["plant1"]}`
}

func TestKind(t *testing.T) {
	for _, c := range []struct {
		name, authorization string
		settings            func(base string) string
		secrets             []string
	}{
		{"token", "Bearer " + token, withToken, []string{topic, token}},
		{"password", "Basic " + base64.StdEncoding.EncodeToString([]byte("anna:"+password)), func(base string) string {
			return `{"base_url": "` + base + `/", "topic": "` + topic + `", "username": "anna", "password": "` + password + `"}`
		}, []string{topic, password}},
		{"nobody", "", func(base string) string { return `{"base_url": "` + base + `", "topic": "` + topic + `"}` }, []string{topic}},
	} {
		t.Run(c.name, func(t *testing.T) {
			notifytest.Run(t, Kind{}, notifytest.Fixture{
				Far:     notifytest.HTTP{Settings: c.settings, Good: good(c.authorization)}.Far,
				Secrets: c.secrets,
				Bad: map[string]string{
					`{}`:                                "topic: it is missing",
					`{"topic": "https://ntfy.sh/mine"}`: "topic: it is at most 64",
					`{"topic": "` + strings.Repeat("x", 65) + `"}`:       "at most 64",
					`{"topic": "a", "base_url": "ntfy.example.com"}`:     "base_url",
					`{"topic": "a", "base_url": "https://a/?x"}`:         "base_url",
					`{"topic": "a", "token": "t", "username": "u"}`:      "not both",
					`{"topic": "a", "username": "u"}`:                    "password: it is missing",
					`{"topic": "a", "password": "p"}`:                    "username",
					`{"topic": "a", "username": "u:v", "password": "p"}`: "colon",
					`{"topic": "a", "token": "t\r\nX-Injected: yes"}`:    "token",
					`{"topic": "a", "priority": 6}`:                      "priority: it is 1",
					`{"topic": "a", "tags": ["a,b"]}`:                    "tags",
					`{"topic": "a", "ca": "/etc/ca.pem"}`:                "ca",
				},
				Shaped: true,
				Shown: func(t *testing.T, part notifytest.Sent) string {
					m := read(t, part)
					if title, cut := strings.CutSuffix(m.Title, "…"); cut && strings.HasPrefix(m.Message, title) {
						return m.Message
					}
					return m.Title + "\n" + m.Message
				},
				Limit: func(t *testing.T, part notifytest.Sent) {
					if m := read(t, part); len(m.Message) > 4096 || m.Message == "" || len(m.Title) > maxTitle || m.Title == "" || !utf8.ValidString(m.Message) {
						t.Errorf("a title of %d and a message of %d bytes", len(m.Title), len(m.Message))
					}
				},
			})
		})
	}
}

func read(t *testing.T, part notifytest.Sent) message {
	t.Helper()
	var m message
	d := json.NewDecoder(strings.NewReader(string(part.Body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("no message: %v", err)
	}
	if m.Topic != topic || m.Priority < 1 || m.Priority > 5 || len(m.Actions) > 3 {
		t.Errorf("%+v", m)
	}
	return m
}

func TestAnswers(t *testing.T) { notifytest.Answers(t, Kind{}, withToken, "testdata/answers.txt") }

func TestTheWorseTheLouder(t *testing.T) {
	c := &channel{}
	for severity, want := range map[sereno.Severity]int{
		sereno.SeverityNone: 3, sereno.SeverityLow: 2, sereno.SeverityMedium: 3, sereno.SeverityHigh: 4, sereno.SeverityCritical: 5,
	} {
		m := notifytest.Message(notify.Opened)
		m.Severity = severity
		if got := c.write(m).Priority; got != want {
			t.Errorf("%s: %d", severity, got)
		}
	}
	if got := c.write(notifytest.Message(notify.Closed)).Priority; got != 3 {
		t.Errorf("a recovery wakes people: %d", got)
	}
	if got := (&channel{settings: settings{Priority: 1}}).write(notifytest.Message(notify.Opened)).Priority; got != 1 {
		t.Errorf("a fixed priority is not kept: %d", got)
	}
}

func TestLinksAreActions(t *testing.T) {
	m := (&channel{}).write(notifytest.Message(notify.Opened))
	if m.Click != "https://sereno.example/incidents/42" || len(m.Actions) != 2 || m.Actions[0] != (action{"view", "Acknowledge", "https://sereno.example/links/abc?t=x%26y", true}) {
		t.Errorf("%+v", m)
	}
}
