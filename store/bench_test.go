package store_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store"
	"sereno/store/postgrestest"
)

const many = 100_000

// crowd is a file of n devices, each behind one of the first hundred.
func crowd(n int) []sereno.Device {
	devices := make([]sereno.Device, n)
	for i := range devices {
		d := &devices[i]
		*d = sereno.Device{
			Name: fmt.Sprintf("device-%06d", i), Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Tags: []string{"rack:3", "site:plant1"},
			Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
		}
		if i >= 100 {
			d.Parents = []string{devices[i%100].Name}
		}
	}
	return devices
}

// onBoth runs a benchmark on both engines: PostgreSQL with a server of its own
// as it is set up by default, which syncs every commit to disk.
func onBoth(b *testing.B, bench func(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device))) {
	b.Run("sqlite", func(b *testing.B) {
		bench(b, func(b *testing.B, n int) (*store.Store, []sereno.Device) {
			return crowded(b, n, "sqlite:"+filepath.Join(b.TempDir(), "sereno.db"))
		})
	})
	b.Run("postgres", func(b *testing.B) {
		server := postgrestest.Start(b)
		bench(b, func(b *testing.B, n int) (*store.Store, []sereno.Device) { return crowded(b, n, server.Database(b)) })
	})
}

func crowded(b *testing.B, n int, url string) (*store.Store, []sereno.Device) {
	s := openURL(b, url)
	b.Cleanup(func() { s.Close() })
	applied, err := s.ApplyFile(b.Context(), crowd(n), 1e15)
	if err != nil {
		b.Fatal(err)
	}
	return s, applied.Added
}

func drain[T any](b *testing.B, seq iter.Seq2[T, error], want int) {
	n := 0
	for _, err := range seq {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != want {
		b.Fatalf("%d items, not %d", n, want)
	}
}

func BenchmarkAllDevices(b *testing.B) { onBoth(b, benchAllDevices) }

func benchAllDevices(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device)) {
	s, _ := crowded(b, many)
	for b.Loop() {
		drain(b, s.AllDevices(b.Context()), many)
	}
}

func BenchmarkOpenSpans(b *testing.B) { onBoth(b, benchOpenSpans) }

func benchOpenSpans(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device)) {
	s, _ := crowded(b, many)
	for b.Loop() {
		drain(b, s.OpenSpans(b.Context()), many)
	}
}

func BenchmarkApplyFile(b *testing.B) { onBoth(b, benchApplyFile) }

func benchApplyFile(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device)) {
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			crowded(b, many)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		s, _ := crowded(b, many)
		file := crowd(many)
		for b.Loop() {
			if a, err := s.ApplyFile(b.Context(), file, 2e15); err != nil || len(a.Added)+len(a.Changed)+len(a.Removed) > 0 {
				b.Fatal(len(a.Changed), err)
			}
		}
	})
}

// benchCommit writes a change of n checks: a closed span, an open one and
// an incident each, so three rows, in no order.
func BenchmarkCommit(b *testing.B) { onBoth(b, benchCommit) }

