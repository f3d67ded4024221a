package report_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/report"
	"sereno/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

// october is the month of most tests, in Berlin: 31 days and an hour.
var (
	october  = sereno.At(time.Date(2026, 10, 1, 0, 0, 0, 0, berlin))
	november = sereno.At(time.Date(2026, 11, 1, 0, 0, 0, 0, berlin))
)

type world struct {
	testing.TB
	*store.Store
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "sereno.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &world{t, s}
}

func (w *world) add(at sereno.Instant, devices ...sereno.Device) []sereno.Device {
	w.Helper()
	for i := range devices {
		devices[i].Checks = []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}}
	}
	added, err := w.AddDevices(context.Background(), devices, at)
	if err != nil {
		w.Fatal(err)
	}
	return added
}

func (w *world) commit(e ledger.Entry) {
	w.Helper()
	if err := w.Commit(context.Background(), &e); err != nil {
		w.Fatal(err)
	}
}

// A turn is a change of status some hours after the begin of a life.
type turn struct {
	hours  float64
	status sereno.Status
	cause  sereno.Cause
	reason string
}

// live writes a life of turns, the last of which is open.
func live(e *ledger.Entry, d sereno.Device, turns ...turn) {
	check := d.Checks[0].ID
	last := sereno.Span{Check: check, Cause: sereno.CauseNew, Begin: d.Created, Proof: d.Created}
	for _, t := range turns {
		at := d.Created + sereno.Instant(t.hours*3600e6)
		last.End = at
		if last.End > last.Begin {
			e.Closed = append(e.Closed, last)
		}
		last = sereno.Span{Check: check, Status: t.status, Cause: t.cause, Begin: at, Proof: at, Reason: t.reason, Uncertainty: time.Second}
	}
	e.Open = append(e.Open, last)
}

const noReply = "no reply in 1s"

