package dashboard

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"sereno/notify"
	"sereno/notify/notifytest"
)

// A watcher keeps what it is told.
type watcher struct {
	mu    sync.Mutex
	taken []notifytest.Sent
}

func (w *watcher) Settings() string         { return "{}" }
func (w *watcher) Behave(notifytest.Manner) {}
func (w *watcher) publish(name string, data []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = append(w.taken, notifytest.Sent{Method: name, Body: data})
	return true
}

func (w *watcher) Taken() []notifytest.Sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]notifytest.Sent(nil), w.taken...)
}

func TestKind(t *testing.T) {
	now := new(watcher)
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far: func(*testing.T) notifytest.Far { now = new(watcher); return now },
		Bad: map[string]string{`{"url": "http://a/"}`: "url"},
		Without: []notifytest.Manner{
			notifytest.Hangs, notifytest.Trickles, notifytest.Floods, notifytest.Resets, notifytest.Busy, notifytest.Fails,
			notifytest.Refuses, notifytest.Garbage, notifytest.Redirects, notifytest.Gone,
		},
		Shown: func(t *testing.T, part notifytest.Sent) string {
			var d struct{ Event, Title, Text string }
			if err := json.Unmarshal(part.Body, &d); err != nil || bytes.ContainsAny(part.Body, "\r\n") {
				t.Fatalf("the event is no line of JSON: %v: %q", err, part.Body)
			}
			if d.Event != part.Method {
				t.Errorf("an event that is called %q says it is %q", part.Method, d.Event)
			}
			return d.Title + "\n" + d.Text
		},
		Options: notify.Options{Publish: func(name string, data []byte) bool { return now.publish(name, data) }},
	})
}

func TestNobodyCanWatch(t *testing.T) {
	for what, publish := range map[string]func(string, []byte) bool{
		"not yet": nil, "any more": func(string, []byte) bool { return false },
	} {
		c, err := Kind{}.Open(nil, notify.Options{Publish: publish})
		if err != nil {
			t.Fatal(err)
		}
		f := notify.FailureOf(c.Send(t.Context(), notifytest.Message(notify.Opened)))
		if f.Class != notify.Passing || f.Unsure || !strings.Contains(f.Text, "nobody can watch") {
			t.Errorf("%s: %+v", what, f)
		}
	}
}
