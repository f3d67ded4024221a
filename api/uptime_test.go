package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/probe"
	"sereno/store"
)

func TestWhatCannotBeAnsweredJustNowMayBeAskedAgain(t *testing.T) {
	away := fmt.Errorf("load: %w", sereno.Errorf(sereno.Unavailable, "the samples are still being read back"))
	h, log := remembered(t, &memory{fail: away})
	got := serve(h, request("GET", "/api/devices", ""))
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q: %s", got.Code, got.Header().Get("Retry-After"), got.Body)
	}
	if said := log.String(); said != "" {
		t.Errorf("it is not an error of our own, but the log says %s", said)
	}
}

// plant is two racks of a plant over the day before noon: every letter is an
// hour (u up, g degraded, d down, b down behind a parent, ? not seen).
func plant(t testing.TB) (w *world, ids map[string]sereno.DeviceID) {
	w = newWorld(t)
	w.now = noon.Add(-24 * time.Hour)
	ids = map[string]sereno.DeviceID{}
	entry := &ledger.Entry{}
	for _, d := range []struct{ name, tags, day string }{
		{"core", `"site:plant1"`, "uuuuuuuuuuuuuuuuuudduuuu"},
		{"press", `"site:plant1","rack:3"`, "uuuuuuuuuugguuuuuubbuuuu"},
		{"oven", `"site:plant1","rack:3"`, "uuuuddd???dduuuuuuuuuudd"},
		{"mill", `"site:plant2"`, "????????????????????????"},
	} {
		var made Device
		w.do(201, "POST", "/api/devices", fmt.Sprintf(`{"name":%q,"address":"192.0.2.1","tags":[%s]}`, d.name, d.tags), &made)
		ids[d.name] = made.ID
		check, begin := made.Checks[0].ID, w.now
		for i := 0; i < len(d.day); {
			n := i
			for n < len(d.day) && d.day[n] == d.day[i] {
				n++
			}
			s := map[byte]sereno.Span{
				'u': {Status: sereno.Up}, 'g': {Status: sereno.Degraded}, 'd': {Status: sereno.Down},
				'b': {Status: sereno.Down, Cause: sereno.CauseBehindParent}, '?': {Cause: sereno.CauseAbsence},
			}[d.day[i]]
			s.Check, s.Begin, s.Proof = check, begin, begin
			if begin = begin.Add(time.Duration(n-i) * time.Hour); n < len(d.day) {
				s.End = begin
				entry.Closed = append(entry.Closed, s)
			} else {
				entry.Open = append(entry.Open, s)
			}
			i = n
		}
	}
	if err := w.Commit(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	w.now = noon
	return w, ids
}

func hours(n int) Seconds { return Seconds(time.Duration(n) * time.Hour) }

func (w *world) uptime(query string) (u Uptime) {
	w.t.Helper()
	w.do(200, "GET", "/api/uptime?"+query, "", &u)
	return u
}

func TestUptimeOfADevice(t *testing.T) {
	w, ids := plant(t)
	for _, test := range []struct {
		query        string
		up, of, down int // hours
		outages      int
		longest      int
	}{
		{"device=oven&window=24h", 14, 21, 7, 2, 5},
		{fmt.Sprintf("device=%d&window=24h", ids["oven"]), 14, 21, 7, 2, 5},
		{"device=oven&window=24h&unknown=down", 14, 24, 10, 2, 8},
		{"device=oven", 14, 21, 7, 2, 5}, // 30 days, most of which it was not there
		{"device=oven&unknown=down", 14, 24, 10, 2, 8},
		{"device=oven&window=18h", 10, 15, 5, 2, 3},
		{"device=press&window=24h", 22, 24, 2, 1, 2},
		{"device=press&window=24h&degraded=down", 20, 24, 4, 2, 2},
		{"device=press&window=24h&behind=exclude", 22, 22, 0, 0, 0},
		{"device=press&window=24h&maintenance=include", 22, 24, 2, 1, 2},
		{"device=oven&from=2026-11-20T16:00:00Z&to=2026-11-20T18:00:00Z", 0, 2, 2, 1, 2},
		{"device=oven&period=today", 10, 12, 2, 1, 2},
		{"device=oven&period=yesterday", 4, 9, 5, 1, 5},
		{"device=oven&period=2026-11-21&zone=Asia/Dhaka", 10, 15, 5, 2, 3}, // from 18:00 UTC
		{"device=oven&period=2026", 14, 21, 7, 2, 5},
	} {
		u := w.uptime(test.query)
		f := u.Figures
		if f.Numerator != hours(test.up) || f.Denominator != hours(test.of) || f.Downtime != hours(test.down) || f.Outages != test.outages || f.Longest != hours(test.longest) {
			t.Errorf("%s: %+v", test.query, f)
		}
		if f.Up+f.Degraded+f.Down+f.Unknown+f.Maintenance+f.Paused != f.Window || u.Mean != nil || u.Of.Devices != 1 {
			t.Errorf("%s: %+v", test.query, u)
		}
	}
}

func TestTheOutageThatGoesOn(t *testing.T) {
	w, _ := plant(t)
	w.now = noon.Add(3*time.Minute + 22*time.Second)
	f := w.uptime("device=oven&window=10m").Figures
	if f.Current == nil || f.Current.Since != noon.Add(-2*time.Hour) || f.Current.Seconds != Seconds(2*time.Hour+3*time.Minute+22*time.Second) || f.Outages != 1 {
		t.Errorf("down now: %+v", f)
	}
	for _, over := range []string{"device=core&window=24h", "device=oven&from=2026-11-20T12:00:00Z&to=2026-11-20T17:00:00Z"} {
		if f := w.uptime(over).Figures; f.Current != nil || f.Outages == 0 {
			t.Errorf("%s: %+v", over, f)
		}
	}
}

func TestUptimeOfAGroup(t *testing.T) {
	w, _ := plant(t)
	u := w.uptime("site=plant1&window=24h")
	// Together: down 4-7, 10-12, 18-20 and 22-24 h, not known 7-10 h.
	if f := u.Figures; f.Down != hours(9) || f.Unknown != hours(3) || f.Numerator != hours(12) || f.Denominator != hours(21) || f.Outages != 3 || f.Current == nil {
		t.Errorf("all of them: %+v", f)
	}
	m := u.Mean
	if m.Devices != 3 || m.Numerator.Seconds != (22+22+14)*3600 || m.Denominator.Seconds != (24+24+21)*3600 || m.Outages != 4 || *m.Uptime != 58.0/69 || *m.Coverage != 69.0/72 ||
		*m.MTTR != (Total{Seconds: 11 * 3600 / 4}) {
		t.Errorf("their mean: %+v", m)
	}
	if len(u.Worst) != 3 || u.Worst[0].Device != "oven" || u.Worst[1].Device != "core" || *u.Worst[0].Uptime != 14.0/21 || u.Worst[0].Longest != hours(5) {
		t.Errorf("the worst: %+v", u.Worst)
	}
	if u := w.uptime("tag=site:plant1&window=24h&limit=1"); len(u.Worst) != 1 || u.Worst[0].Device != "oven" || u.Figures.Down != hours(9) {
		t.Errorf("the worst of all: %+v", u)
	}
	if u := w.uptime("window=24h"); u.Of.Devices != 4 || u.Mean.Devices != 4 || u.Mean.Denominator.Seconds != 69*3600 || u.Figures.Up != 0 {
		t.Errorf("all: %+v", u)
	}
	if u := w.uptime("site=plant2&window=24h"); u.Mean.Uptime != nil || u.Figures.Uptime != nil || *u.Mean.Coverage != 0 {
		t.Errorf("a site that was never seen: %+v", u)
	}
}

func TestUptimeBySteps(t *testing.T) {
	w, _ := plant(t)
	for query, want := range map[string][]int{
		"device=oven&window=24h&step=day":                    {5, 2},
		"device=oven&period=2026-11&step=day":                {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2},
		"device=oven&window=4h&step=hour":                    {0, 0, 1, 1},
		"device=oven&window=24h&step=month":                  {7},
		"site=plant1&window=24h&step=day":                    {5, 4},
		"device=oven&window=24h&step=day&zone=Europe/Berlin": {4, 3},
	} {
		u := w.uptime(query)
		var got []int
		var sum Seconds
		for i, b := range u.Series {
			got = append(got, int(time.Duration(b.Figures.Downtime)/time.Hour))
			sum += b.Figures.Window
			if i > 0 && b.Figures.From != u.Series[i-1].Figures.To || (b.Mean != nil) != strings.HasPrefix(query, "site") {
				t.Errorf("%s: %+v", query, b)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || sum != u.Figures.Window {
			t.Errorf("%s: %v hours down, want %v", query, got, want)
		}
	}
	if b := w.uptime("site=plant1&window=24h&step=day").Series; b[0].Mean.Downtime.Seconds != 5*3600 || b[1].Mean.Downtime.Seconds != 6*3600 {
		t.Errorf("means by day: %+v", b)
	}
}

func TestUptimeOfOneCheckOfMany(t *testing.T) {
	w := newWorld(t)
	w.now = noon.Add(-10 * time.Hour)
	var d Device
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"192.0.2.1","checks":[{"kind":"icmp","name":"one"},{"kind":"icmp","name":"two"}]}`, &d)
	e := &ledger.Entry{}
	for i, c := range d.Checks {
		// Up, then down: the one for three hours, the other for one. While one
		// answers, the device is degraded.
		fell := noon.Add(-time.Duration(3-2*i) * time.Hour)
		e.Closed = append(e.Closed, sereno.Span{Check: c.ID, Status: sereno.Up, Begin: w.now, End: fell, Proof: w.now})
		e.Open = append(e.Open, sereno.Span{Check: c.ID, Status: sereno.Down, Begin: fell, Proof: fell})
	}
	if err := w.Commit(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	w.now = noon
	for query, want := range map[string]int{
		fmt.Sprintf("check=%d", d.Checks[0].ID): 3, fmt.Sprintf("check=%d", d.Checks[1].ID): 1, "device=a": 1,
	} {
		if f := w.uptime(query + "&window=10h").Figures; f.Down != hours(want) || f.Up+f.Degraded != hours(10-want) || f.Current == nil || f.Unknown != 0 {
			t.Errorf("%s: %+v", query, f)
		}
	}
	if f := w.uptime("device=a&window=10m").Figures; f.Current == nil || f.Current.Seconds < hours(1) {
		t.Errorf("an outage from before the window: %+v", f)
	}
	w.do(404, "GET", "/api/uptime?check=999", "", nil)
}

func TestFiguresInsideDevices(t *testing.T) {
	w, ids := plant(t)
	var d Device
	w.do(200, "GET", fmt.Sprintf("/api/devices/%d", ids["oven"]), "", &d)
	if len(d.Figures) != 5 || *d.Figures["24h"].Uptime != 14.0/21 || d.Figures["365d"].Outages != 2 || d.Figures["7d"].Downtime != hours(7) {
		t.Errorf("figures: %+v", d.Figures)
	}
	w.do(200, "GET", fmt.Sprintf("/api/devices/%d?figures=6h", ids["oven"]), "", &d)
	if f, ok := d.Figures["6h"]; !ok || f.Downtime != hours(2) || f.Numerator != hours(4) {
		t.Errorf("figures: %+v", d.Figures)
	}
	// By spans and by meters they are the same.
	if err := w.ReadMeters(t.Context()); err != nil {
		t.Fatal(err)
	}
	var short, long Page[Device]
	w.do(200, "GET", "/api/devices?figures=24h", "", &short)
	w.do(200, "GET", "/api/devices?figures=24h,36500d", "", &long)
	for i := range short.Items {
		a, b := short.Items[i].Figures["24h"], long.Items[i].Figures["24h"]
		if text(t, a) != text(t, b) {
			t.Errorf("%s: by spans %s, by meters %s", short.Items[i].Name, text(t, a), text(t, b))
		}
	}
	var none Page[Device]
	w.do(200, "GET", "/api/devices", "", &none)
	if none.Items[0].Figures != nil {
		t.Errorf("nobody asked for %+v", none.Items[0].Figures)
	}
}

func text(t *testing.T, v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestWhatIsNoQuestionForFigures(t *testing.T) {
	w, _ := plant(t)
	for query, want := range map[string]string{
		"from=2026-11-20T12:00:00Z&to=2026-11-19T12:00:00Z": "not before its end",
		"from=1800-01-01T00:00:00Z":                         "at most 100 years",
		"window=200000d":                                    "too long",
		"window=soon":                                       "is no length of time",
		"window=-7d":                                        "is no length of time",
		"period=2027":                                       "lies in the future",
		"period=2026-13":                                    "is no period",
		"period=today&zone=Europe/Atlantis":                 "is no time zone",
		"window=7d&zone=" + url.QueryEscape("../etc/passwd"): "is no time zone",
		"window=7d&period=2026":                              "one of window, period",
		"window=7d&from=2026-11-20T12:00:00Z":                "one of window, period",
		"device=core&tag=rack:3":                             "one of device, check, tag",
		"window=365d&step=hour":                              "more than 1000 windows",
		"degraded=maybe":                                     "expected value to be one of",
		"sites=plant1":                                       "unknown query parameter",
	} {
		var p struct{ Detail string }
		if w.do(422, "GET", "/api/uptime?"+query, "", &p); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %q, want %q", query, p.Detail, want)
		}
	}
	for query, want := range map[string]string{
		"tag=rack:9": `no device has the tag "rack:9"`, "site=plant9": `no device has the tag "site:plant9"`,
		"device=nobody": `there is no device "nobody"`, "device=99": `there is no device "99"`, "check=99": "there is no check with the id 99",
	} {
		var p struct{ Detail string }
		if w.do(404, "GET", "/api/uptime?"+query, "", &p); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %q, want %q", query, p.Detail, want)
		}
	}
	for _, figures := range []string{"7", "7d,", "1d,2d,3d,4d,5d,6d,7d,8d,9d,10d,11d"} {
		w.do(422, "GET", "/api/devices?figures="+figures, "", nil)
	}
	empty := newWorld(t)
	var p struct{ Detail string }
	if empty.do(404, "GET", "/api/uptime", "", &p); !strings.Contains(p.Detail, "nothing is watched yet") {
		t.Errorf("without a device: %q", p.Detail)
	}
}

func TestTotalsAreExact(t *testing.T) {
	for _, c := range []struct {
		total Total
		text  string
	}{{Total{}, "0"}, {Total{Seconds: 9_000_000_000_000, Micros: 1}, "9000000000000.000001"}, {Total{Seconds: 3, Micros: 500_000}, "3.5"}} {
		if got := text(t, c.total); got != c.text {
			t.Errorf("%+v is %s, not %s", c.total, got, c.text)
		}
		var back Total
		if err := json.Unmarshal([]byte(c.text), &back); err != nil || back != c.total {
			t.Errorf("%s is %+v, %v", c.text, back, err)
		}
	}
}

// What ended before a cut is not known any more, by whichever way figures are
// made, and also when the cut is made while they are.
func TestFiguresBeforeACut(t *testing.T) {
	w := newWorld(t)
	w.now = noon.Add(-24 * time.Hour)
	var made Device
	w.do(201, "POST", "/api/devices", `{"name":"kiln","address":"192.0.2.1"}`, &made)
	check, begin := made.Checks[0].ID, w.now
	var e ledger.Entry
	for _, hours := range []int{4, 4, 6} { // of them half up, half down: the last over midnight
		for _, status := range []sereno.Status{sereno.Up, sereno.Down} {
			s := sereno.Span{Check: check, Status: status, Begin: begin, Proof: begin, End: begin.Add(time.Duration(hours) * time.Hour / 2)}
			begin = s.End
			e.Closed = append(e.Closed, s)
		}
	}
	e.Open = []sereno.Span{{Check: check, Status: sereno.Up, Begin: begin, Proof: begin}}
	if err := w.Commit(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	w.now = noon
	cut := func() error {
		_, err := w.Retain(t.Context(), store.Retention{Spans: time.Hour}, noon)
		return err
	}
	w.Handler = New(Options{
		Plan: w, Facts: w.Store, Watch: w, Figures: &cutting{w.Store, cut}, Kinds: []probe.Kind{fakeKind{}}, Version: "test",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() sereno.Instant { return w.now },
	})
	for _, when := range []string{"while it is made", "afterwards"} {
		f := w.uptime("device=kiln&window=24h").Figures
		tallies, err := w.Tallies(t.Context(), []sereno.CheckID{check}, []store.Window{{From: noon.Add(-24 * time.Hour), To: noon}})
		if err != nil {
			t.Fatal(err)
		}
		is := tallies[0][0]
		if f.Up != Seconds(is.Up) || f.Down != Seconds(is.Down) || f.Unknown != Seconds(is.Unknown) || f.Outages != is.Outages || is.Unknown != 12*time.Hour {
			t.Errorf("%s: by spans %+v\nby readings %+v", when, f, is)
		}
	}
}

// A cutting store is cut just before spans are read.
type cutting struct {
	*store.Store
	cut func() error
}

func (c *cutting) NotUp(ctx context.Context, checks []sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error] {
	if err := c.cut(); err != nil {
		return func(yield func(sereno.Span, error) bool) { yield(sereno.Span{}, err) }
	}
	return c.Store.NotUp(ctx, checks, from, to)
}
