package ledger

import (
	"testing"
	"time"

	"sereno"
)

// BenchmarkFold is what a look costs the ledger when nothing changes, in a
// plan of 100,000 checks.
func BenchmarkFold(b *testing.B) {
	const n = 100_000
	now := sereno.Instant(1_700_000_000_000_000)
	l := New(Options{Beat: func() Beat { return Beat{Now: now} }})
	var places []Place
	for i := range sereno.CheckID(n) {
		places = append(places, Place{sereno.Device{ID: sereno.DeviceID(i + 1), Name: "d" + string(rune(i)), Checks: []sereno.Check{{ID: i + 1, Kind: "icmp", Policy: sereno.DefaultPolicy, Created: now}}}, true})
	}
	l.Load(places, Past{})
	l.beat()
	batch := make([]sereno.Result, 500)
	next := sereno.CheckID(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			if next++; next > n {
				next = 1
				now = now.Add(time.Second)
			}
			batch[i] = sereno.Result{Check: next, At: now, Status: sereno.Up, RTT: time.Millisecond}
		}
		l.foldAll(batch)
		l.journal.waiting = nil
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch)), "ns/look")
}
