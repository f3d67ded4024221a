package pagerduty

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
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

// A desk of PagerDuty: what is open there, by key.
type desk struct {
	*httptest.Server
	mu      sync.Mutex
	open    map[string]string // summaries
	actions []string
	failing string // the key for which it fails once
}

func newDesk(t *testing.T) (*desk, notify.Channel) {
	d := &desk{open: map[string]string{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct {
			Action  string `json:"event_action"`
			Key     string `json:"dedup_key"`
			Payload struct{ Summary string }
		}
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.failing == e.Key {
			d.failing = ""
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		d.actions = append(d.actions, e.Action+" "+e.Key)
		switch e.Action {
		case "trigger":
			d.open[e.Key] = e.Payload.Summary
		case "resolve":
			delete(d.open, e.Key)
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"status":"success"}`)
	}))
	t.Cleanup(d.Close)
	c, err := Kind{}.Open(json.RawMessage(settingsFor(d.URL)), notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

// told is what is open and how often something was said since it was asked last.
func (d *desk) told() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	said := len(d.actions)
	d.actions = nil
	return fmt.Sprint(said, " ", slices.Sorted(maps.Keys(d.open)))
}

func many(event notify.Event, incidents ...notify.Incident) notify.Message {
	m := notifytest.Message(event)
	m.Key = fmt.Sprint(event, len(incidents))
	m.Incidents, m.Count, m.Incident = incidents, len(incidents), &incidents[0]
	if m.Thread = incidents[0].Thread; event == notify.Digest {
		m.Thread = ""
	}
	return m
}

func incident(id sereno.IncidentID, thread sereno.IncidentID, closed bool) notify.Incident {
	in := notify.Incident{ID: id, Thread: notify.ThreadOf(thread), Severity: sereno.SeverityHigh, Opened: 1, Device: &notify.Device{Name: fmt.Sprint("host-", thread)}}
	if closed {
		in.Closed = 2
	}
	return in
}

func TestEachTroubleEndsWhereItBegan(t *testing.T) {
	d, c := newDesk(t)
	step := func(m notify.Message, want string) {
		t.Helper()
		if err := c.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := d.told(); got != want {
			t.Errorf("%s: %s; wanted %s", m.Event, got, want)
		}
	}
	group := many(notify.Opened, incident(1, 1, false), incident(2, 2, false), incident(3, 3, false))
	d.failing = "sereno/incident-2"
	if err := c.Send(t.Context(), group); err == nil {
		t.Error("taken, although one of its events was not")
	}
	step(group, "3 [sereno/incident-1 sereno/incident-2 sereno/incident-3]") // goes on, and repeats nothing
	if got := d.open["sereno/incident-2"]; !strings.Contains(got, "host-2") || strings.Contains(got, "host-1") {
		t.Errorf("the alert of the second is called %q", got)
	}
	step(many(notify.Closed, incident(1, 1, true)), "1 [sereno/incident-2 sereno/incident-3]")
	step(many(notify.Opened, incident(7, 3, false)), "1 [sereno/incident-2 sereno/incident-3]") // down again
	// The third is down once more when a digest tells of its second end.
	step(many(notify.Digest, incident(9, 3, false), incident(7, 3, true), incident(2, 2, true)), "2 [sereno/incident-3]")
	step(many(notify.Digest, incident(9, 3, true), incident(4, 4, true)), "2 []") // good news rouses nobody
}

func TestMuchAtOnceIsOneAlert(t *testing.T) {
	d, c := newDesk(t)
	var down, up []notify.Incident
	for i := range sereno.IncidentID(notify.MaxIncidents) {
		down, up = append(down, incident(i+1, i+1, false)), append(up, incident(i+1, i+1, true))
	}
	if err := c.Send(t.Context(), many(notify.Opened, incident(5, 5, false))); err != nil {
		t.Fatal(err)
	}
	m := many(notify.Digest, down...)
	m.Count = 10_000
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := d.told(); got != "2 [sereno/digest100 sereno/incident-5]" {
		t.Error(got)
	}
	group := many(notify.Opened, down...) // its alert is not over when its first trouble is
	if err := c.Send(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), many(notify.Closed, up[0])); err != nil {
		t.Fatal(err)
	}
	if got := d.told(); got != "2 [sereno/digest100 sereno/group/incident-1 sereno/incident-5]" {
		t.Error(got)
	}
	if err := c.Send(t.Context(), many(notify.Closed, up...)); err != nil {
		t.Fatal(err)
	}
	// What is one alert stays until somebody resolves it: others may not be over.
	if got := d.told(); got != "100 [sereno/digest100 sereno/group/incident-1]" {
		t.Error(got)
	}
}
