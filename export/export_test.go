package export_test

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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/export"
	"sereno/ledger"
	"sereno/samples"
	"sereno/sheet"
	"sereno/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when everything begins.
var noon = sereno.At(time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)) // half an hour before Europe's clocks go back

func at(seconds float64) sereno.Instant { return noon + sereno.Instant(seconds*1e6) }

// A world is a real store and a real database of samples.
type world struct {
	testing.TB
	*store.Store
	samples *samples.DB
}

func newWorld(t testing.TB) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "sereno.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	db := samples.New(samples.Options{Dir: filepath.Join(t.TempDir(), "samples"), Retention: 365 * 24 * time.Hour, Log: log})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := db.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	return &world{t, s, db}
}

func (w *world) add(seconds float64, devices ...sereno.Device) []sereno.Device {
	w.Helper()
	added, err := w.AddDevices(context.Background(), devices, at(seconds))
	if err != nil {
		w.Fatal(err)
	}
	w.samples.Know(added)
	return added
}

func (w *world) commit(e ledger.Entry) {
	w.Helper()
	if err := w.Commit(context.Background(), &e); err != nil {
		w.Fatal(err)
	}
}

// keep writes looks and waits until they can be read.
func (w *world) keep(looks ...sereno.Result) {
	w.Helper()
	before := w.samples.Usage()
	for batch := range slices.Chunk(looks, 4096) {
		w.samples.Keep(batch)
	}
	for {
		u := w.samples.Usage()
		if u.Dropped > 0 || u.Refused > 0 {
			w.Fatalf("dropped %d, refused %d", u.Dropped, u.Refused)
		}
		if u.Kept == before.Kept+uint64(len(looks)) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func answered(d sereno.Device, check int, seconds, ms float64) sereno.Result {
	rtt := time.Duration(ms * float64(time.Millisecond))
	return sereno.Result{Check: d.Checks[check].ID, At: at(seconds), Status: sereno.Up, RTT: rtt}
}

func lost(d sereno.Device, check int, seconds float64) sereno.Result {
	return sereno.Result{Check: d.Checks[check].ID, At: at(seconds), Status: sereno.Down, Reason: "no reply in 1s"}
}

// export does a request over the first hour, unless it says otherwise.
func (w *world) export(r export.Request) (string, error) {
	w.Helper()
	if r.From == 0 {
		r.From = noon
	}
	if r.To == 0 {
		r.To = at(7200)
	}
	if r.Now == 0 {
		r.Now = at(3600)
	}
	job, err := export.Prepare(context.Background(), w.Store, w.samples, r)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	rows, err := job.Write(context.Background(), &out)
	if err != nil {
		return "", err
	}
	if n := count(w, r.Format, out.Bytes()); n != rows {
		w.Errorf("%d rows, but it says %d", n, rows)
	}
	return out.String(), nil
}

// count reads a table with the parsers that others use.
func count(t testing.TB, f sheet.Format, text []byte) int64 {
	t.Helper()
	switch f {
	case sheet.CSV:
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return int64(len(rows) - 1)
	case sheet.JSON:
		var rows []map[string]any
		if err := json.Unmarshal(text, &rows); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return int64(len(rows))
	default:
		d := json.NewDecoder(bytes.NewReader(text))
		for n := int64(0); ; n++ {
			var row map[string]any
			if err := d.Decode(&row); errors.Is(err, io.EOF) {
				return n
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
		}
	}
}

func (w *world) golden(name, got string) {
	w.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	if got != string(want) {
		w.Errorf("%s (-update writes it anew)\n got %s\nwant %s", name, got, want)
	}
}

// evening is a small history: a switch with two checks, a printer behind it
// that is removed, one whose name means harm.
func evening(t testing.TB) *world {
	w := newWorld(t)
	echo := sereno.Check{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}
	slow := sereno.Check{Name: "slow", Kind: "icmp", Policy: sereno.DefaultPolicy}
	slow.Policy.Interval = 10 * time.Second
	sw := w.add(0, sereno.Device{Name: "core-sw1", Address: "192.0.2.1", Tags: []string{"site:plant1"}, Checks: []sereno.Check{echo, slow}})[0]
	printer := w.add(60, sereno.Device{Name: "printer, 2nd floor", Address: "192.0.2.12", Checks: []sereno.Check{echo}})[0]
	hostile := w.add(90, sereno.Device{Name: `=HYPERLINK("http://192.0.2.66")`, Address: "192.0.2.66", Checks: []sereno.Check{echo}})[0]

	closed := func(d sereno.Device, check int, status sereno.Status, begin, end float64, reason string) sereno.Span {
		return sereno.Span{Check: d.Checks[check].ID, Status: status, Begin: at(begin), End: at(end), Proof: at(begin + 2), Uncertainty: time.Second, Reason: reason}
	}
	open := func(d sereno.Device, check int, begin float64) sereno.Span {
		return sereno.Span{Check: d.Checks[check].ID, Status: sereno.Up, Begin: at(begin), Proof: at(begin)}
	}
	start := func(d sereno.Device, check int, begin, end float64) sereno.Span {
		return sereno.Span{Check: d.Checks[check].ID, Cause: sereno.CauseNew, Begin: at(begin), End: at(end), Proof: at(begin)}
	}
	w.commit(ledger.Entry{
		Closed: []sereno.Span{
			start(sw, 0, 0, 1), closed(sw, 0, sereno.Up, 1, 100, ""), closed(sw, 0, sereno.Down, 100, 302.000001, "no reply in 1s"),
			start(sw, 1, 0, 7), closed(sw, 1, sereno.Degraded, 7, 4000, "slower than 1 ms"), // ends after now
			start(printer, 0, 60, 61), closed(printer, 0, sereno.Down, 61, 70, "unreachable behind core-sw1"),
			start(hostile, 0, 90, 91),
		},
		Open: []sereno.Span{open(sw, 0, 302.000001), open(sw, 1, 4000), open(printer, 0, 70), open(hostile, 0, 91)},
		Incidents: []sereno.Incident{
			{ID: 1, Device: sw.ID, Check: sw.Checks[0].ID, Opened: at(100), Closed: at(302.000001), Reason: "no reply in 1s"},
			{ID: 2, Device: printer.ID, Check: printer.Checks[0].ID, Opened: at(61), Closed: at(70), Under: 1, Reason: "unreachable behind core-sw1"},
			{ID: 3, Trouble: sereno.TroubleIsolated, Opened: at(400), Closed: at(420), Reason: `cut off, "gateway" silent`},
			{ID: 4, Device: sw.ID, Check: sw.Checks[1].ID, Trouble: sereno.TroubleDegraded, Opened: at(7), Closed: at(4000), Reason: "slower than 1 ms"},
		},
		Absences: []sereno.Absence{
			{Begin: at(600), End: at(660.5), Uncertainty: 5 * time.Second, Cause: sereno.PowerLoss, Checks: 4},
			{Begin: at(1800), End: at(1801), Cause: sereno.Stall, Unsure: true, Checks: 4},
		},
	})
	if err := w.PutMaintained(context.Background(), []sereno.Maintained{
		{Device: sw.ID, Begin: at(90), End: at(150), Window: "switch-swap"}, {Device: sw.ID, Begin: at(140), End: at(160), Window: "sunday"}, {Device: hostile.ID, Begin: at(2000), Window: "sunday"},
	}); err != nil {
		w.Fatal(err)
	}
	w.keep(
		answered(sw, 0, 1.25, 0.5), answered(sw, 0, 2.25, 1.2345678), lost(sw, 0, 3.25), answered(sw, 0, 4.25, 12),
		answered(sw, 1, 2, 1500),
		answered(printer, 0, 61.5, 3),
		lost(hostile, 0, 92.125),
		answered(sw, 0, 1900.25, 2), // after the clocks went back
	)
	if _, err := w.RemoveDevice(context.Background(), printer.ID, at(1000)); err != nil {
		w.Fatal(err)
	}
	return w
}

func TestGolden(t *testing.T) {
	w := evening(t)
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		r    export.Request
	}{
		{"looks", export.Request{Subject: export.Looks}},
		{"spans", export.Request{Subject: export.Spans}},
		{"incidents", export.Request{Subject: export.Incidents}},
		{"absences", export.Request{Subject: export.Absences}},
		{"responses", export.Request{Subject: export.Responses, Zone: zone}},
		{"responses-wide", export.Request{Subject: export.Responses, Wide: true, Zone: zone}},
		{"responses-wide-10s", export.Request{Subject: export.Responses, Wide: true, Step: 10 * time.Second}},
		{"responses-wide-site", export.Request{Subject: export.Responses, Wide: true, Tag: "site:plant1"}},
		{"incidents-printer", export.Request{Subject: export.Incidents, Device: "printer, 2nd floor"}},
		{"spans-plant1", export.Request{Subject: export.Spans, Tag: "site:plant1", From: at(200), To: at(303)}},
		{"looks-none", export.Request{Subject: export.Looks, From: at(2000)}},
	} {
		for _, f := range []sheet.Format{sheet.CSV, sheet.JSON, sheet.NDJSON} {
			t.Run(c.name+"."+f.String(), func(t *testing.T) {
				r := c.r
				r.Format = f
				got, err := w.export(r)
				if err != nil {
					t.Fatal(err)
				}
				w := &world{t, w.Store, w.samples}
				w.golden(c.name+"."+f.String(), got)
			})
		}
	}
}

func TestWhatCannotBeExported(t *testing.T) {
	w := evening(t)
	for _, c := range []struct {
		name  string
		r     export.Request
		kind  sereno.Kind
		field string
		text  string
	}{
		{"ends before it begins", export.Request{From: at(10), To: at(5)}, sereno.Invalid, "from", "not before its end"},
		{"is empty", export.Request{From: at(10), To: at(10)}, sereno.Invalid, "from", "not before its end"},
		{"lies ahead", export.Request{From: at(5000), To: at(6000)}, sereno.Invalid, "from", "yet to come"},
		{"nobody has this name", export.Request{Device: "core-sw2"}, sereno.NotFound, "device", `no device called "core-sw2" was watched`},
		{"nobody has this id", export.Request{Device: "99"}, sereno.NotFound, "device", `"99"`},
		{"nobody has this tag", export.Request{Tag: "site"}, sereno.NotFound, "tag", `the tag "site"`},
		{"it was not there yet", export.Request{Device: "printer, 2nd floor", To: at(60)}, sereno.NotFound, "device", "was watched between"},
		{"absences of a device", export.Request{Subject: export.Absences, Device: "core-sw1"}, sereno.Invalid, "device", "Sereno itself"},
		{"wide spans", export.Request{Subject: export.Spans, Wide: true}, sereno.Invalid, "wide", "not spans"},
		{"a step without columns", export.Request{Subject: export.Responses, Step: time.Second}, sereno.Invalid, "step", "wide"},
		{"a step too short", export.Request{Subject: export.Responses, Wide: true, Step: time.Millisecond}, sereno.Invalid, "step", "100ms"},
		{"a step too fine", export.Request{Subject: export.Responses, Wide: true, Step: time.Second + time.Microsecond}, sereno.Invalid, "step", "milliseconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := w.export(c.r)
			e, ok := errors.AsType[*sereno.Error](err)
			if !ok || e.Kind != c.kind || e.Field != c.field || !strings.Contains(e.Text, c.text) {
				t.Errorf("%#v (%q), want kind %d, field %q and %q", err, out, c.kind, c.field, c.text)
			}
		})
	}
	if _, err := sheet.ParseFormat("xls"); err == nil || err.Error() != `there is no format "xls", only csv, json and ndjson` {
		t.Error(err)
	}
	if s, err := export.ParseSubject("responses"); s != export.Responses || err != nil {
		t.Error(s, err)
	}
}

func TestSamplesThatAreStillReadBack(t *testing.T) {
	w := evening(t)
	closed := samples.New(samples.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	_, err := export.Prepare(t.Context(), w.Store, closed, export.Request{From: noon, To: at(1), Now: at(1)})
	if sereno.KindOf(err) != sereno.Unavailable {
		t.Errorf("%v is not said before the first byte", err)
	}
}

func TestARemovedDeviceIsFoundByItsIDAndName(t *testing.T) {
	w := evening(t)
	byName, err := w.export(export.Request{Device: "printer, 2nd floor"})
	if err != nil {
		t.Fatal(err)
	}
	byID, err := w.export(export.Request{Device: "2"})
	if err != nil {
		t.Fatal(err)
	}
	if byID != byName || !strings.Contains(byID, "192.0.2.12") && !strings.Contains(byID, `"printer, 2nd floor"`) {
		t.Errorf("by name %s\nby id %s", byName, byID)
	}
}

// What is longer than a page is read on where the page ended, nothing twice and
// nothing left out.
func TestLongerThanAPage(t *testing.T) {
	const n = 40_000
	w := newWorld(t)
	d := w.add(0, sereno.Device{Name: "a", Address: "192.0.2.1", Checks: []sereno.Check{
		{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}, {Name: "second", Kind: "icmp", Policy: sereno.DefaultPolicy},
	}})[0]
	var looks []sereno.Result
	var e ledger.Entry
	for i := range n {
		looks = append(looks, answered(d, 0, float64(i)*0.1, 1+float64(i%100)))
		if i%3 == 0 {
			looks = append(looks, lost(d, 1, float64(i)*0.1))
		}
		e.Closed = append(e.Closed, sereno.Span{Check: d.Checks[0].ID, Status: sereno.Status(i%2*2 + 1), Begin: at(float64(i) * 0.1), End: at(float64(i+1) * 0.1)})
	}
	e.Closed[0].Status, e.Closed[0].Cause = sereno.Unknown, sereno.CauseNew
	e.Open = []sereno.Span{{Check: d.Checks[0].ID, Status: sereno.Up, Begin: at(n * 0.1)}}
	w.commit(e)
	w.keep(looks...)

	whole := export.Request{To: at(n), Now: at(n)}
	out, err := w.export(whole)
	if err != nil {
		t.Fatal(err)
	}
	rows := table(t, out)
	if len(rows) != len(looks) {
		t.Fatalf("%d looks of %d", len(rows), len(looks))
	}
	for i, r := range looks {
		rtt := ""
		if r.Status == sereno.Up {
			rtt = fmt.Sprint(float64(sereno.RTTOf(sereno.StoredRTT(r.RTT))) / 1e6)
		}
		if got := rows[i]; got["time"] != r.At.String() || got["check_id"] != fmt.Sprint(r.Check) || got["rtt_ms"] != rtt || got["status"] != r.Status.String() {
			t.Fatalf("row %d is %v, want %s of check %d: %s %s ms", i, got, r.At, r.Check, r.Status, rtt)
		}
	}

	whole.Subject = export.Spans
	if out, err = w.export(whole); err != nil {
		t.Fatal(err)
	}
	spans := table(t, out)
	if len(spans) != n+2 {
		t.Fatalf("%d spans, want %d", len(spans), n+2)
	}
	for i := range n {
		if spans[i]["begin"] != e.Closed[i].Begin.String() || spans[i]["end"] != e.Closed[i].End.String() || spans[i]["status"] != e.Closed[i].Status.String() {
			t.Fatalf("span %d is %v, want %v", i, spans[i], e.Closed[i])
		}
	}
}

// table reads CSV by its headings.
func table(t testing.TB, text string) (rows []map[string]string) {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, cell := range line {
			row[lines[0][i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// A writer that fails ends the export, and the number of rows is not the whole.
func TestACutConnection(t *testing.T) {
	w := evening(t)
	for _, s := range []export.Subject{export.Looks, export.Spans, export.Incidents, export.Absences, export.Responses} {
		job, err := export.Prepare(t.Context(), w.Store, w.samples, export.Request{Subject: s, From: noon, To: at(3600), Now: at(3600)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := job.Write(t.Context(), cut{}); !errors.Is(err, errCut) {
			t.Errorf("%s: %v", s, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := job.Write(ctx, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, given up: %v", s, err)
		}
	}
}

var errCut = errors.New("cut")

type cut struct{}

func (cut) Write([]byte) (int, error) { return 0, errCut }
