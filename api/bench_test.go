package api

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
)

// BenchmarkListDevices reads pages from the middle of 100,000 devices.
func BenchmarkListDevices(b *testing.B) {
	w := newWorld(b)
	devices := make([]sereno.Device, 100_000)
	for i := range devices {
		devices[i] = sereno.Device{
			Name: fmt.Sprintf("device-%06d", i), Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
			Tags:   []string{fmt.Sprintf("rack:%d", i%1000), "site:plant1"},
			Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
		}
	}
	devices, err := w.AddDevices(b.Context(), devices, noon)
	if err != nil {
		b.Fatal(err)
	}
	live, _ := (&memory{}).Live(b.Context(), []sereno.CheckID{1})
	for _, d := range devices {
		l := live[0]
		l.Check = d.Checks[0].ID
		w.live[l.Check] = l
	}
	var middle Page[Device]
	w.do(200, "GET", "/api/devices?limit=1&search=device-05", "", &middle)
	for _, limit := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			r := request("GET", fmt.Sprintf("/api/devices?limit=%d&cursor=%s", limit, *middle.NextCursor), "")
			b.ReportAllocs()
			for b.Loop() {
				if answer := serve(w, r); answer.Code != http.StatusOK {
					b.Fatal(answer.Body)
				}
			}
		})
	}
}

// BenchmarkHistory is a year of a check that failed every hour.
func BenchmarkHistory(b *testing.B) {
	w := newWorld(b)
	var d Device
	w.now = noon.Add(-365 * 24 * time.Hour)
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"10.0.0.1"}`, &d)
	entry := &ledger.Entry{}
	check := d.Checks[0].ID
	for begin := w.now; begin < noon; begin = begin.Add(time.Hour) {
		entry.Closed = append(entry.Closed,
			sereno.Span{Check: check, Status: sereno.Up, Begin: begin, End: begin.Add(59 * time.Minute), Proof: begin},
			sereno.Span{Check: check, Status: sereno.Down, Begin: begin.Add(59 * time.Minute), End: begin.Add(time.Hour), Proof: begin.Add(59*time.Minute + 2*time.Second), Reason: "no reply in 1s"})
	}
	entry.Open = []sereno.Span{{Check: check, Status: sereno.Up, Begin: noon, Proof: noon}}
	if err := w.Commit(b.Context(), entry); err != nil {
		b.Fatal(err)
	}
	w.now = noon.Add(time.Minute)
	r := request("GET", fmt.Sprintf("/api/devices/%d/history?from=2025-11-21T12:00:00Z", d.ID), "")
	for b.Loop() {
		if answer := serve(w, r); answer.Code != http.StatusOK {
			b.Fatal(answer.Body)
		}
	}
}

// BenchmarkWorkedOnEveryWeek is a page of 1,000 devices, each of which was
// under maintenance for two hours every week of a year, and down for a while in
// each of them.
func BenchmarkWorkedOnEveryWeek(b *testing.B) {
	const weeks, week = 52, 7 * 24 * time.Hour
	w := newWorld(b)
	w.now = noon.Add(-weeks * week)
	devices := make([]sereno.Device, 1000)
	for i := range devices {
		devices[i] = sereno.Device{
			Name: fmt.Sprintf("device-%04d", i), Address: fmt.Sprintf("10.0.%d.%d", i>>8, i&255),
			Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
		}
	}
	devices, err := w.AddDevices(b.Context(), devices, w.now)
	if err != nil {
		b.Fatal(err)
	}
	var stretches []sereno.Maintained
	var entry ledger.Entry
	for _, d := range devices {
		check, since := d.Checks[0].ID, w.now
		for k := range weeks {
			begin := w.now.Add(time.Duration(k)*week + 24*time.Hour)
			stretches = append(stretches, sereno.Maintained{Device: d.ID, Window: "weekly", Begin: begin, End: begin.Add(2 * time.Hour)})
			down := begin.Add(time.Hour)
			entry.Closed = append(entry.Closed,
				sereno.Span{Check: check, Status: sereno.Up, Begin: since, End: down, Proof: since},
				sereno.Span{Check: check, Status: sereno.Down, Begin: down, End: down.Add(10 * time.Minute), Proof: down})
			since = down.Add(10 * time.Minute)
		}
		entry.Open = append(entry.Open, sereno.Span{Check: check, Status: sereno.Up, Begin: since, Proof: since})
	}
	if err := w.Commit(b.Context(), &entry); err != nil {
		b.Fatal(err)
	}
	if err := w.PutMaintained(b.Context(), stretches); err != nil {
		b.Fatal(err)
	}
	w.now = noon
	var page Page[Device]
	w.do(200, "GET", "/api/devices?limit=1000&figures=365d", "", &page)
	if f := page.Items[999].Figures["365d"]; len(page.Items) != 1000 || f.Outages != 0 || f.Downtime != 0 {
		b.Fatalf("maintenance is not left out: %+v", f)
	}
	for _, figures := range []string{"24h", "30d", "365d", "24h,7d,30d,90d,365d"} {
		b.Run(figures, func(b *testing.B) {
			r := request("GET", "/api/devices?limit=1000&figures="+figures, "")
			b.ReportAllocs()
			for b.Loop() {
				if answer := serve(w, r); answer.Code != http.StatusOK {
					b.Fatal(answer.Body)
				}
			}
		})
	}
}