// autumn is a made-up network of n devices on two sites and a bit, watched from
// September to the third of November: deterministic, and with something of
// everything in it.
func autumn(t testing.TB, n int) *world {
	w := newWorld(t)
	begin := sereno.At(time.Date(2026, 9, 20, 8, 0, 0, 0, time.UTC))
	dice := rand.New(rand.NewPCG(1, 2))
	devices := make([]sereno.Device, n)
	for i := range devices {
		devices[i] = sereno.Device{
			Name:    fmt.Sprintf("%s-%03d", []string{"printer", "camera", "switch", "server"}[i%4], i),
			Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Tags: []string{"site:" + []string{"harbour", "mill", "tower"}[i%3]},
		}
	}
	devices[0] = sereno.Device{Name: "core-sw1", Address: "192.0.2.1", Tags: []string{"site:harbour"}}
	devices[1] = sereno.Device{Name: `<script>alert("1")</script>`, Address: "192.0.2.66", Tags: []string{"site:<b>mill</b>"}}
	devices[2] = sereno.Device{Name: "never-seen", Address: "192.0.2.99"}
	list := w.add(begin, devices...)

	hours := func(i sereno.Instant) float64 { return i.Sub(begin).Hours() }
	away, back := hours(sereno.At(time.Date(2026, 10, 9, 2, 10, 0, 0, time.UTC))), hours(sereno.At(time.Date(2026, 10, 9, 23, 5, 0, 0, time.UTC)))
	down := hours(sereno.At(time.Date(2026, 10, 14, 9, 41, 0, 0, time.UTC)))
	var e ledger.Entry
	for i, d := range list {
		turns := []turn{{0.0003, sereno.Up, 0, ""}}
		at := 30.0
		for range dice.IntN(4) {
			at += dice.ExpFloat64() * 200
			if at >= away-3 {
				break
			}
			turns = append(turns, turn{at, sereno.Down, 0, noReply}, turn{at + 0.002 + dice.ExpFloat64()*0.3, sereno.Up, 0, ""})
			at += 3
		}
		turns = append(turns, turn{away, sereno.Unknown, sereno.CauseAbsence, "Sereno was not watching: power loss or hard reset"}, turn{back, sereno.Up, 0, ""})
		switch {
		case i == 0:
			turns = append(turns, turn{down, sereno.Down, 0, noReply}, turn{down + 2.25, sereno.Up, 0, ""})
		case i == 2:
			turns = nil
		case i%3 == 0 && i < 30:
			turns = append(turns, turn{down + 0.0006, sereno.Down, sereno.CauseBehindParent, "unreachable behind core-sw1"}, turn{down + 2.2508, sereno.Up, 0, ""})
		case i%7 == 0:
			turns = append(turns, turn{back + 20, sereno.Degraded, 0, "slower than 50 ms"}, turn{back + 26, sereno.Up, 0, ""})
		case i == 4:
			turns = append(turns, turn{hours(november) - 5, sereno.Down, 0, noReply}, turn{hours(november) + 5, sereno.Up, 0, ""})
		case i == 5:
			turns = append(turns, turn{back + 100, sereno.Unknown, sereno.CausePaused, "paused"}, turn{back + 130, sereno.Up, 0, ""})
		}
		live(&e, d, turns...)
	}
	e.Absences = []sereno.Absence{
		{Begin: begin.Add(time.Duration(away * float64(time.Hour))), End: begin.Add(time.Duration(back * float64(time.Hour))), Uncertainty: 5 * time.Second, Cause: sereno.PowerLoss, Checks: n},
		{Begin: october.Add(25*24*time.Hour + 2*time.Hour), End: october.Add(25*24*time.Hour + 2*time.Hour + 90*time.Second), Cause: sereno.Stall, Checks: n, Unsure: true},
	}
	e.Incidents = []sereno.Incident{{
		ID: 1, Trouble: sereno.TroubleIsolated, Opened: october.Add(300 * time.Hour), Closed: october.Add(300*time.Hour + 20*time.Second), Reason: "no witness answers",
	}}
	w.commit(e)
	var worked []sereno.Maintained
	for i, d := range list {
		if i%3 == 0 {
			for _, day := range []int{4, 18} { // two Sundays
				two := sereno.At(time.Date(2026, 10, day, 2, 0, 0, 0, berlin))
				worked = append(worked, sereno.Maintained{Device: d.ID, Begin: two, End: two.Add(2 * time.Hour), Window: "sunday"})
			}
		}
		if i == 0 { // the end of its outage
			worked = append(worked, sereno.Maintained{Device: d.ID, Begin: sereno.At(time.Date(2026, 10, 14, 13, 0, 0, 0, berlin)), End: sereno.At(time.Date(2026, 10, 14, 15, 0, 0, 0, berlin)), Window: "switch-swap"})
		}
	}
	if err := w.PutMaintained(context.Background(), worked); err != nil {
		w.Fatal(err)
	}
	if n > 10 {
		if _, err := w.RemoveDevice(context.Background(), list[10].ID, october.Add(20*24*time.Hour)); err != nil {
			w.Fatal(err)
		}
		w.commitLate()
	}
	return w
}

// commitLate adds a device that came within the month.
func (w *world) commitLate() {
	var e ledger.Entry
	d := w.add(october.Add(27*24*time.Hour), sereno.Device{Name: "late-comer", Address: "late-comer"})[0]
	live(&e, d, turn{0.001, sereno.Up, 0, ""}, turn{50, sereno.Down, 0, noReply}, turn{50.5, sereno.Unknown, sereno.CauseNoEvidence, "no evidence"}, turn{51, sereno.Down, 0, noReply}, turn{51.25, sereno.Up, 0, ""})
	w.commit(e)
}

func (w *world) report(r report.Request) *report.Report {
	w.Helper()
	if r.From == 0 {
		r.From, r.To = october, november
	}
	if r.Now == 0 {
		r.Now = november.Add(12 * time.Hour)
	}
	if r.Zone == nil {
		r.Zone = berlin
	}
	r.Version = "test"
	made, err := report.Make(context.Background(), w.Store, r)
	if err != nil {
		w.Fatal(err)
	}
	return made
}

func TestGolden(t *testing.T) {
	r := autumn(t, 40).report(report.Request{})
	for format, write := range map[string]func(io.Writer) error{"html": r.HTML, "csv": r.CSV, "json": r.JSON} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "october."+format)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is another (-update writes it anew)", path)
		}
	}
}

