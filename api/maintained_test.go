package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/report"
)

// worked puts devices of the plant under maintenance, in hours of its day; an
// end of 0 is not yet.
func (w *world) worked(id sereno.DeviceID, window string, begin, end float64) {
	w.t.Helper()
	at := func(h float64) sereno.Instant { return noon.Add(-24*time.Hour + time.Duration(h*float64(time.Hour))) }
	m := sereno.Maintained{Device: id, Window: window, Begin: at(begin)}
	if end != 0 {
		m.End = at(end)
	}
	if err := w.PutMaintained(w.t.Context(), []sereno.Maintained{m}); err != nil {
		w.t.Fatal(err)
	}
}

// workday is the plant with work on its ovens (see plant):
//
//	hours   0   4   8   12  16  20  24
//	oven    uuuuddd???dduuuuuuuuuudd
//	oven        ..mmm....mm........m→     from 6 to 9, from 11 to 13, and since 23
//	press   uuuuuuuuuugguuuuuubbuuuu
//	press                     mm          from 18 to 20, the whole outage
func workday(t testing.TB) (w *world, ids map[string]sereno.DeviceID) {
	w, ids = plant(t)
	w.worked(ids["oven"], "bricks", 6, 9)
	w.worked(ids["oven"], "sunday", 11, 12.5)
	w.worked(ids["oven"], "bricks", 12, 13)
	w.worked(ids["oven"], "paint", 23, 0)
	w.worked(ids["press"], "oil", 18, 20)
	return w, ids
}

func TestUptimeLeavesMaintenanceOut(t *testing.T) {
	w, ids := workday(t)
	for _, test := range []struct {
		query                               string
		up, of, down, maintained, watchable int // hours
		outages, longest                    int
	}{
		// Down 4 to 6, not seen 9 to 10, down 10 to 11: one outage, for an answer
		// came in the maintenance. The other goes on since 22.
		{"device=oven&window=24h", 13, 17, 4, 6, 18, 2, 3},
		{"device=oven&window=24h&maintenance=include", 13, 17, 4, 6, 24, 2, 3},
		{"device=oven&window=24h&unknown=down", 13, 18, 5, 6, 18, 2, 4},
		{"device=oven&window=1h", 0, 0, 0, 1, 0, 0, 0},
		{"device=press&window=24h", 22, 22, 0, 2, 22, 0, 0},
		{fmt.Sprintf("check=%d&window=24h", w.check(ids["press"])), 22, 22, 0, 2, 22, 0, 0},
		{"device=core&window=24h", 22, 24, 2, 0, 24, 1, 2},
	} {
		f := w.uptime(test.query).Figures
		if f.Numerator != hours(test.up) || f.Denominator != hours(test.of) || f.Downtime != hours(test.down) || f.Maintenance != hours(test.maintained) ||
			f.Outages != test.outages || f.Longest != hours(test.longest) {
			t.Errorf("%s: %+v", test.query, f)
		}
		if f.Up+f.Degraded+f.Down+f.Unknown+f.Maintenance+f.Paused != f.Window {
			t.Errorf("%s: the six are not the window: %+v", test.query, f)
		}
		seen := f.Up + f.Degraded + f.Down
		if test.watchable == 0 && f.Coverage != nil || test.watchable > 0 && (f.Coverage == nil || *f.Coverage != float64(seen)/float64(hours(test.watchable))) {
			t.Errorf("%s: coverage %v of %d h", test.query, f.Coverage, test.watchable)
		}
	}
	u := w.uptime("site=plant1&window=24h&step=hour")
	// Together, the one under maintenance left out: down 4-6, 10-11, 18-20 (core)
	// and 22-23; not known 9-10.
	if f := u.Figures; f.Down != hours(6) || f.Unknown != hours(1) || f.Maintenance != 0 || f.Outages != 4 {
		t.Errorf("together: %+v", f)
	}
	if m := u.Mean; m.Numerator.Seconds != (22+22+13)*3600 || m.Denominator.Seconds != (24+22+17)*3600 || m.Outages != 3 {
		t.Errorf("the mean: %+v", m)
	}
	if f := u.Series[18].Figures; f.Down != hours(1) || u.Series[18].Mean.Denominator.Seconds != 2*3600 {
		t.Errorf("the hour from 18: %+v", u.Series[18])
	}
	if len(u.Worst) != 2 || u.Worst[0].Device != "oven" || u.Worst[0].Downtime != hours(4) || u.Worst[1].Device != "core" {
		t.Errorf("the worst: %+v", u.Worst)
	}
	if f := w.uptime("tag=rack:3&from=2026-11-21T06:00:00Z&to=2026-11-21T08:00:00Z").Figures; f.Up != hours(2) || f.Maintenance != 0 {
		t.Errorf("the press is worked on, the oven up: %+v", f)
	}
}