func benchCommit(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device)) {
	for _, n := range []int{1, 500, 20_000, many} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, devices := crowded(b, many)
			begin, incident := sereno.Instant(1e15), sereno.IncidentID(0)
			order := rand.New(rand.NewPCG(1, 2)).Perm(many)
			for b.Loop() {
				var e ledger.Entry
				end := begin.Add(time.Minute)
				for _, i := range order[:n] {
					c := devices[i].Checks[0]
					incident++
					e.Closed = append(e.Closed, sereno.Span{Check: c.ID, Status: sereno.Up, Begin: begin, End: end, Proof: begin, Uncertainty: time.Second})
					e.Open = append(e.Open, sereno.Span{Check: c.ID, Status: sereno.Down, Begin: end, Proof: end.Add(2 * time.Second), Uncertainty: time.Second, Reason: "no reply in 1s"})
					e.Incidents = append(e.Incidents, sereno.Incident{ID: incident, Device: c.Device, Check: c.ID, Opened: end, Reason: "no reply in 1s"})
				}
				begin = end
				if err := s.Commit(b.Context(), &e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(3*n*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// benchUptime tallies a window of one check with 10,000 spans in a year
// among a million others, and proves them all.
func BenchmarkUptime(b *testing.B) { onBoth(b, benchUptime) }

func benchUptime(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device)) {
	s, devices := crowded(b, 10_000)
	const spans, year = 10_000, 365 * 24 * time.Hour
	begin := sereno.Instant(1e15)
	put := func(c sereno.CheckID, n int) {
		var e ledger.Entry
		for i := range n {
			at := func(i int) sereno.Instant { return begin.Add(year / time.Duration(n) * time.Duration(i)) }
			e.Closed = append(e.Closed, sereno.Span{Check: c, Status: sereno.Up + sereno.Status(i%3), Begin: at(i), End: at(i + 1), Proof: at(i), Uncertainty: time.Second, Reason: "no reply in 1s"})
			if i == n-1 {
				e.Open = append(e.Open, sereno.Span{Check: c, Status: sereno.Up, Begin: at(n), Proof: at(n)})
			}
		}
		if err := s.Commit(b.Context(), &e); err != nil {
			b.Fatal(err)
		}
	}
	var others ledger.Entry
	for i, d := range devices {
		if i == len(devices)/2 {
			put(d.Checks[0].ID, spans)
			continue
		}
		for j := range 100 {
			at := func(j int) sereno.Instant { return begin.Add(year / 100 * time.Duration(j)) }
			others.Closed = append(others.Closed, sereno.Span{Check: d.Checks[0].ID, Status: sereno.Up, Begin: at(j), End: at(j + 1), Proof: at(j)})
			others.Open = append(others.Open[:max(0, len(others.Open)-min(j, 1))], sereno.Span{Check: d.Checks[0].ID, Status: sereno.Up, Begin: at(j + 1), Proof: at(j + 1)})
		}
	}
	if err := s.Commit(b.Context(), &others); err != nil {
		b.Fatal(err)
	}
	b.Run("invariants", func(b *testing.B) {
		for b.Loop() {
			if err := s.CheckInvariants(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, w := range []struct {
		name     string
		from, to time.Duration
		spans    int
	}{{"365d", 0, year, spans}, {"30d", year - 30*24*time.Hour, year, 822}, {"24h", year - 24*time.Hour, year, 28}, {"24h long ago", 0, 24 * time.Hour, 28}, {"365d of another", 0, year, 100}} {
		b.Run(w.name, func(b *testing.B) {
			check := devices[len(devices)/2].Checks[0].ID
			if w.spans == 100 {
				check = devices[7].Checks[0].ID
			}
			for b.Loop() {
				n := 0
				f := sereno.Tally(func(yield func(sereno.Span) bool) {
					for span, err := range s.Spans(b.Context(), check, begin.Add(w.from), begin.Add(w.to)) {
						if n++; err != nil || !yield(span) {
							b.Fatal(err)
						}
					}
				}, begin.Add(w.from), begin.Add(w.to))
				if f.Unknown != 0 || n != w.spans {
					b.Fatalf("%d spans, not %d: %+v", n, w.spans, f)
				}
			}
		})
	}
}

// BenchmarkPromise writes what a storm brings: an alert for each of 100,000
// incidents, and six deliveries that tell of 200,000 things.
func BenchmarkPromise(b *testing.B) { onBoth(b, benchPromise) }

func benchPromise(b *testing.B, crowded func(*testing.B, int) (*store.Store, []sereno.Device)) {
	s, devices := crowded(b, many)
	var e ledger.Entry
	for i, d := range devices {
		e.Incidents = append(e.Incidents, sereno.Incident{ID: sereno.IncidentID(i + 1), Device: d.ID, Check: d.Checks[0].ID, Opened: 1e15, Reason: "no reply in 1s"})
	}
	if err := s.Commit(b.Context(), &e); err != nil {
		b.Fatal(err)
	}
	b.Run("changes", func(b *testing.B) {
		for b.Loop() {
			n, after := 0, int64(0)
			for {
				page, err := s.Changes(b.Context(), after, 5000)
				if err != nil {
					b.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				n, after = n+len(page), page[len(page)-1].Revision
			}
			if n != many {
				b.Fatalf("%d changes, not %d", n, many)
			}
		}
		b.ReportMetric(many*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	})
	doc := []byte(`{"policy":"default","step":0,"told":["ops-telegram","hook"],"next":1000000600000000,"severity":"high","reminder":0,"acknowledged":null,"again":0}`)
	var last alert.DeliveryID
	b.Run("storm", func(b *testing.B) {
		rows := 0
		for b.Loop() {
			batch := alert.Batch{Cursor: many}
			for i := range many {
				batch.Alerts = append(batch.Alerts, alert.Record{ID: sereno.IncidentID(i + 1), Doc: doc})
			}
			for i := range 6 {
				last++
				d := alert.Delivery{ID: last, Key: fmt.Sprint(last), Channel: []string{"ops-telegram", "hook"}[i%2], Event: notify.Opened, Policy: "default", Promised: 1e15, Due: 1e15 + 1e7}
				for k := range 2 * many / 6 {
					d.Items = append(d.Items, alert.Item{Incident: sereno.IncidentID(i/2*(2*many/6) + k + 1), Occasion: fmt.Sprintf("opened/default/%d", last)})
				}
				batch.Deliveries = append(batch.Deliveries, d)
			}
			rows += batch.Len()
			if err := s.Promise(b.Context(), &batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if l, err := s.LoadAlerts(b.Context()); err != nil || len(l.Alerts) != many {
				b.Fatal(len(l.Alerts), err)
			}
		}
	})
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			last++
			in := sereno.IncidentID(1 + int64(last)%many)
			d := alert.Delivery{ID: last, Channel: "hook", Event: notify.Opened, Items: []alert.Item{{Incident: in, Occasion: fmt.Sprintf("one/%d", last)}}}
			if err := s.Promise(b.Context(), &alert.Batch{Cursor: many, Alerts: []alert.Record{{ID: in, Doc: doc}}, Deliveries: []alert.Delivery{d}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
