package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/samples"
)

// kept runs a real database of samples over looks of check 1, once a second
// up to noon.
func kept(t *testing.T, looks []sereno.Result) *samples.DB {
	t.Helper()
	db := samples.New(samples.Options{Dir: t.TempDir(), Retention: 24 * time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	db.Know([]sereno.Device{{ID: 1, Checks: []sereno.Check{{ID: 1, Kind: "icmp", Policy: sereno.DefaultPolicy}}}})
	db.Keep(looks)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("samples: %v", err)
		}
	})
	for db.Usage().Kept < uint64(len(looks)) {
		time.Sleep(time.Millisecond)
	}
	return db
}

func TestSeriesTellsWhatTheLooksWere(t *testing.T) {
	var looks []sereno.Result
	for i := range 600 { // the last ten minutes before noon: a loss every 100 s, and 4 ms, but 10 ms in the last minute
		r := sereno.Result{Check: 1, At: noon.Add(time.Duration(i-600) * time.Second), Status: sereno.Up, RTT: 4 * time.Millisecond}
		if i >= 540 {
			r.RTT = 10 * time.Millisecond
		}
		if i%100 == 99 {
			r.Status, r.RTT = sereno.Down, 0
		}
		looks = append(looks, r)
	}
	w := newWorld(t)
	w.live[2] = ledger.Live{}
	w.Handler = New(Options{Plan: w, Facts: w.Store, Watch: w, Now: func() sereno.Instant { return noon }, Samples: kept(t, looks)})

	var s Series
	w.do(200, "GET", fmt.Sprintf("/api/checks/1/series?from=%s&step=120", noon.Add(-12*time.Minute)), "", &s)
	if s.CheckID != 1 || s.From != noon.Add(-12*time.Minute) || s.To != noon || time.Duration(s.Step) != 2*time.Minute || len(s.Buckets) != 6 {
		t.Fatalf("series %+v", s)
	}
	if len(s.Sources) != 1 || s.Sources[0] != (SeriesSource{"raw", s.From, s.To, "exact"}) {
		t.Errorf("sources %+v", s.Sources)
	}
	if b := s.Buckets[0]; b.Begin != s.From || b.Sent != 0 || b.Min != nil || b.P95 != nil {
		t.Errorf("before anybody looked: %+v", b)
	}
	last := s.Buckets[5]
	ms := func(s *Seconds) float64 { return float64(time.Duration(*s).Round(10*time.Microsecond)) / 1e6 }
	if last.Sent != 120 || last.Lost != 2 || ms(last.Min) != 4 || ms(last.P25) != 4 || ms(last.P75) != 10 || ms(last.P95) != 10 || ms(last.Max) != 10 {
		t.Errorf("the last bucket: %+v", last)
	}

	w.do(200, "GET", "/api/checks/1/series", "", &s)
	if len(s.Buckets) > usualBuckets || len(s.Buckets) < usualBuckets*9/10 || s.From != noon.Add(-24*time.Hour) {
		t.Errorf("by default: %d buckets from %v", len(s.Buckets), s.From)
	}
	odd := noon.Add(-time.Hour + 687*time.Microsecond)
	w.do(200, "GET", fmt.Sprintf("/api/checks/2/series?buckets=2&from=%s&to=%s", odd, odd.Add(30*time.Minute)), "", &s)
	if len(s.Buckets) > 2 {
		t.Errorf("%d buckets of a window between two milliseconds, at most 2 were asked for", len(s.Buckets))
	}
	w.do(200, "GET", "/api/checks/2/series?buckets=3", "", &s) // watched, but nothing is kept of it
	if len(s.Buckets) != 3 || s.Buckets[0].Sent != 0 {
		t.Errorf("of a new check: %+v", s.Buckets)
	}

	for query, want := range map[string]string{
		"1/series?buckets=1000000":       "1 to 10000 buckets, not 1000000",
		"1/series?buckets=-1":            "1 to 10000 buckets",
		"1/series?step=1":                "makes 86400 buckets",
		"1/series?step=-3":               "a step is",
		"1/series?step=60&buckets=7":     "not both",
		"1/series?from=" + noon.String(): "not before its end",
		"1/series?to=1969-12-31T23:00:00Z&from=1970-01-01T00:00:01Z": "not before its end",
	} {
		var p struct{ Detail string }
		if w.do(422, "GET", "/api/checks/"+query, "", &p); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %s", query, p.Detail)
		}
	}
	var p struct{ Detail string }
	if w.do(404, "GET", "/api/checks/99/series", "", &p); p.Detail != "there is no check 99" {
		t.Errorf("an unknown check: %s", p.Detail)
	}
}

func TestSeriesWithoutSamples(t *testing.T) {
	w := newWorld(t)
	w.do(404, "GET", "/api/checks/1/series", "", nil)
	closed := samples.New(samples.Options{Dir: t.TempDir(), Retention: time.Hour})
	w.Handler = New(Options{Plan: w, Facts: w.Store, Watch: w, Now: func() sereno.Instant { return noon }, Samples: closed})
	answer := serve(w, request("GET", "/api/checks/1/series", ""))
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || !json.Valid(answer.Body.Bytes()) {
		t.Errorf("while it is read back: %d %v %s", answer.Code, answer.Header(), answer.Body)
	}
}
