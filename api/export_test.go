package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/samples"
	"sereno/store"
)

// A library is a real store, real samples and a real server over them.
type library struct {
	*store.Store
	*httptest.Server
	kept *samples.DB
	log  *ear
}

// An ear hears what the log says.
type ear struct {
	mu   sync.Mutex
	text strings.Builder
}

func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(p)
}

func (e *ear) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

func newLibrary(t testing.TB, change func(*Options)) *library {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "sereno.db"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	l := &library{Store: s, kept: samples.New(samples.Options{Dir: t.TempDir(), Retention: 365 * 24 * time.Hour, Log: quiet}), log: new(ear)}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.kept.Run(ctx) }()
	if err := l.kept.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Facts: s, Book: s, Looks: l.kept, Version: "test", Now: func() sereno.Instant { return noon },
		Log: slog.New(slog.NewTextHandler(l.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	l.Server = httptest.NewServer(New(o))
	t.Cleanup(func() {
		l.Server.Close()
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// watch adds a device that was created an hour before noon and answered n looks.
func (l *library) watch(t *testing.T, name string, n int) sereno.Device {
	t.Helper()
	added, err := l.AddDevices(t.Context(), []sereno.Device{{
		Name: name, Address: "192.0.2.1", Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
	}}, noon.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	l.kept.Know(added)
	before := l.kept.Usage().Kept
	looks := make([]sereno.Result, n)
	for i := range looks {
		looks[i] = sereno.Result{Check: added[0].Checks[0].ID, At: noon.Add(-time.Hour + time.Duration(i)*100*time.Millisecond), Status: sereno.Up, RTT: time.Millisecond}
	}
	l.kept.Keep(looks)
	for l.kept.Usage().Kept != before+uint64(n) {
		time.Sleep(time.Millisecond)
	}
	return added[0]
}

// get returns the whole answer.
func (l *library) get(t *testing.T, path string) (*http.Response, string, error) {
	t.Helper()
	answer, err := http.Get(l.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, string(body), err
}

func TestAWholeExportSaysSo(t *testing.T) {
	l := newLibrary(t, nil)
	l.watch(t, "core-sw1", 30_000)
	for _, c := range []struct {
		path, kind, file, expected string
		rows                       int
	}{
		{"looks", "text/csv; charset=utf-8; header=present", "sereno-looks-20261120T120000Z-20261121T120000Z.csv", "3600", 30_000},
		{"responses?format=ndjson", "application/x-ndjson", "sereno-responses-20261120T120000Z-20261121T120000Z.ndjson", "3600", 30_000},
		{"responses?wide=true&step_seconds=60&format=json", "application/json", "sereno-responses-wide-20261120T120000Z-20261121T120000Z.json", "1440", 50},
		{"spans?from=2026-11-21T11:30:00Z", "text/csv; charset=utf-8; header=present", "sereno-spans-20261121T113000Z-20261121T120000Z.csv", "", 1},
		{"incidents", "text/csv; charset=utf-8; header=present", "sereno-incidents-20261120T120000Z-20261121T120000Z.csv", "", 0},
	} {
		answer, body, err := l.get(t, "/api/export/"+c.path)
		if err != nil || answer.StatusCode != 200 {
			t.Errorf("%s: %s, %v: %.300s", c.path, answer.Status, err, body)
			continue
		}
		h := answer.Header
		if h.Get("Content-Type") != c.kind || h.Get("Content-Disposition") != `attachment; filename="`+c.file+`"` || h.Get(ExpectedHeader) != c.expected {
			t.Errorf("%s: %v", c.path, h)
		}
		if got := answer.Trailer.Get(RowsTrailer); got != fmt.Sprint(c.rows) {
			t.Errorf("%s: the trailer says %q, want %d rows", c.path, got, c.rows)
		}
		if lines := strings.Count(body, "\n"); lines < c.rows {
			t.Errorf("%s: %d lines for %d rows", c.path, lines, c.rows)
		}
	}
}

func TestWhatCannotBeExportedIsAProblem(t *testing.T) {
	l := newLibrary(t, nil)
	l.watch(t, "core-sw1", 10)
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"pictures", 422, "looks"},
		{"looks?format=xls", 422, "csv"},
		{"looks?from=2026-11-21T10:00:00Z&to=2026-11-21T09:00:00Z", 422, "query.from: the window begins at 2026-11-21T10:00:00.000000Z, which is not before its end, 2026-11-21T09:00:00.000000Z"},
		{"looks?from=2027-01-01T00:00:00Z&to=2027-02-01T00:00:00Z", 422, "yet to come"},
		{"looks?from=1901-01-01T00:00:00Z", 422, "at most 100 years"},
		{"looks?device=nobody", 404, `query.device: no device called \"nobody\" was watched`},
		{"looks?tag=none", 404, `query.tag: no device with the tag`},
		{"looks?zone=Mars/Olympus", 422, `query.zone: \"Mars/Olympus\" is no time zone`},
		{"spans?wide=true", 422, "query.wide: only responses"},
		{"absences?device=core-sw1", 422, "query.device: absences are those of Sereno itself"},
		{"responses?step_seconds=60", 422, "query.step"},
		{"looks?until=now", 422, "until"},
	} {
		answer, body, err := l.get(t, "/api/export/"+c.path)
		if err != nil || answer.StatusCode != c.code || !strings.Contains(body, c.want) || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %v: %s", c.path, answer.Status, err, body)
		}
	}
	if l.log.String() != "" {
		t.Errorf("the log says %s", l.log)
	}
}

// broken gives the looks of real samples, and fails after some of them.
type broken struct {
	*samples.DB
	after int
	err   error
}

func (b *broken) Looks(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Result, error] {
	return func(yield func(sereno.Result, error) bool) {
		for r, err := range b.DB.Looks(ctx, check, from, to) {
			if b.after--; b.after < 0 {
				yield(r, b.err)
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func TestAnExportThatFailsIsNotTakenForAWhole(t *testing.T) {
	b := &broken{err: errors.New("a block is broken")}
	l := newLibrary(t, func(o *Options) {
		b.DB = o.Looks.(*samples.DB)
		o.Looks = b
	})
	l.watch(t, "core-sw1", 30_000)

	b.after = 25_000
	answer, body, err := l.get(t, "/api/export/looks")
	if answer.StatusCode != 200 || !errors.Is(err, io.ErrUnexpectedEOF) || len(answer.Trailer.Get(RowsTrailer)) > 0 || len(body) == 0 {
		t.Errorf("cut off in the middle: %s, %v, trailer %v, %d bytes", answer.Status, err, answer.Trailer, len(body))
	}
	if !strings.Contains(l.log.String(), "a block is broken") {
		t.Errorf("the log does not say why: %s", l.log)
	}

	b.after = 100 // before anything was sent
	answer, body, err = l.get(t, "/api/export/looks")
	if answer.StatusCode != 500 || err != nil || answer.Header.Get("Content-Type") != "application/problem+json" || answer.Header.Get("Content-Disposition") != "" || strings.Contains(body, "block") {
		t.Errorf("before the first row: %s %v, %v: %s", answer.Status, answer.Header, err, body)
	}

	b.after, b.err = 0, sereno.Errorf(sereno.Unavailable, "samples are still being read back")
	answer, body, err = l.get(t, "/api/export/responses")
	if answer.StatusCode != 503 || err != nil || answer.Header.Get("Retry-After") == "" || !strings.Contains(body, "still being read back") {
		t.Errorf("not yet: %s, %v: %s", answer.Status, err, body)
	}
}

func TestAServerWithoutSamples(t *testing.T) {
	l := newLibrary(t, func(o *Options) { o.Looks = nil })
	l.watch(t, "core-sw1", 0)
	if answer, body, err := l.get(t, "/api/export/responses"); answer.StatusCode != 404 || !strings.Contains(body, "keeps no samples") {
		t.Errorf("%s, %v: %s", answer.Status, err, body)
	}
	if answer, body, err := l.get(t, "/api/export/spans"); answer.StatusCode != 200 || answer.Trailer.Get(RowsTrailer) != "1" {
		t.Errorf("%s, %v: %s", answer.Status, err, body)
	}
}

// Whoever begins too many downloads is asked to wait; each that ends makes
// room.
func TestTooManyDownloads(t *testing.T) {
	l := newLibrary(t, nil)
	l.commitSpans(t, l.watch(t, "core-sw1", 0), 100_000)
	var open []io.Closer
	for range maxDownloads {
		answer, err := http.Get(l.URL + "/api/export/spans") // 20 MB, of which nothing is read
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		open = append(open, answer.Body)
	}
	if answer, body, err := l.get(t, "/api/export/absences"); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %v: %s", answer.Status, err, body)
	}
	for _, c := range open {
		c.Close()
	}
	for {
		answer, body, err := l.get(t, "/api/export/absences")
		if answer.StatusCode == 200 {
			break
		}
		if answer.StatusCode != 503 {
			t.Fatalf("%s, %v: %s", answer.Status, err, body)
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *library) commitSpans(t *testing.T, d sereno.Device, n int) {
	t.Helper()
	check, begin := d.Checks[0].ID, noon.Add(-time.Hour)
	var e ledger.Entry
	for i := range n {
		s := sereno.Span{Check: check, Status: sereno.Up, Begin: begin + sereno.Instant(i), End: begin + sereno.Instant(i) + 1, Proof: begin, Reason: strings.Repeat("x", 100)}
		if i%2 == 0 {
			s.Status = sereno.Down
		}
		e.Closed = append(e.Closed, s)
	}
	e.Open = []sereno.Span{{Check: check, Status: sereno.Up, Begin: begin + sereno.Instant(n), Proof: begin}}
	if err := l.Commit(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
}
