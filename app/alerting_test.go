package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/config"
	"sereno/notify"
)

// A hook is the far end of a webhook.
type hook struct {
	*httptest.Server
	mu  sync.Mutex
	got []notify.Document
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var d notify.Document
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, d)
	}))
	t.Cleanup(h.Close)
	return h
}

// wait waits for a message about some trouble.
func (h *hook) wait(t *testing.T, event notify.Event, trouble sereno.Trouble) notify.Document {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		h.mu.Lock()
		for _, d := range h.got {
			if d.Event == event && d.Incident != nil && d.Incident.Status == trouble {
				h.mu.Unlock()
				return d
			}
		}
		h.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("nobody was told that %s %s: %+v", trouble, event, h.got)
		}
	}
}

// Something that the desk finds wrong goes all the way round: to the ledger,
// through the spool into the store, back to the desk, and out. A book that is
// in order ends it.
func TestTroubleIsToldAndItsEndAfterAReload(t *testing.T) {
	hook := newHook(t)
	cfg := config.Default()
	cfg.Data, cfg.SamplesOff = t.TempDir(), true
	cfg.Alerting = alert.Book{
		URL:      "https://sereno.example",
		Channels: []alert.Channel{{Name: "hook", Kind: "webhook", Settings: json.RawMessage(fmt.Sprintf(`{"url": %q}`, hook.URL)), FromFile: true}},
		Policies: []alert.Policy{{Name: "all", GroupWait: -1, FromFile: true}, {Name: "never", FromFile: true}},
	}
	load := func() (*config.Config, error) {
		next := *cfg
		next.Alerting.Policies = cfg.Alerting.Policies[:1]
		return &next, nil
	}
	reload := make(chan struct{}, 1)
	url, _ := serve(t, cfg, Options{Load: load, Reload: reload})
	d := hook.wait(t, notify.Opened, sereno.TroublePolicy)
	if !strings.Contains(d.Text, `"never"`) {
		t.Errorf("it does not say which policy:\n%s", d.Text)
	}
	if d.Links.Open != "" {
		t.Errorf("%q leads nowhere", d.Links.Open)
	}
	if !strings.HasPrefix(d.Links.Acknowledge, "https://sereno.example/a/") {
		t.Errorf("the link is %q", d.Links.Acknowledge)
	}
	reload <- struct{}{}
	over := hook.wait(t, notify.Closed, sereno.TroublePolicy)
	if over.Thread != d.Thread || over.Incident.ID != d.Incident.ID || over.Delivery == d.Delivery {
		t.Errorf("the end is %+v of %+v", over, d)
	}
	res, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`sereno_alert_deliveries_total{channel="hook",state="promised"} 2`,
		`sereno_alert_tries_total{channel="hook",outcome="taken"} 2`,
		`sereno_alert_channel_failing{channel="hook"} 0`,
		`sereno_alert_late_seconds_count 2`,
	} {
		if !strings.Contains(string(metrics), line+"\n") {
			t.Errorf("/metrics has no %s", line)
		}
	}
}