// What the report says of a device is what its spans say, and what it says of
// all is what it says of each.
func TestSumsEqualTheFigures(t *testing.T) {
	w := autumn(t, 60)
	for _, counting := range []sereno.Counting{{}, {DegradedIsDown: true}, {UnknownIsDown: true}, {BehindIsNotDowntime: true}} {
		r := w.report(report.Request{Counting: counting})
		var sum sereno.Mean
		outages := map[sereno.DeviceID]time.Duration{}
		for _, o := range r.Outages {
			outages[o.Device.ID] += o.Down
		}
		for _, d := range r.Devices {
			var spans []sereno.Span
			for s, err := range w.Spans(t.Context(), d.Checks[0].ID, 1, math.MaxInt64) {
				if err != nil {
					t.Fatal(err)
				}
				spans = append(spans, s)
			}
			from, to := max(october, d.Created), november
			if d.Removed != 0 {
				to = min(to, d.Removed)
			}
			worked, err := w.Maintained(t.Context(), []sereno.DeviceID{d.ID}, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			want := counting.Tally(sereno.Exempt(slices.Values(spans), worked), from, to)
			if (want.Maintenance > 0) != (len(worked) > 0) {
				t.Errorf("%s: maintenance %s from %d stretches", d.Name, want.Maintenance, len(worked))
			}
			if d.Figures != want {
				t.Errorf("%s: %+v, want %+v", d.Name, d.Figures, want)
			}
			if f := d.Figures; f.Up+f.Degraded+f.Down+f.Unknown+f.Maintenance+f.Paused != to.Sub(from) {
				t.Errorf("%s: the six do not add up to %s", d.Name, to.Sub(from))
			}
			if outages[d.ID] != want.Downtime() {
				t.Errorf("%s: its outages add up to %s, want %s", d.Name, outages[d.ID], want.Downtime())
			}
			sum.Add(want)
		}
		if r.Total != sum || r.OutageCount != sum.Outages || len(r.Outages) != r.OutageCount {
			t.Errorf("the total is %+v with %d outages, want %+v", r.Total, r.OutageCount, sum)
		}
		if len(r.Devices) != 61 {
			t.Errorf("%d devices, want 61", len(r.Devices))
		}

		var text bytes.Buffer
		if err := r.CSV(&text); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&text).ReadAll()
		if err != nil || len(rows) != 62 {
			t.Fatalf("%d rows (%v)", len(rows), err)
		}
		column := slices.Index(rows[0], "downtime_seconds")
		micros := int64(0)
		for _, row := range rows[1:] {
			s, err := strconv.ParseFloat(row[column], 64)
			if err != nil {
				t.Fatal(err)
			}
			micros += int64(math.Round(s * 1e6))
		}
		if want := sum.Downtime.Seconds*1e6 + sum.Downtime.Micros; micros != want {
			t.Errorf("the downtimes of the CSV add up to %d µs, want %d", micros, want)
		}
	}
}

func TestTheDocumentIsJSON(t *testing.T) {
	r := autumn(t, 20).report(report.Request{Tag: "site:harbour"})
	var text bytes.Buffer
	if err := r.JSON(&text); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title string
		Tag   string
		Total struct {
			Downtime float64 `json:"downtime_seconds"`
		}
		Devices []struct {
			Device  string
			Figures struct {
				Window float64 `json:"window_seconds"`
			}
		}
		Sites []struct{ Site string }
	}
	if err := json.Unmarshal(text.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Title != "October 2026" || d.Tag != "site:harbour" || len(d.Sites) != 1 || d.Sites[0].Site != "harbour" || d.Devices[0].Figures.Window != 31*86400+3600 {
		t.Errorf("%+v", d)
	}
}

