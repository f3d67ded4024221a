package remote

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/golang/snappy"

	"sereno"
)

// second is a second of looks at 100,000 devices.
func second(n int) []sereno.Result {
	list := make([]sereno.Result, 100_000)
	for i := range list {
		list[i] = sereno.Result{
			Check: sereno.CheckID(i + 1), At: sereno.Instant(n)*1e6 + sereno.Instant(i/100)*1000, Status: sereno.Up,
			RTT: time.Duration(1000+rand.IntN(500)) * time.Microsecond,
		}
	}
	return list
}

// What those who keep looks pay for nobody.
func BenchmarkKeepWithoutTargets(b *testing.B) {
	s := New(Options{Dir: b.TempDir()})
	looks := second(1)
	for b.Loop() {
		s.Keep(looks)
	}
}

// What a look costs on its way to the disk, and there.
func BenchmarkAppend(b *testing.B) {
	q, err := openQueue(b.TempDir(), 1_000_000_000, 24*time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	results := second(1)
	looks := make([]look, len(results))
	for b.Loop() {
		for i := range results {
			looks[i] = lookOf(&results[i])
		}
		if err := q.append(looks, everybody); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(looks)), "ns/look")
	b.ReportMetric(float64(q.segments[0].bytes)/float64(q.segments[0].looks), "B/look")
}

// What a look costs on its way from the disk into a request.
func BenchmarkRequest(b *testing.B) {
	q, err := openQueue(b.TempDir(), 1_000_000_000, 24*time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var looks []look
	for _, r := range second(1) {
		looks = append(looks, lookOf(&r))
	}
	for range 3 {
		if err := q.append(looks, everybody); err != nil {
			b.Fatal(err)
		}
	}
	var w writer
	var packed []byte
	n, bytes := 0, 0
	for b.Loop() {
		r := newReader(q)
		for {
			batch, err := r.next(requestLooks)
			if err != nil {
				b.Fatal(err)
			}
			if len(batch.looks) == 0 {
				break
			}
			body, _ := w.request(batch)
			packed = snappy.Encode(packed[:cap(packed)], body)
			n, bytes = n+len(batch.looks), bytes+len(packed)
		}
		r.close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/look")
	b.ReportMetric(float64(bytes)/float64(n), "B/look")
}