func (w *world) check(id sereno.DeviceID) sereno.CheckID {
	w.t.Helper()
	device, err := w.Device(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return device.Checks[0].ID
}

// However long the window is, and so whichever way they are made, figures of
// devices are those of each.
func TestFiguresByMetersKnowMaintenance(t *testing.T) {
	w, _ := workday(t)
	for _, window := range []string{"24h", "30d", "1000w", "3000w"} {
		var page Page[Device]
		w.do(200, "GET", "/api/devices?figures="+window, "", &page)
		if len(page.Items) != 4 {
			t.Fatalf("%d devices", len(page.Items))
		}
		for _, d := range page.Items {
			s, f := d.Figures[window], w.uptime("window="+window+"&device="+d.Name).Figures
			same := s.Numerator == f.Numerator && s.Denominator == f.Denominator && s.Downtime == f.Downtime && s.Outages == f.Outages
			for _, pair := range [][2]*float64{{s.Uptime, f.Uptime}, {s.Coverage, f.Coverage}} {
				same = same && (pair[0] == nil) == (pair[1] == nil) && (pair[0] == nil || *pair[0] == *pair[1])
			}
			if !same {
				t.Errorf("%s over %s: %+v, but alone %+v", d.Name, window, s, f)
			}
		}
	}
}

func TestHistoryShowsMaintenance(t *testing.T) {
	w, ids := workday(t)
	var h History
	w.do(200, "GET", fmt.Sprintf("/api/devices/%d/history", ids["oven"]), "", &h)
	said := make([]string, 0, len(h.Maintenance))
	for _, m := range h.Maintenance {
		end := "now"
		if !m.End.IsZero() {
			end = m.End.Time().Format("15:04")
		}
		said = append(said, fmt.Sprintf("%s %s to %s (%v s)", m.Window, m.Begin.Time().Format("15:04"), end, time.Duration(m.Seconds).Seconds()))
	}
	if want := []string{"bricks 18:00 to 21:00 (10800 s)", "sunday 23:00 to 00:30 (5400 s)", "bricks 00:00 to 01:00 (3600 s)", "paint 11:00 to now (3600 s)"}; !slices.Equal(said, want) {
		t.Errorf("%q\nnot\n%q", said, want)
	}
	if f, u := h.Summary, w.uptime("device=oven&window=24h").Figures; f.Maintenance != hours(6) || f.Numerator != u.Numerator || f.Denominator != u.Denominator || f.Outages != u.Outages {
		t.Errorf("its figures are %+v, not %+v", f, u)
	}
	w.do(200, "GET", fmt.Sprintf("/api/devices/%d/history", ids["core"]), "", &h)
	if h.Maintenance == nil || len(h.Maintenance) != 0 {
		t.Errorf("no maintenance is %v", h.Maintenance)
	}
}

func TestAReportKnowsTheMaintenanceThatUptimeKnows(t *testing.T) {
	w, _ := workday(t)
	from := noon.Add(-24 * time.Hour)
	r, err := report.Make(t.Context(), w.Store, report.Request{From: from, To: noon, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Devices {
		f, u := summary(d.Figures, noon), w.uptime("window=24h&device="+d.Name).Figures
		f.Coverage, u.Coverage, f.Uptime, u.Uptime, f.MTBF, u.MTBF, f.MTTR, u.MTTR, f.Current, u.Current = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
		if f != u {
			t.Errorf("%s: the report has\n%+v, not\n%+v", d.Name, f, u)
		}
	}
	if f, u := summary(r.Together, noon), w.uptime("window=24h").Figures; f.Down != u.Down || f.Maintenance != u.Maintenance || f.Unknown != u.Unknown {
		t.Errorf("together: the report has\n%+v, not\n%+v", f, u)
	}
}

func TestADeviceSaysThatItIsWorkedOn(t *testing.T) {
	w := newWorld(t)
	until := noon.Add(2 * time.Hour)
	worked := map[sereno.DeviceID]InMaintenance{}
	w.options.Maintenance = func(devices []sereno.DeviceID) map[sereno.DeviceID]InMaintenance {
		under := map[sereno.DeviceID]InMaintenance{}
		for _, d := range devices {
			if m, in := worked[d]; in {
				under[d] = m
			}
		}
		return under
	}
	w.Handler = New(w.options)
	var oven, door, got Device
	w.do(201, "POST", "/api/devices", `{"name":"oven","address":"10.0.0.1"}`, &oven)
	w.do(201, "POST", "/api/devices", `{"name":"door","address":"10.0.0.2"}`, &door)
	worked[oven.ID] = InMaintenance{Window: "sunday", Until: until}
	var list Page[Device]
	w.do(200, "GET", "/api/devices", "", &list)
	path := fmt.Sprintf("/api/devices/%d", oven.ID)
	answer := serve(w, request("GET", path, ""))
	if m := list.Items[0].Maintenance; m == nil || *m != worked[oven.ID] || list.Items[1].Maintenance != nil {
		t.Errorf("the list says %+v and %+v", m, list.Items[1].Maintenance)
	}
	if want := `"maintenance":{"window":"sunday","until":"2026-11-21T14:00:00.000000Z"}`; !strings.Contains(answer.Body.String(), want) {
		t.Errorf("%s has no %s", answer.Body, want)
	}
	// It can be sent back as it came, both ways; what it says of that is ignored.
	w.do(200, "PUT", path, answer.Body.String(), &got)
	if m := got.Maintenance; m == nil || *m != worked[oven.ID] {
		t.Errorf("sent back it says %+v", m)
	}
	other := fmt.Sprintf("/api/devices/%d", door.ID)
	answer = serve(w, request("GET", other, ""))
	if want := `"maintenance":null`; !strings.Contains(answer.Body.String(), want) {
		t.Errorf("%s has no %s", answer.Body, want)
	}
	w.do(200, "PUT", other, answer.Body.String(), &got)
}