// Names come from elsewhere: on the page they are text.
func TestNamesAreInert(t *testing.T) {
	w := newWorld(t)
	names := []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</title><b>`, `{{.Version}}`, `--></svg>`}
	var e ledger.Entry
	for _, name := range names {
		d := w.add(october, sereno.Device{Name: name, Address: "192.0.2.1", Tags: []string{"site:" + name}})[0]
		live(&e, d, turn{1, sereno.Up, 0, ""}, turn{2, sereno.Down, 0, name}, turn{3, sereno.Up, 0, ""})
	}
	w.commit(e)
	for _, name := range append(names, "") {
		r := w.report(report.Request{Device: name})
		var page bytes.Buffer
		if err := r.HTML(&page); err != nil {
			t.Fatal(err)
		}
		text := page.String()
		for _, bad := range []string{"<script", "<img", "<b>v", "</title><b>", "--></svg>"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q is on the page of %q", bad, name)
			}
		}
		if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "style=") {
			t.Errorf("the page of %q has what a strict policy refuses", name)
		}
	}
}

func TestTitles(t *testing.T) {
	w := autumn(t, 3)
	at := func(s string) sereno.Instant {
		at, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return sereno.At(at)
	}
	for _, c := range []struct{ from, to, title, file string }{
		{"2026-10-01 00:00", "2026-11-01 00:00", "October 2026", "sereno-report-2026-10-01-2026-10-31"},
		{"2026-10-25 00:00", "2026-10-26 00:00", "25 October 2026", "sereno-report-2026-10-25-2026-10-25"},
		{"2026-10-19 00:00", "2026-10-26 00:00", "Week 43 of 2026", "sereno-report-2026-10-19-2026-10-25"},
		{"2026-01-01 00:00", "2027-01-01 00:00", "2026", "sereno-report-2026-01-01-2026-12-31"},
		{"2026-10-01 00:00", "2026-10-08 00:00", "2026-10-01 00:00 to 2026-10-08 00:00", "sereno-report-2026-10-01-2026-10-07"},
		{"2026-10-01 08:00", "2026-10-01 09:30", "2026-10-01 08:00 to 2026-10-01 09:30", "sereno-report-2026-10-01T0800-2026-10-01T0930"},
	} {
		r := w.report(report.Request{From: at(c.from), To: at(c.to)})
		if r.Title() != c.title || r.FileName() != c.file {
			t.Errorf("%s to %s: %q and %q", c.from, c.to, r.Title(), r.FileName())
		}
		for _, write := range []func(io.Writer) error{r.HTML, r.CSV, r.JSON} {
			if err := write(io.Discard); err != nil {
				t.Errorf("%s to %s: %v", c.from, c.to, err)
			}
		}
	}
}

func TestWhatCannotBeReported(t *testing.T) {
	w := autumn(t, 3)
	for _, c := range []struct {
		name  string
		r     report.Request
		kind  sereno.Kind
		field string
		text  string
	}{
		{"ends before it begins", report.Request{From: november, To: october}, sereno.Invalid, "from", "not before its end"},
		{"the future", report.Request{From: november.Add(48 * time.Hour), To: november.Add(96 * time.Hour)}, sereno.Invalid, "from", "yet to come"},
		{"too long", report.Request{From: 1 - 190*365*86400e6, To: november}, sereno.Invalid, "from", "100 years"},
		{"no such device", report.Request{From: october, To: november, Device: "nobody"}, sereno.NotFound, "device", `no device called "nobody"`},
		{"no such tag", report.Request{From: october, To: november, Tag: "rack:3"}, sereno.NotFound, "tag", `no device with the tag "rack:3"`},
	} {
		c.r.Now = november
		_, err := report.Make(t.Context(), w.Store, c.r)
		e, ok := errors.AsType[*sereno.Error](err)
		if !ok || e.Kind != c.kind || e.Field != c.field || !strings.Contains(e.Text, c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	r := w.report(report.Request{From: 1, To: sereno.At(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))}) // before anything
	var page bytes.Buffer
	if err := r.HTML(&page); err != nil || !strings.Contains(page.String(), "No device was watched in this period.") {
		t.Errorf("%v: %s", err, &page)
	}
}

// BenchmarkReport makes the page of a month.
func BenchmarkReport(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := autumn(b, n)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				var page bytes.Buffer
				if err := w.report(report.Request{}).HTML(&page); err != nil {
					b.Fatal(err)
				}
				size = page.Len()
			}
			b.ReportMetric(float64(size)/1e6, "MB")
		})
	}
}
