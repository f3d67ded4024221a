package pagerduty

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sereno"
	"sereno/notify"
	"sereno/notify/notifytest"
)

const routingKey = "e93facc04764012d7bfb002500d5d1a6"

func settingsFor(base string) string {
	return `{"base_url": "` + base + `/", "routing_key": "` + routingKey + `"}`
}

func TestKind(t *testing.T) {
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far: notifytest.HTTP{
			Settings: settingsFor,
			Good: func(w http.ResponseWriter, r *http.Request, _ []byte) {
				if r.URL.Path != "/v2/enqueue" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.WriteHeader(http.StatusAccepted)
				fmt.Fprint(w, `{"status":"success","message":"Event processed","dedup_key":"srv01/HTTP"}`)
			},
		}.Far,
		Secrets: []string{routingKey},
		Bad: map[string]string{
			`{}`:                      "routing_key: it is missing",
			`{"routing_key": "abc"}`:  "32 letters and digits",
			`{"integration_key": ""}`: "integration_key",
			`{"routing_key": "` + routingKey + `", "base_url": "https://events.pagerduty.com/v2/enqueue"}`: "without /v2/enqueue",
			`{"routing_key": "` + routingKey + `", "base_url": "events.pagerduty.com"}`:                    "base_url",
		},
		Shaped: true,
		Shown: func(t *testing.T, part notifytest.Sent) string {
			e := read(t, part)
			if summary, cut := strings.CutSuffix(e.Payload.Summary, "…"); cut && strings.HasPrefix(e.Payload.Details.Text, summary) {
				return e.Payload.Details.Text
			}
			return e.Payload.Summary + "\n" + e.Payload.Details.Text
		},
		Limit: func(t *testing.T, part notifytest.Sent) {
			if e := read(t, part); len([]rune(e.Payload.Summary)) > 1024 || len(e.DedupKey) > 255 || len(part.Body) > 512<<10 || e.Payload.Source == "" {
				t.Errorf("%d, %d, %d", len(e.Payload.Summary), len(e.DedupKey), len(part.Body))
			}
		},
	})
}

// An event as PagerDuty reads it.
func read(t *testing.T, part notifytest.Sent) (e struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Payload    struct {
		Summary, Source, Severity, Timestamp string
		Details                              struct{ Text string } `json:"custom_details"`
	}
},
) {
	t.Helper()
	if err := json.Unmarshal(part.Body, &e); err != nil {
		t.Fatalf("no event: %v", err)
	}
	if e.RoutingKey != routingKey || e.DedupKey == "" || e.Payload.Summary == "" || e.Payload.Source == "" || e.Payload.Timestamp == "" {
		t.Errorf("%+v", e)
	}
	return e
}

func TestAnswers(t *testing.T) { notifytest.Answers(t, Kind{}, settingsFor, "testdata/answers.txt") }

func TestOneAlertHasOneThread(t *testing.T) {
	c := &channel{}
	for e, want := range map[notify.Event]string{
		notify.Opened: "trigger", notify.Reminder: "trigger", notify.Changed: "trigger", notify.Acknowledged: "acknowledge", notify.Closed: "resolve",
	} {
		if got := c.write(notifytest.Message(e)); got.Action != want || got.DedupKey != "sereno/alert-42" {
			t.Errorf("%s is %s of %s", e, got.Action, got.DedupKey)
		}
	}
	digest := c.write(notifytest.Message(notify.Digest))
	if digest.Action != "trigger" || digest.DedupKey != "sereno/42-digest" {
		t.Errorf("a digest is %s of %s", digest.Action, digest.DedupKey)
	}
	m := notifytest.Message(notify.Opened)
	m.Thread = strings.Repeat("x", 300)
	other := m
	other.Thread += "y"
	if a, b := c.write(m).DedupKey, c.write(other).DedupKey; a == b || len(a) > 255 {
		t.Errorf("%s, %s", a, b)
	}
}

func TestSeverities(t *testing.T) {
	for severity, want := range map[sereno.Severity]string{
		sereno.SeverityNone: "info", sereno.SeverityLow: "info", sereno.SeverityMedium: "warning", sereno.SeverityHigh: "error", sereno.SeverityCritical: "critical",
	} {
		m := notifytest.Message(notify.Opened)
		m.Severity = severity
		if got := (&channel{}).write(m).Payload.Severity; got != want {
			t.Errorf("%s: %s", severity, got)
		}
	}
}

func TestWhatEndsInADigestIsResolved(t *testing.T) {
	var actions []string
	failing := false
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct {
			Action string `json:"event_action"`
			Key    string `json:"dedup_key"`
		}
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		if failing && e.Key == "sereno/incident-43" {
			failing = false
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		actions = append(actions, e.Action+" "+e.Key)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"status":"success"}`)
	}))
	defer far.Close()
	c, err := Kind{}.Open(json.RawMessage(settingsFor(far.URL)), notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := notifytest.Message(notify.Digest)
	m.Incidents[1].Closed = m.Incidents[1].Opened + 1
	failing = true
	if err := c.Send(t.Context(), m); err == nil {
		t.Error("taken, although one of its events was not")
	}
	if err := c.Send(t.Context(), m); err != nil { // goes on, and repeats nothing
		t.Fatal(err)
	}
	m = notifytest.Message(notify.Closed)
	m.Thread = notify.ThreadOf(42)
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := "trigger sereno/42-digest, resolve sereno/incident-43, resolve sereno/incident-42"
	if got := strings.Join(actions, ", "); got != want {
		t.Errorf("%s; wanted %s", got, want)
	}
}
