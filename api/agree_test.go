package api

import (
	"testing"
	"time"

	"sereno"
	"sereno/report"
)

// A report tells of each device, and of all, what /api/uptime tells. Only their
// coverages are not the same where a device was made in the window: a report
// does not blame it for the time before, and says so.
func TestAReportTellsWhatUptimeTells(t *testing.T) {
	w, ids := plant(t)
	for query, c := range map[string]sereno.Counting{
		"":                {},
		"&degraded=down":  {DegradedIsDown: true},
		"&unknown=down":   {UnknownIsDown: true},
		"&behind=exclude": {BehindIsNotDowntime: true},
	} {
		for _, back := range []time.Duration{24 * time.Hour, 11 * time.Hour, 48 * time.Hour} {
			from := noon.Add(-back)
			r, err := report.Make(t.Context(), w.Store, report.Request{From: from, To: noon, Now: noon, Counting: c})
			if err != nil {
				t.Fatal(err)
			}
			window := "from=" + from.String() + "&to=" + noon.String() + query
			for _, d := range r.Devices {
				f := summary(d.Figures, noon)
				u := w.uptime("device=" + d.Name + "&" + window).Figures
				if f.Numerator != u.Numerator || f.Denominator != u.Denominator || f.Downtime != u.Downtime || f.Outages != u.Outages || f.Longest != u.Longest ||
					(f.Uptime == nil) != (u.Uptime == nil) || f.Uptime != nil && *f.Uptime != *u.Uptime || f.LastOutage != u.LastOutage {
					t.Errorf("%s, %s: the report has\n%+v, not\n%+v", d.Name, window, f, u)
				}
				if d.Created <= from && *f.Coverage != *u.Coverage {
					t.Errorf("%s, %s: coverage %v, not %v", d.Name, window, *f.Coverage, *u.Coverage)
				}
			}
			all := w.uptime(window)
			m := meanDocument(&r.Total)
			if m.Numerator != all.Mean.Numerator || m.Denominator != all.Mean.Denominator || m.Downtime != all.Mean.Downtime || m.Outages != all.Mean.Outages || m.Devices != len(ids) {
				t.Errorf("all, %s: the report has %+v, not %+v", window, m, all.Mean)
			}
			if f := summary(r.Together, noon); f.Numerator != all.Figures.Numerator || f.Denominator != all.Figures.Denominator || f.Outages != all.Figures.Outages || f.Longest != all.Figures.Longest {
				t.Errorf("together, %s: the report has %+v, not %+v", window, f, all.Figures)
			}
		}
	}
}
