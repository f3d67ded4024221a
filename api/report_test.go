package api

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sereno/report"
)

func TestReports(t *testing.T) {
	l := newLibrary(t, nil)
	l.commitSpans(t, l.watch(t, "core-sw1", 0), 10)

	answer, body, err := l.get(t, "/api/report?period=2026-11&zone=Europe/Berlin")
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%s, %v: %s", answer.Status, err, body)
	}
	h := answer.Header
	if h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Content-Disposition") != `inline; filename="sereno-report-2026-11-01-2026-11-30.html"` {
		t.Errorf("%v", h)
	}
	if !strings.Contains(h.Get("Content-Security-Policy"), "style-src "+report.StyleHash()+";") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
		t.Errorf("policy %s", h.Get("Content-Security-Policy"))
	}
	for _, want := range []string{"<h1>November 2026</h1>", "core-sw1", "not over yet", "5 outages"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}

	_, body, err = l.get(t, "/api/report?from=2026-11-21T11:00:00Z&format=csv")
	rows, bad := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || bad != nil || len(rows) != 2 || rows[1][1] != "core-sw1" {
		t.Errorf("%v, %v: %s", err, bad, body)
	}

	_, body, err = l.get(t, "/api/report?period=today&format=json&degraded=down")
	var d struct {
		Title  string
		Until  time.Time
		Counts int `json:"outage_count"`
	}
	if bad := json.Unmarshal([]byte(body), &d); err != nil || bad != nil || d.Title != "21 November 2026" || !d.Until.Equal(noon.Time()) || d.Counts != 5 {
		t.Errorf("%v, %v: %+v", err, bad, d)
	}

	// Nothing was watched last month; that is no mistake.
	if answer, body, err = l.get(t, "/api/report"); err != nil || answer.StatusCode != 200 || !strings.Contains(body, "<h1>October 2026</h1>") || !strings.Contains(body, "No device was watched") {
		t.Errorf("%s, %v: %s", answer.Status, err, body)
	}

	for _, c := range []struct {
		query string
		code  int
		want  string
	}{
		{"period=2027-01", 422, "query.period: the period 2027-01 lies in the future"},
		{"period=last", 422, "query.period: \\\"last\\\" is no period"},
		{"period=2026-10&from=2026-10-02T00:00:00Z", 422, "query.period: a period stands instead of from and to"},
		{"to=2026-10-02T00:00:00Z", 422, "query.from: say when"},
		{"from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", 422, "query.from: the period begins at"},
		{"zone=Mars", 422, "query.zone"},
		{"period=2026-11&device=nobody", 404, "query.device: no device called"},
		{"period=2026-11&format=pdf", 422, "html"},
	} {
		answer, body, err := l.get(t, "/api/report?"+c.query)
		if err != nil || answer.StatusCode != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %s, %v: %s", c.query, answer.Status, err, body)
		}
	}
	if said := l.log.String(); said != "" {
		t.Errorf("the log says %s", said)
	}
}
